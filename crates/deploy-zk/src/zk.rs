//! The handle on a session.

use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot, watch};

use crate::acl::Grant;
use crate::backend::{Naming, NewZnode};
use crate::bell::{Bell, Ringer};
use crate::compound;
use crate::config::Config;
use crate::core::{Core, Current};
use crate::ephemeral::Ephemeral;
use crate::error::{Call, Error, Op};
use crate::follow::{Board, Presence, Subject, Watched, follow};
use crate::link::{Link, Reason};
use crate::path;
use crate::seen::Seen;
use crate::stats::{Counters, Stats};
use crate::supervisor::{Close, Supervisor};
use crate::znode::{Change, Expect, Mode, Stat, Updated, Znode};

/// A session with ZooKeeper. Cheap to clone; when the last clone is dropped the session is closed.
///
/// Watches and [`Ephemeral`]s do not keep it open. Every call ends by `op_timeout`.
#[derive(Clone, Debug)]
pub struct Zk {
    core: Arc<Core>,
    link: watch::Receiver<Link>,
    wishes: mpsc::Sender<Close>,
}

impl Zk {
    /// Starts a session. Never blocks and never fails: the link is down until it is up.
    ///
    /// With a config that does not [`check`](Config::check) the link stays down, and says why.
    ///
    /// # Panics
    /// Outside of a tokio runtime with time enabled.
    pub fn start(config: Config) -> Zk {
        let counters = Arc::new(Counters::default());
        let (current_sender, current) = watch::channel(Current::Down);
        let (link_sender, link) = watch::channel(Link::Down {
            reason: Reason::Starting,
        });
        let ringer = Ringer::default();
        let (wishes, wishes_receiver) = mpsc::channel(1);
        let tasks = Handle::current();
        let supervisor = Supervisor::new(
            config.clone(),
            (current_sender, link_sender),
            Arc::clone(&counters),
            ringer.clone(),
        );
        tasks.spawn(supervisor.run(wishes_receiver));
        Zk {
            core: Arc::new(Core {
                config,
                current,
                counters,
                ringer,
                tasks,
            }),
            link,
            wishes,
        }
    }

    /// Returns the state of the link, to look at or to wait for.
    pub fn link(&self) -> watch::Receiver<Link> {
        self.link.clone()
    }

    /// Returns a bell that rings whenever a watch of this session sees something new, or its link changes.
    pub fn bell(&self) -> Bell {
        self.core.ringer.bell()
    }

    /// Reads a znode; `None` if it does not exist. Tried again over reconnects.
    ///
    /// # Errors
    /// `Unavailable` at the end of the time for an operation; `NoAuth`, `BadArguments`, `Closed`.
    pub async fn get(&self, path: &str) -> Result<Option<Znode>, Error> {
        check(Op::Read, path, &[])?;
        compound::get(&self.core.begin(), path).await
    }

    /// Lists the names of the children, sorted; `None` if the znode does not exist.
    ///
    /// # Errors
    /// As [`Zk::get`].
    pub async fn children(&self, path: &str) -> Result<Option<Vec<String>>, Error> {
        check(Op::List, path, &[])?;
        compound::children(&self.core.begin(), path).await
    }

    /// Creates a znode. One attempt: a second one could not tell its own first from somebody else's.
    ///
    /// # Errors
    /// `NodeExists`; `NoNode` if the parent is missing; `Unavailable` if it was surely not done,
    /// `Unknown` if it may have been; `NoAuth`, `TooLarge`, `BadArguments`, `Closed`.
    pub async fn create(&self, path: &str, data: &[u8], mode: Mode) -> Result<(), Error> {
        check(Op::Create, path, data)?;
        let new = NewZnode {
            data,
            naming: Naming::Plain(mode),
        };
        compound::create(&self.core.begin(), path, new).await?;
        Ok(())
    }

    /// Returns who may do what with a znode; `None` if it doesn't exist. Hashes are masked for who
    /// may not change the list.
    ///
    /// # Errors
    /// As [`Zk::get`].
    pub async fn acl(&self, path: &str) -> Result<Option<Vec<Grant>>, Error> {
        check(Op::Read, path, &[])?;
        compound::acl(&self.core.begin(), path).await
    }

    /// Says who may do what with a znode, of whatever version. Safe to repeat.
    ///
    /// # Errors
    /// `NoNode`; `NoAuth`; the rest as [`Zk::create`].
    pub async fn set_acl(&self, path: &str, grants: &[Grant]) -> Result<(), Error> {
        check(Op::Write, path, &[])?;
        compound::set_acl(&self.core.begin(), path, grants).await
    }

    /// Creates the missing parents of `path`, persistent and empty. Safe to repeat.
    ///
    /// # Errors
    /// `Unknown` if some may be missing still; `NoAuth`, `BadArguments`, `Closed`.
    pub async fn create_parents(&self, path: &str) -> Result<(), Error> {
        check(Op::Create, path, &[])?;
        compound::create_parents(&self.core.begin(), path).await
    }

    /// Creates a persistent znode named `prefix` and ten digits, and returns its path.
    ///
    /// `data` must be unlike that of any other znode with this prefix, by a nonce: when an answer is
    /// lost, the znode is searched by its data before another attempt, so there is at most one. Only
    /// if the session was lost as well, and a server paused for longer, may a second one turn up.
    ///
    /// # Errors
    /// As [`Zk::create`]; after `Unknown`, look for the data.
    pub async fn create_sequential(&self, prefix: &str, data: &[u8]) -> Result<String, Error> {
        // The prefix itself may end with a slash; what the server makes of it may not.
        check(Op::Create, &format!("{prefix}0"), data)?;
        compound::create_sequential(&self.core.begin(), prefix, data).await
    }

