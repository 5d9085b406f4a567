//! The first two rows and the last one.

use ratatui::style::{Modifier, Style};
use ratatui::text::Line;

use super::paint::{Ink, Row, fit, width};
use crate::monitor::model::{Glyphs, Model, Over, Page, Rights, Show};
use crate::monitor::source::LinkSeen;
use crate::text::{self, clean, count};

/// Returns the title and the rule below it.
pub(super) fn head(model: &Model) -> Vec<Line<'static>> {
    let columns = usize::from(model.size.0);
    let hosts: usize = model
        .services
        .values()
        .map(|view| view.standings.len())
        .sum();
    let known = model.services.len() + model.refused.len();
    // Since when the data is matters more than how much there is.
    let right = if columns < 80 || columns < 100 && model.stale_since().is_some() {
        text::clock(model.now)
    } else {
        let (services, hosts) = (count(known, "service"), count(hosts, "host"));
        format!("{services}  {hosts}  {}", text::clock(model.now))
    };
    let (link, ink) = link(model);
    let name = if columns < 80 {
        " deployctl"
    } else {
        " deployctl monitor"
    };
    let head = Row::new(model.style)
        .text(name, Ink::Head)
        .text("  ", Ink::Plain);
    let room = columns.saturating_sub(head.width() + width(&right) + 2);
    let head = head.text(fit(model.style, &link, room).trim_end().to_owned(), ink);
    let who = format!("{}  {}", clean(&model.place), text::person(Some(&model.by)));
    // Where we are matters less than how good the view is.
    let room = columns.saturating_sub(head.width() + width(&right) + 5);
    let head = if room >= 12 {
        let who = fit(model.style, &who, room.min(width(&who)));
        head.text(format!("  {who}"), Ink::Plain)
    } else {
        head
    };
    let title = head
        .to(columns.saturating_sub(width(&right) + 1))
        .text(right, Ink::Plain);
    let line = match model.style.glyphs {
        Glyphs::Ascii => "=",
        Glyphs::Unicode => "━",
    };
    let rule = Row::new(model.style).text(line.repeat(columns), Ink::Faint);
    vec![title.line(), rule.line()]
}

fn link(model: &Model) -> (String, Ink) {
    let Some(since) = model.stale_since() else {
        return match model.link {
            LinkSeen::Current => ("zk ok".to_owned(), Ink::Good),
            LinkSeen::Reading => ("zk reading".to_owned(), Ink::Busy),
            LinkSeen::Down => ("zk LOST".to_owned(), Ink::Bad),
        };
    };
    let age = text::seconds(model.age_s(since));
    let word = match model.link {
        LinkSeen::Down => "LOST",
        LinkSeen::Current => "SILENT",
        LinkSeen::Reading => "back, reading",
    };
    let as_of = text::clock(since);
    (format!("zk {word} {age}, data as of {as_of}"), Ink::Bad)
}

/// Returns the last row: what the keys do, or what is typed.
pub(super) fn keys(model: &Model) -> Line<'static> {
    let columns = usize::from(model.size.0);
    if let Over::Filter(_) = model.over {
        return Row::new(model.style)
            .text(format!(" /{}_", clean(&model.filter)), Ink::Head)
            .text(
                "   enter keeps it, esc does not; * and ?, ! inverts",
                Ink::Faint,
            )
            .line();
    }
    if let Some((_, note)) = &model.note {
        return Row::new(model.style)
            .text(
                fit(model.style, &format!(" {}", clean(note)), columns),
                Ink::Warn,
            )
            .line();
    }
    let look = match model.page {
        Page::Host => " q quit ? help esc back j/k host",
        Page::Fleet if columns >= 100 => {
            " q quit  ? help  enter host  tab pane  / filter  f failed  a all"
        }
        Page::Fleet if columns >= 80 => " q quit ? help enter host / filter f failed",
        Page::Fleet => " q quit ? help enter / f",
    };
    let change = match (model.rights, model.page) {
        (Rights::Look, _) => "read-only",
        (Rights::Change, Page::Host) => "R retry r ROLLBACK",
        (Rights::Change, Page::Fleet) => "p promote r ROLLBACK h hold",
    };
    let row = Row::new(model.style).text(format!("{look} | {change}"), Ink::Plain);
    let shown = shown(model);
    let row = if shown.is_empty() || row.width() + width(&shown) + 2 > columns {
        row
    } else {
        row.text(format!("  {shown}"), Ink::Warn)
    };
    row.line().style(Style::new().add_modifier(Modifier::DIM))
}

fn shown(model: &Model) -> String {
    match model.show {
        Show::Trouble => "only failed".to_owned(),
        Show::All => "all".to_owned(),
        Show::Folded => String::new(),
    }
}
