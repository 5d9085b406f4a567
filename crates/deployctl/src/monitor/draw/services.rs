//! The services, a row each.

use deploy_core::name::ServiceName;
use deploy_core::percent::Percent;
use deploy_core::rollout::phase::ServicePhase;
use ratatui::text::Line;

use super::paint::{Ink, Row};
use crate::monitor::model::{Model, Pane, ServiceView};
use crate::monitor::order;
use crate::monitor::source::LinkSeen;
use crate::text;
use crate::text::clean;

/// The widths of the columns; 0 leaves one out.
struct Widths {
    name: usize,
    phase: usize,
    build: usize,
    bar: usize,
    note: usize,
}

impl Widths {
    fn of(model: &Model) -> Widths {
        let columns = usize::from(model.size.0);
        let (phase, build, bar) = match columns {
            100.. => (16, 20, 12),
            80.. => (15, 18, 10),
            _ => (14, 15, 0),
        };
        let longest = model.services.keys().chain(model.refused.keys());
        let longest = longest.map(|name| name.as_str().len()).max().unwrap_or(0);
        let name = longest.clamp(7, if columns >= 100 { 16 } else { 10 });
        // Cursor, gaps, `12/2000`, percent and leases.
        let used = 1 + name + phase + build + bar + 9 + 5 + 5 + 7;
        Widths {
            name,
            phase,
            build,
            bar,
            note: if columns >= 100 {
                columns.saturating_sub(used)
            } else {
                0
            },
        }
    }
}

/// Returns the panel.
pub(super) fn lines(model: &Model, rows: usize) -> Vec<Line<'static>> {
    let widths = Widths::of(model);
    let mut lines = vec![heading(model, &widths)];
    let rows = rows.saturating_sub(1);
    let names = order::services(model, rows);
    if names.is_empty() {
        let none = match model.link {
            LinkSeen::Current => {
                " no service yet: deployctl build add SERVICE BUILD --url URL --file PATH"
            }
            LinkSeen::Reading | LinkSeen::Down => " reading...",
        };
        lines.push(Row::new(model.style).text(none, Ink::Faint).line());
        return lines;
    }
    let cursor = names
        .iter()
        .position(|name| Some(*name) == model.chosen.as_ref());
    let room = if names.len() > rows {
        rows.saturating_sub(1).max(1)
    } else {
        rows
    };
    let window = order::window(names.len(), cursor, room);
    let hidden: Vec<&ServiceName> = [&names[..window.start], &names[window.end..]].concat();
    for name in &names[window] {
        lines.push(match model.services.get(*name) {
            Some(view) => row(model, view, &widths),
            None => refused(model, name, &widths),
        });
    }
    if !hidden.is_empty() && rows > 1 {
        lines.push(rest(model, &hidden));
    }
    lines
}

fn heading(model: &Model, widths: &Widths) -> Line<'static> {
    let row = Row::new(model.style)
        .text(" ", Ink::Head)
        .cell("SERVICE", widths.name, Ink::Head)
        .cell("PHASE", widths.phase, Ink::Head)
        .cell("BUILD", widths.build, Ink::Head)
        .right("THERE", 9, Ink::Head);
    let row = match widths.bar {
        0 => row,
        bar => row.cell("ROLLOUT", bar + 5, Ink::Head),
    };
    let row = row.cell("LEASES", 6, Ink::Head);
    let row = if widths.note > 0 {
        row.text("NOTE", Ink::Head)
    } else {
        row
    };
    row.line()
}

fn row(model: &Model, view: &ServiceView, widths: &Widths) -> Line<'static> {
    let is_chosen = model.chosen.as_ref() == Some(&view.fleet.service);
    let (phase, ink) = phase(model, view);
    let (there, total) = (view.tally.there, view.tally.total);
    let row = Row::new(model.style)
        .text(if is_chosen { ">" } else { " " }, Ink::Head)
        .cell(view.fleet.service.as_str(), widths.name, Ink::Plain)
        .cell(&phase, widths.phase, ink)
        .cell(&builds(view, widths.build), widths.build, Ink::Plain)
        .right(&format!("{there}/{total}"), 9, Ink::Plain);
    let row = match widths.bar {
        0 => row,
        bar => {
            let percent = (there * 100).checked_div(total).unwrap_or(0);
            let drawn = model.style.bar(there as u64, total as u64, bar);
            let ink = if there == total { Ink::Good } else { Ink::Busy };
            row.cell(&drawn, bar, ink)
                .right(&format!("{percent}%"), 4, Ink::Plain)
        }
    };
    let row = row.cell(&view.fleet.shown_leases(), 6, Ink::Plain);
    let row = if widths.note > 0 {
        row.cell(&note(model, view), widths.note, Ink::Warn)
    } else {
        row
    };
    if is_chosen && model.pane == Pane::Services {
        row.line_under_cursor(usize::from(model.size.0))
    } else {
        row.line()
    }
}

