//! What of a fleet is where, and how it is called.
//!
//! ```text
//! <target>/fleet/
//!     root/                   the file system that all hosts share, never written to
//!     runs/<fleet>/
//!         fleet.json          who is there, for tests and `down`
//!         installed/          over root: deployd, its unit and configuration, the service
//!         builds/             archives, served
//!         zookeeper/          configuration, data and log
//!         builds.log
//!         hosts/<host>/upper/ over installed: what the host has written
//!         hosts/<host>/console
//! <cgroup v2>/deployd-fleet-<fleet>/
//!         hub/  <host>/       their processes
//! /run/netns/deployd-fleet-<fleet>-hub, -<host>
//! ```

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use super::cgroup;

/// What stands for the network of ZooKeeper and the operator, where a host is asked for.
pub(crate) const HUB: &str = "hub";
/// The addresses of all fleets are the same: no two see each other.
pub(crate) const HUB_ADDRESS: &str = "10.77.0.1";
/// The port of ZooKeeper in the hub.
pub(crate) const ZOOKEEPER_PORT: u16 = 2181;
/// The port of the server of the builds in the hub.
pub(crate) const BUILDS_PORT: u16 = 8080;

const MARK: &str = "deployd-fleet-";
const NAME_CHARS_MAX: usize = 40;

/// Where a fleet is.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    /// The name of the fleet.
    pub(crate) name: String,
    /// The directory that this program, deployd and deployctl were built to.
    pub(crate) programs: PathBuf,
    /// This program.
    pub(crate) own_program: PathBuf,
    base: PathBuf,
}

impl Place {
    /// Returns the place of a fleet, be it there or not.
    pub(crate) fn new(own_program: &Path, name: &str) -> Result<Place> {
        let programs = own_program
            .parent()
            .context("a program is in a directory")?;
        let target = programs.parent().context("programs are below target")?;
        Ok(Place {
            name: name.to_owned(),
            programs: programs.to_owned(),
            own_program: own_program.to_owned(),
            base: target.join("fleet"),
        })
    }

    /// Returns the place of another fleet.
    pub(crate) fn of(&self, name: &str) -> Place {
        Place {
            name: name.to_owned(),
            ..self.clone()
        }
    }

    /// Returns the names of all fleets that have left anything.
    pub(crate) fn all(&self) -> Vec<String> {
        let listed = fs::read_dir(self.base.join("runs")).into_iter().flatten();
        listed
            .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
            .collect()
    }

    /// Returns the file system that all hosts share.
    pub(crate) fn root_fs(&self) -> PathBuf {
        self.base.join("root")
    }

    /// Returns the directory of the fleet.
    pub(crate) fn dir(&self) -> PathBuf {
        self.base.join("runs").join(&self.name)
    }

    /// Returns what is installed on every host.
    pub(crate) fn installed(&self) -> PathBuf {
        self.dir().join("installed")
    }

    /// Returns the directory of the archives.
    pub(crate) fn builds(&self) -> PathBuf {
        self.dir().join("builds")
    }

    /// Returns the directory of a host.
    pub(crate) fn host(&self, host: &str) -> PathBuf {
        self.dir().join("hosts").join(host)
    }

    /// Returns the file that says who is there.
    pub(crate) fn state_file(&self) -> PathBuf {
        self.dir().join("fleet.json")
    }

    /// Reads it.
    pub(crate) fn state(&self) -> Result<Value> {
        let text = fs::read_to_string(self.state_file()).with_context(|| {
            format!("there is no fleet `{}`: cargo xtask fleet up 3", self.name)
        })?;
        serde_json::from_str(&text).context("its fleet.json is damaged")
    }

    /// Returns the network namespace of a host, or of the hub.
    pub(crate) fn netns(&self, host: &str) -> String {
        format!("{MARK}{}-{host}", self.name)
    }

    /// Returns the file of a network namespace.
    pub(crate) fn netns_file(&self, host: &str) -> PathBuf {
        Path::new("/run/netns").join(self.netns(host))
    }

    /// Returns the cgroup of the fleet.
    pub(crate) fn cgroup(&self) -> Result<PathBuf> {
        Ok(cgroup::mounted_at()?.join(format!("{MARK}{}", self.name)))
    }

    /// Returns an error unless the fleet has such a host.
    pub(crate) fn check_host(&self, host: &str) -> Result<()> {
        let state = self.state()?;
        let hosts = state["hosts"].as_array().into_iter().flatten();
        let names: Vec<&str> = hosts.filter_map(|host| host["name"].as_str()).collect();
        if !names.contains(&host) {
            bail!("there is no host {host}: there are {}", names.join(", "));
        }
        Ok(())
    }
}

/// Returns the name of the n-th host.
pub(crate) fn host_name(number: u8) -> String {
    format!("h{number}")
}

/// Returns the address of the n-th host.
pub(crate) fn host_address(number: u8) -> String {
    format!("10.77.0.{}", 10 + u16::from(number))
}

/// Returns the number of a host.
pub(crate) fn host_number(host: &str) -> Result<u8> {
    let number = host.strip_prefix('h').and_then(|text| text.parse().ok());
    number.with_context(|| format!("hosts are called h1, h2, …, not {host}"))
}

/// Names are parts of file names, cgroups and namespaces.
pub(crate) fn parse_name(name: &str) -> Result<String, String> {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    if name.is_empty() || name.len() > NAME_CHARS_MAX || !name.chars().all(plain) {
        return Err(format!("1 to {NAME_CHARS_MAX} of a-z, 0-9 and -"));
    }
    Ok(name.to_owned())
}
