//! Durations on the command line: `90s`, `10m`, `2h30m`.

use jiff::SignedDuration;

/// The longest that is accepted: ten years.
const LONGEST: SignedDuration = SignedDuration::from_hours(10 * 365 * 24);

/// Parses a duration.
///
/// # Errors
/// Without a unit, zero, negative, or above ten years; the text says what to write.
pub(crate) fn parse(text: &str) -> Result<SignedDuration, String> {
    let text = text.trim();
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(format!(
            "a unit is missing; write {text}s, {text}m or 1h30m"
        ));
    }
    let parsed: SignedDuration = text
        .parse()
        .map_err(|_| "write a duration like 90s, 10m or 2h30m".to_owned())?;
    if parsed <= SignedDuration::ZERO {
        return Err("it must be longer than nothing".to_owned());
    }
    if parsed > LONGEST {
        return Err("it must be at most ten years".to_owned());
    }
    Ok(parsed)
}

#[cfg(test)]
mod tests;
