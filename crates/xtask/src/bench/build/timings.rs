//! What `cargo --timings` writes: a page for people, with the figures in it as JSON.

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::Value;

/// What stands before the figures.
const MARK: &str = "const UNIT_DATA = ";

/// One thing that was compiled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Unit {
    /// The crate, and what of it.
    pub(crate) name: String,
    /// How long it took.
    pub(crate) time: Duration,
}

/// Reads the page.
pub(crate) fn read(page: &Path) -> Result<Vec<Unit>> {
    parse(&fs::read_to_string(page)?)
}

fn parse(page: &str) -> Result<Vec<Unit>> {
    let (_, rest) = page.split_once(MARK).context("it has no figures")?;
    // More script follows: the first value is all that is wanted.
    let mut values = serde_json::Deserializer::from_str(rest).into_iter::<Value>();
    let units = values.next().context("its figures are empty")??;
    let units = units.as_array().context("its figures are no list")?;
    Ok(units.iter().map(unit).collect())
}

fn unit(unit: &Value) -> Unit {
    let word = |key: &str| unit[key].as_str().unwrap_or_default().trim().to_owned();
    Unit {
        name: format!("{} {}", word("name"), word("target"))
            .trim()
            .to_owned(),
        time: Duration::from_secs_f64(unit["duration"].as_f64().unwrap_or(0.0)),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Unit, parse};

    #[test]
    fn the_figures_are_found_in_the_page() {
        let page = r#"<script>const UNIT_DATA = [{"name":"a","target":" build script","duration":1.5}];
            const CONCURRENCY_DATA = [];</script>"#;
        let unit = Unit {
            name: "a build script".to_owned(),
            time: Duration::from_millis(1500),
        };
        assert_eq!(parse(page).expect("it has figures"), [unit]);
    }
}
