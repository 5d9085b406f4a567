//! Keeps a [`Seen`] at the newest value.
//!
//! Level-triggered: an event only says that it is time to read. On each new connection everything is
//! read and armed again, since no watch survives a reconnect (H1), and now and then besides.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{sleep, sleep_until, timeout};

use crate::armed::Armed;
use crate::backend::Fault;
use crate::backoff::Backoff;
use crate::bell::Ringer;
use crate::core::{Core, Up};
use crate::error::{Call, Error, Op};
use crate::seen::{Seen, View};
use crate::stats::count;
use crate::znode::Znode;

/// How long an event may come after the read that shows its change, before it counts as missed.
const EVENT_LATE_MAX: Duration = Duration::from_secs(1);

/// Something about a znode that ZooKeeper has a watch for.
pub(crate) trait Watched: Sized + Send + Sync + 'static {
    /// How an error names the reading of it.
    const OP: Op;

    /// Arms a watch on a znode that may be missing, then reads: in this order a change in between fires it.
    fn arm(
        up: &Up,
        path: &str,
    ) -> impl Future<Output = Result<(Option<Self>, Armed), Fault>> + Send;

    /// Arms a watch and reads in one request; `None` without a watch if the znode is missing.
    fn arm_present(
        up: &Up,
        path: &str,
    ) -> impl Future<Output = Result<Option<(Self, Armed)>, Fault>> + Send;

    /// Only reads.
    fn read(up: &Up, path: &str) -> impl Future<Output = Result<Option<Self>, Fault>> + Send;

    /// Tells whether a watch would have fired between the two.
    fn differs(&self, other: &Self) -> bool;
}

impl Watched for Znode {
    const OP: Op = Op::Read;

    async fn arm(up: &Up, path: &str) -> Result<(Option<Znode>, Armed), Fault> {
        let (stat, armed) = up
            .session
            .exists_watched(up.session.slot().await, path)
            .await?;
        match stat {
            None => Ok((None, armed)),
            Some(_) => Ok((Znode::read(up, path).await?, armed)),
        }
    }

    async fn arm_present(up: &Up, path: &str) -> Result<Option<(Znode, Armed)>, Fault> {
        up.session.get_watched(up.session.slot().await, path).await
    }

    async fn read(up: &Up, path: &str) -> Result<Option<Znode>, Fault> {
        up.session.get(up.session.slot().await, path).await
    }

    fn differs(&self, other: &Znode) -> bool {
        // Not the whole stat: that also tells of children.
        (self.stat.czxid, self.stat.mzxid) != (other.stat.czxid, other.stat.mzxid)
    }
}

impl Watched for Vec<String> {
    const OP: Op = Op::List;

    async fn arm(up: &Up, path: &str) -> Result<(Option<Vec<String>>, Armed), Fault> {
        loop {
            // The two kinds of watch are for a znode that is there and for one that isn't. It may
            // come and go in between, each time at the cost of somebody's write.
            let stat = up.session.exists(up.session.slot().await, path).await?;
            if stat.is_some()
                && let Some((names, armed)) = Self::arm_present(up, path).await?
            {
                return Ok((Some(names), armed));
            }
            let (stat, armed) = up
                .session
                .exists_watched(up.session.slot().await, path)
                .await?;
            if stat.is_none() {
                return Ok((None, armed));
            }
        }
    }

    async fn arm_present(up: &Up, path: &str) -> Result<Option<(Vec<String>, Armed)>, Fault> {
        up.session
            .children_watched(up.session.slot().await, path)
            .await
    }

    async fn read(up: &Up, path: &str) -> Result<Option<Vec<String>>, Fault> {
        up.session.children(up.session.slot().await, path).await
    }

    fn differs(&self, other: &Vec<String>) -> bool {
        self != other
    }
}

/// What is known beforehand of whether a znode is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Presence {
    /// Nothing: it may come and go.
    Open,
    /// Most likely it is, to begin with; it may come and go.
    Likely,
    /// Most likely it is, and deleted it never comes back, as one with a sequence number in its name.
    Once,
}

/// What is followed.
#[derive(Clone, Debug)]
pub(crate) struct Subject {
    pub(crate) path: String,
    pub(crate) presence: Presence,
}

/// Keeps what the board shows current until nobody looks at it any more, or the session is closed.
pub(crate) async fn follow<T: Watched>(core: Arc<Core>, subject: Subject, board: Board<T>) {
    let board = Arc::new(board);
    tokio::select! {
        // Cancel-safe: it only waits; and what is dropped of the other are reads.
        () = board.seen.closed() => {}
        () = keep_current(&core, &subject, &board) => {}
    }
}

