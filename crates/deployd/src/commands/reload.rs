//! `deployd reload`: follow the configuration as it is now.

use std::path::Path;

use serde_json::Value;

use super::{Exit, order};
use crate::chain::Chain;
use crate::config;

/// Have the running deployd follow its configuration as it is now; a wrong one changes nothing
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {}

/// Asks for it and prints what has changed. A wrong file exits 2, as with `check`, and so does what can't be changed
/// while deployd runs.
///
/// # Errors
/// Where the answer makes no sense.
pub(crate) async fn run(path: &Path) -> anyhow::Result<Exit> {
    // Where the agent is, is in the file; where that is wrong, the agent need not be asked.
    let config = match config::load(path) {
        Ok(config) => config,
        Err(error) => {
            eprintln!("error: {}", Chain(&error));
            return Ok(Exit::Usage);
        }
    };
    Ok(order(&config, ("/v1/reload", Value::Null)).await)
}
