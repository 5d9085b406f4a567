//! `deployd log-level`: log more, or less, for a while.

use std::time::Duration;

use serde_json::json;

use super::{Exit, order};
use crate::config::Config;
use crate::log;

/// Change what the running deployd logs, for a while; then it is as configured again
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// error, warn, info, debug, trace, or a list such as `info,deployd::perform=debug`
    level: String,
    /// For how long, as in 90s, 10m, 2h
    #[arg(long = "for", value_name = "TIME", value_parser = time, default_value = "10m")]
    time: Duration,
}

/// Asks for it.
///
/// # Errors
/// None: what goes wrong is told.
pub(crate) async fn run(config: &Config, arguments: &Arguments) -> anyhow::Result<Exit> {
    if let Err(error) = log::levels(&arguments.level) {
        eprintln!("error: {error}\n  tip: deployd log-level debug --for 10m");
        return Ok(Exit::Usage);
    }
    let wish = json!({ "level": arguments.level, "for_s": arguments.time.as_secs() });
    Ok(order(config, ("/v1/log-level", wish)).await)
}

fn time(text: &str) -> Result<Duration, String> {
    let expected = || format!("`{text}` is no time; expected 90s, 10m or 2h, and at most 24h");
    let (at, unit) = text.char_indices().last().ok_or_else(expected)?;
    let unit_s = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3600,
        _ => return Err(expected()),
    };
    let number: u64 = text[..at].parse().map_err(|_| expected())?;
    let time = Duration::from_secs(number.saturating_mul(unit_s));
    match time {
        Duration::ZERO => Err(expected()),
        time if time > log::TIME_MAX => Err(expected()),
        time => Ok(time),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::time;

    #[test]
    fn a_time_is_a_number_and_one_unit() {
        assert_eq!(time("90s"), Ok(Duration::from_secs(90)));
        assert_eq!(time("24h"), Ok(Duration::from_secs(86_400)));
        for text in ["", "m", "10", "10mm", "0s", "25h", "-1s", "1d", "10µ"] {
            assert!(time(text).is_err(), "{text}");
        }
    }
}
