//! The hosts: booting them and taking the power from them.

use std::fs::{self, File};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::place::Place;
use super::{cgroup, enter, network};

/// How long a host may take to be up. It takes about a second, or many on a busy machine.
const UP_LIMIT: Duration = Duration::from_secs(90);
const POLL: Duration = Duration::from_millis(50);
/// Lines of the console that are told where a host does not come up.
const CONSOLE_LINES: usize = 10;

/// Ends the deployd of a host, which systemd knows by its number.
pub(crate) const KILL_DEPLOYD: &[&str] = &[
    "systemctl",
    "kill",
    "--signal=SIGKILL",
    "--kill-whom=main",
    "deployd.service",
];

/// What `sh` does: enter the cgroup, so that nothing of the host is ever outside of it, and mount
/// the file system where only the host sees it.
const ENTER_CGROUP: &str = "echo $$ > \"$1/cgroup.procs\" && shift && exec \"$@\"";
const MOUNT_AND_BOOT: &str = "mount -t overlay overlay -o \"$1\" \"$2\" && shift 2 && exec \"$@\"";

/// Makes the files of a host.
pub(crate) fn make(place: &Place, host: &str) -> Result<()> {
    let dir = place.host(host);
    let etc = dir.join("upper/etc");
    for new in [&etc, &dir.join("work"), &dir.join("root")] {
        fs::create_dir_all(new).with_context(|| format!("failed to make {}", new.display()))?;
    }
    let id = fs::read_to_string("/proc/sys/kernel/random/uuid").context("failed to make an id")?;
    fs::write(etc.join("machine-id"), id.replace('-', ""))
        .and_then(|()| fs::write(etc.join("hostname"), format!("{host}\n")))
        .with_context(|| format!("failed to write to {}", etc.display()))
}

/// Boots a host, and waits until it is up.
pub(crate) fn boot(place: &Place, host: &str) -> Result<()> {
    place.check_host(host)?;
    start(place, host)?;
    wait_until_up(place, host)
}

/// Boots a host.
pub(crate) fn start(place: &Place, host: &str) -> Result<()> {
    let cgroup = place.cgroup()?.join(host);
    if cgroup.exists() {
        bail!("{host} is up");
    }
    cgroup::make(&cgroup)?;
    network::make_host(place, host)?;
    let dir = place.host(host);
    let console = File::create(dir.join("console")).context("failed to make a log")?;
    let layers = format!(
        "lowerdir={}:{},upperdir={},workdir={}",
        place.installed().display(),
        place.root_fs().display(),
        dir.join("upper").display(),
        dir.join("work").display()
    );
    let root = dir.join("root");
    let mut command = Command::new("sh");
    command.args(["-c", ENTER_CGROUP, "sh"]).arg(&cgroup);
    command.args(["unshare", "--mount", "sh", "-c", MOUNT_AND_BOOT, "sh"]);
    command.arg(layers).arg(&root);
    boot_arguments(&mut command, &root, &place.netns_file(host));
    command
        .arg(format!("--machine={host}"))
        .env("SYSTEMD_NSPAWN_UNIFIED_HIERARCHY", "1")
        .stdin(Stdio::null())
        .stdout(console.try_clone().context("failed to share a log")?)
        .stderr(console)
        .process_group(0);
    // Nobody waits for it: it outlives this program, and its cgroup says when it is gone.
    command.spawn().context("failed to start a shell")?;
    Ok(())
}

fn boot_arguments(command: &mut Command, root: &Path, netns: &Path) {
    command
        .args(["systemd-nspawn", "--boot", "--quiet", "--register=no"])
        .args(["--keep-unit", "--console=pipe", "--resolv-conf=off"])
        // Else iptables works in a shell that came from outside, and fails in every service.
        .args(["--timezone=off", "--capability=CAP_NET_ADMIN"])
        .arg(format!("--directory={}", root.display()))
        .arg(format!("--network-namespace-path={}", netns.display()));
}

/// Waits until systemd has started all that is to be started.
pub(crate) fn wait_until_up(place: &Place, host: &str) -> Result<()> {
    let deadline = Instant::now() + UP_LIMIT;
    loop {
        let state = state(place, host).unwrap_or_default();
        if ["running", "degraded"].contains(&state.trim()) {
            return Ok(());
        }
        if Instant::now() > deadline {
            bail!(
                "{host} is not up after {} s, but {state:?}; its console said last:\n{}",
                UP_LIMIT.as_secs(),
                console(place, host)
            );
        }
        thread::sleep(POLL);
    }
}

/// Returns the end of what a host said at boot. Told at once: where a fleet can't be made, nothing of
/// it is left to look at.
fn console(place: &Place, host: &str) -> String {
    let all = fs::read(place.host(host).join("console")).unwrap_or_default();
    let text = String::from_utf8_lossy(&all);
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(CONSOLE_LINES)..].join("\n")
}

fn state(place: &Place, host: &str) -> Result<String> {
    let mut command = enter::host_command(place, host)?;
    command
        .args(["systemctl", "is-system-running"])
        .stderr(Stdio::null());
    let output = command.output().context("failed to start nsenter")?;
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Takes the power from a host. Its memory is lost: processes, packet filter, `/run`.
pub(crate) fn power_off(place: &Place, host: &str) -> Result<()> {
    place.check_host(host)?;
    cgroup::remove(&place.cgroup()?.join(host))?;
    network::remove(place, host)
}

/// Stops all processes of a host where they are.
pub(crate) fn freeze(place: &Place, host: &str) -> Result<()> {
    place.check_host(host)?;
    cgroup::set_frozen(&place.cgroup()?.join(host), "1")
}

/// Undoes [`freeze`].
pub(crate) fn thaw(place: &Place, host: &str) -> Result<()> {
    place.check_host(host)?;
    cgroup::set_frozen(&place.cgroup()?.join(host), "0")
}
