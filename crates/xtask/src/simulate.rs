//! `cargo xtask simulate`: what a fleet costs that no machine could hold. See docs/scale.md.
//!
//! The program `simulate` of the tests plays it, once for each number of hosts, and tells what happened in lines of JSON; here
//! they become tables.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{ExitCode, Stdio};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::bench::table::Table;
use crate::debian;
use crate::demo::launch::Launch;
use crate::sweep::Sweeper;
use crate::tool::{Profile, build_programs, memory_kib, root};

/// Where all files are: in memory, since the disk is not what is looked at.
const PLACE: &str = "/dev/shm";

/// What a host takes of memory, with its part of ZooKeeper and its files: what 1,000 and more took each.
const KIB_PER_HOST: u64 = 350;

/// The arguments of `cargo xtask simulate`.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// How many hosts; several numbers, with commas between, are simulated one after the other
    #[arg(long, value_delimiter = ',', default_value = "100", value_parser = clap::value_parser!(u32).range(1..))]
    hosts: Vec<u32>,
    /// Markdown, as in docs/scale.md
    #[arg(long)]
    markdown: bool,
}

/// Simulates, and prints the tables.
pub(crate) fn run(options: &Options, own_program: &Path) -> Result<ExitCode> {
    options.hosts.iter().try_for_each(|hosts| fits(*hosts))?;
    debian::install(debian::FOR_DEMO)?;
    debian::install(debian::FOR_DRAINING)?;
    build_programs(Profile::Release)?;
    let mut acts = Vec::new();
    for hosts in &options.hosts {
        acts.extend(play(*hosts, own_program)?);
    }
    for table in tables(&acts) {
        if options.markdown {
            println!("{}", table.markdown());
        } else {
            println!("{table}");
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Fails where so many hosts would not fit into the memory that is there.
fn fits(hosts: u32) -> Result<()> {
    let needed = u64::from(hosts) * KIB_PER_HOST;
    if let Some(kib) = memory_kib("MemAvailable").filter(|kib| *kib < needed) {
        let [needed, kib] = [needed, kib].map(|kib| kib.div_ceil(1 << 20));
        bail!("{hosts} hosts take some {needed} GiB of memory, and {kib} GiB are available");
    }
    Ok(())
}

/// Plays a fleet of so many hosts, in a process of its own: what one takes of memory, the next has again.
fn play(hosts: u32, own_program: &Path) -> Result<Vec<Value>> {
    let dir = tempfile::Builder::new()
        .prefix("deploy-simulation-")
        .tempdir_in(PLACE)
        .with_context(|| format!("failed to make a directory in {PLACE}"))?;
    // Until all is played.
    let (_sweeper, dir) = Sweeper::start(own_program, dir, &[])?;
    let program = root().join("target/release/simulate");
    let mut child = Launch::command(own_program, &program)
        .arg(hosts.to_string())
        // What is missing must not be skipped.
        .env("DEPLOY_TEST_REQUIRE", "zookeeper")
        .env("TMPDIR", &dir)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .with_context(|| format!("failed to start {}", program.display()))?;
    let lines = child.stdout.take().context("its output is piped")?;
    let mut acts = Vec::new();
    for line in BufReader::new(lines).lines() {
        let line = line.context("failed to read what the simulation says")?;
        eprintln!("{line}");
        acts.push(serde_json::from_str(&line).context("the simulation said something odd")?);
    }
    let status = child.wait().context("failed to wait for the simulation")?;
    if !status.success() {
        bail!("the simulation of {hosts} hosts failed: {status}");
    }
    Ok(acts)
}

/// What a column shows: its head, the figure, and how that is written.
type Column = (&'static str, &'static str, fn(f64) -> String);

const COST: &[Column] = &[
    ("requests", "requests", tenths),
    ("sent", "bytes_to", kilobytes),
    ("got", "bytes_from", kilobytes),
    ("watches", "watches", tenths),
];
const ROLLOUT: &[Column] = &[
    ("first step p50", "reaction_p50_s", seconds),
    ("p99", "reaction_p99_s", seconds),
    ("all serve", "served_s", seconds),
    ("all reported", "reported_s", seconds),
    ("requests", "requests", tenths),
    ("sent", "bytes_to", kilobytes),
    ("got", "bytes_from", kilobytes),
    ("watches", "watches", tenths),
];
const REST: &[Column] = &[
    ("requests", "requests", tenths),
    ("heartbeats", "heartbeats", tenths),
    ("sent", "bytes_to", kilobytes),
    ("got", "bytes_from", kilobytes),
    ("watches", "watches", tenths),
];
const MOVING: &[Column] = &[
    ("times a second", "places_per_s", tenths),
    ("requests", "requests", tenths),
    ("sent", "bytes_to", kilobytes),
    ("got", "bytes_from", kilobytes),
];
const COMEBACK: &[Column] = &[
    ("away", "away_s", seconds),
    ("all linked", "linked_s", seconds),
    ("settled", "settled_s", seconds),
    ("connections", "connects", tenths),
    ("most of all in 100 ms", "connects_peak", whole),
    ("requests", "requests", tenths),
    ("most of all in 100 ms", "requests_peak", whole),
];

/// A table for each act: its title, its name, its columns.
const ACTS: &[(&str, &str, &[Column])] = &[
    (
        "The first build, no waiting for leases; of each host",
        "first",
        ROLLOUT,
    ),
    (
        "Another build, no waiting for leases; of each host",
        "free",
        ROLLOUT,
    ),
    (
        "Back to the build before, which is on every disk, no waiting for leases; of each host",
        "back",
        ROLLOUT,
    ),
    (
        "Restart concurrency 10 %, a restart takes 0.2 s; of each host",
        "leased",
        ROLLOUT,
    ),
    (
        "A hundred targets in quick succession; of each host",
        "burst",
        ROLLOUT,
    ),
    ("Nothing to do; of each host in a minute", "rest", REST),
    (
        "Restart concurrency 1, and nobody gets on: joining the queue, or waiting outside; of each host",
        "joining",
        COST,
    ),
    ("Waiting so; of each host in a minute", "waiting", COST),
    (
        "The lease goes from one to the next; each time, of all hosts together",
        "moving",
        MOVING,
    ),
    (
        "ZooKeeper is killed and started again; of each host",
        "restart",
        COMEBACK,
    ),
];

fn tables(acts: &[Value]) -> Vec<Table> {
    let tables = ACTS
        .iter()
        .map(|(title, act, columns)| table(acts, (title, act), columns));
    let mut tables: Vec<_> = tables.filter(|table| !table.rows.is_empty()).collect();
    if let Some(last) = tables.last_mut() {
        last.note("In all of it: requests of hosts to ZooKeeper, heartbeats left out; sent by and got by hosts, on their connections to it.");
    }
    tables
}

fn table(acts: &[Value], (title, wanted): (&str, &str), columns: &[Column]) -> Table {
    let mut table = Table::new(title, ["hosts"]);
    table
        .columns
        .extend(columns.iter().map(|(head, ..)| (*head).to_owned()));
    for act in acts.iter().filter(|act| act["act"] == wanted) {
        let cells = columns.iter().map(|(_, figure, write)| {
            let value = act["figures"][*figure].as_f64();
            value.map_or_else(|| "-".to_owned(), write)
        });
        table.row(std::iter::once(act["hosts"].to_string()).chain(cells));
    }
    table
}

fn seconds(value: f64) -> String {
    format!("{value:.2} s")
}

fn tenths(value: f64) -> String {
    format!("{value:.1}")
}

fn whole(value: f64) -> String {
    format!("{value:.0}")
}

fn kilobytes(value: f64) -> String {
    format!("{:.1} kB", value / 1000.0)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::tables;

    #[test]
    fn each_number_of_hosts_is_a_row_and_what_was_not_measured_is_left_out() {
        let act = |hosts: u32| json!({"act": "rest", "hosts": hosts, "figures": {"requests": 1.25, "bytes_to": 1500}});
        let tables = tables(&[act(10), act(20)]);
        let [rest] = tables.as_slice() else {
            panic!("{tables:?}")
        };
        assert_eq!(rest.rows.len(), 2);
        assert_eq!(rest.rows[1], ["20", "1.2", "-", "1.5 kB", "-", "-"]);
    }
}
