//! How a call gets to the client of the moment: which one, until when, and what its end means.

use std::future::Future;
use std::sync::Arc;

use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout_at};

use crate::backend::{Connection, Fault, Phase, Session, Slot};
use crate::backoff::Backoff;
use crate::bell::Ringer;
use crate::config::Config;
use crate::error::{Call, Error};
use crate::rhythm::Rhythm;
use crate::stats::Counters;

/// What every clone of the handle, and every watch, shares. Does not keep the session open.
#[derive(Debug)]
pub(crate) struct Core {
    pub(crate) config: Config,
    pub(crate) current: watch::Receiver<Current>,
    pub(crate) counters: Arc<Counters>,
    pub(crate) ringer: Ringer,
    pub(crate) tasks: Handle,
}

/// A call under way, which has an end.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Within<'a> {
    core: &'a Core,
    deadline: Instant,
}

/// What the supervisor says there is.
#[derive(Clone, Debug)]
pub(crate) enum Current {
    Down,
    Up(Up),
    Closed,
}

/// A connection that was vetted: authenticated, and its answers belong to their requests.
#[derive(Clone, Debug)]
pub(crate) struct Up {
    pub(crate) session: Arc<Session>,
    pub(crate) connection: u64,
    pub(crate) epoch: u64,
    pub(crate) generation: u64,
    /// When what is followed is read again.
    pub(crate) rereads: Rhythm,
}

impl Up {
    /// Tells whether the connection is still the one that was vetted.
    pub(crate) fn holds(&self) -> bool {
        self.is_same(&self.session.connection())
    }

    /// Returns when the connection is lost. Cancel-safe.
    pub(crate) async fn lost(&self) {
        self.session
            .connection_that(|connection| !self.is_same(connection))
            .await;
    }

    /// Waits for an answer for as long as the connection lasts.
    ///
    /// An answer that came over another one is worth nothing, not even a refusal: see
    /// [`Connection::number`].
    pub(crate) async fn ask<T>(
        &self,
        request: impl Future<Output = Result<T, Fault>>,
    ) -> Result<T, Fault> {
        // Cancel-safe: a request that is dropped goes on in the client's runtime, with its slot.
        tokio::select! {
            biased;
            () = self.lost() => Err(Fault::Lost),
            answer = request => if self.holds() { answer } else { Err(Fault::Lost) },
        }
    }

    fn is_same(&self, connection: &Connection) -> bool {
        connection.number == self.connection && connection.phase == Phase::Connected
    }
}

impl Core {
    /// Begins a call, of one request or many, that ends after the time for an operation.
    pub(crate) fn begin(&self) -> Within<'_> {
        Within {
            core: self,
            deadline: Instant::now() + self.config.op_timeout,
        }
    }

    /// Waits for the link; `None` if the session is closed. Cancel-safe.
    pub(crate) async fn up(&self) -> Option<Up> {
        let mut current = self.current.clone();
        loop {
            match &*current.borrow_and_update() {
                Current::Closed => return None,
                // One that does not hold is about to be replaced by the supervisor.
                Current::Up(up) if up.holds() => return Some(up.clone()),
                Current::Up(_) | Current::Down => {}
            }
            current.changed().await.ok()?;
        }
    }

    async fn up_with_slot(&self) -> Option<(Up, Slot)> {
        loop {
            let up = self.up().await?;
            // Cancel-safe: a slot not taken goes to the next in the queue.
            tokio::select! {
                biased;
                () = up.lost() => {}
                slot = up.session.slot() => return Some((up, slot)),
            }
        }
    }

    /// H2: an operation that was not answered in time is a reason to look whether anything is.
    fn doubt(&self) {
        if let Current::Up(up) = &*self.current.borrow() {
            up.session.doubt.notify_one();
        }
    }
}

impl Within<'_> {
    /// Reads, again after each reconnect, until the call has to end.
    pub(crate) async fn read<T, F>(&self, call: Call, request: impl Fn(Up) -> F) -> Result<T, Error>
    where
        F: Future<Output = Result<T, Fault>>,
    {
        let reading = async {
            let mut backoff = Backoff::default();
            loop {
                let Some(up) = self.core.up().await else {
                    return Err(Error::Closed(call.clone()));
                };
                match up.ask(request(up.clone())).await {
                    Ok(value) => return Ok(value),
                    // Over the same connection it would fail again at once.
                    Err(Fault::Lost) if up.holds() => sleep(backoff.next_wait()).await,
                    Err(Fault::Lost) => {}
                    Err(fault) => return Err(fault.error(call.clone())),
                }
            }
        };
        match timeout_at(self.deadline, reading).await {
            Ok(result) => result,
            Err(_) => {
                self.core.doubt();
                Err(Error::Unavailable(call))
            }
        }
    }

    /// Writes, once: trying again could not tell its own first attempt from somebody else's.
    pub(crate) async fn write<T, F>(
        &self,
        call: Call,
        request: impl FnOnce(Up, Slot) -> F,
    ) -> Result<T, Error>
    where
        F: Future<Output = Result<T, Fault>>,
    {
        let (up, slot) = match timeout_at(self.deadline, self.core.up_with_slot()).await {
            Ok(Some(ready)) => ready,
            Ok(None) => return Err(Error::Closed(call)),
            Err(_) => return Err(Error::Unavailable(call)),
        };
        match timeout_at(self.deadline, up.ask(request(up.clone(), slot))).await {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(Fault::Lost)) => Err(Error::Unknown(call)),
            Ok(Err(fault)) => Err(fault.error(call)),
            Err(_) => {
                self.core.doubt();
                Err(Error::Unknown(call))
            }
        }
    }
}

impl Fault {
    /// Returns what a caller is told. `Lost` depends on the call, and is never asked here.
    pub(crate) fn error(self, call: Call) -> Error {
        match self {
            Fault::NoNode => Error::NoNode(call),
            Fault::NodeExists => Error::NodeExists(call),
            Fault::BadVersion => Error::BadVersion(call),
            Fault::NotEmpty => Error::NotEmpty(call),
            Fault::NoAuth => Error::NoAuth(call),
            Fault::AuthFailed => Error::AuthFailed(call),
            Fault::BadArguments(why) => Error::BadArguments { call, why },
            Fault::Lost => Error::Unknown(call),
        }
    }
}
