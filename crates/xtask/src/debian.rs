//! The Debian packages that the tests and the demo need, installed where they are missing.

use std::env;
use std::io::{self, IsTerminal};
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use nix::unistd::Uid;

use crate::tool;

/// A package, and the file that shows that it, or something as good, is there.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Package {
    name: &'static str,
    shown_by: Sign,
}

#[derive(Debug, Clone, Copy)]
enum Sign {
    /// A program somewhere on the path, or where only root's path leads.
    Program(&'static str),
    File(&'static str),
}

const JAVA: Package = Package {
    name: "default-jre-headless",
    shown_by: Sign::Program("java"),
};
/// Not `zookeeper`: the server is in the library, and that package would start a daemon.
const ZOOKEEPER: Package = Package {
    name: "libzookeeper-java",
    shown_by: Sign::File("/usr/share/java/zookeeper.jar"),
};
const IPTABLES: Package = Package {
    name: "iptables",
    shown_by: Sign::Program("iptables-restore"),
};
const IPROUTE: Package = Package {
    name: "iproute2",
    shown_by: Sign::Program("ip"),
};
const SYSTEMD_CONTAINER: Package = Package {
    name: "systemd-container",
    shown_by: Sign::Program("systemd-nspawn"),
};
const DEBOOTSTRAP: Package = Package {
    name: "debootstrap",
    shown_by: Sign::Program("debootstrap"),
};
/// Only of the tests on a fleet; small beside the rest.
const HAPROXY: Package = Package {
    name: "haproxy",
    shown_by: Sign::Program("haproxy"),
};
/// Like haproxy, which it puts load on.
const WRK: Package = Package {
    name: "wrk",
    shown_by: Sign::Program("wrk"),
};

/// Only of the tests of signatures.
const MINISIGN: Package = Package {
    name: "minisign",
    shown_by: Sign::Program("minisign"),
};

/// Only of the tests of clocks that are set; never sets one of the machine.
const FAKETIME: Package = Package {
    name: "faketime",
    shown_by: Sign::Program("faketime"),
};

/// Not openssh-server: that package would start a daemon that listens to the network.
const SSH: Package = Package {
    name: "openssh-client",
    shown_by: Sign::Program("ssh"),
};
const PDSH: Package = Package {
    name: "pdsh",
    shown_by: Sign::Program("pdsh"),
};

/// Peers of the bench, and what it looks at programs with.
const ISAL: Package = Package {
    name: "isal",
    shown_by: Sign::Program("igzip"),
};
const PIGZ: Package = Package {
    name: "pigz",
    shown_by: Sign::Program("pigz"),
};
const BSDTAR: Package = Package {
    name: "libarchive-tools",
    shown_by: Sign::Program("bsdtar"),
};
const ZSTD: Package = Package {
    name: "zstd",
    shown_by: Sign::Program("zstd"),
};
const CURL: Package = Package {
    name: "curl",
    shown_by: Sign::Program("curl"),
};

/// Reads ZooKeeper, for who has no deployctl.
const KAZOO: Package = Package {
    name: "python3-kazoo",
    shown_by: Sign::File("/usr/lib/python3/dist-packages/kazoo/client.py"),
};
const STRACE: Package = Package {
    name: "strace",
    shown_by: Sign::Program("strace"),
};
const TIME: Package = Package {
    name: "time",
    shown_by: Sign::Program("time"),
};

/// Rates the unit.
const SYSTEMD: Package = Package {
    name: "systemd",
    shown_by: Sign::Program("systemd-analyze"),
};

/// What rating the unit needs.
pub(crate) const FOR_UNIT: &[Package] = &[SYSTEMD];
/// What `cargo demo` needs.
pub(crate) const FOR_DEMO: &[Package] = &[JAVA, ZOOKEEPER];
/// What pushing needs, which deploying is measured beside.
pub(crate) const FOR_PUSHING: &[Package] = &[SSH, PDSH, CURL];
/// What reading ZooKeeper by hand needs, which `deployctl status` is measured beside.
pub(crate) const FOR_READING: &[Package] = &[KAZOO];
/// What it needs to drain; it goes without where they can't be had.
pub(crate) const FOR_DRAINING: &[Package] = &[IPTABLES, IPROUTE];
/// What `cargo xtask fleet` needs.
pub(crate) const FOR_FLEET: &[Package] = &[
    JAVA,
    ZOOKEEPER,
    IPROUTE,
    SYSTEMD_CONTAINER,
    DEBOOTSTRAP,
    HAPROXY,
    WRK,
];
/// What `cargo xtask bench release` measures deployd beside, and with.
pub(crate) const FOR_BENCH_OF_RELEASES: &[Package] =
    &[ISAL, PIGZ, BSDTAR, ZSTD, CURL, STRACE, TIME];
/// What `cargo xtask test` needs.
pub(crate) const FOR_TESTS: &[Package] = &[JAVA, ZOOKEEPER, IPTABLES, IPROUTE, MINISIGN, FAKETIME];

/// Installs what is missing of these, saying so; with `sudo` where we are not root.
pub(crate) fn install(packages: &[Package]) -> Result<()> {
    let missing: Vec<&str> = packages
        .iter()
        .filter(|package| !is_there(**package))
        .map(|package| package.name)
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    let by_hand = format!(
        "failed to install {names}; do it by hand: \
         sudo apt-get install -y --no-install-recommends {names}",
        names = missing.join(" ")
    );
    install_missing(&missing).context(by_hand)
}

fn install_missing(missing: &[&str]) -> Result<()> {
    if !program_is_there("apt-get") {
        bail!("there is no apt-get here");
    }
    let mut install = vec!["install", "-y", "--no-install-recommends"];
    install.extend(missing);
    // The lists may be missing, as in a container image, or be older than the archive.
    let listed = all_listed(missing);
    if listed && apt_get(&install).is_ok() {
        return Ok(());
    }
    apt_get(&["update"])?;
    apt_get(&install)
}

fn is_there(package: Package) -> bool {
    match package.shown_by {
        Sign::Program(name) => program_is_there(name),
        Sign::File(path) => Path::new(path).exists(),
    }
}

fn program_is_there(name: &str) -> bool {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path)
        .chain(["/usr/sbin".into(), "/sbin".into()])
        .any(|dir| dir.join(name).exists())
}

fn all_listed(names: &[&str]) -> bool {
    Command::new("apt-cache")
        .arg("show")
        .args(names)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

fn apt_get(args: &[&str]) -> Result<()> {
    let rights = if Uid::effective().is_root() {
        Rights::Root
    } else if io::stdin().is_terminal() {
        Rights::SudoMayAsk
    } else {
        Rights::SudoMayNotAsk
    };
    let line = apt_line(args, rights);
    eprintln!("installing: {}", line.join(" "));
    let (program, rest) = line
        .split_first()
        .expect("apt_line returns at least the program");
    tool::succeed(Command::new(program).args(rest))
}

/// How we come to install packages.
#[derive(Debug, Clone, Copy)]
enum Rights {
    Root,
    /// Somebody sits at a terminal and can type a password.
    SudoMayAsk,
    SudoMayNotAsk,
}

fn apt_line(args: &[&str], rights: Rights) -> Vec<String> {
    let by: &[&str] = match rights {
        Rights::Root => &[],
        Rights::SudoMayAsk => &["sudo"],
        Rights::SudoMayNotAsk => &["sudo", "-n"],
    };
    let apt = ["env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "-q"];
    by.iter()
        .chain(&apt)
        .chain(args)
        .map(|word| (*word).to_owned())
        .collect()
}

#[cfg(test)]
mod tests;
