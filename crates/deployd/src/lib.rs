//! deployd: brings one host to the builds that ZooKeeper names.
//!
//! Imports run one way: `commands → agent → {inputs, observe, perform, report, publish} → host`;
//! `host` knows Linux and nothing of deployments. Everything may import `deploy_core`.
//!
//! What is public is little: [`program`] is all of `deployd`, and [`simulate`] is many agents in one process, to measure what
//! a fleet costs that no machine could hold.

pub mod program;
pub mod simulate;

mod agent;
mod chain;
mod commands;
mod config;
mod crew;
mod drains;
mod face;
mod host;
mod inputs;
mod journal;
mod lease;
mod log;
mod metrics;
mod observe;
mod perform;
mod publish;
mod report;
mod setup;
