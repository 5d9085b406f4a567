//! What the hosts are served with: ZooKeeper and the builds.

use std::fs::{self, File};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::cgroup;
use super::place::{BUILDS_PORT, HUB, HUB_ADDRESS, Place, ZOOKEEPER_PORT};
use crate::demo::zookeeper;

/// ZooKeeper takes two seconds, or very many on a machine that is busy with others.
const READY_LIMIT: Duration = Duration::from_secs(180);
const POLL: Duration = Duration::from_millis(50);

/// Starts both, without waiting.
pub(crate) fn start(place: &Place) -> Result<()> {
    fs::create_dir_all(place.builds()).context("failed to make the directory of the builds")?;
    let address = format!("{HUB_ADDRESS}:{BUILDS_PORT}");
    let mut serve = Command::new(&place.own_program);
    serve
        .args(["fleet", "serve-builds"])
        .arg(place.builds())
        .arg(address);
    start_in_hub(place, serve, "builds.log")?;
    let config = config(place);
    let dir = config.with_file_name("data");
    fs::create_dir_all(&dir).context("failed to make the directory of ZooKeeper")?;
    // Nobody pulls the plug of ZooKeeper: forceSync and preAllocSize spare the disk.
    let text = format!(
        "tickTime=500\ndataDir={}\nclientPort={ZOOKEEPER_PORT}\nclientPortAddress={HUB_ADDRESS}\n\
         admin.enableServer=false\nmaxClientCnxns=0\n4lw.commands.whitelist=*\n\
         forceSync=no\npreAllocSize=1024\n",
        dir.display()
    );
    fs::write(&config, text).with_context(|| format!("failed to write {}", config.display()))?;
    start_zookeeper(place)
}

fn start_zookeeper(place: &Place) -> Result<()> {
    let mut java = Command::new("java");
    java.args([
        "-Xmx64m",
        "-XX:+UseSerialGC",
        "-XX:TieredStopAtLevel=1",
        "-cp",
    ])
    .arg(zookeeper::class_path()?)
    .arg("org.apache.zookeeper.server.quorum.QuorumPeerMain")
    .arg(config(place));
    start_in_hub(place, java, "zookeeper/log")
}

/// Returns the file that tells ZooKeeper of this fleet from all others.
fn config(place: &Place) -> PathBuf {
    place.dir().join("zookeeper/zoo.cfg")
}

/// Ends ZooKeeper, and waits until it is gone. What it was told is on the disk.
pub(crate) fn stop_zookeeper(place: &Place) -> Result<()> {
    let process = zookeeper_process(place)?.context("ZooKeeper is stopped")?;
    let number = i32::try_from(process).context("the kernel lists numbers")?;
    kill(Pid::from_raw(number), Signal::SIGKILL).context("failed to end ZooKeeper")?;
    let deadline = Instant::now() + READY_LIMIT;
    while zookeeper_process(place)?.is_some() {
        if Instant::now() > deadline {
            bail!("ZooKeeper (process {process}) does not end");
        }
        thread::sleep(POLL);
    }
    Ok(())
}

/// Starts ZooKeeper with the data that it had, and waits until it serves.
pub(crate) fn start_zookeeper_anew(place: &Place) -> Result<()> {
    if zookeeper_process(place)?.is_some() {
        bail!("ZooKeeper is up");
    }
    start_zookeeper(place)?;
    wait_until_ready(place)
}

/// Returns the process in the hub that was started with the configuration of our ZooKeeper.
fn zookeeper_process(place: &Place) -> Result<Option<u32>> {
    let config = config(place).display().to_string();
    let members = cgroup::members(&place.cgroup()?.join(HUB))?;
    Ok(members.into_iter().find(|member| {
        let arguments = fs::read(format!("/proc/{member}/cmdline")).unwrap_or_default();
        let mut words = arguments.split(|byte| *byte == 0);
        words.next().is_some_and(|program| program == b"java")
            && words.any(|word| word == config.as_bytes())
    }))
}

/// Waits until ZooKeeper serves, by creating the tree.
pub(crate) fn wait_until_ready(place: &Place) -> Result<()> {
    let deadline = Instant::now() + READY_LIMIT;
    loop {
        let output = Command::new(&place.own_program)
            .args(["fleet", "--name", &place.name, "ctl", "init"])
            .output()
            .context("failed to start deployctl")?;
        if output.status.success() {
            return Ok(());
        }
        if Instant::now() > deadline {
            bail!(
                "ZooKeeper does not serve: {}\n{}",
                String::from_utf8_lossy(&output.stderr),
                fs::read_to_string(place.dir().join("zookeeper/log")).unwrap_or_default()
            );
        }
        thread::sleep(POLL);
    }
}

/// Starts a command that outlives this program, in the cgroup and the network of the hub.
fn start_in_hub(place: &Place, command: Command, log: &str) -> Result<()> {
    let path = place.dir().join(log);
    let log = File::create(&path).with_context(|| format!("failed to make {}", path.display()))?;
    let name = command.get_program().to_string_lossy().into_owned();
    let mut entering = Command::new(&place.own_program);
    entering.args(["fleet", "--name", &place.name, "exec", HUB]);
    entering.arg(&name).args(command.get_args());
    entering
        .stdin(Stdio::null())
        .stdout(log.try_clone().context("failed to share a log")?)
        .stderr(log)
        .process_group(0);
    entering
        .spawn()
        .with_context(|| format!("failed to start {name}"))?;
    Ok(())
}
