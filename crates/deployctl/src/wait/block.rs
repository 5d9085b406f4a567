//! The block that redraws on a terminal: the same events as lines, drawn as they stand.
//!
//! [`Block::update`] and [`Block::draw`] are pure; `screen` writes what they make.

use std::collections::BTreeMap;

use deploy_core::name::HostName;
use deploy_core::rollout::Standing;
use deploy_core::wire::hold::Hold;
use jiff::Timestamp;

use super::event::{Event, HostEvent, Tally};
use super::{Rollout, lines};
use crate::out::{Out, Tone};
use crate::text::{self, clean};

/// Characters of a bar, without its brackets.
const BAR_CHARS: u64 = 14;
/// Lines that are no hosts: the head, a hold or a lost link, what is folded, the sum.
const OTHER_LINES: usize = 5;
/// Rows of hosts, however large the terminal is: the head must stay in sight.
const ROWS_MAX: usize = 24;

/// What was told so far.
#[derive(Debug, Default)]
pub(crate) struct Block {
    hosts: BTreeMap<HostName, Row>,
    tally: Tally,
    hold: Option<Hold>,
    /// Since when there is no link.
    lost: Option<Timestamp>,
    begun: Option<Timestamp>,
}

#[derive(Debug)]
struct Row {
    event: HostEvent,
    since: Timestamp,
}

/// The room that there is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Room {
    pub(crate) columns: usize,
    pub(crate) rows: usize,
}

impl Block {
    /// Takes in what happened.
    pub(crate) fn update(&mut self, event: &Event, now: Timestamp) {
        self.begun.get_or_insert(now);
        match event {
            Event::Start(tally) | Event::Progress(tally) => self.tally = tally.clone(),
            Event::Host(event) => {
                self.tally = event.tally.clone();
                let before = self.hosts.get(&event.host);
                let is_same = before.is_some_and(|row| row.event.standing == event.standing);
                let since = before.filter(|_| is_same).map_or(now, |row| row.since);
                let event = HostEvent::clone(event);
                self.hosts.insert(event.host.clone(), Row { event, since });
            }
            Event::Held(hold) => self.hold = Some(hold.clone()),
            Event::Released => self.hold = None,
            Event::LinkLost => self.lost = Some(now),
            Event::LinkBack => self.lost = None,
        }
    }

    /// Draws it: as many lines as fit, none of them wider than the room.
    pub(crate) fn draw(
        &self,
        rollout: &Rollout,
        room: Room,
        (out, now): (&Out, Timestamp),
    ) -> Vec<String> {
        let mut drawn = vec![cut(&head(rollout), room.columns)];
        if let Some(hold) = &self.hold {
            let (by, why) = (
                text::by(hold.by.as_deref()),
                text::because(hold.why.as_deref()),
            );
            let held = format!("held{by}{why}: nothing new starts");
            drawn.push(out.paint(&cut(&held, room.columns), Tone::Warn));
        }
        if let Some(lost) = self.lost {
            let age = text::duration(now.duration_since(lost));
            let lost = format!("ZooKeeper is lost for {age}; the rollout goes on, this was before");
            drawn.push(out.paint(&cut(&lost, room.columns), Tone::Warn));
        }
        let most = room.rows.saturating_sub(OTHER_LINES).clamp(1, ROWS_MAX);
        let (rows, folded) = self.rows(most);
        let width = rows.iter().map(|row| row.event.host.as_str().len()).max();
        for row in rows {
            drawn.push(line(row, (width.unwrap_or(0), room.columns), (out, now)));
        }
        if !folded.is_empty() {
            drawn.push(cut(&more(&folded), room.columns));
        }
        drawn.push(cut(&self.sum(now), room.columns));
        drawn
    }

    /// Returns the rows that fit, and the others: in the order of names where all do, else what needs
    /// eyes first.
    fn rows(&self, most: usize) -> (Vec<&Row>, Vec<&Row>) {
        let mut rows: Vec<&Row> = self.hosts.values().collect();
        if rows.len() <= most {
            return (rows, Vec::new());
        }
        rows.sort_by_key(|row| row.event.standing.urgency());
        let folded = rows.split_off(most);
        (rows, folded)
    }