fn refused(model: &Model, name: &ServiceName, widths: &Widths) -> Line<'static> {
    let why = model.refused.get(name).map_or("", String::as_str);
    Row::new(model.style)
        .text(
            if model.chosen.as_ref() == Some(name) {
                ">"
            } else {
                " "
            },
            Ink::Head,
        )
        .cell(name.as_str(), widths.name, Ink::Plain)
        .text(clean(why), Ink::Bad)
        .line()
}

/// What is not on the screen is still counted.
fn rest(model: &Model, hidden: &[&ServiceName]) -> Line<'static> {
    let mut counts: Vec<(&'static str, usize)> = Vec::new();
    for name in hidden {
        let view = model.services.get(*name);
        let word = view.map_or("refused", |view| view.phase(model.now).as_str());
        match counts.iter_mut().find(|(known, _)| *known == word) {
            Some((_, number)) => *number += 1,
            None => counts.push((word, 1)),
        }
    }
    let all: Vec<String> = counts
        .iter()
        .map(|(word, number)| format!("{number} {word}"))
        .collect();
    let text = format!(" + {} more: {}", hidden.len(), all.join(", "));
    Row::new(model.style).text(text, Ink::Faint).line()
}

/// Returns how a service is, in a word and a number.
pub(super) fn phase(model: &Model, view: &ServiceView) -> (String, Ink) {
    let enabled = view.fleet.state.targets.enabled.as_ref();
    let percent = enabled.map_or(Percent::ALL, |target| target.percent);
    let share = if percent == Percent::ALL {
        String::new()
    } else {
        format!(" {}%", text::share(percent))
    };
    match view.phase(model.now) {
        ServicePhase::Held => {
            let by = view.held(model.now).and_then(|hold| hold.by.as_deref());
            (format!("HELD{}", text::by(by)), Ink::Warn)
        }
        ServicePhase::Failed => (format!("FAILED {}", view.tally.failed), Ink::Bad),
        ServicePhase::Blocked => (format!("BLOCKED {}", view.tally.blocked), Ink::Warn),
        ServicePhase::Rolling => (format!("ROLLING{share}"), Ink::Busy),
        ServicePhase::Offline => ("OFFLINE".to_owned(), Ink::Warn),
        ServicePhase::Canary => ("canary ready".to_owned(), Ink::Good),
        ServicePhase::Partial => (format!("partial{share}"), Ink::Good),
        phase @ (ServicePhase::Staged | ServicePhase::Done) => {
            (phase.as_str().to_owned(), Ink::Good)
        }
        ServicePhase::Idle => ("idle".to_owned(), Ink::Faint),
    }
}

fn builds(view: &ServiceView, columns: usize) -> String {
    let targets = &view.fleet.state.targets;
    let Some(enabled) = &targets.enabled else {
        let canary = targets.canary.as_ref();
        let unread = if view.fleet.enabled.target.is_err() {
            "?"
        } else {
            "-"
        };
        return canary.map_or_else(
            || unread.to_owned(),
            |canary| format!("- (c {})", canary.build),
        );
    };
    if let Some(canary) = &targets.canary {
        return format!("{} (c {})", enabled.build, canary.build);
    }
    let is_over = view.tally.there == view.tally.total;
    match &enabled.previous {
        Some(previous) if !is_over && previous.build != enabled.build => {
            let both = format!("{} -> {}", previous.build, enabled.build);
            // The new one says more where not both fit.
            if both.len() <= columns {
                both
            } else {
                format!("-> {}", enabled.build)
            }
        }
        _ => enabled.build.to_string(),
    }
}

fn note(model: &Model, view: &ServiceView) -> String {
    let tally = &view.tally;
    let phase = view.phase(model.now);
    // What the phase says already is left out.
    let failed = if phase == ServicePhase::Failed {
        0
    } else {
        tally.failed
    };
    let blocked = if phase == ServicePhase::Blocked {
        0
    } else {
        tally.blocked
    };
    let parts = [
        (failed, "failed"),
        (blocked, "blocked"),
        (tally.offline.len(), "offline"),
    ];
    let mut notes: Vec<String> = parts
        .iter()
        .filter(|(number, _)| *number > 0)
        .map(|(number, what)| format!("{number} {what}"))
        .collect();
    for slot in [&view.fleet.enabled, &view.fleet.canary] {
        if let Err(error) = &slot.target {
            notes.push(clean(&error.to_string()));
        }
    }
    notes.extend(view.fleet.policy.as_ref().err().cloned());
    if let Some(hold) = view.held(model.now) {
        let why = hold.why.as_deref().unwrap_or_default();
        notes.push(format!("\"{}\"", clean(why)));
    }
    notes.join(", ")
}
