//! What the demo prints: a clock, a rule before each act, a line for each thing that holds.

use std::env;
use std::io::{self, IsTerminal, Write};
use std::time::Instant;

const WIDTH: usize = 86;

/// The standard output, with the time since the start.
#[derive(Debug)]
pub(crate) struct Screen {
    started: Instant,
    paint: Paint,
}

#[derive(Debug, Clone, Copy)]
enum Paint {
    Colors,
    Nothing,
}

const BOLD: &str = "1";
const GREEN: &str = "32";
const RED: &str = "1;31";

impl Screen {
    pub(crate) fn start() -> Screen {
        let is_plain = env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty())
            || env::var_os("TERM").is_none_or(|term| term == "dumb")
            || !io::stdout().is_terminal();
        let paint = if is_plain {
            Paint::Nothing
        } else {
            Paint::Colors
        };
        Screen {
            started: Instant::now(),
            paint,
        }
    }

    /// Returns the seconds since the start.
    pub(crate) fn seconds(&self) -> f64 {
        self.started.elapsed().as_secs_f64()
    }

    /// Prints a line as it is.
    pub(crate) fn line(&self, text: &str) {
        // Whoever closed our output may still want the rest to be checked and cleaned up.
        let _ = writeln!(io::stdout(), "{text}");
    }

    /// Prints what was started, and where it is.
    pub(crate) fn started(&self, what: &str, text: &str) {
        self.line(&format!("{:5.1}s  {what:<10} {text}", self.seconds()));
    }

    /// Prints the rule before an act.
    pub(crate) fn act(&self, title: &str) {
        let rule = "-".repeat(WIDTH.saturating_sub(title.len() + 5));
        self.line(&format!("\n--- {title} {rule}"));
    }

    /// Prints a command as it is typed.
    pub(crate) fn command(&self, line: &str) {
        self.line(&self.painted(&format!("$ {line}"), BOLD));
    }

    /// Prints what was checked and holds.
    pub(crate) fn holds(&self, claim: &str) {
        self.line(&format!(
            "{:5.1}s  {}  {claim}",
            self.seconds(),
            self.painted("ok", GREEN)
        ));
    }

    /// Prints what was checked and does not hold.
    pub(crate) fn fails(&self, problem: &str) {
        self.line(&format!(
            "{:5.1}s  {}  {problem}",
            self.seconds(),
            self.painted("XX", RED)
        ));
    }

    fn painted(&self, text: &str, color: &str) -> String {
        match self.paint {
            Paint::Colors => format!("\x1b[{color}m{text}\x1b[0m"),
            Paint::Nothing => text.to_owned(),
        }
    }
}
