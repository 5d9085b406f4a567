//! Network namespaces, and the bridges and cables between them: of a fleet, and of the demo.
//!
//! A thread enters a namespace, and what is made or started there is there. `ip -n` would need
//! names in `/run/netns`, and remounts `/sys`: neither is for everybody to do.

use std::fs::File;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use nix::sched::{CloneFlags, setns, unshare};

/// Where the tools are, which an ordinary user's path does not have.
pub(crate) const TOOL_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
const OF_THIS_THREAD: &str = "/proc/thread-self/ns/net";

/// A network namespace. One that nobody runs in and no file names is gone with the last of these.
#[derive(Debug)]
pub(crate) struct Netns(File);

/// One end on a bridge, the other in a host.
#[derive(Debug)]
pub(crate) struct Cable<'a> {
    /// The bridge.
    pub(crate) bridge: &'a str,
    /// How the end at the bridge is called; the one in the host is `eth0`.
    pub(crate) name: &'a str,
    /// The host's address, with the length of its prefix.
    pub(crate) address: &'a str,
}

impl Netns {
    /// Opens the namespace that a file names.
    pub(crate) fn open(path: &Path) -> Result<Netns> {
        let file =
            File::open(path).with_context(|| format!("failed to open {}", path.display()))?;
        Ok(Netns(file))
    }

    /// Returns the namespace that this thread is in.
    pub(crate) fn of_this_thread() -> Result<Netns> {
        Netns::open(Path::new(OF_THIS_THREAD))
    }

    /// Makes a namespace. This thread stays where it is.
    pub(crate) fn make() -> Result<Netns> {
        let before = Netns::of_this_thread()?;
        unshare(CloneFlags::CLONE_NEWNET).context("failed to make a network namespace")?;
        let made = Netns::of_this_thread();
        before.enter()?;
        made
    }

    /// Moves this thread into the namespace.
    pub(crate) fn enter(&self) -> Result<()> {
        setns(&self.0, CloneFlags::CLONE_NEWNET).context("failed to enter a network namespace")
    }

    /// Does something in the namespace. Threads and processes that are started by it stay there.
    pub(crate) fn within<T>(&self, act: impl FnOnce() -> Result<T>) -> Result<T> {
        let before = Netns::of_this_thread()?;
        self.enter()?;
        let result = act();
        before.enter()?;
        result
    }

    /// Makes the loopback device work.
    pub(crate) fn raise_loopback(&self) -> Result<()> {
        self.within(|| ip(&["link", "set", "lo", "up"]))
    }

    /// Makes a bridge, which has an address, with the length of its prefix.
    pub(crate) fn add_bridge(&self, name: &str, address: &str) -> Result<()> {
        self.within(|| {
            ip(&["link", "add", name, "type", "bridge"])?;
            ip(&["addr", "add", address, "dev", name])?;
            ip(&["link", "set", name, "up"])
        })
    }

    /// Lays a cable from a bridge here to a host.
    pub(crate) fn lay(&self, cable: &Cable, host: &Netns) -> Result<()> {
        let Cable {
            bridge,
            name,
            address,
        } = cable;
        self.within(|| {
            // The host has no name that `ip` could look up: it is its standard input.
            let of_host = host.0.try_clone().context("failed to share a namespace")?;
            let mut add = tool("ip");
            add.args(["link", "add", name, "type", "veth", "peer", "name", "eth0"])
                .args(["netns", "/proc/self/fd/0"])
                .stdin(of_host);
            run(&mut add)?;
            ip(&["link", "set", name, "master", bridge, "up"])
        })?;
        host.within(|| {
            ip(&["addr", "add", address, "dev", "eth0"])?;
            ip(&["link", "set", "eth0", "up"])
        })
    }
}

/// Returns the command of a tool, found wherever such tools are.
pub(crate) fn tool(name: &str) -> Command {
    let mut command = Command::new(name);
    command.env("PATH", TOOL_PATH).stdin(Stdio::null());
    command
}

/// Returns the packet filters of this thread's network: IPv6 may be switched off.
pub(crate) fn packet_filters() -> Vec<&'static str> {
    let mut programs = vec!["iptables"];
    if Path::new("/proc/thread-self/net/if_inet6").exists() {
        programs.push("ip6tables");
    }
    programs
}

fn ip(arguments: &[&str]) -> Result<()> {
    run(tool("ip").args(arguments))
}

/// Runs a tool. What it says where it fails is part of the error.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let words: Vec<String> = std::iter::once(command.get_program())
        .chain(command.get_args())
        .map(|word| word.to_string_lossy().into_owned())
        .collect();
    let line = words.join(" ");
    let output = command
        .output()
        .with_context(|| format!("failed to start `{line}`"))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        let said = said.lines().last().unwrap_or("it does not say why");
        bail!("`{line}` failed: {said}");
    }
    Ok(())
}
