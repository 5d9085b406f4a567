//! What lies over the screen: help, questions, refusals.

use ratatui::buffer::Buffer;
use ratatui::style::Style;
use ratatui::text::Line;

use super::paint::{Ink, Row, fit, width, wrap};
use crate::monitor::model::{Model, Over};
use crate::monitor::wish::{Confirm, Reason};
use crate::text::clean;

/// Columns of a box.
const COLUMNS: usize = 72;
/// Rows that one line of text may take in a box.
const WRAP_ROWS_MAX: usize = 4;

const HELP: [(&str, &str); 16] = [
    ("j k, arrows", "up and down; page up, page down, g, G"),
    ("tab", "from the services to the hosts, and back"),
    (
        "enter",
        "to the hosts; then the host: instances, steps, log",
    ),
    ("esc", "back; ends the filter; is always safe"),
    (
        "/",
        "only hosts with this in the name; * and ? work, ! inverts",
    ),
    ("f", "only hosts that failed, are blocked or offline"),
    ("a", "all hosts: those that are fine are not folded"),
    ("p", "promote the canary"),
    ("r", "roll back to the last good build"),
    ("h", "hold the service, or end its hold"),
    ("R", "let the chosen host try again what failed there"),
    ("", "each of these four shows what it will do, and asks"),
    ("q, ctrl-c", "end; rollouts go on. ctrl-z: stop for a while"),
    ("", ""),
    ("ok >> ..", "good, working, waiting"),
    (
        "XX !! ??",
        "failed and put back; blocked, tries again; offline",
    ),
];

/// Draws the box.
pub(super) fn draw(model: &Model, buffer: &mut Buffer) {
    let (title, ink, rows) = match &model.over {
        Over::Nothing | Over::Filter(_) => return,
        Over::Help => ("KEYS AND MARKS".to_owned(), Ink::Head, help(model)),
        Over::Preparing(wish) => {
            let line = Row::new(model.style)
                .text("reading what it would do... (esc: never mind)", Ink::Plain);
            (wish.title(), Ink::Head, vec![line])
        }
        Over::Confirm(confirm) => (confirm.wish.title(), Ink::Warn, question(model, confirm)),
        Over::Message(lines) => {
            let columns = inner(model);
            let wrapped = lines
                .iter()
                .flat_map(|line| wrap(model.style, line, columns, WRAP_ROWS_MAX));
            let mut rows: Vec<Row> = wrapped
                .map(|line| Row::new(model.style).text(line, Ink::Plain))
                .collect();
            rows.push(Row::new(model.style));
            rows.push(Row::new(model.style).text("any key goes on", Ink::Faint));
            ("NOT DONE".to_owned(), Ink::Bad, rows)
        }
    };
    frame(model, buffer, (&title, ink), rows);
}

fn inner(model: &Model) -> usize {
    COLUMNS.min(usize::from(model.size.0).saturating_sub(4)) - 4
}

fn help(model: &Model) -> Vec<Row> {
    let row = |(key, does): &(&str, &str)| {
        Row::new(model.style)
            .cell(key, 12, Ink::Head)
            .text(*does, Ink::Plain)
    };
    // What is asked for often comes first, so a short screen loses the least.
    HELP.iter().map(row).collect()
}

fn question(model: &Model, confirm: &Confirm) -> Vec<Row> {
    let columns = inner(model);
    let place = fit(model.style, &format!("on {}", clean(&model.place)), columns);
    let mut rows = vec![Row::new(model.style).text(place, Ink::Faint)];
    for effect in &confirm.effects {
        for line in wrap(model.style, effect, columns, WRAP_ROWS_MAX) {
            rows.push(Row::new(model.style).text(line, Ink::Plain));
        }
    }
    rows.push(Row::new(model.style));
    let label = match confirm.wish.reason() {
        Reason::Needed => "reason (needed): ",
        Reason::Welcome => "reason (for the history): ",
    };
    let room = columns.saturating_sub(width(label) + 1);
    // The end is where somebody types.
    let typed: Vec<char> = clean(&confirm.why).chars().collect();
    let from = typed.len().saturating_sub(room);
    let typed: String = typed[from..].iter().collect();
    rows.push(
        Row::new(model.style)
            .text(label, Ink::Plain)
            .text(format!("{typed}_"), Ink::Head),
    );
    rows.push(Row::new(model.style));
    let enter = if confirm.is_complete() {
        Ink::Head
    } else {
        Ink::Faint
    };
    rows.push(
        Row::new(model.style)
            .text(format!("[enter] {}", confirm.wish.act()), enter)
            .text("     [esc] do nothing", Ink::Plain),
    );
    rows
}

fn frame(model: &Model, buffer: &mut Buffer, (title, ink): (&str, Ink), rows: Vec<Row>) {
    let area = buffer.area;
    let (columns, height) = (usize::from(area.width), usize::from(area.height));
    let inner = inner(model);
    let rows_max = height.saturating_sub(4);
    let rows: Vec<Row> = rows.into_iter().take(rows_max).collect();
    // The screen may have shrunk, and the model not heard of it yet.
    if columns < inner + 4 || height < rows.len() + 2 {
        return;
    }
    let left = (columns - (inner + 4)) / 2;
    let top = (height - (rows.len() + 2)) / 2;
    let look = model.style;
    let title = format!(" {} ", fit(look, title, inner.min(width(title))));
    let dashes = (inner + 2).saturating_sub(width(&title));
    let head = Row::new(look)
        .text(format!("+{}", "-".repeat(dashes / 2)), Ink::Plain)
        .text(title, ink)
        .text(format!("{}+", "-".repeat(dashes - dashes / 2)), Ink::Plain);
    let mut lines: Vec<Line<'static>> = vec![head.line()];
    for row in rows {
        let framed = Row::new(look).text("| ", Ink::Plain).line();
        let end = row.cut(inner).text(" |", Ink::Plain).line();
        lines.push(Line::from([framed.spans, end.spans].concat()));
    }
    lines.push(
        Row::new(look)
            .text(format!("+{}+", "-".repeat(inner + 2)), Ink::Plain)
            .line(),
    );
    for (offset, line) in lines.iter().enumerate() {
        let (x, y) = (area.x + cells(left), area.y + cells(top + offset));
        for column in 0..cells(inner + 4) {
            buffer[(x + column, y)].reset();
        }
        buffer.set_line(x, y, line, cells(inner + 4));
        buffer.set_style(
            ratatui::layout::Rect::new(x, y, cells(inner + 4), 1),
            Style::new().remove_modifier(ratatui::style::Modifier::DIM),
        );
    }
}

/// A place on a screen, which has fewer than 65,536 of them.
fn cells(number: usize) -> u16 {
    u16::try_from(number).unwrap_or(u16::MAX)
}
