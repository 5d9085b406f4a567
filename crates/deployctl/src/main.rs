//! deployctl: says what a fleet should run, and shows what it runs.
//!
//! It writes target znodes and reads reports. It must never touch a host, and holds no state of its
//! own: kill it at any moment, and the rollout goes on.

use std::process::ExitCode;

mod access;
mod again;
mod change;
mod cli;
mod complete;
mod config;
mod connect;
mod context;
mod duration;
mod exit;
mod fleet;
mod monitor;
mod out;
mod place;
mod problem;
mod run;
mod signals;
#[cfg(test)]
mod snapshot;
mod table;
mod text;
mod tree;
mod verb;
mod wait;
mod watches;

fn main() -> ExitCode {
    run::run().into()
}
