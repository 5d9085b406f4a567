//! What systemd's journal has of a unit, by its own program.

use serde_json::Value;

use super::{ANSWER_TIME, job, show};
use crate::host::process::output::{TAIL_LINES, tail};
use crate::host::process::{read, run};

/// What tells the start that a line belongs to: the first stands with lines of the unit's processes,
/// the second with what systemd says about it.
const START_FIELDS: [&str; 2] = ["_SYSTEMD_INVOCATION_ID", "INVOCATION_ID"];

/// Returns the last lines that a unit has logged, and systemd about it, since somebody started it
/// last. Where systemd has started it again by itself since then, the lines of the starts before
/// stand there as well: they say why.
pub(crate) async fn log(unit: &str) -> Vec<String> {
    sync().await;
    // Without `--all` a long line has no text.
    let words = ["--all", "--output=json"].map(str::to_owned);
    let arguments = ask(&[&words[..], &[format!("--unit={unit}")]].concat());
    let text = read(&job(&arguments, ANSWER_TIME)).await;
    // Asked for after the lines: a start that came between costs a line too many, and none too few.
    let restarts = show(unit).await.map_or(0, |unit| unit.restarts);
    let text = text.map(|(_, text)| text).unwrap_or_default();
    of_last_starts(&text, restarts.saturating_add(1))
}

/// Returns the last lines of the journal that match; none where it can't be read.
pub(super) async fn lines(matches: &[String]) -> Vec<String> {
    let arguments = ask(&[&["--output=cat".to_owned()], matches].concat());
    let ended = run(&job(&arguments, ANSWER_TIME)).await;
    ended.map(|ended| ended.tail).unwrap_or_default()
}

/// Lets the journal take what is on its way: the last words of a program that ends at once may be.
/// Where it can't be waited for, what has arrived is better than nothing.
pub(super) async fn sync() {
    let sync = ["journalctl", "--sync"].map(str::to_owned);
    let _ = run(&job(&sync, ANSWER_TIME)).await;
}

fn ask(arguments: &[String]) -> Vec<String> {
    let lines = format!("--lines={TAIL_LINES}");
    let words = ["journalctl", "--quiet", "--no-pager", &lines].map(str::to_owned);
    [&words, arguments].concat()
}

/// Returns the lines of the last `starts` of a unit, from the journal's lines about it. Those of
/// which the journal doesn't know the start are among them.
fn of_last_starts(text: &str, starts: u64) -> Vec<String> {
    let mut seen: Vec<String> = Vec::new();
    let mut kept = Vec::new();
    for line in text.lines().rev() {
        let Ok(line) = serde_json::from_str::<Value>(line) else {
            continue;
        };
        let start = START_FIELDS.iter().find_map(|field| line[field].as_str());
        if let Some(start) = start
            && !seen.iter().any(|seen| seen == start)
        {
            if u64::try_from(seen.len()).is_ok_and(|seen| seen >= starts) {
                break;
            }
            seen.push(start.to_owned());
        }
        kept.push(message(&line["MESSAGE"]));
    }
    kept.reverse();
    tail(&kept.join(&b'\n'))
}

/// A line that is no text stands there as its bytes.
fn message(value: &Value) -> Vec<u8> {
    match value {
        Value::String(text) => text.clone().into_bytes(),
        Value::Array(bytes) => {
            let bytes = bytes.iter().map(|byte| byte.as_u64()?.try_into().ok());
            bytes.collect::<Option<_>>().unwrap_or_default()
        }
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::of_last_starts;

    #[test]
    fn a_start_that_systemd_has_made_again_does_not_hide_why_the_one_before_failed() {
        let lines = [
            json!({"INVOCATION_ID": "a", "MESSAGE": "Starting v1"}),
            json!({"_SYSTEMD_INVOCATION_ID": "a", "INVOCATION_ID": "x", "MESSAGE": "I am v1"}),
            json!({"INVOCATION_ID": "b", "MESSAGE": "Starting v2"}),
            json!({"_SYSTEMD_INVOCATION_ID": "b", "MESSAGE": "no\tURL \u{1b}[31m"}),
            json!({"MESSAGE": [110, 111, 255]}),
            json!({"INVOCATION_ID": "b", "MESSAGE": "Failed to start"}),
            json!({"INVOCATION_ID": "c", "MESSAGE": "Starting v2"}),
        ];
        let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
        // As systemd says it: started again once.
        let since = of_last_starts(&text, 2);
        let wanted = [
            "Starting v2",
            "no    URL \\u{1b}[31m",
            "no\u{fffd}",
            "Failed to start",
            "Starting v2",
        ];
        assert_eq!(since, wanted);
        assert_eq!(of_last_starts(&text, 1), ["Starting v2"]);
        assert_eq!(of_last_starts(&text, 9).len(), lines.len());
        assert_eq!(of_last_starts("", 1), Vec::<String>::new());
        assert_eq!(
            of_last_starts("{\"MESSAGE\": \"cut", 1),
            Vec::<String>::new()
        );
    }
}
