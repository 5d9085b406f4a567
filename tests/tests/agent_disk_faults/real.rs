//! Disks that are really full or read-only, and a process that really has no descriptors left.

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::Duration;

use tests::agent::{Agent, ServiceSettings, Settings, zookeeper};
use tests::disk::Mounted;
use tests::eventually::eventually;

/// Looks at a process that is to be at rest in at least one of them.
const LOOKS: usize = 20;
const BETWEEN_LOOKS: Duration = Duration::from_millis(25);

fn settings(settings: &mut Settings) {
    settings.services[0] = ServiceSettings {
        hooks: &["post_extract"],
        probe_timeout_s: 20.0,
        ..ServiceSettings::new("web")
    };
    settings.builds = "keep = 1".to_owned();
}

/// Makes an agent with a disk of its own at `place`, and lets it serve `r1`. The disk is unmounted
/// last.
fn serving_on(place: &str, options: &str) -> Option<(Agent, Mounted)> {
    let agent = Agent::prepare(zookeeper()?, settings);
    let at = agent.path(place);
    fs::create_dir_all(&at).expect("a directory can be made in a new one");
    let disk = Mounted::tmpfs(options, &at)?;
    agent.run();
    agent.web().deploy("r1", 1);
    agent.web().serves("r1");
    Some((agent, disk))
}

/// Ends the agent and its instances, then the disk: it is busy as long as they run.
fn end(agent: Agent, disk: Mounted) {
    assert!(agent.is_running(), "deployd has ended by itself");
    agent.kill();
    for number in 1..=agent.web().ports.len() {
        agent.supervisor.kill(&format!("web-{number}"));
    }
    drop(disk);
    drop(agent);
}

/// Writes until there is no room.
fn fill(path: &Path) {
    let mut file = File::create(path).expect("there is room for a name");
    while file.write_all(&[7; 1024]).is_ok() {}
}

#[test]
fn a_disk_without_bytes() {
    let Some((agent, disk)) = serving_on("srv", "size=1m") else {
        return;
    };
    let (web, filler) = (agent.web(), agent.path("srv/filler"));
    fill(&filler);
    web.deploy("r2", 2);
    web.blocked(&["no space", "srv/web/releases", "free"]);
    web.is_at("r1");
    assert_eq!(agent.files().leftovers(), [""; 0]);
    fs::remove_file(&filler).expect("it was made");
    web.serves("r2");
    end(agent, disk);
}

#[test]
fn a_disk_without_inodes() {
    let Some((agent, disk)) = serving_on("srv", "size=4m,nr_inodes=40") else {
        return;
    };
    let (web, dir) = (agent.web(), agent.path("srv/many"));
    fs::create_dir(&dir).expect("there is room");
    // Two are left: for the directory of a release, and one of its files.
    let made = (0..).take_while(|number| File::create(dir.join(format!("{number}"))).is_ok());
    let count = made.count();
    assert!(count > 5, "{count}");
    (0..2).for_each(|number| {
        fs::remove_file(dir.join(format!("{number}"))).expect("it was made");
    });
    web.deploy("r2", 2);
    let words = [
        "No space left on device",
        "srv/web/releases",
        "files are free",
    ];
    web.blocked(&words);
    web.is_at("r1");
    fs::remove_dir_all(&dir).expect("it was made");
    web.serves("r2");
    // What was downloaded is unpacked when there is room.
    assert_eq!(agent.builds.downloads("r2"), 1);
    end(agent, disk);
}

#[test]
fn a_state_disk_that_is_full() {
    let Some((agent, disk)) = serving_on("state", "size=256k") else {
        return;
    };
    let (web, filler) = (agent.web(), agent.path("state/filler"));
    fill(&filler);
    web.deploy("r2", 2);
    web.blocked(&["no space", "state", "free"]);
    web.is_at("r1");
    fs::remove_file(&filler).expect("it was made");
    web.serves("r2");
    assert_eq!(agent.files().leftovers(), [""; 0]);
    end(agent, disk);
}

#[test]
fn a_disk_that_becomes_read_only() {
    let Some((agent, disk)) = serving_on("srv", "size=4m") else {
        return;
    };
    let web = agent.web();
    disk.remount("ro");
    web.deploy("r2", 2);
    web.blocked(&["Read-only file system", "srv/web"]);
    web.is_at("r1");
    disk.remount("rw");
    web.serves("r2");
    end(agent, disk);
}

#[test]
fn a_process_without_descriptors() {
    let Some(agent) = Agent::start_with(settings) else {
        return;
    };
    let web = agent.web();
    web.deploy("r1", 1);
    web.serves("r1");
    let pid = agent.pid();
    let open = || {
        let entries = fs::read_dir(format!("/proc/{pid}/fd"))
            .into_iter()
            .flatten();
        entries.count()
    };
    // What is open for a moment, as the connection of the last probe, would be room for another one later.
    let looks = (0..LOOKS).map(|_| {
        thread::sleep(BETWEEN_LOOKS);
        open()
    });
    let at_rest = looks.min().unwrap_or_default();
    // One more than are open: enough to look at a directory, too few to work with one.
    limit_descriptors(pid, &format!("{}:", at_rest + 1));
    web.deploy("r2", 2);
    let said = web.until("it is told", |report| {
        let error = report.error.as_ref().map(|error| error.message.as_str());
        error.is_some_and(|error| error.contains("Too many open files"))
    });
    println!(
        "told: {}",
        said.error.map(|error| error.message).unwrap_or_default()
    );
    web.is_at("r1");
    limit_descriptors(pid, "1024:");
    web.serves("r2");
    assert_eq!(agent.files().leftovers(), [""; 0]);
    eventually("nothing stays open", tests::agent::LIMIT, || match open() {
        few if few < 40 => Ok(()),
        many => Err(many),
    });
    assert!(agent.is_running(), "deployd has ended by itself");
}

/// Sets the soft limit of a running process.
fn limit_descriptors(pid: u32, limit: &str) {
    let status = Command::new("prlimit")
        .args([&format!("--pid={pid}"), &format!("--nofile={limit}")])
        .status();
    assert!(
        status.is_ok_and(|status| status.success()),
        "prlimit {limit}"
    );
}
