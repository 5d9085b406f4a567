//! Running commands on a host, or in the hub.

use std::fs;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, ExitCode};

use anyhow::{Context, Result, anyhow};

use super::cgroup;
use super::place::{HUB, HUB_ADDRESS, Place, ZOOKEEPER_PORT};
use crate::netns::Netns;

const PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Becomes a command in the network of ZooKeeper. Returns only what kept it from that.
pub(crate) fn hub<S: AsRef<str>>(place: &Place, command: &[S]) -> Result<ExitCode> {
    place.state()?;
    become_in_hub(place, command)
}

/// Becomes deployctl in the network of ZooKeeper.
pub(crate) fn deployctl(place: &Place, arguments: &[String]) -> Result<ExitCode> {
    let program = place.programs.join("deployctl").display().to_string();
    let zookeeper = format!("{HUB_ADDRESS}:{ZOOKEEPER_PORT}");
    let mut command = vec![program, "--zk".to_owned(), zookeeper];
    command.extend_from_slice(arguments);
    hub(place, &command)
}

/// Becomes a command on a host: as root, with the rights that its services have at most.
pub(crate) fn host<S: AsRef<str>>(place: &Place, host: &str, command: &[S]) -> Result<ExitCode> {
    place.check_host(host)?;
    let mut on_host = host_command(place, host)?;
    on_host.args(command.iter().map(AsRef::as_ref));
    cgroup::join(&guests(place, host)?)?;
    Err(anyhow!(on_host.exec()).context("failed to start nsenter"))
}

/// Returns a command without its program and arguments: those are the host's.
pub(crate) fn host_command(place: &Place, host: &str) -> Result<Command> {
    let leader = cgroup::first_process(&place.cgroup()?.join(host))?;
    let mut command = Command::new("nsenter");
    command
        .args(["--target", &leader.to_string()])
        .args(["-m", "-u", "-i", "-n", "-p", "-C", "-r", "-w", "--"])
        .args([
            "setpriv",
            &format!("--bounding-set={}", rights_to_drop(leader)?),
        ])
        .args(["env", "-i", PATH, "HOME=/", "LANG=C.UTF-8"]);
    Ok(command)
}

/// Returns the cgroup of commands that came from outside, so that they end with the host.
fn guests(place: &Place, host: &str) -> Result<PathBuf> {
    let guests = place.cgroup()?.join(host).join("guests");
    cgroup::make(&guests)?;
    Ok(guests)
}

/// Whoever enters a host has all rights of the machine, and a test would see things succeed that
/// no service there can do.
fn rights_to_drop(leader: u32) -> Result<String> {
    let status = fs::read_to_string(format!("/proc/{leader}/status"))
        .context("failed to read the rights of the host")?;
    let bound = status.lines().find_map(|line| line.strip_prefix("CapBnd:"));
    let bound = bound.and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok());
    let bound = bound.context("the kernel does not tell the rights of the host")?;
    let last: u32 = fs::read_to_string("/proc/sys/kernel/cap_last_cap")
        .ok()
        .and_then(|text| text.trim().parse().ok())
        .context("the kernel does not tell how many rights there are")?;
    let dropped: Vec<String> = (0..=last)
        .filter(|number| bound & (1 << number) == 0)
        .map(|number| format!("-cap_{number}"))
        .collect();
    Ok(dropped.join(","))
}

fn become_in_hub<S: AsRef<str>>(place: &Place, command: &[S]) -> Result<ExitCode> {
    cgroup::join(&place.cgroup()?.join(HUB))?;
    Netns::open(&place.netns_file(HUB))?.enter()?;
    let mut words = command.iter().map(AsRef::as_ref);
    let program = words.next().context("there is no command")?;
    let error = Command::new(program).args(words).exec();
    Err(anyhow!(error).context(format!("failed to start {program}")))
}
