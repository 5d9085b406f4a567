//! `deployctl status`, from its start to its answer, beside who else reads the same znodes.

use std::env;
use std::net::SocketAddr;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result};

use crate::bench::ground::Ground;
use crate::bench::rounds::{Contender, in_turn};
use crate::bench::spent::spent;
use crate::bench::table::{Table, milliseconds};
use crate::debian;
use crate::demo::processes::Processes;
use crate::demo::{ports, zookeeper};
use crate::tool::succeed;

/// How many hosts the services have.
const HOSTS: [usize; 3] = [10, 1_000, 10_000];

/// What somebody would write who has no deployctl. Debian's kazoo is found by Debian's Python.
const PYTHON: &str = "/usr/bin/python3";
const KAZOO: &str = r#"
import json, sys
from kazoo.client import KazooClient
from kazoo.exceptions import NoNodeError
zk = KazooClient(hosts=sys.argv[1])
zk.start()
hosts = "/deploy/" + sys.argv[2] + "/hosts/"
paths = [hosts + host for host in zk.get_children(hosts[:-1])]
def read(answer):
    try:
        return answer()
    except NoNodeError:
        return None
if sys.argv[3] == "all at once":
    found = [read(answer.get) for answer in [zk.get_async(path) for path in paths]]
else:
    found = [read(lambda: zk.get(path)) for path in paths]
print(sum(1 for data, stat in found if stat.numChildren and json.loads(data).get("phase") == "serving"))
"#;

/// Measures it.
pub(crate) fn run(ground: &Ground) -> Result<Vec<Table>> {
    let processes = Processes::new(&env::current_exe()?);
    let ended = measured(ground, &processes);
    processes.end_all();
    ended
}

fn measured(ground: &Ground, processes: &Processes) -> Result<Vec<Table>> {
    let has_kazoo = debian::install(debian::FOR_READING);
    let address = SocketAddr::from(([127, 0, 0, 1], ports::free(1)?[0]));
    let dir = ground.scratch().join("status");
    zookeeper::start(processes, &dir, address)?;
    let mut rows: Vec<Vec<String>> = Vec::new();
    for hosts in HOSTS {
        eprintln!("measuring: deployctl status, {hosts} hosts");
        let service = format!("of-{hosts}");
        let mut write = reports(ground, ["write", &address.to_string(), &service]);
        succeed(write.arg(hosts.to_string())).context("failed to write the reports")?;
        let mut readers = vec![
            ("deployctl status", status(ground, (address, &service), &[])),
            (
                "deployctl status --hosts",
                status(ground, (address, &service), &["--hosts"]),
            ),
            (
                "the limit: deploy-zk reads, and nothing else",
                reports(ground, ["read", &address.to_string(), &service]),
            ),
        ];
        if has_kazoo.is_ok() {
            for (name, way) in [
                ("Python with kazoo, all at once", "all at once"),
                ("Python with kazoo, one by one", "one by one"),
            ] {
                readers.push((name, kazoo((address, &service), way)));
            }
        }
        let cells = in_one_column(ground.rounds, readers)?;
        rows.resize(cells.len(), Vec::new());
        for (row, cells) in rows.iter_mut().zip(cells) {
            // The name is the first cell, once.
            row.extend(cells.into_iter().skip(usize::from(!row.is_empty())));
        }
    }
    let mut table = Table::new(
        "From the start of `deployctl status` to its answer",
        [
            "who reads",
            "10 hosts",
            "CPU",
            "1,000",
            "CPU",
            "10,000",
            "CPU",
        ],
    );
    rows.into_iter().for_each(|row| table.row(row));
    table.note("Reports of 600 bytes, and a sign of life for each; one ZooKeeper, on loopback. CPU: user and system together.");
    if let Err(error) = has_kazoo {
        table.note(format!("No Python beside it: {error:#}."));
    }
    Ok(vec![table])
}

/// Returns the name, the time and the processor time of each.
fn in_one_column(rounds: u32, readers: Vec<(&str, Command)>) -> Result<Vec<Vec<String>>> {
    let mut processor = vec![Vec::new(); readers.len()];
    let mut contenders: Vec<Contender<'_>> = readers
        .into_iter()
        .zip(&mut processor)
        .map(|((name, mut command), times)| {
            Contender::new(name, move || {
                let (wall, time) = spent(&mut command)?;
                times.push(time);
                Ok(wall)
            })
        })
        .collect();
    let samples = in_turn(rounds, &mut contenders)?;
    drop(contenders);
    let median = |times: &mut Vec<Duration>| {
        // The first round does not count.
        times.remove(0);
        times.sort();
        milliseconds(times[times.len() / 2])
    };
    let cells = samples.into_iter().zip(&mut processor);
    Ok(cells
        .map(|(samples, times)| {
            let wall = milliseconds(samples.median());
            vec![samples.name, wall, median(times)]
        })
        .collect())
}

fn status(ground: &Ground, (address, service): (SocketAddr, &str), more: &[&str]) -> Command {
    let mut command = Command::new(&ground.deployctl);
    command.args(["--zk", &address.to_string(), "status", service]);
    command.args(more).stdin(Stdio::null());
    command
}

fn reports<const N: usize>(ground: &Ground, args: [&str; N]) -> Command {
    // Built with all other programs, beside the agent.
    let mut command = Command::new(ground.deployd.with_file_name("reports"));
    command.args(args).stdin(Stdio::null());
    command
}

fn kazoo((address, service): (SocketAddr, &str), way: &str) -> Command {
    let mut command = Command::new(PYTHON);
    command.args(["-c", KAZOO, &address.to_string(), service, way]);
    command.stdin(Stdio::null());
    command
}