    /// Replaces the data of a znode. One attempt.
    ///
    /// # Errors
    /// `NoNode`; `BadVersion` if it is not the version expected; the rest as [`Zk::create`].
    pub async fn set(&self, path: &str, data: &[u8], expect: Expect) -> Result<Stat, Error> {
        check(Op::Write, path, data)?;
        compound::set(&self.core.begin(), path, data, expect).await
    }

    /// Deletes a znode. One attempt.
    ///
    /// # Errors
    /// `NotEmpty` if it has children; the rest as [`Zk::set`].
    pub async fn delete(&self, path: &str, expect: Expect) -> Result<(), Error> {
        check(Op::Delete, path, &[])?;
        compound::delete(&self.core.begin(), path, expect).await
    }

    /// Reads a znode, lets `decide` say what to make of it, and does that unless somebody was faster;
    /// then it asks `decide` again, a bounded number of times.
    ///
    /// When an answer is lost it reads back whether the change was made, before anything else. Where
    /// that can't be told because others wrote as well, `decide` is asked again, and must know its
    /// own work when it sees it.
    ///
    /// # Errors
    /// `BadVersion` if others were faster each time; `NoNode` if the parent is missing; the rest as
    /// [`Zk::create`].
    pub async fn update(
        &self,
        path: &str,
        decide: impl FnMut(Option<&Znode>) -> Change,
    ) -> Result<Updated, Error> {
        check(Op::Update, path, &[])?;
        compound::update(&self.core.begin(), path, decide).await
    }

    /// Returns when reads through this handle see every write acknowledged before, to anybody.
    ///
    /// Costs one transaction, and changes nothing.
    ///
    /// # Errors
    /// `Unavailable`, `Closed`.
    pub async fn barrier(&self) -> Result<(), Error> {
        compound::barrier(&self.core.begin()).await
    }

    /// Follows a znode: the newest value, or that it is absent. It need not exist.
    ///
    /// Values in between may be skipped. Ends when the receiver is dropped; the receiver's sender is
    /// gone when the session is closed, and at once if the path is not one.
    pub fn watch(&self, path: &str) -> watch::Receiver<Seen<Znode>> {
        self.start_watch(path, Presence::Open)
    }

    /// As [`Zk::watch`], of a znode that most likely is there, as one in a list of children: it costs ZooKeeper one request then
    /// instead of two, and where it is not there one more.
    pub fn watch_present(&self, path: &str) -> watch::Receiver<Seen<Znode>> {
        self.start_watch(path, Presence::Likely)
    }

    /// Follows a znode that is there and never comes back once it is deleted, as one with a sequence
    /// number in its name. As [`Zk::watch`], but nothing is left behind for a path that is gone.
    pub fn watch_until_gone(&self, path: &str) -> watch::Receiver<Seen<Znode>> {
        self.start_watch(path, Presence::Once)
    }

    /// Follows the names of the children of a znode, sorted. It need not exist.
    pub fn watch_children(&self, path: &str) -> watch::Receiver<Seen<Vec<String>>> {
        self.start_watch(path, Presence::Open)
    }

    /// Keeps an ephemeral znode in existence, from session to session, until the result is dropped.
    ///
    /// Missing parents are created. The path must be this process's own: whatever else is found
    /// there, left over from an older session or not, is replaced.
    pub fn ephemeral(&self, path: &str, data: &[u8]) -> Ephemeral {
        if let Err(error) = check(Op::Create, path, data) {
            tracing::error!(%error, "an ephemeral znode can't be");
            return Ephemeral::never();
        }
        Ephemeral::keep(&self.core, path, data)
    }

    /// Closes the session, and with it the ephemeral znodes. Returns whether the server was there to
    /// be told; otherwise the session ends after its timeout.
    ///
    /// Calls under way, also on clones, end at once. Takes `deadline` at most.
    pub async fn close(self, deadline: Duration) -> bool {
        let (done, closed) = oneshot::channel();
        let wish = Close { deadline, done };
        if self.wishes.send(wish).await.is_err() {
            // Somebody else closed it.
            return false;
        }
        closed.await.unwrap_or(false)
    }

    /// Returns what the session has been through.
    pub fn stats(&self) -> Stats {
        self.core.counters.stats()
    }

    fn start_watch<T: Watched>(&self, path: &str, presence: Presence) -> watch::Receiver<Seen<T>> {
        let (sender, receiver) = watch::channel(Seen::nothing());
        let board = Board::new(sender, self.core.ringer.clone());
        match check(T::OP, path, &[]) {
            Ok(()) => {
                let path = path.to_owned();
                let following = follow(Arc::clone(&self.core), Subject { path, presence }, board);
                self.core.tasks.spawn(following);
            }
            Err(error) => board.refuse(error),
        }
        receiver
    }
}

/// H13: what a server would cut the connection for never leaves.
fn check(op: Op, path: &str, data: &[u8]) -> Result<(), Error> {
    let call = || Call::new(op, path);
    path::check(path).map_err(|why| Error::BadArguments { call: call(), why })?;
    compound::check_data(call(), data)
}
