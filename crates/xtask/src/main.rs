//! The developer's commands: `cargo xtask demo | fleet | test | bench | simulate | dist | ci | tidy`.
//!
//! Nothing here is needed to run `deployd` or `deployctl`. What the demo starts, this program
//! also is: the hidden subcommands are the processes of the demo.

mod bench;
mod ci;
mod debian;
mod demo;
mod dist;
mod fleet;
mod netns;
mod simulate;
mod sweep;
mod tidy;
mod tool;

use std::env;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Parser;

use crate::bench::reaction::crowd::Crowd;
use crate::demo::launch::Launch;
use crate::demo::restart::Ask;
use crate::demo::trial::Trial;
use crate::demo::web::Web;
use crate::sweep::Sweep;

#[derive(Debug, Parser)]
#[command(bin_name = "cargo xtask", version, about = "The developer's commands")]
enum Task {
    /// See deployd at work: ZooKeeper, three agents and a day's deployments on this machine
    Demo(demo::Options),
    /// Boot real hosts on this machine, with deployd as a systemd service, and break them
    Fleet(fleet::Fleet),
    /// Build the programs and run the tests; what is missing is installed first
    Test {
        /// Those on real hosts too, see docs/fleet.md: they need root, and take minutes
        #[arg(long)]
        fleet: bool,
        /// Passed on to `cargo test --workspace`, such as `plan -- --nocapture`
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<String>,
    },
    /// Everything that must be green before a push: fmt, clippy, doc, tidy, deny, unit, test, demo
    Ci,
    /// Measure what deployd costs beside named peers and limits, see docs/performance.md: some minutes
    Bench(bench::Options),
    /// Play a fleet of many hosts in few processes, and count what it costs, see docs/scale.md: some minutes
    Simulate(simulate::Options),
    /// Make the Debian packages, below target/dist
    Dist(dist::Options),
    /// Check the rules of docs/architecture.md
    Tidy,
    #[command(hide = true)]
    BenchCrowd(Crowd),
    #[command(hide = true)]
    DemoLaunch(Launch),
    #[command(hide = true)]
    DemoRestart(Ask),
    #[command(hide = true)]
    DemoTrial(Trial),
    #[command(hide = true)]
    DemoWeb(Web),
    #[command(hide = true)]
    Sweep(Sweep),
}

fn main() -> ExitCode {
    match run(Task::parse()) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error}");
            for cause in error.chain().skip(1) {
                eprintln!("  caused by: {cause}");
            }
            ExitCode::FAILURE
        }
    }
}

fn run(task: Task) -> Result<ExitCode> {
    match task {
        Task::Demo(options) => demo::run(&options, &own_program()?),
        Task::Fleet(fleet) => fleet::run(&fleet, &own_program()?),
        Task::Test { fleet: false, args } => ci::test(&args),
        Task::Test { fleet: true, args } => ci::test_with_fleet(&own_program()?, &args),
        Task::Bench(options) => bench::run(&options, &own_program()?),
        Task::Simulate(options) => simulate::run(&options, &own_program()?),
        Task::Dist(options) => dist::run(&options),
        Task::Ci => ci::run(&own_program()?),
        Task::Tidy => tidy::run(),
        Task::BenchCrowd(crowd) => crowd.run(),
        Task::DemoLaunch(launch) => launch.exec(),
        Task::DemoRestart(ask) => ask.run(),
        Task::DemoTrial(trial) => trial.run(),
        Task::DemoWeb(web) => web.run(),
        Task::Sweep(sweep) => sweep.run(),
    }
}

/// Returns the path of this program. Asked at the start: a later build may replace the file, and
/// from then on the system calls the running one deleted.
fn own_program() -> Result<PathBuf> {
    env::current_exe().context("failed to find the path of this program")
}
