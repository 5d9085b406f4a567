//! Tells ZooKeeper, and `deployd status`, what the host is.
//!
//! A change of phase at once, progress at most once a second, only the newest, and again when
//! ZooKeeper is back. Never in the way of a deployment.

use std::path::PathBuf;
use std::time::Duration;

use deploy_core::wire::{self, report::Report};
use deploy_zk::error::Error;
use deploy_zk::zk::Zk;
use deploy_zk::znode::{Expect, Mode};
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

/// Publishes what comes until the sender is dropped.
pub(crate) async fn publish(zk: Zk, places: Places, mut reports: watch::Receiver<Option<Report>>) {
    let mut published: Option<Report> = None;
    let mut next = Instant::now();
    let mut link = zk.link();
    while reports.changed().await.is_ok() {
        let Some(report) = reports.borrow_and_update().clone() else {
            continue;
        };
        let urgent = published
            .as_ref()
            .is_none_or(|last| is_urgent(last, &report));
        if !urgent && Instant::now() < next {
            // Cancel-safe: nothing is lost, the newest report is looked at again.
            tokio::select! {
                () = sleep_until(next) => {}
                changed = reports.changed() => if changed.is_err() { break },
            }
            reports.mark_changed();
            continue;
        }
        write_file(&places, &report);
        while let Err(error) = write(&zk, &places.znode, &report).await {
            tracing::debug!(znode = %places.znode, %error, "the report waits");
            // A newer report, or the link, or a while.
            tokio::select! {
                changed = reports.changed() => if changed.is_err() { return },
                changed = link.changed() => if changed.is_err() { return },
                () = sleep_until(Instant::now() + PROGRESS_TIME * 5) => {}
            }
            if reports.has_changed().unwrap_or(false) {
                break;
            }
        }
        published = Some(report);
        next = Instant::now() + PROGRESS_TIME;
    }
    let Some(last) = reports.borrow().clone() else {
        return;
    };
    write_file(&places, &last);
    let _ = timeout(LAST_TIME, write(&zk, &places.znode, &last)).await;
}

/// Everything but how far a step is, and the time.
fn is_urgent(last: &Report, now: &Report) -> bool {
    let plain = |report: &Report| {
        let mut report = report.clone();
        report.at = None;
        report.disk_free = None;
        if let Some(step) = &mut report.step {
            step.done = None;
        }
        report
            .instances
            .iter_mut()
            .for_each(|instance| instance.connections = None);
        report
    };
    plain(last) != plain(now)
}

fn write_file(places: &Places, report: &Report) {
    if let Err(error) = files::replace(&places.file, &wire::encode(report)) {
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