async fn keep_current<T: Watched>(core: &Core, subject: &Subject, board: &Arc<Board<T>>) {
    let mut backoff = Backoff::default();
    while let Some(up) = core.up().await {
        let watching = watch_connection(up.clone(), subject.clone(), Arc::clone(board));
        let fault = match up.session.beside(watching).await {
            Some(Over::Gone) => break,
            None | Some(Over::Fault(Fault::Lost)) if !up.holds() => {
                backoff.reset();
                continue;
            }
            Some(Over::Fault(fault)) => fault,
            None => Fault::Lost,
        };
        if fault != Fault::Lost {
            board.refuse(fault.error(Call::new(T::OP, &subject.path)));
        }
        sleep(backoff.next_wait()).await;
    }
    // What was seen last stands until the session is closed.
    while let Some(up) = core.up().await {
        up.lost().await;
    }
}

/// Why a znode is not followed over a connection any more.
enum Over {
    /// It is gone for good.
    Gone,
    /// The connection was lost, or an answer was a fault.
    Fault(Fault),
}

/// Follows the znode over one connection.
async fn watch_connection<T: Watched>(up: Up, subject: Subject, board: Arc<Board<T>>) -> Over {
    let (up, path, board) = (&up, subject.path.as_str(), board.as_ref());
    loop {
        let mut armed = match up.ask(arm_again(up, &subject, board)).await {
            Ok(Some((value, armed))) => {
                board.publish(value, up.epoch);
                armed
            }
            Ok(None) => {
                board.publish(None, up.epoch);
                return Over::Gone;
            }
            Err(fault) => return Over::Fault(fault),
        };
        loop {
            tokio::select! {
                // Cancel-safe, all three: they only wait.
                () = up.lost() => return Over::Fault(Fault::Lost),
                () = armed.fired() => break,
                () = sleep_until(up.rereads.next()) => {}
            }
            match up.ask(T::read(up, path)).await {
                Ok(value) if board.is_news(value.as_ref()) => {
                    if timeout(EVENT_LATE_MAX, armed.fired()).await.is_err() && up.holds() {
                        count(&up.session.counters.missed_events);
                        tracing::warn!(path, "znode changed and no watch told of it");
                    }
                    break;
                }
                Ok(value) => board.refresh(value, up.epoch),
                Err(fault) => return Over::Fault(fault),
            }
        }
    }
}

/// Arms a watch and reads. What most likely is there costs one request instead of two, and so does what was there when it was
/// seen last: a change of a target costs ZooKeeper half as many as there are hosts that follow it.
///
/// `None`: it is gone for good. A watch on what never comes back would stay with the server, and with us, until the session ends.
async fn arm_again<T: Watched>(
    up: &Up,
    Subject { path, presence }: &Subject,
    board: &Board<T>,
) -> Result<Option<(Option<T>, Armed)>, Fault> {
    if board.is_likely_there(*presence) {
        match T::arm_present(up, path).await? {
            Some((value, armed)) => return Ok(Some((Some(value), armed))),
            None if *presence == Presence::Once => return Ok(None),
            None => {}
        }
    }
    T::arm(up, path).await.map(Some)
}

/// Where a watch shows what it saw.
#[derive(Debug)]
pub(crate) struct Board<T> {
    seen: watch::Sender<Seen<T>>,
    ringer: Ringer,
}

impl<T> Board<T> {
    pub(crate) fn new(seen: watch::Sender<Seen<T>>, ringer: Ringer) -> Board<T> {
        Board { seen, ringer }
    }

    /// Shows what was read.
    fn publish(&self, value: Option<T>, epoch: u64) {
        self.seen.send_replace(Seen::read(value, epoch));
        self.ringer.ring();
    }

    /// Like [`Board::publish`], but wakes nobody.
    fn refresh(&self, value: Option<T>, epoch: u64) {
        self.seen.send_if_modified(|seen| {
            *seen = Seen::read(value, epoch);
            false
        });
    }

    /// Shows that it may not be read. The view stays: that does not mean that it is absent. It is tried again and again,
    /// and the same refusal is no news.
    pub(crate) fn refuse(&self, error: Error) {
        let is_news = self.seen.send_if_modified(|seen| {
            let before = seen.refused.replace(error);
            before != seen.refused
        });
        if is_news {
            self.ringer.ring();
        }
    }

    fn is_likely_there(&self, beforehand: Presence) -> bool {
        let seen = self.seen.borrow();
        let is_there = match seen.view {
            View::Unknown => beforehand != Presence::Open,
            View::Absent => false,
            View::Present(_) => true,
        };
        // What is refused is tried again for as long as it is, and each time would leave half a watch in the client (H14).
        is_there && seen.refused.is_none()
    }
}

impl<T: Watched> Board<T> {
    /// Tells whether a watch would have fired between what it shows and what was read.
    fn is_news(&self, value: Option<&T>) -> bool {
        match (&self.seen.borrow().view, value) {
            (View::Present(before), Some(now)) => before.differs(now),
            (View::Absent, None) => false,
            _ => true,
        }
    }
}
