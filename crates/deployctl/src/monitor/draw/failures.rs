//! What failed, with the last lines of output. Hosts that failed in the same way are one entry.

use deploy_core::name::HostName;
use deploy_core::rollout::Standing;
use deploy_core::wire::report::ErrorReport;
use ratatui::text::Line;

use super::paint::{Ink, Row, fit};
use crate::monitor::model::{Model, ServiceView};
use crate::text::{self, clean};

/// Lines of output that are shown of a failure, the last ones.
const LOG_LINES_MAX: usize = 5;
/// Failures that are told apart.
const FAILURES_MAX: usize = 5;
/// Hosts that are named in one.
const NAMES_MAX: usize = 3;

/// What failed in the same way.
struct Failure<'a> {
    standing: Standing,
    error: Option<&'a ErrorReport>,
    hosts: Vec<&'a HostName>,
}

/// Returns how many lines there are to show, the heading left out.
pub(crate) fn lines_wanted(view: &ServiceView, model: &Model) -> usize {
    if view.tally.failed + view.tally.blocked == 0 && elsewhere(model, view).is_none() {
        return 0;
    }
    let failures = failures(view);
    let lines = failures.iter().map(|failure| 1 + log(failure).len());
    lines.sum::<usize>().max(1)
}

/// Returns the panel.
pub(super) fn lines(model: &Model, rows: usize) -> Vec<Line<'static>> {
    let Some(view) = model.view().filter(|_| rows > 0) else {
        return Vec::new();
    };
    let columns = usize::from(model.size.0);
    let tally = &view.tally;
    let parts = [
        (tally.failed, "FAILED"),
        (tally.blocked, "BLOCKED"),
        (tally.offline.len(), "OFFLINE"),
    ];
    let parts: Vec<String> = parts
        .iter()
        .filter(|(number, _)| *number > 0)
        .map(|(number, word)| format!("{number} {word}"))
        .collect();
    let mut title = parts.join(", ");
    title.push_str(&kept(view));
    if let Some(elsewhere) = elsewhere(model, view) {
        let gap = if title.is_empty() { "" } else { "   " };
        title = format!("{title}{gap}{elsewhere}");
    }
    let mut lines = vec![model.style.rule(&title, columns, Ink::Bad)];
    let failures = failures(view);
    // Every failure has its line before any has its output.
    let mut left = rows.saturating_sub(1 + failures.len());
    for failure in &failures {
        let (mark, ink) = model.style.mark(failure.standing);
        let text = fit(model.style, &head(failure), columns.saturating_sub(4));
        lines.push(
            Row::new(model.style)
                .text(format!(" {} ", mark.trim_end()), ink)
                .text(text.trim_end().to_owned(), Ink::Plain)
                .line(),
        );
        let log = log(failure);
        let shown = log.len().min(left);
        left -= shown;
        for line in &log[log.len() - shown..] {
            let text = fit(model.style, &format!("  | {}", clean(line)), columns);
            lines.push(
                Row::new(model.style)
                    .text(text.trim_end().to_owned(), Ink::Faint)
                    .line(),
            );
        }
    }
    lines.truncate(rows);
    lines
}

/// A host that failed keeps its lease, and so does one that is offline: so a bad build stops by
/// itself.
fn kept(view: &ServiceView) -> String {
    let (Some(limit), Some(held)) = (view.fleet.lease_limit(), view.fleet.held_leases()) else {
        return String::new();
    };
    let stuck = held.iter().filter(|lease| {
        let mut standings = view.standings.iter();
        standings.any(|(name, standing)| {
            let is_stuck = matches!(standing, Standing::Failed | Standing::Offline);
            is_stuck && name.as_str() == lease.host
        })
    });
    match stuck.count() {
        0 => String::new(),
        kept if kept == limit => format!("   STOPPED: they keep {kept} of {limit} leases"),
        kept => format!("   they keep {kept} of {limit} leases"),
    }
}

/// Other services that failed, so that nobody looks at the wrong one.
fn elsewhere(model: &Model, view: &ServiceView) -> Option<String> {
    let others = model.services.values();
    let others = others.filter(|other| other.fleet.service != view.fleet.service);
    let failed: Vec<&str> = others
        .filter(|other| other.tally.failed > 0)
        .map(|other| other.fleet.service.as_str())
        .collect();
    (!failed.is_empty()).then(|| format!("also failed: {}", text::list(failed, NAMES_MAX)))
}

fn head(failure: &Failure<'_>) -> String {
    let names = text::list(failure.hosts.iter().map(|name| name.as_str()), NAMES_MAX);
    match failure.error {
        Some(error) => format!("{names}  {}: {}", clean(&error.step), clean(&error.message)),
        None => format!("{names}  no reason is told"),
    }
}

fn log<'a>(failure: &Failure<'a>) -> &'a [String] {
    let log = failure.error.map_or(&[][..], |error| &error.log);
    &log[log.len().saturating_sub(LOG_LINES_MAX)..]
}

/// The failed ones first, and what most hosts have.
fn failures(view: &ServiceView) -> Vec<Failure<'_>> {
    let mut failures: Vec<Failure<'_>> = Vec::new();
    let hosts = view.standings.iter();
    for (name, standing) in hosts.filter(|(_, s)| matches!(s, Standing::Failed | Standing::Blocked))
    {
        let report = view.fleet.state.hosts[name].report.as_ref();
        let error = report.and_then(|report| report.error.as_ref());
        let same = failures.iter().position(|failure| {
            failure.standing == *standing && reason(failure.error) == reason(error)
        });
        match same {
            Some(at) => failures[at].hosts.push(name),
            None if failures.len() < FAILURES_MAX => failures.push(Failure {
                standing: *standing,
                error,
                hosts: vec![name],
            }),
            None => {}
        }
    }
    failures.sort_by_key(|failure| (failure.standing, std::cmp::Reverse(failure.hosts.len())));
    failures
}

/// The output may differ, as by the time in it.
fn reason(error: Option<&ErrorReport>) -> Option<(&str, &str)> {
    error.map(|error| (error.step.as_str(), error.message.as_str()))
}
