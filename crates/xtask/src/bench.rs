//! `cargo xtask bench`: what deployd costs, beside named peers and limits, measured in turn in one run.
//!
//! Times of one machine mean nothing on another; ratios do. So each part measures ours and the others in
//! the same rounds, and prints medians. No test depends on a time.
//!
//! A part is a module with `run(&Ground) -> Result<Vec<Table>>`; nothing else is needed to add one.

mod build;
mod deployctl;
mod disk;
mod farm;
mod files;
mod flip;
mod ground;
mod idle;
mod page;
mod push;
pub(crate) mod reaction;
mod release;
mod rounds;
mod spent;
pub(crate) mod table;

use std::env;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, ExitCode};

use anyhow::{Context, Result};
use clap::ValueEnum;

use self::ground::Ground;
use self::table::Table;
use crate::tool::{Profile, build_programs, root};

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Part {
    /// What an agent with nothing to do costs
    Idle,
    /// What deployd adds to the restart of an instance
    Flip,
    /// How soon an agent begins with what is wanted
    Reaction,
    /// What somebody waits for at the command line
    Deployctl,
    /// What it costs to fetch, verify and unpack a build
    Release,
    /// A build to many hosts, beside tools that push it over ssh
    Push,
    /// Building the workspace from nothing: many minutes, and only where it is named
    Build,
}

impl Part {
    /// Those that are measured where none is named.
    fn by_default() -> Vec<Part> {
        let all = Part::value_variants().iter().copied();
        all.filter(|part| *part != Part::Build).collect()
    }
}

/// The arguments of `cargo xtask bench`.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// What is measured [default: everything but `build`]
    #[arg(value_enum)]
    parts: Vec<Part>,
    /// How often each contender is measured, in turn; the median counts
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// Put the tables into docs/performance.md, in the place of those of an earlier run
    #[arg(long)]
    write: bool,
}

/// Measures, prints the tables, and writes them down where that is wished.
pub(crate) fn run(options: &Options, own_program: &Path) -> Result<ExitCode> {
    if cfg!(debug_assertions) {
        return Err(run_optimised());
    }
    let ground = Ground::new(options.rounds, own_program)?;
    let parts = match options.parts.as_slice() {
        [] => Part::by_default(),
        named => named.to_vec(),
    };
    if options.write {
        parts
            .iter()
            .try_for_each(|part| page::check(&name(*part)))?;
    }
    // Before a table is written, which makes the commit dirty.
    let machine = ground.machine();
    println!("{machine}\n");
    for part in parts {
        let tables = measure(part, &ground)?;
        tables.iter().for_each(|table| println!("{table}"));
        if options.write {
            page::write(&name(part), &head(part, &machine, ground.rounds), &tables)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn measure(part: Part, ground: &Ground) -> Result<Vec<Table>> {
    eprintln!("measuring: {}", name(part));
    match part {
        Part::Idle => idle::run(ground),
        Part::Flip => flip::run(ground),
        Part::Reaction => reaction::run(ground),
        Part::Deployctl => deployctl::run(ground),
        Part::Push => push::run(ground),
        Part::Build => build::run(ground),
        Part::Release => release::run(ground),
    }
    .with_context(|| format!("failed to measure {}", name(part)))
}

/// What the tables of a part were measured on, and how often.
fn head(part: Part, machine: &str, rounds: u32) -> String {
    match part {
        // Both say how long, or that it was once.
        Part::Idle | Part::Build => machine.to_owned(),
        _ => format!("{machine}, medians of {rounds}"),
    }
}

fn name(part: Part) -> String {
    let value = part.to_possible_value();
    value.map_or_else(String::new, |value| value.get_name().to_owned())
}

/// Builds all programs as they are shipped, and becomes the optimised one of these: what measures must not be what is slow.
/// Returns only where that fails.
fn run_optimised() -> anyhow::Error {
    if let Err(error) = build_programs(Profile::Release) {
        return error;
    }
    let program = root().join("target/release/xtask");
    let error = Command::new(&program).args(env::args_os().skip(1)).exec();
    anyhow::Error::new(error).context(format!("failed to start {}", program.display()))
}
