//! What a check found, as text and as JSON.

use serde_json::{Value, json};

use crate::out::{Out, Tone};

/// Facts of a finding that are printed; JSON has all.
const FACTS_SHOWN_MAX: usize = 5;

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Level {
    /// As it should be.
    Ok,
    /// It works, and may not for long, or not for everybody.
    Warn,
    /// Something does not work, or is open to those who should stay out.
    Fail,
}

/// What one check found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Finding {
    /// The name of the check, a word.
    pub(super) check: &'static str,
    pub(super) level: Level,
    /// One line.
    pub(super) what: String,
    /// One line each.
    pub(super) facts: Vec<String>,
    /// What to type next.
    pub(super) tips: Vec<String>,
}

impl Finding {
    pub(super) fn ok(check: &'static str, what: impl Into<String>) -> Finding {
        Finding::of(check, Level::Ok, what)
    }

    pub(super) fn warn(check: &'static str, what: impl Into<String>) -> Finding {
        Finding::of(check, Level::Warn, what)
    }

    pub(super) fn fail(check: &'static str, what: impl Into<String>) -> Finding {
        Finding::of(check, Level::Fail, what)
    }

    fn of(check: &'static str, level: Level, what: impl Into<String>) -> Finding {
        Finding {
            check,
            level,
            what: what.into(),
            facts: Vec::new(),
            tips: Vec::new(),
        }
    }

    pub(super) fn facts(mut self, facts: impl IntoIterator<Item = String>) -> Finding {
        self.facts.extend(facts);
        self
    }

    pub(super) fn tip(mut self, tip: impl Into<String>) -> Finding {
        self.tips.push(tip.into());
        self
    }

    /// Returns the lines of it.
    pub(super) fn lines(&self, out: &Out) -> Vec<String> {
        let (word, tone) = match self.level {
            Level::Ok => ("ok  ", Tone::Good),
            Level::Warn => ("warn", Tone::Warn),
            Level::Fail => ("FAIL", Tone::Bad),
        };
        let mut lines = vec![format!(
            "{}  {:<10} {}",
            out.paint(word, tone),
            self.check,
            self.what
        )];
        let facts = self.facts.iter().take(FACTS_SHOWN_MAX);
        lines.extend(facts.map(|fact| format!("        {fact}")));
        match self.facts.len().checked_sub(FACTS_SHOWN_MAX) {
            Some(more) if more > 0 => {
                lines.push(format!("        and {more} more; all: --output json"))
            }
            _ => {}
        }
        let tips = self.tips.iter();
        let tip = |tip| {
            format!(
                "        {} {}",
                out.paint("tip:", Tone::Dim),
                out.paste(tip)
            )
        };
        lines.extend(tips.map(|text| tip(text)));
        lines
    }

    pub(super) fn object(&self, out: &Out) -> Value {
        let tips: Vec<_> = self.tips.iter().map(|tip| out.paste(tip)).collect();
        json!({
            "check": self.check, "level": self.level.as_str(), "what": self.what,
            "facts": self.facts, "tips": tips,
        })
    }
}

impl Level {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Level::Ok => "ok",
            Level::Warn => "warn",
            Level::Fail => "fail",
        }
    }
}
