//! A table of figures: aligned on a terminal, and in Markdown in docs/performance.md.

use std::fmt;
use std::fmt::Write as _;
use std::time::Duration;

/// A table of figures. The first column names who or what; the others are right-aligned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Table {
    /// What it shows, in a few words.
    pub(crate) title: String,
    /// The heads of its columns.
    pub(crate) columns: Vec<String>,
    /// As many cells each as there are columns.
    pub(crate) rows: Vec<Vec<String>>,
    /// Sentences beneath it: what was measured, and what not.
    pub(crate) notes: Vec<String>,
}

impl Table {
    /// A table without rows.
    pub(crate) fn new<const N: usize>(title: &str, columns: [&str; N]) -> Table {
        Table {
            title: title.to_owned(),
            columns: columns.map(str::to_owned).to_vec(),
            rows: Vec::new(),
            notes: Vec::new(),
        }
    }

    /// Adds a row. What is between pairs of asterisks is emphasised in Markdown.
    pub(crate) fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.rows.push(cells.into_iter().collect());
    }

    /// Adds a sentence beneath it.
    pub(crate) fn note(&mut self, sentence: impl Into<String>) {
        self.notes.push(sentence.into());
    }

    /// Returns it in Markdown.
    pub(crate) fn markdown(&self) -> String {
        let mut text = format!("### {}\n\n", self.title);
        // A bar would end the cell.
        let cell = |cell: &String| cell.replace('|', "\\|");
        let line = |cells: &[String]| {
            let cells: Vec<_> = cells.iter().map(cell).collect();
            format!("| {} |\n", cells.join(" | "))
        };
        text.push_str(&line(&self.columns));
        let rule = (0..self.columns.len()).map(|at| if at == 0 { "---" } else { "---:" });
        let rule: Vec<_> = rule.collect();
        let _ = writeln!(text, "| {} |", rule.join(" | "));
        self.rows.iter().for_each(|row| text.push_str(&line(row)));
        for note in &self.notes {
            let _ = write!(text, "\n{note}\n");
        }
        text
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines = std::iter::once(&self.columns).chain(&self.rows);
        let lines: Vec<Vec<String>> = lines.map(|line| plain(line)).collect();
        let width = |at: usize| {
            let cells = lines.iter().filter_map(|line| line.get(at));
            cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..self.columns.len()).map(width).collect();
        writeln!(f, "{}", self.title)?;
        for line in &lines {
            let cells = line.iter().zip(&widths).enumerate();
            let cells = cells.map(|(at, (cell, width))| match at {
                0 => format!("{cell:<width$}"),
                _ => format!("{cell:>width$}"),
            });
            writeln!(f, "  {}", cells.collect::<Vec<_>>().join("   ").trim_end())?;
        }
        self.notes
            .iter()
            .try_for_each(|note| writeln!(f, "  {note}"))
    }
}

fn plain(line: &[String]) -> Vec<String> {
    line.iter().map(|cell| cell.replace("**", "")).collect()
}

/// Renders a time in milliseconds, with one decimal.
pub(crate) fn milliseconds(time: Duration) -> String {
    format!("{:.1} ms", time.as_secs_f64() * 1000.0)
}

#[cfg(test)]
mod tests {
    use super::Table;

    #[test]
    fn columns_are_aligned_and_the_first_to_the_left() {
        let mut table = Table::new("Idle", ["agent", "RSS"]);
        table.row(["deployd".to_owned(), "9 MB".to_owned()]);
        table.row(["x".to_owned(), "10.5 MB".to_owned()]);
        table.note("Nothing else.");
        let text = table.to_string();
        assert_eq!(
            text,
            "Idle\n  agent         RSS\n  deployd      9 MB\n  x         10.5 MB\n  Nothing else.\n"
        );
        let page = table.markdown();
        assert!(
            page.contains("| agent | RSS |\n| --- | ---: |\n| deployd | 9 MB |"),
            "{page}"
        );
    }

    #[test]
    fn what_has_a_meaning_in_markdown_alone_stays_there() {
        let mut table = Table::new("Pushing", ["tool", "time"]);
        table.row(["**ssh 'curl | tar'**".to_owned(), "1 s".to_owned()]);
        let page = table.markdown();
        assert!(page.contains(r"| **ssh 'curl \| tar'** | 1 s |"), "{page}");
        let text = table.to_string();
        assert!(text.contains("  ssh 'curl | tar'    1 s\n"), "{text}");
    }
}
