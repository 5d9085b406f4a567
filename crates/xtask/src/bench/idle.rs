//! What an agent with nothing to do costs.

mod peer;
mod sample;

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};

use self::sample::{Cost, Footprint, Spent};
use super::farm::builds::Build;
use super::farm::{Farm, Size};
use super::ground::Ground;
use super::table::Table;
use crate::demo::http;

/// What is watched for each round that was asked for: as long as an agent takes to read all its znodes again, which is
/// most of what it asks ZooKeeper at rest.
const WINDOW: Duration = Duration::from_secs(60);
const SERVICES: &[&str] = &["web", "api", "jobs"];
const SIZE: Size = Size {
    agents: 1,
    services: SERVICES,
    instances: 2,
    heap: "256m",
};
const MEGABYTE: usize = 1_000_000;
/// After a rollout: threads that wait for more work end after 10 s.
const SETTLE_TIME: Duration = Duration::from_secs(15);
/// Measured in half an hour without anything to do, on another machine of this kind.
const ELSEWHERE: [(&str, &str, &str, &str); 5] = [
    (
        "CodeDeploy agent 1.x (Ruby), both processes",
        "71 MB",
        "2",
        "55 s",
    ),
    ("puppet agent", "68 MB", "2", "–"),
    ("Teletraan's deploy-agent (Python)", "30 MB", "1", "35 s"),
    ("kazoo watcher (Python)", "30 MB", "4", "40 s"),
    (
        "zookeeper-async (Rust), one watch, no more",
        "5.4 MB",
        "3",
        "3 s",
    ),
];

/// One who is watched, and what came of it.
struct Row {
    name: &'static str,
    cost: Cost,
    /// System calls in a minute.
    calls: Option<u64>,
    /// Requests to ZooKeeper.
    requests: Option<u64>,
}

/// Measures it.
pub(crate) fn run(ground: &Ground) -> Result<Vec<Table>> {
    let farm = Farm::start(ground, SIZE)?;
    let agent = &farm.agents[0];
    let small = Build::pack("small", MEGABYTE)?;
    let large = Build::pack("large", 200 * MEGABYTE)?;
    for service in SERVICES {
        farm.deploy(service, &small)?;
    }
    thread::sleep(SETTLE_TIME);
    let mut watched = vec![("deployd", agent.id())];
    let watches = ["/deploy/web/enabled", &farm.zookeeper.to_string()].map(str::to_owned);
    let missing = match peer::start(ground, (&farm, &watches)) {
        Ok(peer) => {
            watched.push((peer::NAME, peer.id()));
            None
        }
        Err(error) => Some(format!("{} could not be run: {error:#}", peer::NAME)),
    };
    let window = WINDOW * ground.rounds;
    let asked = requests(agent.metrics())?;
    let mut rows = watch(&watched, window)?;
    rows[0].requests = Some(requests(agent.metrics())? - asked);
    for (row, (_, id)) in rows.iter_mut().zip(&watched) {
        row.calls = calls(*id, WINDOW);
    }
    let before = Footprint::of(agent.id())?;
    farm.deploy("web", &large)?;
    let at_once = Footprint::of(agent.id())?;
    thread::sleep(SETTLE_TIME);
    let later = Footprint::of(agent.id())?;
    let mut idle = idle_table(&rows, window);
    idle.notes.extend(missing);
    Ok(vec![
        idle,
        memory_table([before, at_once, later]),
        sizes(ground)?,
    ])
}

