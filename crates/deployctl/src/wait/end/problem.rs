//! A wait that did not end well: what is said of it, and what to do about it.

use std::time::Duration;

use deploy_core::name::HostName;
use deploy_core::rollout::judge::Goal;
use deploy_core::rollout::{Host, Standing};
use deploy_core::wire::report::Phase;
use deploy_core::wire::target::Previous;
use serde_json::{Value, json};

use super::super::{Rollout, lines};
use super::{End, watch_again};
use crate::exit::Exit;
use crate::problem::Problem;
use crate::text::{self, clean};

/// Lines of a host's output that are shown.
const LOG_LINES_MAX: usize = 5;
/// Failed hosts that are shown with their output.
pub(crate) const FAILED_SHOWN_MAX: usize = 3;

impl End {
    /// A host failed.
    pub(super) fn failure(&self, rollout: &Rollout) -> Problem {
        let failed: Vec<_> = self.failed().collect();
        let names = text::list(failed.iter().map(|(name, _)| name.as_str()), 10);
        let service = &rollout.service;
        let mut problem = Problem::new(
            Exit::Failed,
            format!(
                "rollout {} of {service} failed on {names}",
                rollout.shown_number()
            ),
        );
        for (name, host) in failed.iter().take(FAILED_SHOWN_MAX) {
            problem = problem.facts(failure_lines(name, host));
        }
        if let Some(to) = &rollout.to {
            problem = problem.fact(format!(
                "{} of {} are at {to}",
                self.tally.there,
                self.hosts()
            ));
        }
        let first = failed.first().map_or("HOST", |(name, _)| name.as_str());
        problem
            .tip(self.way_back(rollout))
            .tip(format!("look, and try again: deployctl host show {first} {service}; deployctl host retry {first} {service}"))
    }

    /// While a canary is under way, `rollback` would take that away, and leave the fleet alone.
    fn way_back(&self, rollout: &Rollout) -> String {
        let service = &rollout.service;
        let targets = self.seen.as_ref().map(|(sight, _)| &sight.state.targets);
        let beside =
            targets.and_then(|targets| Some((targets.enabled.as_ref()?, targets.canary.as_ref()?)));
        let of_fleet = beside.filter(|(enabled, canary)| {
            enabled.rollout == rollout.number && canary.rollout != rollout.number
        });
        let Some((enabled, canary)) = of_fleet else {
            return format!("back to the last good build: deployctl rollback {service}");
        };
        let canary = &canary.build;
        match &enabled.previous {
            Some(Previous { build, .. }) => format!(
                "back to the build before, the canary {canary} stays: deployctl deploy {service} {build}"
            ),
            None => format!(
                "to another build, the canary {canary} stays: deployctl deploy {service} BUILD"
            ),
        }
    }

    /// It took too long.
    pub(super) fn timed_out(&self, rollout: &Rollout, limit: Duration) -> Problem {
        let rest = lines::rest(&self.tally);
        let rest = if rest.is_empty() {
            String::new()
        } else {
            format!("; {rest}")
        };
        let stands = match self.tally.total {
            0 => "has no host any more that follows it".to_owned(),
            _ => format!(
                "is still running ({} of {} there{rest})",
                self.tally.there,
                self.hosts()
            ),
        };
        let what = format!(
            "gave up waiting after {}; rollout {} of {} {stands}",
            text::seconds(limit.as_secs()),
            rollout.shown_number(),
            rollout.service,
        );
        let blocked = self.with(Standing::Blocked).map(|(name, host)| {
            let error = host
                .report
                .as_ref()
                .and_then(|report| report.error.as_ref());
            format!(
                "{name} is blocked: {}",
                clean(error.map_or("", |error| &error.message))
            )
        });
        let unreadable = self.with(Standing::Unseen).filter_map(|(name, host)| {
            let why = host.unreadable.as_ref()?;
            Some(format!("{name} is not seen: {}", clean(why)))
        });
        let unreadable: Vec<String> = unreadable.take(FAILED_SHOWN_MAX).collect();
        let hold = self
            .seen
            .as_ref()
            .and_then(|(sight, _)| sight.hold.as_ref());
        let mut problem = Problem::new(Exit::TimedOut, what)
            .facts(blocked.take(FAILED_SHOWN_MAX))
            .facts(unreadable);
        if let Some(hold) = hold {
            let (by, why) = (
                text::by(hold.by.as_deref()),
                text::because(hold.why.as_deref()),
            );
            problem = problem
                .fact(format!("{} is held{by}{why}", rollout.service))
                .tip(format!("deployctl unhold {}", rollout.service));
        }
        problem.tip(match &rollout.goal {
            Goal::Retried { .. } => watch_again(rollout),
            _ => format!("{} --timeout 30m", watch_again(rollout)),
        })
    }
}

/// Returns what a host says about its failure, with its last lines of output.
pub(crate) fn failure_lines(name: &HostName, host: &Host) -> Vec<String> {
    let Some(report) = &host.report else {
        return Vec::new();
    };
    let Some(error) = &report.error else {
        return vec![format!("{name}: no reason is told")];
    };
    let mut shown = vec![format!(
        "{name}: {}: {}",
        clean(&error.step),
        clean(&error.message)
    )];
    let skipped = error.log.len().saturating_sub(LOG_LINES_MAX);
    shown.extend(
        error
            .log
            .iter()
            .skip(skipped)
            .map(|line| format!("  | {}", clean(line))),
    );
    match (&report.phase, &report.serving) {
        (Phase::RollingBack, _) => shown.push(format!(
            "{name} is not back in service; it goes on trying to get there"
        )),
        (_, Some(serving)) => shown.push(format!("{name} serves {serving}")),
        (_, None) => {}
    }
    shown
}

/// The same, as an object.
pub(super) fn failed_json(name: &HostName, host: &Host) -> Value {
    let report = host.report.as_ref();
    let error = report.and_then(|report| report.error.as_ref());
    json!({
        "host": name, "serving": report.and_then(|report| report.serving.as_ref()),
        "step": error.map(|error| &error.step), "message": error.map(|error| &error.message),
        "log": error.map_or(&[][..], |error| &error.log),
    })
}

/// It took too long, and nobody could look.
pub(super) fn lost_sight(rollout: &Rollout, limit: Duration) -> Problem {
    Problem::unreachable(format!(
        "gave up waiting after {}: the connection to ZooKeeper is lost",
        text::seconds(limit.as_secs())
    ))
    .fact(format!(
        "this says nothing about rollout {} of {}",
        rollout.shown_number(),
        rollout.service
    ))
    .tip(watch_again(rollout))
}
