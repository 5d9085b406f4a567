//! The file system that all hosts share: a small Debian, made once.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};

use super::place::Place;
use crate::tool;

const SUITE: &str = "bookworm";
const PACKAGES: &str = "systemd,systemd-sysv,dbus,iptables,iproute2,ca-certificates,\
                        python3,procps,curl";
/// Who runs the service.
pub(crate) const SERVICE_USER: &str = "hello";

/// Makes the file system where it is missing, which takes a minute.
pub(crate) fn make(place: &Place) -> Result<()> {
    let root = place.root_fs();
    if root.exists() {
        return Ok(());
    }
    // Two fleets that start at a time each make one, and one of them is thrown away.
    let partial = root.with_file_name(format!("root.{}.partial", place.name));
    remove(&partial)?;
    fs::create_dir_all(&partial)
        .with_context(|| format!("failed to make {}", partial.display()))?;
    eprintln!("making the file system of the hosts, once: about a minute");
    let log = fs::File::create(partial.with_extension("log")).context("failed to make a log")?;
    let made = tool::succeed(
        Command::new("debootstrap")
            .args(["--variant=minbase", &format!("--include={PACKAGES}"), SUITE])
            .arg(&partial)
            .stdout(log),
    );
    made.with_context(|| format!("see {}", partial.with_extension("log").display()))?;
    prepare(&partial)?;
    if fs::rename(&partial, &root).is_err() && root.exists() {
        remove(&partial)?;
    }
    Ok(())
}

fn prepare(root: &Path) -> Result<()> {
    tool::succeed(
        Command::new("chroot")
            .arg(root)
            .args(["useradd", "--system", "--home-dir", "/srv/hello"])
            .args(["--shell", "/usr/sbin/nologin", SERVICE_USER]),
    )?;
    // Each host has its own; the same one twice would mix up their journals.
    fs::write(root.join("etc/machine-id"), "").context("failed to empty machine-id")?;
    for dir in ["var/cache/apt", "var/lib/apt/lists"] {
        remove(&root.join(dir))?;
    }
    Ok(())
}

/// Removes a directory, if it is there.
pub(crate) fn remove(dir: &Path) -> Result<()> {
    match fs::remove_dir_all(dir) {
        Err(error) if dir.exists() => {
            Err(error).with_context(|| format!("failed to remove {}", dir.display()))
        }
        Ok(()) | Err(_) => Ok(()),
    }
}
