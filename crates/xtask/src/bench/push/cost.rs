//! What a deployment costs: time, and processor time of everybody who takes part.

use std::fs;
use std::time::Duration;

use anyhow::{Context, Result};
use nix::unistd::{SysconfVar, sysconf};

/// What one deployment cost.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cost {
    /// From the start of the controller to its end.
    pub(crate) wall: Duration,
    /// Processor time of the controller, with all that it started.
    pub(crate) controller: Duration,
    /// Processor time of a host, on the average.
    pub(crate) host: Duration,
    /// Processor time of ZooKeeper, where there is one.
    pub(crate) zookeeper: Option<Duration>,
}

impl Cost {
    /// Returns the median of each figure.
    pub(crate) fn median(costs: &[Cost]) -> Cost {
        let of = |figure: fn(&Cost) -> Duration| {
            let mut figures: Vec<Duration> = costs.iter().map(figure).collect();
            figures.sort();
            figures.get(figures.len() / 2).copied().unwrap_or_default()
        };
        let has_zookeeper = costs.iter().any(|cost| cost.zookeeper.is_some());
        Cost {
            wall: of(|cost| cost.wall),
            controller: of(|cost| cost.controller),
            host: of(|cost| cost.host),
            zookeeper: has_zookeeper.then(|| of(|cost| cost.zookeeper.unwrap_or_default())),
        }
    }
}

/// Renders a time in seconds.
pub(crate) fn shown(time: Duration) -> String {
    format!("{:.2} s", time.as_secs_f64())
}

/// Whose processor time is asked for.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Whose {
    /// That of the process alone.
    Own,
    /// That of the children that it has waited for, too.
    Family,
}

/// Returns the processor time that a process has used. It counts in hundredths of a second: few of them say little, the sum
/// over many hosts much.
pub(crate) fn processor_time(process: u32, whose: Whose) -> Result<Duration> {
    let path = format!("/proc/{process}/stat");
    let stat = fs::read_to_string(&path).with_context(|| format!("failed to read {path}"))?;
    // The name, in brackets, may hold spaces.
    let (_, rest) = stat.rsplit_once(')').context("it has no name")?;
    let fields: Vec<u64> = rest.split(' ').map(|it| it.parse().unwrap_or(0)).collect();
    let count = match whose {
        Whose::Own => 2,
        Whose::Family => 4,
    };
    // After the name: user, system, user of the children, system of the children are the 12th and on.
    let ticks: u64 = fields.iter().skip(12).take(count).sum();
    let per_second = sysconf(SysconfVar::CLK_TCK)?.context("the system has no clock tick")?;
    Ok(Duration::from_secs_f64(ticks as f64 / per_second as f64))
}
