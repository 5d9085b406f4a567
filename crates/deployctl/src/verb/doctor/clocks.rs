//! The clocks, by what is written anyway.
//!
//! A report carries the host's time of when it looked at itself, and ZooKeeper's time of when that
//! was written. A report that is written later than usual, as after an outage, looks like a clock
//! that is behind; nothing looks like one that is ahead. Our own clock is compared with the newest
//! write there is: that it is behind is seen at once, that it is ahead only by how old everything is.

use deploy_core::wire::time;
use jiff::Timestamp;

use super::finding::Finding;
use super::hosts::{Services, all};
use super::survey::Survey;
use crate::text;

/// Stored times are cut to whole seconds.
const AHEAD_MS_MAX: i64 = 1500;
/// A report may wait a second for the one before it, and more on a slow network.
const BEHIND_MS_MAX: i64 = 5000;

/// Compares the clocks of hosts, and ours, with ZooKeeper's.
pub(super) fn check(survey: &Survey, services: &Services, now: Timestamp) -> Finding {
    const CHECK: &str = "clocks";
    let mut off = Vec::new();
    let mut compared = 0;
    for (name, host) in all(services).filter(|(_, host)| host.alive.is_some()) {
        let Some((report, stat)) = &host.report else {
            continue;
        };
        let Some(at) = report.at.as_deref().and_then(time::parse) else {
            continue;
        };
        compared += 1;
        let ahead_ms = at.as_millisecond() - stat.mtime_ms;
        if ahead_ms > AHEAD_MS_MAX {
            off.push(format!("{name}: {} ahead of ZooKeeper's", span(ahead_ms)));
        } else if -ahead_ms > BEHIND_MS_MAX {
            off.push(format!(
                "{name}: {} behind ZooKeeper's, or its last report was that late",
                span(-ahead_ms)
            ));
        }
    }
    let newest = survey
        .znodes
        .iter()
        .filter_map(|found| Some(found.znode.as_ref()?.stat.mtime_ms))
        .max();
    let age_ms = newest.map(|newest| now.as_millisecond() - newest);
    if let Some(age_ms) = age_ms.filter(|age| -age > AHEAD_MS_MAX) {
        off.insert(
            0,
            format!("this machine: {} behind ZooKeeper's", span(-age_ms)),
        );
    }
    if !off.is_empty() {
        let what = format!(
            "{} off; holds end and times are shown by them",
            text::count(off.len(), "clock")
        );
        return Finding::warn(CHECK, what)
            .facts(off)
            .tip("timedatectl, there; ZooKeeper's own may be the wrong one if all are off");
    }
    let ours = match age_ms {
        Some(age_ms) => format!(
            "ours is not behind, and at most {} ahead",
            span(age_ms.max(1000))
        ),
        None => "ours can't be compared: nothing was written yet".to_owned(),
    };
    match compared {
        0 => Finding::ok(CHECK, ours),
        hosts => Finding::ok(
            CHECK,
            format!("{} on ZooKeeper's time; {ours}", text::count(hosts, "host")),
        ),
    }
}

fn span(ms: i64) -> String {
    text::seconds(ms.unsigned_abs().div_ceil(1000))
}
