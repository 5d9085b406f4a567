//! The screen as a function of the model. Pure: what is drawn depends on nothing else.
//!
//! Text that others wrote is escaped by whoever puts it into a line; see [`text::clean`](crate::text::clean).

use ratatui::Frame;
use ratatui::buffer::Buffer;
use ratatui::style::Modifier;
use ratatui::text::Line;

use super::model::{Model, Over, Page};
use super::panels::{Panels, is_small};

pub(crate) mod failures;
mod frame;
mod history;
mod host;
mod hosts;
mod over;
mod paint;
mod services;
mod small;

/// Draws everything.
pub(crate) fn draw(model: &Model, frame: &mut Frame<'_>) {
    let area = frame.area();
    let model_size = (area.width, area.height);
    let lines = lines(model);
    let buffer = frame.buffer_mut();
    for (y, line) in (area.y..).zip(lines.iter().take(usize::from(area.height))) {
        buffer.set_line(area.x, y, line, area.width);
    }
    if model.stale_since().is_some() {
        dim(buffer);
    }
    if model.over != Over::Nothing && !is_small(model_size) {
        over::draw(model, buffer);
    }
}

/// Everything but the title, which says why.
fn dim(buffer: &mut Buffer) {
    let columns = usize::from(buffer.area.width);
    for cell in buffer.content.iter_mut().skip(columns) {
        cell.modifier.insert(Modifier::DIM);
        cell.modifier.remove(Modifier::BOLD);
    }
}

fn lines(model: &Model) -> Vec<Line<'static>> {
    if is_small(model.size) {
        return small::lines(model);
    }
    let mut lines = frame::head(model);
    match model.page {
        Page::Fleet => {
            let panels = Panels::of(model);
            lines.extend(services::lines(model, panels.services));
            lines.extend(hosts::lines(model, panels.hosts));
            lines.extend(failures::lines(model, panels.failures));
            lines.extend(history::lines(model, panels.history));
        }
        Page::Host => lines.extend(host::lines(model)),
    }
    // The keys are in the last row, whatever there is above.
    let rows = usize::from(model.size.1);
    lines.resize(rows.saturating_sub(1), Line::default());
    lines.push(frame::keys(model));
    lines
}

#[cfg(test)]
mod tests;
