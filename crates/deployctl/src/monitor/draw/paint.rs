//! Words in columns, bars and rules.

use deploy_core::rollout::Standing;
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};

use crate::monitor::model::{Appearance, Glyphs};
use crate::text;

/// What a piece of text means. The word itself says the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ink {
    /// Nothing in particular.
    Plain,
    /// Good.
    Good,
    /// On its way.
    Busy,
    /// Look at it.
    Warn,
    /// Bad.
    Bad,
    /// Less important.
    Faint,
    /// A heading.
    Head,
}

/// A line that is put together from left to right.
pub(crate) struct Row {
    look: Appearance,
    spans: Vec<Span<'static>>,
    width: usize,
}

impl Appearance {
    /// Returns the style of an ink.
    pub(crate) fn style(self, ink: Ink) -> Style {
        let plain = Style::new();
        let (style, color) = match ink {
            Ink::Plain => (plain, None),
            Ink::Good => (plain, Some(Color::Green)),
            Ink::Busy => (plain, Some(Color::Cyan)),
            Ink::Warn => (plain, Some(Color::Yellow)),
            Ink::Bad => (plain.add_modifier(Modifier::BOLD), Some(Color::Red)),
            Ink::Faint => (plain.add_modifier(Modifier::DIM), None),
            Ink::Head => (plain.add_modifier(Modifier::BOLD), None),
        };
        match color {
            Some(color) if self.is_colored => style.fg(color),
            _ => style,
        }
    }

    /// Returns what stands for text that was cut off.
    pub(crate) fn ellipsis(self) -> &'static str {
        match self.glyphs {
            Glyphs::Ascii => "~",
            Glyphs::Unicode => "…",
        }
    }

    /// Returns a heading over the whole width: `-- web #142 ----`.
    pub(crate) fn rule(self, title: &str, columns: usize, ink: Ink) -> Line<'static> {
        let dash = match self.glyphs {
            Glyphs::Ascii => "-",
            Glyphs::Unicode => "─",
        };
        let title = fit(self, title, columns.saturating_sub(6));
        let title = title.trim_end().to_owned();
        let rest = columns.saturating_sub(width(&title) + 4);
        Line::from(vec![
            Span::styled(format!("{dash}{dash} "), self.style(Ink::Faint)),
            Span::styled(title, self.style(ink)),
            Span::styled(format!(" {}", dash.repeat(rest)), self.style(Ink::Faint)),
        ])
    }

    /// Returns a bar of so many columns.
    pub(crate) fn bar(self, done: u64, total: u64, columns: usize) -> String {
        let inner = columns.saturating_sub(2);
        let share = done.min(total) as f64 / total.max(1) as f64;
        // Full only when everything is done.
        let full = (share * inner as f64) as usize;
        let (yes, no, ends) = match self.glyphs {
            Glyphs::Ascii => ("#", ".", ["[", "]"]),
            Glyphs::Unicode => ("█", "░", ["", ""]),
        };
        let inner = if self.glyphs == Glyphs::Unicode {
            columns
        } else {
            inner
        };
        let full = if self.glyphs == Glyphs::Unicode {
            (share * columns as f64) as usize
        } else {
            full
        };
        format!(
            "{}{}{}{}",
            ends[0],
            yes.repeat(full),
            no.repeat(inner - full),
            ends[1]
        )
    }

    /// Returns the mark of a standing, and its ink.
    pub(crate) fn mark(self, standing: Standing) -> (&'static str, Ink) {
        let (unicode, ink) = match standing {
            Standing::Done => ("●", Ink::Good),
            Standing::Staged => ("◌", Ink::Good),
            Standing::Working => ("◐", Ink::Busy),
            Standing::Unseen | Standing::Waiting | Standing::Idle => ("○", Ink::Plain),
            Standing::Failed => ("✖", Ink::Bad),
            Standing::Blocked => ("▲", Ink::Warn),
            Standing::Offline => ("?", Ink::Warn),
        };
        match self.glyphs {
            Glyphs::Ascii => (text::mark(standing), ink),
            Glyphs::Unicode => (unicode, ink),
        }
    }
}

impl Row {
    /// Begins a line.
    pub(crate) fn new(look: Appearance) -> Row {
        Row {
            look,
            spans: Vec::new(),
            width: 0,
        }
    }

