//! Against pushing: the same build to the same number of hosts, by `deployctl deploy` and by the tools that push over ssh.
//!
//! Every host is on this machine, with directories of its own. Ours are real agents; theirs are logins at one sshd.

mod agents;
mod archive;
mod cost;
mod hosts;
mod ssh;

use std::env;
use std::path::Path;
use std::rc::Rc;

use anyhow::{Context, Result};

use self::agents::Agents;
use self::archive::Archive;
use self::cost::{Cost, shown};
use self::ssh::{Push, Sshd};
use super::disk::{Disk, Room};
use super::files;
use super::ground::Ground;
use super::rounds::{Contender, in_turn};
use super::table::Table;
use crate::debian;
use crate::demo::processes::Processes;

/// How many hosts there are, one after the other.
const HOSTS: [usize; 3] = [10, 25, 50];

/// One who brings a build to every host.
struct Tool<'a> {
    name: &'static str,
    deploy: Box<dyn FnMut(usize) -> Result<Cost> + 'a>,
    /// What it cost, for each number of hosts.
    costs: Vec<Cost>,
}

/// For two builds of each tool on each host, and as much again.
const ROOM: Room = Room {
    bytes: 20 << 30,
    inodes: 262_144,
};

/// Measures it.
pub(crate) fn run(ground: &Ground) -> Result<Vec<Table>> {
    debian::install(debian::FOR_DEMO)?;
    Disk::lend(ground.scratch(), ROOM, |disk| {
        let processes = Processes::new(&env::current_exe()?);
        let ended = measured(ground, &processes, &disk.place);
        processes.end_all();
        ended
    })
}

fn measured(ground: &Ground, processes: &Processes, disk: &Path) -> Result<Vec<Table>> {
    let dir = ground.scratch().join("push");
    let archive = Archive::make(&dir).context("failed to make the build")?;
    let path = archive.path.clone();
    let url = files::serve(move |_| path.clone()).context("failed to serve the build")?;
    let agents = Agents::start((ground, processes), (&dir, disk), (&archive, &url))?;
    let mut notes = Vec::new();
    let mut tools = vec![Tool {
        name: "deployctl deploy",
        deploy: Box::new(|hosts| agents.deploy(hosts)),
        costs: Vec::new(),
    }];
    match debian::install(debian::FOR_PUSHING).and_then(|()| Sshd::start(processes, (&dir, disk))) {
        Ok(sshd) => {
            let sshd = Rc::new(sshd);
            for push in Push::ALL {
                let (sshd, archive, url) = (Rc::clone(&sshd), &archive, &url);
                tools.push(Tool {
                    name: push.name(),
                    deploy: Box::new(move |hosts| sshd.push(push, (hosts, archive, url))),
                    costs: Vec::new(),
                });
            }
        }
        Err(error) => notes.push(format!("Nobody to compare with: {error:#}.")),
    }
    for hosts in HOSTS {
        agents.grow(hosts)?;
        eprintln!("measuring: push, {hosts} hosts");
        measure(ground.rounds, hosts, &mut tools)?;
    }
    let mut table = Table::new(
        "A build of 10 MB to N hosts of one machine: fetch, extract, flip",
        [
            "tool",
            "N = 10",
            "25",
            "50",
            "controller's CPU",
            "CPU of a host",
            "ZooKeeper's CPU",
        ],
    );
    for tool in tools {
        table.row(cells(&tool));
    }
    table.note(format!(
        "CPU as user and system together, for each N. The build: {} files, {:.1} MB as .tar.gz, {:.1} MB unpacked. Only \
         deployd and the push said to do so verify a digest and wait until the release is on the disk.",
        archive::FILES,
        archive.size as f64 / 1e6,
        archive.unpacked as f64 / 1e6,
    ));
    notes.into_iter().for_each(|note| table.note(note));
    Ok(vec![table])
}

fn measure(rounds: u32, hosts: usize, tools: &mut [Tool<'_>]) -> Result<()> {
    let mut costs = vec![Vec::new(); tools.len()];
    let mut contenders: Vec<Contender<'_>> = tools
        .iter_mut()
        .zip(&mut costs)
        .map(|(tool, costs)| {
            Contender::new(tool.name, || {
                let cost = (tool.deploy)(hosts)?;
                costs.push(cost);
                Ok(cost.wall)
            })
        })
        .collect();
    in_turn(rounds, &mut contenders)?;
    drop(contenders);
    for (tool, costs) in tools.iter_mut().zip(costs) {
        // The first round does not count.
        tool.costs.push(Cost::median(&costs[1..]));
    }
    Ok(())
}

fn cells(tool: &Tool<'_>) -> Vec<String> {
    let walls = tool.costs.iter().map(|cost| shown(cost.wall));
    let all = |figure: &dyn Fn(&Cost) -> Option<String>| {
        let figures: Option<Vec<String>> = tool.costs.iter().map(figure).collect();
        figures.map_or_else(|| "-".to_owned(), |figures| figures.join(" / "))
    };
    let controller = all(&|cost| Some(shown(cost.controller)));
    let host = all(&|cost| Some(shown(cost.host)));
    let zookeeper = all(&|cost| cost.zookeeper.map(shown));
    std::iter::once(tool.name.to_owned())
        .chain(walls)
        .chain([controller, host, zookeeper])
        .collect()
}
