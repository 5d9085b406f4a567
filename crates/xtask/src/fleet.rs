//! `cargo xtask fleet`: servers with a systemd, an address and a packet filter each, on one machine.
//!
//! Every host is a container that boots Debian; deployd runs there as its users run it. ZooKeeper,
//! the server of the builds and the operator are in a network of their own with them, the hub;
//! nothing is attached to the machine's network. Several fleets can be up, by their names.
//!
//! All that a fleet starts is in its cgroup, so `down` ends that, and nothing else, even if what
//! started it was killed. See `docs/fleet.md`, and [`place`] for what is where.

mod builds;
mod cgroup;
mod down;
mod enter;
mod host;
mod hub;
mod install;
mod network;
mod place;
mod root_fs;
mod up;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Result, ensure};
use clap::{Args, Subcommand, ValueEnum};
use nix::unistd::Uid;

use crate::{debian, dist};
use builds::Kind;
use place::Place;
use up::Size;

/// The arguments of `cargo xtask fleet`.
#[derive(Debug, Args)]
pub(crate) struct Fleet {
    /// The fleet, where there are several
    #[arg(long, global = true, default_value = "main", value_parser = place::parse_name)]
    name: String,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Boot the hosts h1, h2, … with a ZooKeeper and a server of builds
    Up {
        /// How many
        #[arg(value_parser = clap::value_parser!(u8).range(1..=20))]
        hosts: u8,
        /// How many instances of `hello` on each, at the ports 8001, 8002, …; 0: nothing, not even deployd
        #[arg(long, value_name = "K", default_value_t = 2, value_parser = clap::value_parser!(u8).range(0..=20))]
        instances: u8,
        /// The process that the fleet belongs to: when it is gone, any `down` removes the fleet
        #[arg(long)]
        owner: Option<u32>,
    },
    /// Run a command on a host, or beside ZooKeeper, which is the host `hub`
    Exec {
        host: String,
        #[arg(trailing_var_arg = true, allow_hyphen_values = true, required = true)]
        command: Vec<String>,
    },
    /// Run deployctl beside ZooKeeper
    Ctl {
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Make a build of the service `hello` and register it
    Build {
        build: String,
        /// How it behaves
        #[arg(long, value_enum, default_value_t = Kind::Good)]
        kind: Kind,
    },
    /// Cut a host off: what it sends or is sent is lost
    Partition { host: String },
    /// Undo `partition`
    Heal { host: String },
    /// Kill the deployd of a host, with SIGKILL
    Kill9 { host: String },
    /// Take the power from a host; its files stay
    Poweroff { host: String },
    /// Boot a host that was powered off
    Boot { host: String },
    /// Stop all processes of a host, as a machine that hangs
    Freeze { host: String },
    /// Let them go on
    Thaw { host: String },
    /// End ZooKeeper, or start it anew with the data that it had
    Zookeeper {
        #[arg(value_enum)]
        order: Order,
    },
    /// End and remove the fleet, and those whose owner is gone
    Down,
    #[command(hide = true)]
    ServeBuilds { dir: PathBuf, address: String },
}

/// Installs and makes all that a fleet needs, so that hosts boot at once later.
///
/// # Errors
/// Where this machine can't have a fleet, and why.
pub(crate) fn prepare(own_program: &Path) -> Result<()> {
    ensure!(Uid::effective().is_root(), "only root can boot hosts");
    cgroup::mounted_at()?;
    debian::install(debian::FOR_FLEET)?;
    // Packages are installed on hosts.
    dist::prepare()?;
    root_fs::make(&Place::new(own_program, "ci")?)
}

/// What is to become of ZooKeeper.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum Order {
    /// Ends its process
    Stop,
    /// Starts it, and waits until it serves
    Start,
}

/// Does what was asked.
pub(crate) fn run(fleet: &Fleet, own_program: &Path) -> Result<ExitCode> {
    ensure!(
        Uid::effective().is_root(),
        "only root can boot hosts: run `sudo -E cargo xtask fleet …`"
    );
    let place = Place::new(own_program, &fleet.name)?;
    match &fleet.command {
        Command::Up {
            hosts,
            instances,
            owner,
        } => {
            let (hosts, instances) = (*hosts, *instances);
            up::up(&place, Size { hosts, instances }, *owner)?;
        }
        Command::Exec { host, command } if host == place::HUB => {
            return enter::hub(&place, command);
        }
        Command::Exec { host, command } => return enter::host(&place, host, command),
        Command::Ctl { arguments } => return enter::deployctl(&place, arguments),
        Command::Build { build, kind } => return builds::add(&place, build, *kind),
        Command::Partition { host } => network::partition(&place, host)?,
        Command::Heal { host } => network::heal(&place, host)?,
        Command::Kill9 { host } => return enter::host(&place, host, host::KILL_DEPLOYD),
        Command::Poweroff { host } => host::power_off(&place, host)?,
        Command::Boot { host } => host::boot(&place, host)?,
        Command::Freeze { host } => host::freeze(&place, host)?,
        Command::Thaw { host } => host::thaw(&place, host)?,
        Command::Zookeeper { order: Order::Stop } => hub::stop_zookeeper(&place)?,
        Command::Zookeeper {
            order: Order::Start,
        } => hub::start_zookeeper_anew(&place)?,
        Command::Down => down::down(&place)?,
        Command::ServeBuilds { dir, address } => builds::serve(dir, address)?,
    }
    Ok(ExitCode::SUCCESS)
}
