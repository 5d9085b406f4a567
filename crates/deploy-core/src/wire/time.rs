//! Times in stored formats: RFC 3339 in UTC, whole seconds.
//!
//! They are kept as text where they only inform, so that a strange one makes nothing unreadable.

use jiff::Timestamp;

/// Renders a time as it is stored: `2026-11-20T19:38:02Z`.
pub fn render(at: Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// Parses a stored time; `None` where it is none.
pub fn parse(text: &str) -> Option<Timestamp> {
    text.parse().ok()
}