    fn sum(&self, now: Timestamp) -> String {
        let rest = match lines::rest(&self.tally) {
            rest if rest.is_empty() => rest,
            rest => format!(", {rest}"),
        };
        let took = self.begun.map_or_else(String::new, |begun| {
            format!("; {}", text::duration(now.duration_since(begun)))
        });
        let share = lines::share(&self.tally);
        format!("{share} there{rest}{took}; Ctrl-C detaches, the rollout goes on")
    }
}

fn head(rollout: &Rollout) -> String {
    let why = rollout.why.as_deref();
    let why = why.map_or_else(String::new, |why| format!(" \"{}\"", clean(why)));
    format!(
        "{} {}  {} {}{}{why}",
        rollout.service,
        rollout.shown_builds(),
        rollout.shown_kind(),
        rollout.shown_number(),
        text::by(rollout.by.as_deref()),
    )
}

/// Returns `37 more: 35 serving, 2 waiting`.
fn more(folded: &[&Row]) -> String {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for row in folded {
        *counts.entry(row.event.standing.as_str()).or_default() += 1;
    }
    let parts: Vec<String> = counts
        .iter()
        .map(|(word, number)| format!("{number} {word}"))
        .collect();
    format!("  +  {} more: {}", folded.len(), parts.join(", "))
}

fn line(row: &Row, (width, columns): (usize, usize), (out, now): (&Out, Timestamp)) -> String {
    let event = &row.event;
    let tone = match event.standing {
        Standing::Done | Standing::Staged => Tone::Good,
        Standing::Working | Standing::Waiting | Standing::Unseen | Standing::Idle => Tone::Dim,
        Standing::Failed => Tone::Bad,
        Standing::Blocked | Standing::Offline => Tone::Warn,
    };
    let (all, serving) = event.instances;
    let instances = match all {
        0 => String::new(),
        _ => format!("{serving}/{all}"),
    };
    let since = text::duration(now.duration_since(row.since));
    let rest = format!(
        "{:<width$}  {:<12} {instances:>5}  {since:>6}  {}",
        event.host.as_str(),
        word(event),
        detail(event)
    );
    // The mark is painted last: colours have no width.
    let rest = cut(rest.trim_end(), columns.saturating_sub(5));
    format!("  {} {rest}", out.paint(text::mark(event.standing), tone))
}

fn word(event: &HostEvent) -> String {
    match (event.standing, &event.phase) {
        (Standing::Working | Standing::Waiting, Some(phase)) => clean(phase),
        (Standing::Failed, _) => "FAILED".to_owned(),
        (standing, _) => standing.as_str().to_owned(),
    }
}

fn detail(event: &HostEvent) -> String {
    let error = event.error.as_ref();
    match event.standing {
        Standing::Failed | Standing::Blocked => error.map_or_else(String::new, |error| {
            format!("{}: {}", clean(&error.step), clean(&error.message))
        }),
        Standing::Offline => "its agent is gone".to_owned(),
        Standing::Done => event
            .serving
            .as_ref()
            .map_or_else(String::new, ToString::to_string),
        Standing::Working | Standing::Waiting => {
            let Some(step) = &event.step else {
                return String::new();
            };
            let bar = match (step.done, step.total) {
                (Some(done), Some(total)) if total > 0 => format!("{} ", bar(done, total)),
                _ => String::new(),
            };
            format!("{bar}{}", lines::step(step))
        }
        Standing::Unseen => clean(event.unreadable.as_deref().unwrap_or_default()),
        Standing::Staged | Standing::Idle => String::new(),
    }
}

fn bar(done: u64, total: u64) -> String {
    let full = u128::from(done.min(total)) * u128::from(BAR_CHARS) / u128::from(total);
    let full = usize::try_from(full).unwrap_or_default();
    let rest = BAR_CHARS as usize - full;
    format!("[{}{}]", "#".repeat(full), ".".repeat(rest))
}

fn cut(line: &str, columns: usize) -> String {
    if line.chars().count() <= columns {
        return line.to_owned();
    }
    let mut cut: String = line.chars().take(columns.saturating_sub(1)).collect();
    cut.push('>');
    cut
}

#[cfg(test)]
mod tests;
