//! Values as people read them.

use deploy_core::percent::Percent;
use deploy_core::rollout::Standing;
use jiff::{SignedDuration, Timestamp};

/// Makes text from a znode harmless to a terminal: control characters are escaped, nothing else.
pub(crate) fn clean(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        if steers(c) {
            shown.extend(c.escape_default());
        } else {
            shown.push(c);
        }
    }
    shown
}

/// Returns JSON that is harmless to a terminal: the same value, with what its strings have of control characters escaped.
pub(crate) fn clean_json(json: &str) -> String {
    let mut shown = String::with_capacity(json.len());
    for c in json.chars() {
        // Those below U+0020 are escaped in strings already: what is left of them is the layout.
        if steers(c) && c >= ' ' {
            shown.push_str(&format!("\\u{:04x}", u32::from(c)));
        } else {
            shown.push(c);
        }
    }
    shown
}

/// Whether a terminal does something else with it than show it. The marks that turn the direction of text can make a line
/// read as another one.
fn steers(c: char) -> bool {
    let turns = matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    c.is_control() || turns
}

/// Returns a share as people read it, rounded down to four decimals: less than all is never shown as 100.
pub(crate) fn share(percent: Percent) -> String {
    const UNIT: f64 = 10_000.0;
    let exact = percent.to_string();
    let is_short = exact
        .split_once('.')
        .is_none_or(|(_, rest)| rest.len() <= 4);
    match (percent.value() * UNIT).floor() / UNIT {
        _ if is_short => exact,
        0.0 => "<0.0001".to_owned(),
        shown => shown.to_string(),
    }
}

/// Returns the mark of a standing, two columns wide.
pub(crate) fn mark(standing: Standing) -> &'static str {
    match standing {
        Standing::Done | Standing::Staged => "ok",
        Standing::Working => ">>",
        Standing::Waiting | Standing::Unseen | Standing::Idle => "..",
        Standing::Failed => "XX",
        Standing::Blocked => "!!",
        Standing::Offline => "??",
    }
}

/// Returns the text, cleaned, or a dash.
pub(crate) fn or_dash(text: Option<&str>) -> String {
    text.filter(|text| !text.is_empty())
        .map_or_else(|| "-".to_owned(), clean)
}

/// Returns who, without the machine: `alice@laptop` is `alice`.
pub(crate) fn person(by: Option<&str>) -> String {
    or_dash(by.map(|by| by.split('@').next().unwrap_or(by)))
}

/// Returns ` by alice`, or nothing.
pub(crate) fn by(who: Option<&str>) -> String {
    who.map_or_else(String::new, |_| format!(" by {}", person(who)))
}

/// Returns `: "why"`, or nothing.
pub(crate) fn because(why: Option<&str>) -> String {
    why.filter(|why| !why.is_empty())
        .map_or_else(String::new, |why| format!(": \"{}\"", clean(why)))
}

/// Returns a duration in its two largest units: `8s`, `4m59s`, `2h31m`, `3d4h`.
pub(crate) fn seconds(seconds: u64) -> String {
    let (days, hours, minutes) = (seconds / 86400, seconds / 3600 % 24, seconds / 60 % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{}s", seconds % 60),
        (0, 0, _) if seconds.is_multiple_of(60) => format!("{minutes}m"),
        (0, 0, _) => format!("{minutes}m{:02}s", seconds % 60),
        (0, _, 0) => format!("{hours}h"),
        (0, _, _) => format!("{hours}h{minutes:02}m"),
        (_, 0, _) => format!("{days}d"),
        _ => format!("{days}d{hours}h"),
    }
}

/// Returns a duration in whole seconds, as [`seconds`].
pub(crate) fn duration(duration: SignedDuration) -> String {
    seconds(duration.as_secs().max(0).unsigned_abs())
}

/// Returns how long ago a stored time was: `40s ago`; nothing for what is no time.
pub(crate) fn ago(at: Option<&str>, now: Timestamp) -> Option<String> {
    let at = deploy_core::wire::time::parse(at?)?;
    Some(format!("{} ago", duration(now.duration_since(at))))
}

/// Returns a time of day for a line of progress: `19:38:02Z`.
pub(crate) fn clock(at: Timestamp) -> String {
    at.strftime("%H:%M:%SZ").to_string()
}

/// Returns when something was: the time of day, with the date where it is another day than `now`.
pub(crate) fn when(at: Option<&str>, now: Timestamp) -> String {
    let Some(time) = at.and_then(deploy_core::wire::time::parse) else {
        return or_dash(at);
    };
    let is_today = time.strftime("%F").to_string() == now.strftime("%F").to_string();
    let form = if is_today {
        "%H:%M:%SZ"
    } else {
        "%d %b %H:%M:%SZ"
    };
    time.strftime(form).to_string()
}

/// Returns bytes in a readable unit: `512 B`, `200.0 MiB`.
pub(crate) fn bytes(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["KiB", "MiB", "GiB", "TiB", "PiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    let mut value = bytes as f64 / 1024.0;
    let mut unit = 0;
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    format!("{value:.1} {}", UNITS[unit])
}

/// Returns `1 host` or `3 hosts`.
pub(crate) fn count(number: usize, what: &str) -> String {
    if number == 1 {
        format!("1 {what}")
    } else {
        format!("{number} {what}s")
    }
}

/// Returns the name among `names` that is nearest to `word`, if one is near.
pub(crate) fn nearest<'a>(word: &str, names: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    /// What clap takes for near enough.
    const NEAR: f64 = 0.7;
    names
        .into_iter()
        .map(|name| {
            (
                strsim::damerau_levenshtein(word, name),
                strsim::jaro(word, name),
                name,
            )
        })
        .filter(|(edits, likeness, _)| *edits <= 2 || *likeness > NEAR)
        .min_by(|a, b| a.0.cmp(&b.0).then(b.1.total_cmp(&a.1)))
        .map(|(_, _, name)| name)
}

/// Returns names with commas between, cut after `limit`.
pub(crate) fn list<'a>(names: impl IntoIterator<Item = &'a str>, limit: usize) -> String {
    let names: Vec<&str> = names.into_iter().collect();
    let shown = names
        .iter()
        .take(limit)
        .copied()
        .collect::<Vec<_>>()
        .join(", ");
    match names.len().checked_sub(limit) {
        Some(more) if more > 0 => format!("{shown} and {more} more"),
        _ => shown,
    }
}

#[cfg(test)]
mod tests;
