//! Tells ZooKeeper, and `deployd status`, what the host is.
//!
//! A change of phase at once, progress at most once a second, only the newest, and again when
//! ZooKeeper is back. Never in the way of a deployment.

use std::path::PathBuf;
use std::time::Duration;

use deploy_core::wire::{self, report::Report};
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
    /// The file for `deployd status`.
    pub(crate) file: PathBuf,
}

/// How often a report is written though nothing has changed: somebody may have deleted it, and its
/// time tells that this host still looks at itself.
const AGAIN_TIME: Duration = Duration::from_secs(300);

/// How long after a write of ours one that somebody else has written is replaced: two hosts of one
/// name must not hammer ZooKeeper.
const MEND_TIME: Duration = Duration::from_secs(5);

/// Publishes what comes until the sender is dropped.
pub(crate) async fn publish(zk: Zk, places: Places, mut reports: watch::Receiver<Option<Report>>) {
    let mut published: Option<(Report, Instant)> = None;
    let mut written: Option<Report> = None;
    let mut own = zk.watch_present(&places.znode);
    loop {
        let seen = own.borrow_and_update().clone();
        let mut mend_at = None;
        match (&seen.view, &published) {
            // Somebody has deleted it.
            (View::Absent, _) => published = None,
            (View::Present(znode), Some((report, at)))
                if is_of_others(znode, (&seen, report, *at)) =>
            {
                mend_at = Some(*at + MEND_TIME).filter(|at| *at > Instant::now());
                if mend_at.is_none() {
                    tracing::warn!(znode = %places.znode, "somebody else has written our report; is there another host of this name?");
                    published = None;
                }
            }
            _ => {}
        }
        let now = reports.borrow_and_update().clone();
        if let Some(report) = now.as_ref().filter(|now| written.as_ref() != Some(now)) {
            write_file(&places, report);
            written.clone_from(&now);
        }
        if let Some(report) = &now
            && is_due(published.as_ref(), report)
        {
            published = match write(&zk, &places.znode, report).await {
                Ok(()) => Some((report.clone(), Instant::now())),
                Err(error) => {
                    tracing::debug!(znode = %places.znode, %error, "the report waits");
                    None
                }
            };
        }
        if !changes(
            &zk,
            (&mut reports, &mut own),
            due(published.as_ref(), now.as_ref(), mend_at),
        )
        .await
        {
            break;
        }
    }
    let Some(last) = reports.borrow().clone() else {
        return;
    };
    write_file(&places, &last);
    let _ = timeout(LAST_TIME, write(&zk, &places.znode, &last)).await;
}

fn is_due(published: Option<&(Report, Instant)>, report: &Report) -> bool {
    let Some((last, at)) = published else {
        return true;
    };
    match difference(last, report) {
        Difference::Phase => true,
        Difference::Progress => at.elapsed() >= PROGRESS_TIME,
        Difference::Time => at.elapsed() >= AGAIN_TIME,
    }
}

/// Tells whether a report that was read after we had written ours is another.
fn is_of_others(znode: &Znode, (seen, report, at): (&Seen<Znode>, &Report, Instant)) -> bool {
    let read_after = seen.at.is_some_and(|read| read > at.into_std());
    read_after && znode.data != wire::encode(report)
}

/// When there is something to publish though nothing changes.
fn due(
    published: Option<&(Report, Instant)>,
    now: Option<&Report>,
    mend_at: Option<Instant>,
) -> Instant {
    let due = match (published, now) {
        (Some((last, at)), Some(now)) => match difference(last, now) {
            Difference::Phase | Difference::Progress => *at + PROGRESS_TIME,
            Difference::Time => *at + AGAIN_TIME.mul_f64(0.75 + fastrand::f64() / 2.0),
        },
        // It could not be written: when the link is back, or after a while.
        (None, Some(_)) => Instant::now() + PROGRESS_TIME * 5,
        (_, None) => Instant::now() + AGAIN_TIME,
    };
    mend_at.map_or(due, |at| at.min(due))
}

/// Waits until there may be something to publish; false when there will be nothing any more.
async fn changes(
    zk: &Zk,
    (reports, own): (
        &mut watch::Receiver<Option<Report>>,
        &mut watch::Receiver<Seen<Znode>>,
    ),
    due: Instant,
) -> bool {
    let mut link = zk.link();
    link.mark_unchanged();
    // Cancel-safe: they only wait for a version of a watch, or for a time.
    tokio::select! {
        changed = reports.changed() => changed.is_ok(),
        changed = own.changed() => changed.is_ok(),
        changed = link.changed() => changed.is_ok(),
        () = sleep_until(due) => true,
    }
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

fn write_file(places: &Places, report: &Report) {
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
