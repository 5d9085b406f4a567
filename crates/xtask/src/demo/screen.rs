//! What the demo prints: a clock, a rule before each act, a line for each thing that holds.

use std::io::{self, Write};
use std::time::Instant;

const WIDTH: usize = 86;

/// The standard output, with the time since the start.
#[derive(Debug)]
pub(crate) struct Screen {
    started: Instant,
}

impl Screen {
    pub(crate) fn start() -> Screen {
        Screen {
            started: Instant::now(),
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

    /// Prints what was checked and holds.
    pub(crate) fn holds(&self, claim: &str) {
        self.line(&format!("{:5.1}s  ok  {claim}", self.seconds()));
    }

    /// Prints what was checked and does not hold.
    pub(crate) fn fails(&self, problem: &str) {
        self.line(&format!("{:5.1}s  XX  {problem}", self.seconds()));
    }
}
