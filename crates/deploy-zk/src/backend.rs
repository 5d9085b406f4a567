//! The client crate, and nothing else may name it.
//!
//! Each client lives in a tokio runtime of its own: its I/O task can't be stopped, so the only way
//! to get rid of a hung one, its socket and its session is to shut its runtime down (H5). See
//! [`Tasks`](crate::config::Tasks) for the exception.

use std::future::Future;
use std::sync::atomic::Ordering;
use std::sync::{Arc, OnceLock};

use tokio::runtime::Handle;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinSet;
use zookeeper_async as za;

use self::connect::{Made, Place};
use self::inherit::Identity;
use crate::armed::ArmedWatches;
use crate::config::Config;
use crate::link::Reason;
use crate::stats::{Counters, count};
use crate::znode::Mode;

mod connect;
mod inherit;
mod requests;

/// Requests that may be under way at once.
///
/// H3, H4: the client deadlocks when its queues of 64 are full, of requests or of 4 KiB pieces of
/// answers. 16 znodes of up to 12 KiB fit; beyond that only the heartbeat helps.
const IN_FLIGHT_MAX: usize = 16;

/// A connected client. Dropping it frees its thread, tasks and socket at once, whatever they do; where it shares a
/// runtime, as soon as a server can be told.
#[derive(Debug)]
pub(crate) struct Client {
    pub(crate) session: Arc<Session>,
    place: Place,
}

/// What requests need of a client. Outlives it: then every request ends in [`Fault::Lost`].
pub(crate) struct Session {
    zookeeper: Arc<za::ZooKeeper>,
    tasks: Handle,
    connection: watch::Receiver<Connection>,
    slots: Arc<Semaphore>,
    armed: ArmedWatches,
    we: Identity,
    pub(crate) counters: Arc<Counters>,
    /// The id that the server knows it by, learned from the first ephemeral znode it made: the
    /// client does not tell.
    pub(crate) id: OnceLock<i64>,
    /// Something is odd: the supervisor should have a look now, not at the next heartbeat.
    pub(crate) doubt: Notify,
}

/// Where the client is. Changed by its I/O task before it does anything on a new connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Connection {
    /// Grows each time a connection is lost. An answer counts only if it is the same as before the
    /// request: else authentication may be missing (H6), or the answer may be another request's (H4).
    pub(crate) number: u64,
    pub(crate) phase: Phase,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    Connecting,
    Connected,
    /// The session is lost. The client would go on with a new one without a word (H7).
    Dead,
}

/// Why a request did not succeed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    NoNode,
    NodeExists,
    BadVersion,
    NotEmpty,
    NoAuth,
    AuthFailed,
    BadArguments(&'static str),
    /// No answer that can be trusted. It may have been executed.
    Lost,
}

/// The right to have a request under way. Kept until the answer is there, even if nobody waits for
/// it any more: only so the client's queues stay short.
pub(crate) struct Slot {
    _permit: Option<OwnedSemaphorePermit>,
    counters: Arc<Counters>,
}

/// A znode to be created.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NewZnode<'a> {
    pub(crate) data: &'a [u8],
    pub(crate) naming: Naming,
}

/// Whose name a new znode gets.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Naming {
    /// The path is its name.
    Plain(Mode),
    /// The server appends ten digits to the path. Persistent.
    Numbered,
}

impl Client {
    /// Makes a client and returns when it has a connection, though not yet a session.
    ///
    /// Cancel-safe: a client half made goes away with its runtime.
    pub(crate) async fn connect(
        config: &Config,
        counters: &Arc<Counters>,
    ) -> Result<Client, Reason> {
        count(&counters.clients);
        let place = Place::of(&config.tasks)?;
        let Made {
            zookeeper,
            connection,
        } = connect::connect(config, place.tasks()).await?;
        let session = Arc::new(Session {
            zookeeper,
            tasks: place.tasks().clone(),
            connection,
            slots: Arc::new(Semaphore::new(IN_FLIGHT_MAX)),
            armed: ArmedWatches::default(),
            we: match config.auth.is_empty() {
                true => Identity::Nobody,
                false => Identity::Known,
            },
            counters: Arc::clone(counters),
            id: OnceLock::new(),
            doubt: Notify::new(),
        });
        Ok(Client { session, place })
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.place.leave(&self.session.zookeeper);
    }
}

impl Connection {
    fn turn(&mut self, state: za::ZkState) {
        match state {
            _ if self.phase == Phase::Dead => {}
            za::ZkState::Connecting => {
                self.number += 1;
                self.phase = Phase::Connecting;
            }
            za::ZkState::Connected => self.phase = Phase::Connected,
            // NotConnected is all that tells of an expired session (H7). Read-only, closed and
            // whatever else there may be are of no use to us either.
            _ => self.phase = Phase::Dead,
        }
    }
}

impl Session {
    pub(crate) fn connection(&self) -> Connection {
        *self.connection.borrow()
    }

