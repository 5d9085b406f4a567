//! `cargo demo`: deployd at work on this machine, with everything real but the servers.
//!
//! A real ZooKeeper, three real agents that each run a small web service and drain it with a packet
//! filter of their own, `deployctl` driving them, and clients who count what fails; every claim that
//! is printed was checked.
//!
//! ```text
//! <temporary directory>/deployd-demo-XXXXXX/
//!     zookeeper/                  its configuration, data and log
//!     builds/hello-v1.tar.gz      what the build server serves
//!     host-1/deployd.toml
//!     host-1/deployd.log
//!     host-1/state/               state_dir
//!     host-1/srv/                 dir of the service: releases, current
//!     host-1/supervisor.sock      where the agent asks for restarts
//!     host-1/hello@8001.service.log
//! ```

pub(crate) mod builds;
mod claims;
mod door;
mod farm;
mod ground;
mod host;
pub(crate) mod http;
pub(crate) mod launch;
mod network;
pub(crate) mod ports;
pub(crate) mod processes;
pub(crate) mod restart;
mod sandbox;
mod screen;
mod story;
pub(crate) mod supervisor;
mod traffic;
pub(crate) mod trial;
mod typed;
pub(crate) mod web;
pub(crate) mod zookeeper;

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Result;
use clap::Args;

use self::door::Door;
use self::farm::{Farm, Start};
use self::ground::Ground;
use self::sandbox::Sandbox;
use self::screen::Screen;
use crate::debian;
use crate::tool::{self, Profile};

/// A claim did not hold.
const NOT_AS_CLAIMED: u8 = 3;

/// What the demo can be told.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Leave everything running until Ctrl-C, to play on
    #[arg(long)]
    keep: bool,
    /// Restart instances without draining them, to see how many requests that costs
    #[arg(long)]
    no_drain: bool,
}

/// Runs the demo. Nothing is left of it, however it ends.
pub(crate) fn run(options: &Options, own_program: &Path) -> Result<ExitCode> {
    debian::install(debian::FOR_DEMO)?;
    let programs = farm::program_dir(own_program)?;
    // Into the directory that this program is in.
    let is_release = programs.ends_with("release");
    tool::build_programs(if is_release {
        Profile::Release
    } else {
        Profile::Debug
    })?;

    // Before this process leaves the network of the machine, and before it has threads.
    let [to_zookeeper, to_instance] = [Door::make()?, Door::make()?];
    let ground = Ground::find(options, own_program)?;
    let zookeeper = match ground.is_private() {
        true => to_zookeeper.open(ground.zookeeper)?,
        false => ground.zookeeper,
    };
    let to_instance = ground.is_private().then_some(to_instance);

    let sandbox = Sandbox::open(own_program)?;
    let screen = Arc::new(Screen::start());
    screen.line(&format!(
        "deployd {} at work in {}; nothing of it stays\n",
        env!("CARGO_PKG_VERSION"),
        sandbox.dir().display()
    ));
    let start = Start {
        sandbox: &sandbox,
        screen: &screen,
        programs: &programs,
        zookeeper,
    };
    let farm = Farm::start(&start, ground)?;
    let tally = match story::tell(&farm) {
        Ok(tally) => tally,
        Err(error) => {
            sandbox.defer_to_signal();
            screen.fails(&format!("{error:#}"));
            farm.print_logs();
            screen.line("\nthe demo stopped: a claim did not hold");
            return Ok(ExitCode::from(NOT_AS_CLAIMED));
        }
    };
    screen.line(&format!(
        "\n{} commands, {} claims checked, all held; {} requests, {} failed; in {:.0} s",
        tally.commands,
        tally.claims,
        tally.counted.requests,
        tally.counted.failed,
        screen.seconds()
    ));
    if options.keep {
        farm.invite(to_instance)?;
        sandbox.stay();
    }
    Ok(ExitCode::SUCCESS)
}
