//! Tells ZooKeeper, and `deployd status`, what the host is.
//!
//! A change of phase at once, progress at most once a second, the time of the last look each five minutes, only the
//! newest, and again when ZooKeeper is back. Never in the way of a deployment.

use std::future::pending;
use std::path::PathBuf;
use std::time::Duration;

use deploy_core::wire;
use deploy_core::wire::report::{Report, fit::fitted};
use deploy_zk::error::Error;
use deploy_zk::seen::{Seen, View};
use deploy_zk::zk::Zk;
use deploy_zk::znode::{Expect, Mode, Znode};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout};

use crate::host::files;

/// Between two writes that differ in progress only.
const PROGRESS_TIME: Duration = Duration::from_secs(1);
/// How long the last report may take when deployd ends.
const LAST_TIME: Duration = Duration::from_secs(3);

/// Where a report goes.
#[derive(Debug, Clone)]
pub(crate) struct Places {
    /// The znode.
    pub(crate) znode: String,
    /// The file for `deployd status` where no deployd runs, or none answers.
    pub(crate) file: PathBuf,
}

/// How often a report is written though nothing has changed: somebody may have deleted it, and its
/// time tells that this host still looks at itself.
const AGAIN_TIME: Duration = Duration::from_secs(300);

/// How long after a write of ours the znode is followed: what others do to it is mended then. In a rollout one report follows
/// the other, and to be told of each of one's own is a third of what a host costs ZooKeeper. And two hosts of one name must
/// not hammer it.
const REST_TIME: Duration = Duration::from_secs(5);

/// What ZooKeeper has of ours, as far as we know.
#[derive(Default)]
struct Published {
    /// What was written last, and when; none, where it is to be written again.
    last: Option<(Report, Instant)>,
    /// Followed since it came to rest.
    own: Option<watch::Receiver<Seen<Znode>>>,
}

/// Publishes what comes until the sender is dropped.
pub(crate) async fn publish(zk: Zk, places: Places, mut reports: watch::Receiver<Option<Report>>) {
    let mut published = Published::default();
    let mut written: Option<(Report, Instant)> = None;
    loop {
        if published.is_lost(&places) {
            published.last = None;
        }
        let now = reports.borrow_and_update().as_ref().map(fitted);
        if let Some(report) = &now
            && is_due(written.as_ref(), report)
        {
            write_file(&places, report);
            written = Some((report.clone(), Instant::now()));
        }
        if let Some(report) = &now
            && is_due(published.last.as_ref(), report)
        {
            // Dropped, it is done all the same, or not at all: the next one says it again.
            tokio::select! {
                written = Published::write(&zk, &places, report) => published = written,
                () = closed(&reports) => break,
            }
        }
        published.follow_at_rest(&zk, &places);
        let due = published.due(now.as_ref());
        if !changes(&zk, (&mut reports, published.own.as_mut()), due).await {
            break;
        }
    }
    let Some(last) = reports.borrow().as_ref().map(fitted) else {
        return;
    };
    write_file(&places, &last);
    let _ = timeout(LAST_TIME, write(&zk, &places.znode, &last)).await;
}

impl Published {
    async fn write(zk: &Zk, places: &Places, report: &Report) -> Published {
        let last = match write(zk, &places.znode, report).await {
            Ok(()) => Some((report.clone(), Instant::now())),
            Err(error) => {
                tracing::debug!(znode = %places.znode, %error, "the report waits");
                None
            }
        };
        Published { last, own: None }
    }

    fn follow_at_rest(&mut self, zk: &Zk, places: &Places) {
        let rests = |(_, at): &(Report, Instant)| at.elapsed() >= REST_TIME;
        if self.own.is_none() && self.last.as_ref().is_some_and(rests) {
            self.own = Some(zk.watch_present(&places.znode));
        }
    }

