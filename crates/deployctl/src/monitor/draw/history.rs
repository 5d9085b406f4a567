//! What happened lately, in all services, newest first.

use deploy_core::name::ServiceName;
use deploy_core::rollout::phase::ServicePhase;
use deploy_core::wire::history::Entry;
use deploy_core::wire::time;
use ratatui::text::Line;

use super::paint::{Ink, Row};
use crate::monitor::model::Model;
use crate::text::{self, clean};

/// Returns the panel.
pub(super) fn lines(model: &Model, rows: usize) -> Vec<Line<'static>> {
    if rows == 0 {
        return Vec::new();
    }
    let columns = usize::from(model.size.0);
    let mut lines = vec![model.style.rule("RECENT", columns, Ink::Head)];
    let newest = newest(model);
    let longest = newest
        .iter()
        .take(rows)
        .map(|(name, ..)| name.as_str().len());
    let name = longest.max().unwrap_or(0).clamp(3, 12);
    for (service, number, entry) in newest.into_iter().take(rows - 1) {
        lines.push(row(model, (service, number, entry), name));
    }
    lines
}

fn newest(model: &Model) -> Vec<(&ServiceName, u64, &Entry)> {
    let entries = model.services.iter();
    let mut entries: Vec<(&ServiceName, u64, &Entry)> = entries
        .flat_map(|(name, view)| {
            let history = view.fleet.history.iter();
            history.map(move |(number, entry)| (name, *number, entry))
        })
        .collect();
    let moment = |entry: &Entry| entry.at.as_deref().and_then(time::parse);
    entries.sort_by_key(|(_, number, entry)| std::cmp::Reverse((moment(entry), *number)));
    entries
}

fn row(
    model: &Model,
    (service, number, entry): (&ServiceName, u64, &Entry),
    name: usize,
) -> Line<'static> {
    let columns = usize::from(model.size.0);
    let wide = columns >= 80;
    let (builds, ink) = (builds(entry, columns), ink(entry));
    let view = model.services.get(service).filter(|view| {
        let newest = view.rollout.as_ref();
        newest.is_some_and(|rollout| rollout.number == Some(number))
    });
    let phase = view.map(|view| view.phase(model.now));
    let when = text::ago(entry.at.as_deref(), model.now).unwrap_or_else(|| "-".to_owned());
    let mut row = Row::new(model.style)
        .text(" ", Ink::Plain)
        .cell(&format!("#{number}"), 5, Ink::Plain)
        .cell(service.as_str(), name, Ink::Plain)
        .cell(&clean(&entry.kind), 8, Ink::Plain)
        .cell(
            &builds,
            match columns {
                100.. => 20,
                80.. => 16,
                _ => 9,
            },
            Ink::Plain,
        );
    if wide {
        row = row.cell(&text::person(entry.by.as_deref()), 8, Ink::Plain);
    }
    row = row.right(&when, 10, Ink::Plain);
    let (result, why) = (result(entry, phase), text::because(entry.why.as_deref()));
    let room = columns.saturating_sub(row.width() + 1);
    let result = if why.is_empty() || room < result.len() + 8 {
        result
    } else {
        format!("{result}{}", why.replacen(": ", "  ", 1))
    };
    row.cell(&result, room, ink).line()
}

fn builds(entry: &Entry, columns: usize) -> String {
    match (&entry.from, &entry.to) {
        (Some(from), Some(to)) if from != to && columns >= 80 => format!("{from} -> {to}"),
        (_, Some(to)) => to.to_string(),
        (Some(from), None) => format!("{from} ->"),
        (None, None) => "-".to_owned(),
    }
}

/// `phase` is that of the service where this is its newest rollout.
fn result(entry: &Entry, phase: Option<ServicePhase>) -> String {
    match &entry.outcome {
        Some(outcome) => {
            let took = outcome.seconds.map(text::seconds);
            let took = took.map(|took| format!(" in {took}")).unwrap_or_default();
            format!("{}, {}{took}", clean(&outcome.result), outcome.hosts)
        }
        None if !entry.changes_targets() => String::new(),
        None => match phase.filter(|phase| *phase != ServicePhase::Done) {
            Some(phase) => format!("now {}", phase.as_str()),
            None => "no end seen".to_owned(),
        },
    }
}

fn ink(entry: &Entry) -> Ink {
    match entry
        .outcome
        .as_ref()
        .map(|outcome| outcome.result.as_str())
    {
        Some("failed") => Ink::Bad,
        Some("rolled back") => Ink::Warn,
        Some("done") => Ink::Good,
        _ => Ink::Faint,
    }
}
