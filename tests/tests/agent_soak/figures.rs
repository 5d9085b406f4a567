//! What must not grow: of one deployd process, of ZooKeeper, and of the disks.

use std::fs;
use std::path::Path;

use nix::unistd::Pid;
use tests::znodes::Znodes;

use crate::outside::Counts;
use crate::rig::Rig;

/// Fewer deployments than that have no beginning and end to compare.
const WINDOWS_FROM: usize = 100;
/// The memory of an agent whose allocator finds its size: an arena for one more thread is 2 MiB,
/// once. A leak of some 25 KiB in each deployment is more.
const RSS_KIB_MORE: u64 = 4096;
/// Files and sockets that come and go.
const FDS_MORE: u64 = 4;
/// The runtime keeps idle threads for blocking work for a while.
const THREADS_MORE: u64 = 4;
/// Wishes to retry, and the parents of those and of roles, once for each host and service.
const ZNODES_MORE: u64 = 10;
/// Reports differ: in errors, and in lists of releases.
const ZNODE_BYTES_MORE: u64 = 4096;
/// Releases that are kept or not, and rejections.
const DISK_BYTES_MORE: u64 = 3_000_000;
const FILES_MORE: u64 = 24;
/// What is followed depends on roles, holds and leases.
const WATCHES_MORE: u64 = 10;

/// A column of the table.
struct Column {
    name: &'static str,
    more: u64,
}

const COLUMNS: [Column; 9] = [
    column("rss_kib", RSS_KIB_MORE),
    column("fds", FDS_MORE),
    column("threads", THREADS_MORE),
    column("znodes", ZNODES_MORE),
    column("znode_bytes", ZNODE_BYTES_MORE),
    column("watches", WATCHES_MORE),
    column("sessions", 0),
    column("files", FILES_MORE),
    column("disk_bytes", DISK_BYTES_MORE),
];

const fn column(name: &'static str, more: u64) -> Column {
    Column { name, more }
}

/// The series.
#[derive(Default)]
pub(crate) struct Figures {
    rows: Vec<[u64; COLUMNS.len()]>,
    first: Option<Option<Pid>>,
}

impl Figures {
    /// Takes the figures after a deployment.
    ///
    /// # Panics
    /// If clients have seen something bad so far.
    #[track_caller]
    pub(crate) fn take(&mut self, deployment: usize, rig: &Rig, counts: Counts) {
        assert_eq!(counts.lost, 0, "by deployment {deployment}");
        let agent = &rig.hosts[0].agent;
        let pid = agent.process();
        assert_eq!(
            *self.first.get_or_insert(pid),
            pid,
            "host 0 has one life only"
        );
        let process = format!("/proc/{}", pid.expect("it runs"));
        let (znodes, znode_bytes) = below(&agent.znodes, agent.root().path());
        let (mut files, mut disk_bytes) = (0, 0);
        for host in &rig.hosts {
            for place in ["srv", "state"] {
                let (more, bytes) = on_disk(&host.agent.path(place));
                files += more;
                disk_bytes += bytes;
            }
        }
        let watches = rig.server.ask("wchs").unwrap_or_default();
        let sessions = rig.server.ask("cons").unwrap_or_default();
        self.rows.push([
            rss_kib(&process),
            count(&format!("{process}/fd")),
            count(&format!("{process}/task")),
            znodes,
            znode_bytes,
            number_after(&watches, "Total watches:"),
            u64::try_from(sessions.matches("sid=").count()).unwrap_or(0),
            files,
            disk_bytes,
        ]);
    }

    /// Prints every tenth row.
    pub(crate) fn print(&self) {
        print!("{:>10}", "deployment");
        for column in &COLUMNS {
            print!(" {:>11}", column.name);
        }
        println!();
        let step = (self.rows.len() / 10).max(1);
        for (number, row) in (1..).zip(&self.rows) {
            if number == 1 || number % step == 0 {
                print!("{number:>10}");
                row.iter().for_each(|value| print!(" {value:>11}"));
                println!();
            }
        }
    }

    /// Asserts that nothing has grown from the beginning to the end: medians of the deployments
    /// from a tenth to three tenths, and of the last fifth.
    ///
    /// # Panics
    /// If something has, with what, and how much is fine.
    #[track_caller]
    pub(crate) fn are_flat(&self, pid: Option<Pid>) {
        assert_eq!(self.first, Some(pid));
        let all = self.rows.len();
        if all < WINDOWS_FROM {
            return;
        }
        for (index, column) in COLUMNS.iter().enumerate() {
            let early = self.median(index, (all / 10, 3 * all / 10));
            let late = self.median(index, (4 * all / 5, all));
            println!("figure: {}: {early} early, {late} late", column.name);
            assert!(
                late <= early + column.more,
                "{} has grown from {early} to {late}; {} more are fine",
                column.name,
                column.more
            );
        }
    }

    fn median(&self, index: usize, (from, to): (usize, usize)) -> u64 {
        let mut values: Vec<u64> = self.rows[from..to].iter().map(|row| row[index]).collect();
        values.sort_unstable();
        values[values.len() / 2]
    }
}

/// Returns how many znodes are below one, and the bytes in them.
fn below(znodes: &Znodes, path: &str) -> (u64, u64) {
    let (mut count, mut bytes) = (0, 0);
    for name in znodes.children(path) {
        let child = format!("{path}/{name}");
        let Some(znode) = znodes.get(&child) else {
            continue;
        };
        let (more, within) = below(znodes, &child);
        count += 1 + more;
        bytes += znode.data.len() as u64 + within;
    }
    (count, bytes)
}

/// Returns how many files and directories are below one, and the bytes in them.
fn on_disk(dir: &Path) -> (u64, u64) {
    let (mut files, mut bytes) = (0, 0);
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        let Ok(metadata) = entry.metadata() else {
            continue;
        };
        files += 1;
        if metadata.is_dir() {
            let (more, within) = on_disk(&entry.path());
            files += more;
            bytes += within;
        } else {
            bytes += metadata.len();
        }
    }
    (files, bytes)
}

fn count(dir: &str) -> u64 {
    let entries = fs::read_dir(dir).expect("proc is mounted");
    u64::try_from(entries.count()).expect("it fits")
}

fn rss_kib(process: &str) -> u64 {
    let status = fs::read_to_string(format!("{process}/status")).expect("it runs");
    number_after(&status, "VmRSS:")
}

fn number_after(text: &str, word: &str) -> u64 {
    let found = text.split(word).nth(1).unwrap_or_default();
    let number = found.split_whitespace().next().unwrap_or_default();
    number.parse().unwrap_or(0)
}
