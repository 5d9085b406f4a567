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
use crate::acl::Grant;
use crate::armed::{Armed, ArmedWatches, Kind, Trigger, arm};
use crate::config::Config;
use crate::link::Reason;
use crate::path::parent;
use crate::stats::{Counters, count};
use crate::znode::{Expect, Mode, Stat, Znode};

mod connect;
mod inherit;

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

    pub(crate) async fn exists(
        self: &Arc<Self>,
        slot: Slot,
        path: &str,
    ) -> Result<Option<Stat>, Fault> {
        let (session, path) = (Arc::clone(self), path.to_owned());
        let found = self
            .send(
                slot,
                async move { session.zookeeper.exists(&path, false).await },
            )
            .await?;
        Ok(found.map(Stat::from))
    }

    /// Like [`Session::exists`], with a watch that fires when the znode is created, changed or deleted.
    pub(crate) async fn exists_watched(
        self: &Arc<Self>,
        slot: Slot,
        path: &str,
    ) -> Result<(Option<Stat>, Armed), Fault> {
        let number = self.connection().number;
        if let Some(armed) = self.armed.find(number, Kind::Data, path) {
            return Ok((self.exists(slot, path).await?, armed));
        }
        let at = (number, Kind::Data, path);
        let (found, armed) = self
            .arm_by(slot, at, |session, path, trigger| async move {
                let told = move |_event| trigger.fire();
                session.zookeeper.exists_w(&path, told).await
            })
            .await?;
        Ok((found.map(Stat::from), armed))
    }

    /// Like [`Session::get`], with a watch that fires when the znode is changed or deleted.
    ///
    /// Only for a znode that was there a moment ago: on a missing one there would be no watch, and the client would keep
    /// its half of one until a znode of this path comes and goes (H14).
    pub(crate) async fn get_watched(
        self: &Arc<Self>,
        slot: Slot,
        path: &str,
    ) -> Result<Option<(Znode, Armed)>, Fault> {
        let number = self.connection().number;
        if let Some(armed) = self.armed.find(number, Kind::Data, path) {
            let found = self.get(slot, path).await?;
            return Ok(found.map(|znode| (znode, armed)));
        }
        let at = (number, Kind::Data, path);
        let found = self
            .arm_by(slot, at, |session, path, trigger| async move {
                let told = move |_event| trigger.fire();
                session.zookeeper.get_data_w(&path, told).await
            })
            .await;
        present(found.map(|(found, armed)| (znode(found), armed)))
    }

    /// Reads a znode. H14: not with a watch, since one on a missing znode stays in the client.
    pub(crate) async fn get(
        self: &Arc<Self>,
        slot: Slot,
        path: &str,
    ) -> Result<Option<Znode>, Fault> {
        let (session, path) = (Arc::clone(self), path.to_owned());
        let found = self
            .send(slot, async move {
                session.zookeeper.get_data(&path, false).await
            })
            .await;
        present(found.map(znode))
    }

    pub(crate) async fn children(
        self: &Arc<Self>,
        slot: Slot,
        path: &str,
    ) -> Result<Option<Vec<String>>, Fault> {
        let (session, path) = (Arc::clone(self), path.to_owned());
        let found = self
            .send(slot, async move {
                session.zookeeper.get_children(&path, false).await
            })
            .await;
        present(found.map(sorted))
    }

    /// Like [`Session::children`], with a watch that fires when a child comes or goes.
    ///
    /// Only for a znode that was just seen: on a missing one there would be no watch (H14).
    pub(crate) async fn children_watched(
        self: &Arc<Self>,
        slot: Slot,
        path: &str,
    ) -> Result<Option<(Vec<String>, Armed)>, Fault> {
        let number = self.connection().number;
        if let Some(armed) = self.armed.find(number, Kind::Children, path) {
            let found = self.children(slot, path).await?;
            return Ok(found.map(|names| (names, armed)));
        }
        let at = (number, Kind::Children, path);
        let found = self
            .arm_by(slot, at, |session, path, trigger| async move {
                let told = move |_event| trigger.fire();
                session.zookeeper.get_children_w(&path, told).await
            })
            .await;
        present(found.map(|(names, armed)| (sorted(names), armed)))
    }

    /// Sends a request that arms a watch, and remembers that it is armed on the connection of this number.
    async fn arm_by<T, F>(
        self: &Arc<Self>,
        slot: Slot,
        (number, kind, path): (u64, Kind, &str),
        request: impl FnOnce(Arc<Session>, String, Trigger) -> F,
    ) -> Result<(T, Armed), Fault>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, za::ZkError>> + Send + 'static,
    {
        let (trigger, armed) = arm();
        let (session, path, kept) = (Arc::clone(self), path.to_owned(), armed.clone());
        let asked = request(Arc::clone(self), path.clone(), trigger);
        let found = self
            .send(slot, async move {
                let found = asked.await;
                // Here, since the caller may be gone by now: the watch is armed all the same.
                if found.is_ok() {
                    session.keep_armed(number, (kind, path), kept);
                }
                found
            })
            .await?;
        Ok((found, armed))
    }

    /// Creates a znode and returns its path, which differs from `path` if it is to be numbered.
    pub(crate) async fn create(
        self: &Arc<Self>,
        slot: Slot,
        path: &str,
        new: NewZnode<'_>,
    ) -> Result<(String, Stat), Fault> {
        let mode = match new.naming {
            Naming::Plain(Mode::Persistent) => za::CreateMode::Persistent,
            Naming::Plain(Mode::Ephemeral) => za::CreateMode::Ephemeral,
            Naming::Numbered => za::CreateMode::PersistentSequential,
        };
        let (session, path, data) = (Arc::clone(self), path.to_owned(), new.data.to_vec());
        // Two, of which `send` counts one.
        count(&self.counters.requests);
        let made = self
            .send(slot, async move {
                // ZooKeeper hands nothing down by itself.
                let above = parent(&path).unwrap_or("/");
                let acl = match session.zookeeper.get_acl(above).await {
                    Ok((acl, _)) => inherit::inherit(acl, session.we),
                    Err(za::ZkError::NoAuth) if session.we == Identity::Known => {
                        za::Acl::creator_all().clone()
                    }
                    Err(error) => return Err(error),
                };
                session.zookeeper.create2(&path, data, acl, mode).await
            })
            .await?;
        Ok((made.0, made.1.into()))
    }

    pub(crate) async fn acl(self: &Arc<Self>, path: &str) -> Result<Option<Vec<Grant>>, Fault> {
        let (session, path) = (Arc::clone(self), path.to_owned());
        let slot = self.slot().await;
        let found = self.send(slot, async move { session.zookeeper.get_acl(&path).await });
        let grants =
            |(acl, _): (Vec<za::Acl>, za::Stat)| acl.into_iter().map(inherit::grant).collect();
        present(found.await.map(grants))
    }

    pub(crate) async fn set_acl(
        self: &Arc<Self>,
        slot: Slot,
        path: &str,
        grants: &[Grant],
    ) -> Result<(), Fault> {
        let (session, path) = (Arc::clone(self), path.to_owned());
        let acl = grants.iter().map(inherit::acl).collect();
        self.send(slot, async move {
            session.zookeeper.set_acl(&path, acl, None).await
        })
        .await?;
        Ok(())
    }

    pub(crate) async fn set(
        self: &Arc<Self>,
        slot: Slot,
        path: &str,
        (data, expect): (&[u8], Expect),
    ) -> Result<Stat, Fault> {
        let (session, path, data) = (Arc::clone(self), path.to_owned(), data.to_vec());
        let version = expect.version();
        let stat = self
            .send(slot, async move {
                session.zookeeper.set_data(&path, data, version).await
            })
            .await?;
        Ok(stat.into())
    }

    pub(crate) async fn delete(
        self: &Arc<Self>,
        slot: Slot,
        path: &str,
        expect: Expect,
    ) -> Result<(), Fault> {
        let (session, path) = (Arc::clone(self), path.to_owned());
        let version = expect.version();
        self.send(slot, async move {
            session.zookeeper.delete(&path, version).await
        })
        .await
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

    fn keep_armed(&self, number: u64, key: (Kind, String), armed: Armed) {
        count(&self.counters.watches_made);
        self.armed.keep(number, key, armed);
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

impl From<za::Stat> for Stat {
    fn from(stat: za::Stat) -> Stat {
        Stat {
            czxid: stat.czxid,
            mzxid: stat.mzxid,
            pzxid: stat.pzxid,
            ctime_ms: stat.ctime,
            mtime_ms: stat.mtime,
            version: stat.version,
            children_version: stat.cversion,
            ephemeral_owner: stat.ephemeral_owner,
            data_bytes: stat.data_length,
            num_children: stat.num_children,
        }
    }
}

fn present<T>(found: Result<T, Fault>) -> Result<Option<T>, Fault> {
    match found {
        Ok(found) => Ok(Some(found)),
        Err(Fault::NoNode) => Ok(None),
        Err(fault) => Err(fault),
    }
}

fn znode((data, stat): (Vec<u8>, za::Stat)) -> Znode {
    let stat = stat.into();
    Znode { data, stat }
}

fn sorted(mut names: Vec<String>) -> Vec<String> {
    names.sort_unstable();
    names
}
