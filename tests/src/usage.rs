//! What a process takes of its machine, from `/proc`.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

/// What a process takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Usage {
    /// Memory that is in use.
    pub rss_bytes: u64,
    /// Open files.
    pub files: usize,
    /// Threads.
    pub threads: usize,
    /// Processor time since its start.
    pub processor: Duration,
}

impl Usage {
    /// Reads what a process takes.
    ///
    /// # Panics
    /// If there is no such process.
    pub fn of(pid: u32) -> Usage {
        let dir = PathBuf::from(format!("/proc/{pid}"));
        let read = |name: &str| fs::read_to_string(dir.join(name)).expect("the process runs");
        let status = read("status");
        let field = |name: &str| -> u64 {
            let mut lines = status.lines();
            let line = lines.find_map(|line| line.strip_prefix(name));
            let number = line.and_then(|line| line.split_whitespace().next());
            number
                .and_then(|n| n.parse().ok())
                .expect("the kernel says it")
        };
        Usage {
            rss_bytes: field("VmRSS:") * 1024,
            threads: field("Threads:") as usize,
            files: fs::read_dir(dir.join("fd")).expect("it is ours").count(),
            processor: processor(&read("stat")),
        }
    }
}

/// User and system time: the 12th and 13th word after the name, in hundredths of a second.
fn processor(stat: &str) -> Duration {
    let after_name = stat.rsplit(") ").next().unwrap_or_default();
    let words = after_name.split(' ').skip(11).take(2);
    let ticks: u64 = words.filter_map(|word| word.parse::<u64>().ok()).sum();
    Duration::from_millis(ticks * 10)
}
