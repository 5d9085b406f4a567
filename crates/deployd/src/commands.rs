//! What deployd can be asked to do, one file per command.

use std::process::ExitCode;

use serde_json::Value;

use crate::chain::Chain;
use crate::config::Config;
use crate::face::ask::{self, AskError};

pub(crate) mod check;
pub(crate) mod fetch;
pub(crate) mod log_level;
pub(crate) mod pages;
pub(crate) mod plan;
pub(crate) mod reload;
pub(crate) mod run;
pub(crate) mod status;
pub(crate) mod undrain;
pub(crate) mod unpack;

/// How a command ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    /// 0: done and healthy.
    Done,
    /// 2: the command line or the configuration is wrong.
    Usage,
    /// 3: with `run --once`, the target failed or can't be reached.
    Failed,
    /// 5: refused, nothing changed: another deployd runs here.
    Refused,
    /// 7: ZooKeeper could not be reached.
    ZooKeeper,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> ExitCode {
        ExitCode::from(match exit {
            Exit::Done => 0,
            Exit::Usage => 2,
            Exit::Failed => 3,
            Exit::Refused => 5,
            Exit::ZooKeeper => 7,
        })
    }
}

/// Asks the agent that runs here to change something, and prints what has changed, or why nothing has.
async fn order(config: &Config, wish: (&str, Value)) -> Exit {
    match ask::post(&config.state_dir, wish).await {
        Ok(text) => {
            print!("{text}");
            Exit::Done
        }
        Err(AskError::Refused(text)) => {
            eprintln!("error: {text}");
            Exit::Usage
        }
        Err(error) => {
            eprintln!("error: {}\n  tip: systemctl start deployd", Chain(&error));
            Exit::Refused
        }
    }
}
