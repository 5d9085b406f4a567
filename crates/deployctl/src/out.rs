//! What goes to stdout and to stderr, and in which colours.
//!
//! Data goes to stdout, everything else to stderr. A reader who closes the pipe has seen enough:
//! that is success. Text that comes from znodes is escaped by whoever puts it into a line.

use std::io::{self, IsTerminal, Write};
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::Value;
use tokio::sync::mpsc::Sender;

use crate::again::Again;
use crate::problem::Problem;
use crate::text::clean_json;

/// The form of the data.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub(crate) enum Format {
    /// For people.
    #[default]
    Text,
    /// One JSON object at the end.
    Json,
    /// One JSON object a line, as it happens.
    Jsonl,
}

/// When to use colours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub(crate) enum Color {
    /// Where stdout and stderr are terminals, unless `NO_COLOR` is set or `TERM` is `dumb`.
    #[default]
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// How much is said.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(crate) enum Volume {
    /// Errors and data.
    Quiet,
    /// Outcomes and tips as well.
    #[default]
    Normal,
    /// Each step of each host as well.
    Verbose,
}

/// What a piece of text means, and so its colour. The word itself says the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tone {
    /// Good.
    Good,
    /// Look at it.
    Warn,
    /// Bad.
    Bad,
    /// Less important.
    Dim,
}

/// Whether somebody reads stdout.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reader {
    /// As far as one can tell.
    There,
    /// It closed the pipe, or nothing can be written any more.
    Gone,
}

/// Returns a JSON object as a line.
pub(crate) fn json_line(value: &Value) -> String {
    clean_json(&value.to_string())
}

/// Where the output goes.
#[derive(Debug, Clone)]
pub(crate) struct Out {
    /// The form of the data.
    pub(crate) format: Format,
    /// How much is said.
    pub(crate) volume: Volume,
    colored: bool,
    /// Whether a terminal shows stdout and stderr, and can be drawn on.
    pub(crate) on_terminal: bool,
    /// What commands need that are to be pasted.
    again: Again,
    sink: Sink,
}

/// Where lines end up.
#[derive(Debug, Clone)]
enum Sink {
    /// On stdout and stderr.
    Standard,
    /// At somebody who shows them: the screen is theirs.
    Told(Sender<String>),
}

impl Out {
    /// Returns where the output goes; looks at the environment and at both for the colours: a word
    /// may go to either, and a pipe gets none.
    pub(crate) fn new(format: Format, volume: Volume, color: Color) -> Out {
        let set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
        let is_dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        let on_terminal = !is_dumb && io::stdout().is_terminal() && io::stderr().is_terminal();
        let colored = match color {
            Color::Always => true,
            Color::Never => false,
            Color::Auto => !set("NO_COLOR") && on_terminal,
        };
        Out {
            format,
            volume,
            colored,
            on_terminal: on_terminal && set("TERM"),
            again: Again::default(),
            sink: Sink::Standard,
        }
    }

    /// Returns one whose lines are all sent to `listener`, in plain text. What it does not take in
    /// time is lost.
    pub(crate) fn told_to(&self, listener: Sender<String>) -> Out {
        Out {
            format: Format::Text,
            volume: Volume::Normal,
            colored: false,
            on_terminal: false,
            again: self.again.clone(),
            sink: Sink::Told(listener),
        }
    }

    /// Puts these options into each command that is to be pasted.
    pub(crate) fn saying(self, again: Again) -> Out {
        Out { again, ..self }
    }

    /// Returns a text with commands that can be pasted.
    pub(crate) fn paste(&self, text: &str) -> String {
        self.again.paste(text)
    }

    /// Tells whether words are coloured.
    pub(crate) fn is_colored(&self) -> bool {
        self.colored
    }

    /// Writes data: text as it is, with a newline where it has none.
    pub(crate) fn data(&self, text: &str) {
        if let Sink::Told(_) = self.sink {
            text.lines().for_each(|line| self.to_stderr(line));
            return;
        }
        let end = if text.is_empty() || text.ends_with('\n') {
            ""
        } else {
            "\n"
        };
        let mut stdout = io::stdout().lock();
        finish(write!(stdout, "{text}{end}").and_then(|()| stdout.flush()));
    }

    /// Writes a line of data, and tells whether anybody reads: who goes on for ever must know.
    pub(crate) fn data_to_reader(&self, line: &str) -> Reader {
        let mut stdout = io::stdout().lock();
        let written = writeln!(stdout, "{line}").and_then(|()| stdout.flush());
        let is_gone = written.is_err();
        finish(written);
        match is_gone {
            true => Reader::Gone,
            false => Reader::There,
        }
    }

    /// Writes one JSON object: on a line for jsonl, indented for json.
    pub(crate) fn json(&self, value: &Value) {
        match self.format {
            Format::Jsonl => self.data(&json_line(value)),
            _ => self.data(&clean_json(&format!("{value:#}"))),
        }
    }

    /// Says something to the user, unless asked to be quiet.
    pub(crate) fn say(&self, line: &str) {
        if self.volume > Volume::Quiet {
            self.to_stderr(line);
        }
    }

    /// Says something that matters although the user asked to be quiet.
    pub(crate) fn warn(&self, line: &str) {
        self.to_stderr(&format!("{} {line}", self.paint("warning:", Tone::Warn)));
    }

    /// Says what to type next.
    pub(crate) fn tip(&self, tip: &str) {
        let tip = self.paste(tip);
        self.say(&format!("{} {tip}", self.paint("tip:", Tone::Dim)));
    }

    /// Says why it gives up.
    pub(crate) fn problem(&self, problem: &Problem) {
        self.to_stderr(&format!(
            "{} {}",
            self.paint("error:", Tone::Bad),
            problem.what
        ));
        for fact in &problem.facts {
            self.to_stderr(&format!("  {fact}"));
        }
        for tip in &problem.tips {
            let tip = self.paste(tip);
            self.to_stderr(&format!("  {} {tip}", self.paint("tip:", Tone::Dim)));
        }
    }

    /// Colours a word.
    pub(crate) fn paint(&self, word: &str, tone: Tone) -> String {
        if !self.colored {
            return word.to_owned();
        }
        let code = match tone {
            Tone::Good => "32",
            Tone::Warn => "33",
            Tone::Bad => "1;31",
            Tone::Dim => "2",
        };
        format!("\x1b[{code}m{word}\x1b[0m")
    }

    fn to_stderr(&self, line: &str) {
        match &self.sink {
            Sink::Standard => to_stderr(line),
            // A listener that is gone or slow is told less.
            Sink::Told(listener) => drop(listener.try_send(line.to_owned())),
        }
    }
}

fn to_stderr(line: &str) {
    // Nobody is left to be told that stderr is gone.
    let _ = writeln!(io::stderr().lock(), "{line}");
}

/// Whether something could not be written to stdout, as on a full disk.
static LOST: AtomicBool = AtomicBool::new(false);

/// Tells whether data is missing that somebody may want. A pipe that its reader has closed is no loss.
pub(crate) fn is_lost() -> bool {
    LOST.load(Ordering::Relaxed)
}

/// Ends a writing to stdout. A closed pipe is no failure: nobody reads the rest. What is waited for is waited for all the
/// same, because the exit code tells how it ended.
pub(crate) fn finish(written: io::Result<()>) {
    match written {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {}
        Err(error) => {
            if !LOST.swap(true, Ordering::Relaxed) {
                to_stderr(&format!("error: failed to write to stdout: {error}"));
            }
        }
    }
}
