//! A screen too small for panels: a line for each service.

use ratatui::text::Line;

use super::paint::{Ink, Row};
use super::services;
use crate::monitor::model::Model;
use crate::monitor::order;
use crate::monitor::panels::SMALL;
use crate::text;

/// Returns all lines.
pub(super) fn lines(model: &Model) -> Vec<Line<'static>> {
    let rows = usize::from(model.size.1);
    let names = order::services(model, 0);
    let mut lines: Vec<Line<'static>> = Vec::new();
    if let Some(since) = model.stale_since() {
        let age = text::seconds(model.age_s(since));
        lines.push(
            Row::new(model.style)
                .text(format!("zk LOST {age}"), Ink::Bad)
                .line(),
        );
    }
    for name in names {
        let Some(view) = model.services.get(name) else {
            continue;
        };
        let (phase, ink) = services::phase(model, view);
        let there = format!(" {}/{}", view.tally.there, view.tally.total);
        lines.push(
            Row::new(model.style)
                .cell(name.as_str(), 10, Ink::Plain)
                .text(phase, ink)
                .text(there, Ink::Plain)
                .line(),
        );
    }
    // What is asked could not be shown: nothing is.
    lines.truncate(rows.saturating_sub(1));
    let more = format!(
        "{}x{} or more shows more and can change things; q quit",
        SMALL.0, SMALL.1
    );
    lines.push(Row::new(model.style).text(more, Ink::Faint).line());
    lines
}