    /// Returns the first connection state that `is_wanted`; a dead one if the client is gone.
    pub(crate) async fn connection_that(
        &self,
        is_wanted: impl Fn(&Connection) -> bool,
    ) -> Connection {
        let mut connection = self.connection.clone();
        match connection.wait_for(is_wanted).await {
            Ok(connection) => *connection,
            Err(_) => Connection {
                number: 0,
                phase: Phase::Dead,
            },
        }
    }

    /// Waits for the right to send a request. Cancel-safe.
    pub(crate) async fn slot(&self) -> Slot {
        let permit = Arc::clone(&self.slots).acquire_owned().await;
        Slot::new(permit.ok(), &self.counters)
    }

    /// Sends our authentication. Takes no slot, as nothing else is sent before it.
    pub(crate) async fn authenticate(
        self: &Arc<Self>,
        user: &str,
        password: &str,
    ) -> Result<(), Fault> {
        let (session, auth) = (Arc::clone(self), format!("{user}:{password}").into_bytes());
        let slot = Slot::new(None, &self.counters);
        self.send(slot, async move {
            session.zookeeper.add_auth("digest", auth).await
        })
        .await
    }

    /// Asks for something whose answer is known: that of the root can't be taken for another.
    ///
    /// Serves as heartbeat, and shows after a reconnect that answers belong to their requests: the
    /// client may take a piece of the old connection for the first answer of the new one (H4), and
    /// from then on gives each request the answer of the one before.
    pub(crate) async fn probe(self: &Arc<Self>) -> Result<(), Fault> {
        count(&self.counters.heartbeats);
        let session = Arc::clone(self);
        let slot = Slot::new(None, &self.counters);
        let root = self
            .send(
                slot,
                async move { session.zookeeper.exists("/", false).await },
            )
            .await?;
        let is_root = root.is_some_and(|stat| stat.czxid == 0 && stat.ctime == 0);
        if is_root {
            Ok(())
        } else {
            Err(Fault::BadArguments("the root is not the root"))
        }
    }

    /// Ends the session. May take for ever while there is no connection: only under a deadline.
    pub(crate) async fn close(self: &Arc<Self>) -> Result<(), Fault> {
        let session = Arc::clone(self);
        let slot = Slot::new(None, &self.counters);
        self.send(slot, async move { session.zookeeper.close().await })
            .await
    }

    /// Tells whether the client should be replaced when there is an occasion.
    pub(crate) fn is_worn(&self) -> bool {
        self.armed.is_worn()
    }

    /// Runs what asks again and again where its answers arrive, in the client's own runtime: there a request wakes one thread,
    /// and from anywhere else three. `None` if the client goes before it has ended. Dropping it ends it.
    ///
    /// It must never block: it would hold up the client.
    pub(crate) async fn beside<T: Send + 'static>(
        &self,
        work: impl Future<Output = T> + Send + 'static,
    ) -> Option<T> {
        // A set of one, since that ends its task when it is dropped.
        let mut task = JoinSet::new();
        task.spawn_on(work, &self.tasks);
        task.join_next().await?.ok()
    }

    /// Runs one request in the client's own runtime, to its end, whether or not the caller stays.
    async fn send<T: Send + 'static>(
        &self,
        slot: Slot,
        request: impl Future<Output = za::ZkResult<T>> + Send + 'static,
    ) -> Result<T, Fault> {
        count(&self.counters.requests);
        let task = self.tasks.spawn(async move {
            let answer = request.await;
            drop(slot);
            answer
        });
        match task.await {
            Ok(answer) => answer.map_err(|error| self.fault(error)),
            // The runtime was shut down, with the client.
            Err(_) => Err(Fault::Lost),
        }
    }

    fn fault(&self, error: za::ZkError) -> Fault {
        match error {
            za::ZkError::NoNode => Fault::NoNode,
            za::ZkError::NodeExists => Fault::NodeExists,
            za::ZkError::BadVersion => Fault::BadVersion,
            za::ZkError::NotEmpty => Fault::NotEmpty,
            za::ZkError::NoAuth => Fault::NoAuth,
            za::ZkError::AuthFailed => Fault::AuthFailed,
            za::ZkError::BadArguments => Fault::BadArguments("the server refused the request"),
            za::ZkError::InvalidACL => Fault::BadArguments("the server refused the ACL"),
            za::ZkError::NoChildrenForEphemerals => {
                Fault::BadArguments("an ephemeral znode can't have children")
            }
            za::ZkError::ConnectionLoss | za::ZkError::SessionExpired => Fault::Lost,
            odd => {
                tracing::warn!(error = %odd, "zookeeper gave an answer that makes no sense");
                self.doubt.notify_one();
                Fault::Lost
            }
        }
    }
}

impl Slot {
    fn new(permit: Option<OwnedSemaphorePermit>, counters: &Arc<Counters>) -> Slot {
        count(&counters.in_flight);
        Slot {
            _permit: permit,
            counters: Arc::clone(counters),
        }
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.counters.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session")
            .field("connection", &self.connection())
            .finish_non_exhaustive()
    }
}
