//! The least that anybody writes in Python: kazoo, watching one znode.

use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::bench::farm::Farm;
use crate::bench::ground::Ground;
use crate::demo::processes::Process;
use crate::tool::succeed;

/// Its name in the table.
pub(super) const NAME: &str = "kazoo watcher (Python)";
const START_LIMIT: Duration = Duration::from_secs(20);
const POLL: Duration = Duration::from_millis(50);

const PROGRAM: &str = "\
import pathlib, sys, threading
from kazoo.client import KazooClient
client = KazooClient(hosts=sys.argv[2], timeout=15)
client.start()
@client.DataWatch(sys.argv[1])
def changed(data, stat):
    pathlib.Path(sys.argv[3]).touch()
threading.Event().wait()
";

/// Installs kazoo beneath target, where it is missing, and starts it; returns when it watches.
pub(super) fn start(
    ground: &Ground,
    (farm, [znode, address]): (&Farm, &[String; 2]),
) -> Result<Arc<Process>> {
    let place = ground.kept.join("kazoo");
    if !place.join("installed").exists() {
        install(&place)?;
    }
    let seen = ground.scratch().join("kazoo-watches");
    let python = place.join("bin/python");
    let process = farm.processes().start(NAME, &python, |command| {
        command.args(["-c", PROGRAM, znode, address]).arg(&seen);
        command.stdin(Stdio::null()).stdout(Stdio::null());
        command.stderr(Stdio::null());
    })?;
    let deadline = Instant::now() + START_LIMIT;
    while !seen.exists() {
        if let Some(status) = process.status() {
            bail!("it ended: {status}");
        }
        if Instant::now() > deadline {
            bail!("it does not watch after {} s", START_LIMIT.as_secs());
        }
        thread::sleep(POLL);
    }
    Ok(process)
}

fn install(place: &Path) -> Result<()> {
    let quiet = |command: &mut Command| succeed(command.stdin(Stdio::null()).stdout(Stdio::null()));
    quiet(Command::new("python3").args(["-m", "venv"]).arg(place))?;
    quiet(Command::new(place.join("bin/pip")).args(["install", "--quiet", "kazoo"]))?;
    std::fs::write(place.join("installed"), "").context("failed to note that it is installed")
}
