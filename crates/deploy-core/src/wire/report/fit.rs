//! Shortens a report to what a znode may have: a larger one is not read by anybody.
//!
//! What says least goes first, and what is odd stays longest. What is left is as it was.

use serde::Serialize;

use super::{InstanceReport, Report};
use crate::name::BuildName;
use crate::wire::{ZNODE_BYTES_MAX, encode};

/// What is left out, in this order, as long as the report is too large: so many bytes.
const SHORTENINGS: [fn(&mut Report, usize); 5] =
    [log, releases, instances_at_rest, other_instances, message];

/// Returns a report that has at most [`ZNODE_BYTES_MAX`] bytes: the same one, where it has no more.
pub fn fitted(report: &Report) -> Report {
    let mut report = report.clone();
    for shorten in SHORTENINGS {
        match encode(&report).len().saturating_sub(ZNODE_BYTES_MAX) {
            0 => break,
            excess => shorten(&mut report, excess),
        }
    }
    report
}

/// The first lines of output: the last ones say why.
fn log(report: &mut Report, excess: usize) {
    let Some(error) = &mut report.error else {
        return;
    };
    error.log.reverse();
    leave_out(&mut error.log, excess, |_| true);
    error.log.reverse();
}

/// Releases that nothing runs and nobody wants, those used longest ago first.
fn releases(report: &mut Report, excess: usize) {
    let named = [
        &report.target,
        &report.current,
        &report.serving,
        &report.previous,
    ];
    let run = report.instances.iter().map(|instance| &instance.build);
    let matter: Vec<BuildName> = named.into_iter().chain(run).flatten().cloned().collect();
    leave_out(&mut report.releases, excess, |build| {
        !matter.contains(build)
    });
}

/// Instances that serve the target, the last ones first.
fn instances_at_rest(report: &mut Report, excess: usize) {
    let target = report.target.clone();
    let rests = |instance: &InstanceReport| {
        instance.state == "serving" && instance.build.is_some() && instance.build == target
    };
    leave_out(&mut report.instances, excess, rests);
}

/// More than a znode may have are odd: the first ones say enough.
fn other_instances(report: &mut Report, excess: usize) {
    leave_out(&mut report.instances, excess, |_| true);
}

fn message(report: &mut Report, excess: usize) {
    const MORE: char = '…';
    let Some(error) = &mut report.error else {
        return;
    };
    let mut left = excess + MORE.len_utf8();
    while left > 0
        && let Some(last) = error.message.pop()
    {
        left = left.saturating_sub(bytes(&last) - "\"\"".len());
    }
    error.message.push(MORE);
}

/// Leaves out items that may go, the last ones first, until `excess` bytes are gone or none is left.
fn leave_out<T: Serialize>(items: &mut Vec<T>, excess: usize, may_go: impl Fn(&T) -> bool) {
    let (mut left, mut at) = (excess, items.len());
    while left > 0 && at > 0 {
        at -= 1;
        if may_go(&items[at]) {
            left = left.saturating_sub(bytes(&items.remove(at)) + ",".len());
        }
    }
}

fn bytes<T: Serialize>(value: &T) -> usize {
    serde_json::to_vec(value).map_or(0, |data| data.len())
}

#[cfg(test)]
mod tests;
