//! What a process has and uses, from /proc.

use std::fs;
use std::time::Duration;

use anyhow::{Context, Result};
use nix::unistd::{SysconfVar, sysconf};

/// What a process holds at a moment.
#[derive(Debug, Clone, Copy)]
pub(super) struct Footprint {
    /// Memory that is its own or shared.
    pub(super) rss_bytes: u64,
    /// The same, where shared pages count in part.
    pub(super) pss_bytes: u64,
    /// Its threads.
    pub(super) threads: usize,
    /// Its open files.
    pub(super) files: usize,
}

/// What a process has used since it began.
#[derive(Debug, Clone, Copy)]
pub(super) struct Spent {
    /// How often one of its threads went to sleep, and so was woken.
    pub(super) wake_ups: u64,
    /// Time on a processor, of those threads that still live.
    pub(super) cpu: Duration,
    /// The same, of the programs that it ran and that have ended. In steps of 10 ms.
    pub(super) children: Duration,
}

/// What a process costs.
#[derive(Debug, Clone, Copy)]
pub(super) struct Cost {
    /// What it holds.
    pub(super) footprint: Footprint,
    /// What it has used in the time that was looked at.
    pub(super) spent: Spent,
}

impl Footprint {
    /// Looks at a process.
    pub(super) fn of(id: u32) -> Result<Footprint> {
        let text = read(&format!("/proc/{id}/smaps_rollup"))?;
        let kib = |key: &str| number(&text, key).unwrap_or(0) * 1024;
        Ok(Footprint {
            rss_bytes: kib("Rss:"),
            pss_bytes: kib("Pss:"),
            threads: count(&format!("/proc/{id}/task"))?,
            files: count(&format!("/proc/{id}/fd"))?,
        })
    }
}

impl Spent {
    /// Looks at a process.
    pub(super) fn of(id: u32) -> Result<Spent> {
        let mut spent = Spent {
            wake_ups: 0,
            cpu: Duration::ZERO,
            children: children(id)?,
        };
        let tasks = format!("/proc/{id}/task");
        let threads = fs::read_dir(&tasks).with_context(|| format!("failed to list {tasks}"))?;
        for thread in threads.flatten() {
            let dir = thread.path();
            // A thread may end while it is looked at.
            let status = fs::read_to_string(dir.join("status")).unwrap_or_default();
            spent.wake_ups += number(&status, "voluntary_ctxt_switches:").unwrap_or(0);
            let schedule = fs::read_to_string(dir.join("schedstat")).unwrap_or_default();
            let nanoseconds = schedule
                .split(' ')
                .next()
                .and_then(|word| word.parse().ok());
            spent.cpu += Duration::from_nanos(nanoseconds.unwrap_or(0));
        }
        Ok(spent)
    }

    /// What was used since an earlier look.
    pub(super) fn since(&self, before: &Spent) -> Spent {
        Spent {
            wake_ups: self.wake_ups.saturating_sub(before.wake_ups),
            cpu: self.cpu.saturating_sub(before.cpu),
            children: self.children.saturating_sub(before.children),
        }
    }
}

fn children(id: u32) -> Result<Duration> {
    let text = read(&format!("/proc/{id}/stat"))?;
    // Behind the name, which may hold anything: the time of children, for themselves and in the kernel.
    let (_, fields) = text.rsplit_once(')').context("a process without a name")?;
    let fields = fields.split_whitespace().skip(13).take(2);
    let ticks: u64 = fields.filter_map(|field| field.parse::<u64>().ok()).sum();
    let a_second = sysconf(SysconfVar::CLK_TCK)?.unwrap_or(100);
    Ok(Duration::from_secs_f64(ticks as f64 / a_second as f64))
}

fn number(text: &str, key: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(key))?;
    line.split_whitespace().next()?.parse().ok()
}

fn count(dir: &str) -> Result<usize> {
    let entries = fs::read_dir(dir).with_context(|| format!("failed to list {dir}"))?;
    Ok(entries.count())
}

fn read(path: &str) -> Result<String> {
    fs::read_to_string(path).with_context(|| format!("failed to read {path}"))
}
