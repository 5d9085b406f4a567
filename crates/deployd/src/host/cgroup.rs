//! The processes of a control group.

use std::fs;
use std::path::Path;

/// Where the kernel shows the groups that systemd makes: the one tree of version 2, or systemd's
/// own beside those of version 1.
const MOUNTS: [&str; 2] = ["/sys/fs/cgroup", "/sys/fs/cgroup/systemd"];
/// Processes that are looked at: of more than that, the rest is taken to be like those.
const PROCESSES_MAX: usize = 4096;

/// Returns the processes of a group and of all groups in it; empty where there is no such group.
pub(crate) fn processes(group: &str) -> Vec<i32> {
    let group = group.trim_start_matches('/');
    // The root is never one unit's group.
    if group.is_empty() {
        return Vec::new();
    }
    let dirs = MOUNTS.map(|mount| Path::new(mount).join(group));
    let mut found = Vec::new();
    if let Some(dir) = dirs.iter().find(|dir| dir.join("cgroup.procs").exists()) {
        collect(dir, &mut found);
    }
    found
}

/// Groups and processes may vanish while they are read: then they are not there.
fn collect(dir: &Path, found: &mut Vec<i32>) {
    let listed = fs::read_to_string(dir.join("cgroup.procs")).unwrap_or_default();
    let pids = listed.lines().filter_map(|line| line.parse::<i32>().ok());
    found.extend(pids.take(PROCESSES_MAX.saturating_sub(found.len())));
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        if found.len() >= PROCESSES_MAX {
            return;
        }
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            collect(&entry.path(), found);
        }
    }
}

#[cfg(test)]
mod tests;