/// What these processes cost while nothing is to be done.
fn watch(watched: &[(&'static str, u32)], window: Duration) -> Result<Vec<Row>> {
    let begin = watched.iter().map(|(_, id)| Spent::of(*id));
    let begin: Vec<Spent> = begin.collect::<Result<_>>()?;
    thread::sleep(window);
    let mut rows = Vec::new();
    for ((name, id), begin) in watched.iter().zip(begin) {
        let cost = Cost {
            footprint: Footprint::of(*id)?,
            spent: Spent::of(*id)?.since(&begin),
        };
        rows.push(Row {
            name,
            cost,
            calls: None,
            requests: None,
        });
    }
    Ok(rows)
}

fn idle_table(rows: &[Row], window: Duration) -> Table {
    let columns = [
        "agent",
        "RSS",
        "PSS",
        "threads",
        "CPU/day",
        "wake-ups/min",
        "system calls/min",
        "ZooKeeper requests/min",
        "open files",
    ];
    let mut table = Table::new("An agent with nothing to do", columns);
    let unknown = || "–".to_owned();
    let minutes = window.as_secs_f64() / 60.0;
    let per_minute = |count: u64| format!("{:.0}", count as f64 / minutes);
    for row in rows {
        let Cost { footprint, spent } = row.cost;
        let cpu = (spent.cpu + spent.children).as_secs_f64() / minutes * 1440.0;
        table.row([
            row.name.to_owned(),
            megabytes(footprint.rss_bytes),
            megabytes(footprint.pss_bytes),
            footprint.threads.to_string(),
            format!("{cpu:.1} s"),
            per_minute(spent.wake_ups),
            row.calls.map_or_else(unknown, |calls| calls.to_string()),
            row.requests.map_or_else(unknown, per_minute),
            footprint.files.to_string(),
        ]);
    }
    for (name, rss, threads, cpu) in ELSEWHERE {
        let known = [&format!("{name} †"), rss, "–", threads, cpu];
        let known = known.map(str::to_owned).into_iter();
        table.row(known.chain((0..4).map(|_| unknown())));
    }
    let seconds = window.as_secs();
    table.note(format!(
        "Three services of two instances each, deployed, and metrics served, for {seconds} s. What deployd runs is \
         counted with it, what the instances do is not. † measured elsewhere, in half an hour."
    ));
    table
}

fn memory_table(footprints: [Footprint; 3]) -> Table {
    let mut table = Table::new(
        "Memory after a build of 200 MB",
        ["when", "RSS", "PSS", "threads"],
    );
    let moments = ["before it", "at once after it", "15 s after it"];
    for (moment, footprint) in moments.iter().zip(footprints) {
        let Footprint {
            rss_bytes,
            pss_bytes,
            threads,
            ..
        } = footprint;
        table.row([
            (*moment).to_owned(),
            megabytes(rss_bytes),
            megabytes(pss_bytes),
            threads.to_string(),
        ]);
    }
    table
}

fn sizes(ground: &Ground) -> Result<Table> {
    let mut table = Table::new("Size of the programs", ["program", "size"]);
    for program in [&ground.deployd, &ground.deployctl] {
        let facts = fs::metadata(program);
        let facts = facts.with_context(|| format!("failed to look at {}", program.display()))?;
        let name = program.file_name().unwrap_or_default().to_string_lossy();
        table.row([name.into_owned(), megabytes(facts.len())]);
    }
    Ok(table)
}

fn megabytes(bytes: u64) -> String {
    format!("{:.1} MB", bytes as f64 / 1e6)
}

/// How many requests an agent has sent to ZooKeeper, by its own count.
fn requests(metrics: std::net::SocketAddr) -> Result<u64> {
    let answer = http::fetch(metrics, "/metrics")?;
    let text = String::from_utf8_lossy(&answer.body);
    let mut lines = text.lines();
    let count = lines.find_map(|line| line.strip_prefix("deployd_zookeeper_requests_total "));
    count
        .and_then(|count| count.parse().ok())
        .context("no count of requests in the metrics")
}

/// The system calls of a process in this time; `None` where nobody can count them.
fn calls(id: u32, window: Duration) -> Option<u64> {
    let summary = tempfile::NamedTempFile::new().ok()?;
    let mut command = Command::new("timeout");
    command.args(["--signal=INT", &window.as_secs().to_string()]);
    command.args(["strace", "-c", "-f", "-p", &id.to_string(), "-o"]);
    command.arg(summary.path());
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    // It ends by the signal, whatever that makes of its exit code.
    command.status().ok()?;
    total(summary.path())
}

fn total(summary: &Path) -> Option<u64> {
    let text = fs::read_to_string(summary).ok()?;
    let line = text.lines().find(|line| line.ends_with(" total"))?;
    line.split_whitespace().nth(3)?.parse().ok()
}
