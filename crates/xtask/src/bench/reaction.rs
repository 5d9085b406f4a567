//! How soon agents begin with what is wanted, while thousands of others watch the same.
//!
//! A write of the target names a new build, which is only to be made ready (`percent` 0). The first step of an
//! agent is to fetch it, so the request at the server of the builds is seen from outside, at the end of
//! everything that the agent does before.

pub(crate) mod crowd;

use std::io::{BufRead, BufReader, Lines};
use std::process::{ChildStdout, Stdio};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use super::farm::builds::Build;
use super::farm::jute::Session;
use super::farm::{Farm, Size};
use super::ground::Ground;
use super::rounds::Samples;
use super::table::{Table, milliseconds};
use crate::demo::processes::Process;

/// How many agents, and how many sessions that watch the target besides them.
const FLEETS: [(usize, &[usize]); 2] = [(1, &[0]), (10, &[0, 1_000, 10_000])];
/// For each round that was asked for. ZooKeeper compiles what it does often while it does it: half as many show that.
const WRITES: u32 = 8;
const TARGET: &str = "/deploy/web/enabled";
/// How long an agent may take until it counts as deaf.
const LIMIT: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(20);

/// Measures it.
pub(crate) fn run(ground: &Ground) -> Result<Vec<Table>> {
    let mut table = Table::new(
        "From the write of the target to the first step",
        [
            "sessions that watch it",
            "of them agents",
            "p50",
            "p99",
            "slowest",
            "the last of the crowd, p50",
        ],
    );
    for (agents, crowds) in FLEETS {
        measure(ground, agents, crowds, &mut table)?;
    }
    table.note(format!(
        "{} writes each. From before the write is sent until the agent's request for the build arrives; the crowd does what an agent does at a change, and its last is counted from the first event.",
        ground.rounds * WRITES
    ));
    Ok(vec![table])
}

/// Measures so many agents, alone and beside each of `crowds`.
fn measure(ground: &Ground, agents: usize, crowds: &[usize], table: &mut Table) -> Result<()> {
    let size = Size {
        agents,
        services: &["web"],
        instances: 1,
        heap: "1g",
    };
    let farm = Farm::start(ground, size)?;
    let first = Build::pack("first", 1000)?;
    farm.register("web", &first)?;
    let policy = format!("restart_concurrency={agents}");
    farm.tell(&["policy", "web", &policy])?;
    farm.tell(&["deploy", "web", &first.name, "-m", "bench"])?;
    let mut session = Session::connect(farm.zookeeper)?;
    let mut write = 0;
    for size in crowds {
        let mut crowd = Crowd::gather(&farm, *size)?;
        let (mut times, mut lasts) = (Vec::new(), Vec::new());
        // The first does not count.
        for round in 0..=ground.rounds * WRITES {
            write += 1;
            let seen = react(&farm, &mut session, write)?;
            let last = crowd.last()?;
            if round > 0 {
                times.extend(seen);
                lasts.extend(last);
            }
        }
        let last = match size {
            0 => "–".to_owned(),
            _ => milliseconds(Samples::of("crowd", lasts).median()),
        };
        let times = Samples::of("agents", times);
        let quantiles = [0.5, 0.99, 1.0].map(|share| milliseconds(times.quantile(share)));
        let sessions = [size + agents, agents].map(|count| count.to_string());
        table.row(sessions.into_iter().chain(quantiles).chain([last]));
    }
    Ok(())
}

/// Writes a target, and returns how long each agent took to its first step; all have finished with it then.
fn react(farm: &Farm, session: &mut Session, write: u32) -> Result<Vec<Duration>> {
    let build = Build::pack(&format!("r{write}"), 1000)?;
    let url = farm.builds.url(&build);
    let mut target: Value = serde_json::from_slice(&session.get(TARGET)?)?;
    target["build"] = json!(build.name);
    target["artifact"] = json!({"url": url, "sha256": build.sha256, "size": build.archive.len()});
    target["percent"] = json!(0);
    let target = serde_json::to_vec(&target)?;
    let sent = Instant::now();
    session.set(TARGET, &target)?;
    let deadline = Instant::now() + LIMIT;
    for agent in &farm.agents {
        let report = format!("/deploy/web/hosts/{}", agent.host);
        while !is_ready(session, (&report, &build.name))? {
            if Instant::now() > deadline {
                bail!("{} has not made {} ready", agent.host, build.name);
            }
            thread::sleep(POLL);
        }
    }
    let asked = farm.builds.asked_for(&build.name);
    Ok(asked
        .into_iter()
        .take(farm.agents.len())
        .map(|at| at - sent)
        .collect())
}

fn is_ready(session: &mut Session, (report, build): (&str, &str)) -> Result<bool> {
    let report: Value = serde_json::from_slice(&session.get(report)?)?;
    Ok(report["target"] == build && report["phase"] == "staged")
}

/// Sessions that watch the target, in a process of their own.
struct Crowd {
    process: Option<(Arc<Process>, Lines<BufReader<ChildStdout>>)>,
}

impl Crowd {
    /// Returns when all watch.
    fn gather(farm: &Farm, size: usize) -> Result<Crowd> {
        if size == 0 {
            return Ok(Crowd { process: None });
        }
        let processes = farm.processes();
        let (address, size) = (farm.zookeeper.to_string(), size.to_string());
        let process = processes.start("the crowd", processes.own_program(), |command| {
            command.args(["bench-crowd", &address, TARGET, &size]);
            command.stdin(Stdio::null()).stdout(Stdio::piped());
        })?;
        let output = process.output().context("the crowd has no output")?;
        let mut lines = BufReader::new(output).lines();
        let line = lines.next().context("the crowd has ended")??;
        if line != crowd::READY {
            bail!("the crowd says {line:?}");
        }
        Ok(Crowd {
            process: Some((process, lines)),
        })
    }

    /// Returns when all have read what was written, and how long that took.
    fn last(&mut self) -> Result<Option<Duration>> {
        let Some((_, lines)) = &mut self.process else {
            return Ok(None);
        };
        let line = lines.next().context("the crowd has ended")??;
        Ok(Some(Duration::from_micros(line.parse()?)))
    }
}

impl Drop for Crowd {
    fn drop(&mut self) {
        if let Some((process, _)) = &self.process {
            process.end();
        }
    }
}
