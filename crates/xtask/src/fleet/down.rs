//! Ending fleets, and finding those that somebody left behind.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use serde_json::Value;

use super::place::{HUB, Place};
use super::{cgroup, network, root_fs};

/// Ends the fleet, and every other one whose owner is gone. All are tried; the first error is
/// returned.
pub(crate) fn down(place: &Place) -> Result<()> {
    let mut result = Ok(());
    for name in place.all() {
        let other = place.of(&name);
        if name == place.name || is_left_behind(&other) {
            result = result.and(remove(&other).with_context(|| format!("fleet {name}")));
            println!("fleet {name} is down");
        }
    }
    result
}

/// Ends all processes of a fleet, and removes all that it has made but the shared file system.
pub(crate) fn remove(place: &Place) -> Result<()> {
    let mut result = place.cgroup().and_then(|cgroup| cgroup::remove(&cgroup));
    let hosts = fs::read_dir(place.dir().join("hosts"))
        .into_iter()
        .flatten();
    let hosts = hosts.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    for host in hosts.chain([HUB.to_owned()]) {
        result = result.and(network::remove(place, &host));
    }
    // Last: as long as it is there, the fleet is known.
    result?;
    root_fs::remove(&place.dir())
}

/// Tells whether a fleet had an owner, and has none any more.
fn is_left_behind(place: &Place) -> bool {
    let Ok(state) = place.state() else {
        // It was being made, or removed, by something that did not come to its end.
        return false;
    };
    let owner = &state["owner"];
    let Some(process) = owner["process"]
        .as_u64()
        .and_then(|id| u32::try_from(id).ok())
    else {
        return false;
    };
    started(process) != owner["started"] || !Path::new(&format!("/proc/{process}")).exists()
}

/// Returns when a process was started, which tells it from a later one of the same number.
pub(crate) fn started(process: u32) -> Value {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    // Its 22nd field, counted behind the name, which may have spaces.
    let after_name = stat.rsplit_once(") ").map_or("", |(_, after)| after);
    after_name
        .split(' ')
        .nth(19)
        .map_or(Value::Null, Value::from)
}
