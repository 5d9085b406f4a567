//! What must hold when a deployment has ended, whatever was done to it.

use std::fs;
use std::path::{Path, PathBuf};

use deploy_core::wire::record::InService;
use tests::agent::LIMIT;
use tests::eventually::eventually;
use tests::service::{Service, named};

use crate::rig::{Case, KEEP};

/// A journal has at most 50 rejections, each with a few lines of a log.
const JOURNAL_BYTES_MAX: u64 = 64 * 1024;

/// A run that is killed leaves the step that it had begun, until the next build is activated.
const BEGUN_MAX: usize = 3;

/// Asserts all of it, of all hosts.
#[track_caller]
pub(crate) fn holds(case: &Case<'_>, build: &str) {
    for (host, service) in case.services().iter().enumerate() {
        assert!(service.agent.is_running(), "deployd of host {host} is dead");
        assert_eq!(service.leases(), [""; 0], "somebody kept its lease");
        let alive = service.znodes.alive(&service.host);
        eventually(&format!("host {host} is alive"), LIMIT, || {
            service.agent.znodes.get(&alive).map(|_| ()).ok_or(())
        });
        releases(service, build);
        journal(service, build);
        eventually(
            &format!("host {host} leaves nothing"),
            LIMIT,
            || match leftovers(service) {
                left if left.is_empty() => Ok(()),
                left => Err(left),
            },
        );
    }
}

/// At most what is to be kept, besides `current` and the last one that was verified.
#[track_caller]
fn releases(service: &Service<'_>, build: &str) {
    let releases = service.releases();
    assert!(releases.len() <= KEEP + 2, "{releases:?}");
    assert!(releases.iter().any(|name| name == build), "{releases:?}");
}

#[track_caller]
fn journal(service: &Service<'_>, build: &str) {
    let record = service.journal();
    let build = named(build).expect("it is a name");
    assert_eq!(record.service, InService::At(build.clone()));
    assert_eq!(record.verified.last(), Some(&build));
    assert!(record.begun.len() <= BEGUN_MAX, "{:?}", record.begun);
    // What the journal knows of releases, it knows of those on disk.
    let known = [record.verified.len(), record.prepared.len()];
    let most = service.releases().len() + KEEP;
    assert!(
        known.iter().all(|known| *known <= most),
        "{:?}, {:?}",
        record.verified,
        record.prepared
    );
    for entry in entries(&service.agent.path("state/journal")) {
        let bytes = fs::metadata(&entry).map_or(0, |metadata| metadata.len());
        assert!(
            bytes <= JOURNAL_BYTES_MAX,
            "{}: {bytes} bytes",
            entry.display()
        );
    }
}

/// What is neither a release nor a file that is always there.
fn leftovers(service: &Service<'_>) -> Vec<String> {
    let (agent, dir) = (service.agent, &service.dir);
    let always = ["current", "releases"].map(|name| dir.join(name));
    let mut left = entries(dir);
    left.retain(|path| !always.contains(path));
    left.extend(entries(&agent.path("state/downloads")));
    let places = ["state", "state/journal", "state/status"].map(|name| agent.path(name));
    for place in places.into_iter().chain([dir.join("releases")]) {
        let hidden = |path: &PathBuf| {
            let name = path.file_name().unwrap_or_default();
            name.to_string_lossy().starts_with('.')
        };
        left.extend(entries(&place).into_iter().filter(hidden));
    }
    let mut left: Vec<String> = left.iter().map(|path| path.display().to_string()).collect();
    left.extend(clients(&agent.path("supervisor")));
    left
}

fn entries(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    entries.map(|entry| entry.path()).collect()
}

/// Hooks and restart commands that still run.
fn clients(socket: &Path) -> Vec<String> {
    let socket = socket.display().to_string();
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let lines = entries.filter_map(|entry| fs::read(entry.path().join("cmdline")).ok());
    lines
        .map(|line| String::from_utf8_lossy(&line).replace('\0', " "))
        .filter(|line| line.contains(&socket))
        .collect()
}
