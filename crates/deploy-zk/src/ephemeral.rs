//! Ephemeral znodes that come back.
//!
//! The server deletes them with the session, and the client makes a new session without a word (H7).
//! So each one has a task that looks, on every new connection and whenever its watch fires, whether
//! it exists and is ours. The path must be used by nobody else: whatever is found there is replaced.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep};

use crate::armed::Armed;
use crate::backend::{Fault, Naming, NewZnode};
use crate::backoff::Backoff;
use crate::compound;
use crate::core::{Core, Up};
use crate::znode::{Expect, Mode};

/// Keeps an ephemeral znode in existence. Dropping it deletes the znode.
#[derive(Debug)]
pub struct Ephemeral {
    data: watch::Sender<Vec<u8>>,
    status: watch::Receiver<bool>,
}

impl Ephemeral {
    /// Returns whether the znode exists and belongs to our session, as far as is known.
    ///
    /// False while the link is down, and for ever once the session is closed.
    pub fn status(&self) -> watch::Receiver<bool> {
        self.status.clone()
    }

    /// Gives the znode other data, now or as soon as the link is up.
    pub fn replace(&self, data: &[u8]) {
        self.data.send_if_modified(|before| {
            let is_new = before.as_slice() != data;
            *before = data.to_vec();
            is_new
        });
    }

    /// Returns one that never exists.
    pub(crate) fn never() -> Ephemeral {
        Ephemeral {
            data: watch::channel(Vec::new()).0,
            status: watch::channel(false).1,
        }
    }

    /// Starts the task that keeps it.
    pub(crate) fn keep(core: &Arc<Core>, path: &str, data: &[u8]) -> Ephemeral {
        let (data, wanted) = watch::channel(data.to_vec());
        let (status_sender, status) = watch::channel(false);
        let keeper = Keeper {
            core: Arc::clone(core),
            path: path.to_owned(),
            wanted,
            status: status_sender,
            written: None,
            made_at: None,
            told: None,
            backoff: Backoff::default(),
        };
        core.tasks.spawn(keeper.run());
        Ephemeral { data, status }
    }
}

struct Keeper {
    core: Arc<Core>,
    path: String,
    /// Closed when the [`Ephemeral`] is dropped.
    wanted: watch::Receiver<Vec<u8>>,
    status: watch::Sender<bool>,
    /// What this generation is known to have written.
    written: Option<(u64, Vec<u8>)>,
    /// When it was last created.
    made_at: Option<Instant>,
    /// Why it could not be kept, as was told last.
    told: Option<Fault>,
    backoff: Backoff,
}

/// Why the keeper stopped waiting.
enum Woken {
    /// The znode, the connection or the wanted data is not what it was.
    Changed,
    /// The [`Ephemeral`] was dropped.
    Dropped,
}

impl Keeper {
    async fn run(mut self) {
        // The last generation that may own the znode.
        let mut generation = 0;
        loop {
            let up = tokio::select! {
                // Cancel-safe: both only wait.
                up = self.core.up() => up,
                () = dropped(&mut self.wanted) => break,
            };
            let Some(up) = up else { break };
            generation = up.generation;
            match up.ask(self.ensure(&up)).await {
                Ok(armed) => {
                    self.say_kept();
                    self.told = None;
                    let woken = self.wait(&up, armed).await;
                    // But not while only the data changes: the znode stays.
                    if !up.holds() {
                        self.say_missing();
                    }
                    if let Woken::Dropped = woken {
                        break;
                    }
                }
                Err(fault) => {
                    self.say_missing();
                    // Once: what is refused is refused each time, until somebody mends it.
                    if fault != Fault::Lost && self.told.replace(fault) != Some(fault) {
                        tracing::warn!(
                            path = self.path,
                            ?fault,
                            "failed to keep an ephemeral znode; it is tried again"
                        );
                    }
                    if up.holds() {
                        let wait = self.backoff.next_wait();
                        self.rest(wait).await;
                    }
                }
            }
        }
        self.say_missing();
        self.remove(generation).await;
    }