    /// Adds text as it is.
    pub(crate) fn text(mut self, text: impl Into<String>, ink: Ink) -> Row {
        let text = text.into();
        self.width += width(&text);
        self.spans.push(Span::styled(text, self.look.style(ink)));
        self
    }

    /// Adds text cut or filled up to so many columns, and a gap.
    pub(crate) fn cell(self, text: &str, columns: usize, ink: Ink) -> Row {
        let text = format!("{} ", fit(self.look, text, columns));
        self.text(text, ink)
    }

    /// Like [`Row::cell`], at the right side of the column.
    pub(crate) fn right(self, text: &str, columns: usize, ink: Ink) -> Row {
        let gap = columns.saturating_sub(width(text));
        let text = format!(
            "{}{} ",
            " ".repeat(gap),
            fit(self.look, text, columns - gap.min(columns))
        );
        self.text(text, ink)
    }

    /// Moves on to a column, if it is not there yet.
    pub(crate) fn to(self, column: usize) -> Row {
        let gap = column.saturating_sub(self.width);
        self.text(" ".repeat(gap), Ink::Plain)
    }

    /// Cuts it off at a column, or fills it up to there.
    pub(crate) fn cut(mut self, columns: usize) -> Row {
        let mut used = 0;
        for span in &mut self.spans {
            let wide = span.width();
            if used + wide > columns {
                span.content = fit(self.look, &span.content, columns.saturating_sub(used)).into();
            }
            used = (used + wide).min(columns);
        }
        self.width = used;
        self.to(columns)
    }

    /// Returns the columns used.
    pub(crate) fn width(&self) -> usize {
        self.width
    }

    /// Ends the line.
    pub(crate) fn line(self) -> Line<'static> {
        Line::from(self.spans)
    }

    /// Ends a line that the cursor is on.
    pub(crate) fn line_under_cursor(mut self, columns: usize) -> Line<'static> {
        self = self.to(columns);
        Line::from(self.spans).style(Style::new().add_modifier(Modifier::REVERSED))
    }
}

/// Returns the columns that text takes.
pub(crate) fn width(text: &str) -> usize {
    Span::raw(text).width()
}

/// Cuts or fills up text to so many columns.
pub(crate) fn fit(look: Appearance, text: &str, columns: usize) -> String {
    let all = width(text);
    if all <= columns {
        return format!("{text}{}", " ".repeat(columns - all));
    }
    let mut kept = String::new();
    let mut used = 0;
    let room = columns.saturating_sub(1);
    for c in text.chars() {
        let wide = width(c.encode_utf8(&mut [0; 4]));
        if used + wide > room {
            break;
        }
        used += wide;
        kept.push(c);
    }
    let end = if columns == 0 { "" } else { look.ellipsis() };
    format!("{kept}{end}{}", " ".repeat(room - used))
}

/// Cuts a name in the middle: hosts differ at both ends.
pub(crate) fn fit_name(look: Appearance, name: &str, columns: usize) -> String {
    let chars: Vec<char> = name.chars().collect();
    if width(name) <= columns || columns < 5 || width(name) != chars.len() {
        return fit(look, name, columns);
    }
    let tail = (columns - 1) / 2;
    let head = columns - 1 - tail;
    let head: String = chars[..head].iter().collect();
    let tail: String = chars[chars.len() - tail..].iter().collect();
    format!("{head}{}{tail}", look.ellipsis())
}

/// Breaks text into lines of so many columns, at spaces where there are some; at most `limit`.
pub(crate) fn wrap(look: Appearance, text: &str, columns: usize, limit: usize) -> Vec<String> {
    let mut lines: Vec<String> = vec![String::new()];
    for word in text.split(' ') {
        let last = lines.last_mut().expect("there is one from the start");
        if last.is_empty() || width(last) + 1 + width(word) <= columns {
            if !last.is_empty() {
                last.push(' ');
            }
            last.push_str(word);
        } else {
            lines.push(word.to_owned());
        }
    }
    if lines.len() > limit {
        lines.truncate(limit);
        if let Some(last) = lines.last_mut() {
            last.push_str(look.ellipsis());
        }
    }
    let fitted = lines
        .iter()
        .map(|line| fit(look, line, columns).trim_end().to_owned());
    fitted.collect()
}
