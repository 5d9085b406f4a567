//! Making a fleet.

use std::fs;
use std::io::{self, Write};
use std::path::Path;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use serde_json::json;

use super::place::{BUILDS_PORT, HUB, HUB_ADDRESS, Place, ZOOKEEPER_PORT, host_address, host_name};
use super::{cgroup, down, host, hub, install, network, root_fs};
use crate::debian;

/// Files that are watched: each systemd needs seven of these, and the hosts share what root may have.
/// Where there are none left, a host does not come up, and does not say why.
const WATCHES_FILE: &str = "/proc/sys/fs/inotify/max_user_instances";
/// Linux's own default is 128, enough for 18 hosts.
const WATCHES_MIN: u32 = 1024;

/// How large a fleet is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Size {
    /// How many hosts.
    pub(crate) hosts: u8,
    /// How many instances of the service on each; 0: deployd is not installed either.
    pub(crate) instances: u8,
}

/// Boots hosts. Where that fails, nothing of it is left.
pub(crate) fn up(place: &Place, size: Size, owner: Option<u32>) -> Result<()> {
    if place.dir().exists() {
        bail!(
            "there is a fleet `{name}`: cargo xtask fleet --name {name} down",
            name = place.name
        );
    }
    debian::install(debian::FOR_FLEET)?;
    root_fs::make(place)?;
    allow_watches(Path::new(WATCHES_FILE))?;
    let started = Instant::now();
    let made = make(place, size, owner);
    if made.is_err() {
        // What was wrong first is what matters.
        let _ = down::remove(place);
    }
    made?;
    let seconds = started.elapsed().as_secs_f64();
    tell(place, size.hosts, seconds);
    Ok(())
}

fn make(place: &Place, size: Size, owner: Option<u32>) -> Result<()> {
    fs::create_dir_all(place.dir()).context("failed to make the directory of the fleet")?;
    write_state(place, size, owner)?;
    cgroup::make(&place.cgroup()?.join(HUB))?;
    network::make_hub(place)?;
    hub::start(place)?;
    install::install(place, size.instances)?;
    let names: Vec<String> = (1..=size.hosts).map(host_name).collect();
    for name in &names {
        host::make(place, name)?;
        host::start(place, name)?;
    }
    for name in &names {
        host::wait_until_up(place, name)?;
    }
    hub::wait_until_ready(place)
}

/// Raises a limit of the machine, until its next boot, where it is too low for some fleets at a time.
fn allow_watches(file: &Path) -> Result<()> {
    let what = || format!("failed to raise {} to {WATCHES_MIN}", file.display());
    let limit = fs::read_to_string(file).with_context(what)?;
    let limit: u32 = limit.trim().parse().with_context(what)?;
    if limit >= WATCHES_MIN {
        return Ok(());
    }
    eprintln!(
        "raising {} from {limit} to {WATCHES_MIN}, for several fleets at a time",
        file.display()
    );
    fs::write(file, WATCHES_MIN.to_string()).with_context(what)
}

fn write_state(place: &Place, size: Size, owner: Option<u32>) -> Result<()> {
    let owner = owner.map(|id| json!({"process": id, "started": down::started(id)}));
    let hosts: Vec<_> = (1..=size.hosts)
        .map(|number| json!({"name": host_name(number), "address": host_address(number)}))
        .collect();
    let state = json!({
        "name": place.name,
        "owner": owner,
        "network": place.netns_file(HUB),
        "zookeeper": format!("{HUB_ADDRESS}:{ZOOKEEPER_PORT}"),
        "builds": format!("http://{HUB_ADDRESS}:{BUILDS_PORT}/"),
        "ports": install::ports(size.instances),
        "hosts": hosts,
    });
    let text = serde_json::to_string_pretty(&state).context("failed to write JSON")?;
    fs::write(place.state_file(), text).context("failed to write fleet.json")
}

fn tell(place: &Place, hosts: u8, seconds: f64) {
    let name = match place.name.as_str() {
        "main" => String::new(),
        name => format!(" --name {name}"),
    };
    // Who reads only the first lines has what they want.
    let _ = writeln!(
        io::stdout(),
        "{hosts} hosts are up after {seconds:.1} s\n\n  \
         cargo xtask fleet{name} build v1\n  \
         cargo xtask fleet{name} exec h1 systemctl start deployd\n  \
         cargo xtask fleet{name} ctl deploy hello v1\n  \
         cargo xtask fleet{name} exec hub curl http://10.77.0.11:8001/\n  \
         cargo xtask fleet{name} down"
    );
}