    /// Makes sure that the znode exists, is ours and has the wanted data.
    async fn ensure(&mut self, up: &Up) -> Result<Armed, Fault> {
        let session = &up.session;
        loop {
            let wanted = self.wanted.borrow_and_update().clone();
            let (found, armed) = session
                .exists_watched(session.slot().await, &self.path)
                .await?;
            match found {
                None => {
                    self.say_missing();
                    self.written = None;
                    self.create(up, &wanted).await?;
                }
                Some(stat) if session.id.get() == Some(&stat.ephemeral_owner) => {
                    if self.written == Some((up.generation, wanted.clone())) {
                        return Ok(armed);
                    }
                    self.written = None;
                    let slot = session.slot().await;
                    session
                        .set(slot, &self.path, (&wanted, Expect::Any))
                        .await?;
                    self.written = Some((up.generation, wanted));
                }
                Some(stat) => {
                    // Of an older session of ours, which would take it away when it expires; or one
                    // whose creation by us was never confirmed. Only if it is still the one seen.
                    tracing::info!(path = self.path, "taking over an ephemeral znode");
                    self.say_missing();
                    let slot = session.slot().await;
                    match session
                        .delete(slot, &self.path, Expect::Version(stat.version))
                        .await
                    {
                        Ok(()) | Err(Fault::NoNode) => {}
                        Err(fault) => return Err(fault),
                    }
                }
            }
        }
    }

    async fn create(&mut self, up: &Up, wanted: &[u8]) -> Result<(), Fault> {
        // Two processes with the same path would take it from each other without end.
        match self.made_at {
            Some(at) if at.elapsed() < self.core.config.session_timeout => {
                let wait = self.backoff.next_wait();
                self.rest(wait).await;
            }
            _ => self.backoff.reset(),
        }
        let new = NewZnode {
            data: wanted,
            naming: Naming::Plain(Mode::Ephemeral),
        };
        match up
            .session
            .create(up.session.slot().await, &self.path, new)
            .await
        {
            Ok((_, stat)) if up.holds() => {
                // Kept by the first: a client has one session.
                let _ = up.session.id.set(stat.ephemeral_owner);
                self.written = Some((up.generation, wanted.to_vec()));
                self.made_at = Some(Instant::now());
                Ok(())
            }
            Ok(_) => Err(Fault::Lost),
            Err(Fault::NoNode) => compound::make_parents(up, &self.path).await,
            Err(Fault::NodeExists) => Ok(()),
            Err(fault) => Err(fault),
        }
    }

    async fn wait(&mut self, up: &Up, mut armed: Armed) -> Woken {
        tokio::select! {
            // Cancel-safe, all three: they only wait.
            () = up.lost() => Woken::Changed,
            () = armed.fired() => Woken::Changed,
            changed = self.wanted.changed() => match changed {
                Ok(()) => Woken::Changed,
                Err(_) => Woken::Dropped,
            }
        }
    }

    fn say_kept(&self) {
        self.status
            .send_if_modified(|kept| !std::mem::replace(kept, true));
    }

    fn say_missing(&self) {
        self.status.send_if_modified(std::mem::take);
    }

    async fn rest(&mut self, wait: Duration) {
        tokio::select! {
            // Cancel-safe: both only wait.
            () = sleep(wait) => {}
            () = dropped(&mut self.wanted) => {}
        }
    }

    /// Deletes the znode if it is still ours.
    ///
    /// Without a link it waits for one: the session may well go on, and the znode with it. A new
    /// session needs nothing done, since the old one takes the znode along when it expires.
    async fn remove(self, generation: u64) {
        let mut backoff = Backoff::default();
        while let Some(up) = self.core.up().await {
            if up.generation != generation {
                return;
            }
            match up.ask(self.delete_own(&up)).await {
                Ok(()) => return,
                Err(Fault::Lost) if !up.holds() => {}
                Err(fault) => {
                    tracing::warn!(
                        path = self.path,
                        ?fault,
                        "failed to delete an ephemeral znode"
                    );
                    sleep(backoff.next_wait()).await;
                }
            }
        }
    }

    async fn delete_own(&self, up: &Up) -> Result<(), Fault> {
        let found = up
            .session
            .exists(up.session.slot().await, &self.path)
            .await?;
        let Some(stat) = found else { return Ok(()) };
        // Whether it is ours is not known if the answer to its creation was lost. Then it goes too:
        // nobody else uses the path.
        if up
            .session
            .id
            .get()
            .is_some_and(|id| *id != stat.ephemeral_owner)
        {
            return Ok(());
        }
        let slot = up.session.slot().await;
        match up
            .session
            .delete(slot, &self.path, Expect::Version(stat.version))
            .await
        {
            Err(Fault::NoNode) => Ok(()),
            result => result,
        }
    }
}

/// Returns when the other end is dropped. Cancel-safe.
async fn dropped(wanted: &mut watch::Receiver<Vec<u8>>) {
    while wanted.changed().await.is_ok() {}
}