    /// Tells whether somebody has deleted it, or written over it.
    fn is_lost(&mut self, places: &Places) -> bool {
        let (Some(own), Some((report, _))) = (&mut self.own, &self.last) else {
            return false;
        };
        let is_of_others = match &own.borrow_and_update().view {
            View::Unknown => return false,
            View::Absent => return true,
            View::Present(znode) => znode.data != wire::encode(report),
        };
        if is_of_others {
            tracing::warn!(znode = %places.znode, "somebody else has written our report; is there another host of this name?");
        }
        is_of_others
    }

    /// When there is something to do though nothing changes.
    fn due(&self, now: Option<&Report>) -> Instant {
        let due = match (&self.last, now) {
            (Some((last, at)), Some(now)) => match difference(last, now) {
                Difference::Phase | Difference::Progress => *at + PROGRESS_TIME,
                // Later by a random time, so that a fleet that began together does not go on so.
                Difference::Time => *at + AGAIN_TIME.mul_f64(1.0 + fastrand::f64() / 4.0),
            },
            // It could not be written: when the link is back, or after a while.
            (None, Some(_)) => Instant::now() + PROGRESS_TIME * 5,
            (_, None) => Instant::now() + AGAIN_TIME,
        };
        match &self.last {
            Some((_, at)) if self.own.is_none() => due.min(*at + REST_TIME),
            _ => due,
        }
    }
}

fn is_due(written: Option<&(Report, Instant)>, report: &Report) -> bool {
    let Some((last, at)) = written else {
        return true;
    };
    match difference(last, report) {
        Difference::Phase => true,
        Difference::Progress => at.elapsed() >= PROGRESS_TIME,
        Difference::Time => at.elapsed() >= AGAIN_TIME,
    }
}

/// Waits until there may be something to publish; false when there will be nothing any more.
async fn changes(
    zk: &Zk,
    (reports, own): (
        &mut watch::Receiver<Option<Report>>,
        Option<&mut watch::Receiver<Seen<Znode>>>,
    ),
    due: Instant,
) -> bool {
    let mut link = zk.link();
    link.mark_unchanged();
    let own = async {
        match own {
            Some(own) => own.changed().await,
            None => pending().await,
        }
    };
    // Cancel-safe: they only wait for a version of a watch, or for a time.
    tokio::select! {
        changed = reports.changed() => changed.is_ok(),
        changed = own => changed.is_ok(),
        changed = link.changed() => changed.is_ok(),
        () = sleep_until(due) => true,
    }
}

/// Completes when nothing will be published any more. Cancel-safe.
async fn closed(reports: &watch::Receiver<Option<Report>>) {
    // It is an error when the sender is dropped, and nothing else.
    let _ = reports.clone().wait_for(|_| false).await;
}

/// In what two reports differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Difference {
    /// In what matters at once.
    Phase,
    /// In how far a step is.
    Progress,
    /// In the time, and the room on the disk.
    Time,
}

fn difference(last: &Report, now: &Report) -> Difference {
    let timeless = |report: &Report| Report {
        at: None,
        disk_free: None,
        ..report.clone()
    };
    let (last, now) = (timeless(last), timeless(now));
    if last == now {
        return Difference::Time;
    }
    let plain = |mut report: Report| {
        if let Some(step) = &mut report.step {
            step.done = None;
        }
        report
            .instances
            .iter_mut()
            .for_each(|instance| instance.connections = None);
        report
    };
    if plain(last) == plain(now) {
        Difference::Progress
    } else {
        Difference::Phase
    }
}

/// Keeps a report for `deployd status`.
pub(crate) fn write_file(places: &Places, report: &Report) {
    if let Err(error) = files::swap(&places.file, &wire::encode(report)) {
        tracing::warn!(path = %places.file.display(), %error, "the status file can't be written");
    }
}

async fn write(zk: &Zk, znode: &str, report: &Report) -> Result<(), Error> {
    let data = wire::encode(report);
    match zk.set(znode, &data, Expect::Any).await {
        Ok(_) => Ok(()),
        Err(Error::NoNode(_)) => {
            zk.create_parents(znode).await?;
            match zk.create(znode, &data, Mode::Persistent).await {
                Err(Error::NodeExists(_)) => zk.set(znode, &data, Expect::Any).await.map(|_| ()),
                other => other,
            }
        }
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests;
