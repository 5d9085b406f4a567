//! systemd units, by its own program.
//!
//! The text interface is stable, stands in logs, and needs no daemon besides PID 1.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use futures_util::future::join_all;
use nix::unistd::Uid;

use super::cgroup;
use super::process::{Ended, How, Job, Leftovers, StartError, read, run};

pub(crate) mod answers;
pub(crate) mod journal;
pub(crate) mod transient;

/// How long systemd may take to answer a question.
const ANSWER_TIME: Duration = Duration::from_secs(10);
/// Added to a limit for the command around the job, so that systemd's own end is seen first.
const COMMAND_TIME: Duration = Duration::from_secs(2);

/// Where systemd shows which start of each unit is the one that runs.
const INVOCATIONS: &str = "/run/systemd/units";

/// What systemd knows of a unit.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Unit {
    /// `loaded`, `not-found`, `masked`, ….
    pub(crate) load: String,
    /// `active`, `inactive`, `failed`, ….
    pub(crate) active: String,
    /// `running`, `dead`, `auto-restart`, ….
    pub(crate) sub: String,
    /// The main process; 0 for none.
    pub(crate) main_pid: i32,
    /// How often systemd has restarted it by itself.
    pub(crate) restarts: u64,
    /// The control group of its processes; empty for none.
    pub(crate) control_group: String,
    /// Tells this start from others.
    pub(crate) invocation: String,
    /// What it is called for people.
    pub(crate) description: String,
    /// By what its lines in the journal are known; empty: by the names of its programs.
    pub(crate) syslog_identifier: String,
    /// `success`, `exit-code`, `signal`, `timeout`, …: how it ended last.
    pub(crate) result: String,
    /// How its main process ended: 0 not yet, 1 by itself, 2 or 3 by a signal.
    pub(crate) main_code: i32,
    /// With which exit code, or by which signal.
    pub(crate) main_status: i32,
}

/// Why systemd can't be asked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SystemdError {
    /// `systemctl` can't be run.
    #[error(transparent)]
    Start(#[from] StartError),
    /// It says no, or nothing in time.
    #[error("systemctl {verb} {unit}: {how}{}", last(.tail))]
    Failed {
        /// What was asked for.
        verb: &'static str,
        /// Of which unit.
        unit: String,
        /// How it ended.
        how: How,
        /// What it said.
        tail: Vec<String>,
    },
    /// It can't make a unit of a program.
    #[error("systemd-run {unit}: {how}{}", last(.tail))]
    NotStarted {
        /// The unit.
        unit: String,
        /// How `systemd-run` ended.
        how: How,
        /// What it said.
        tail: Vec<String>,
    },
}

fn last(lines: &[String]) -> String {
    lines
        .last()
        .map(|line| format!(": {line}"))
        .unwrap_or_default()
}

/// Tells whether systemd runs this machine, and we may ask it to start what we like.
pub(crate) fn is_ours_to_use() -> bool {
    Path::new("/run/systemd/system").is_dir() && Uid::effective().is_root()
}

/// Whether to restart or to reload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verb {
    /// Stop it and start it.
    Restart,
    /// Let it reload.
    Reload,
}

/// Restarts or reloads a unit, and waits for the job's outcome.
///
/// # Errors
/// Where systemd can't be reached, doesn't know the unit, or the job fails.
pub(crate) async fn change(verb: Verb, unit: &str, limit: Duration) -> Result<(), SystemdError> {
    if verb == Verb::Restart {
        // Else a unit that was restarted often is refused, whatever it would do now.
        let _ = systemctl(&["reset-failed", "--", unit], ANSWER_TIME).await?;
    }
    let (word, verb_name) = match verb {
        Verb::Restart => ("restart", "restart"),
        Verb::Reload => ("reload", "reload"),
    };
    let ended = systemctl(&[word, "--", unit], limit + COMMAND_TIME).await?;
    match ended.how {
        How::Well => Ok(()),
        how => {
            let unit = unit.to_owned();
            Err(SystemdError::Failed {
                verb: verb_name,
                unit,
                how,
                tail: ended.tail,
            })
        }
    }
}

/// Returns what systemd knows of a unit.
///
/// # Errors
/// Where systemd can't be reached.
pub(crate) async fn show(unit: &str) -> Result<Unit, SystemdError> {
    ask(&[unit]).await.map(|output| parse(&output))
}

/// Returns what systemd knows of each of these units: asked once for all, since starting its program
/// costs more than the answer. Where that does not go well, each is asked for, and has an error of
/// its own.
async fn show_all(units: &[&str]) -> Vec<Result<Unit, SystemdError>> {
    if let [_, _, ..] = units
        && let Ok(output) = ask(units).await
    {
        let found: Vec<Unit> = output.split("\n\n").map(parse).collect();
        if found.len() == units.len() {
            return found.into_iter().map(Ok).collect();
        }
    }
    join_all(units.iter().map(|unit| show(unit))).await
}

/// The properties of units, in the order of their names, an empty line between two units.
async fn ask(units: &[&str]) -> Result<String, SystemdError> {
    let properties = "LoadState,ActiveState,SubState,MainPID,NRestarts,ControlGroup,InvocationID,\
                      Description,SyslogIdentifier,Result,ExecMainCode,ExecMainStatus";
    let arguments = command(&[&["show", "--property", properties, "--"], units].concat());
    let (ended, output) = read(&job(&arguments, ANSWER_TIME)).await?;
    match ended.how {
        How::Well => Ok(output),
        how => Err(SystemdError::Failed {
            verb: "show",
            unit: units.join(" "),
            how,
            tail: ended.tail,
        }),
    }
}

/// Tells, without asking systemd, whether a unit still has the start of which systemd has said this. False where
/// that can't be told.
fn is_same_start(unit: &str, said: &Unit) -> bool {
    // It is there for journald, and as long as the unit is up.
    let link = Path::new(INVOCATIONS).join(format!("invocation:{unit}"));
    let now = std::fs::read_link(link);
    !said.invocation.is_empty() && now.is_ok_and(|now| now == Path::new(&said.invocation))
}

fn parse(text: &str) -> Unit {
    let pairs: BTreeMap<&str, &str> = text
        .lines()
        .filter_map(|line| line.split_once('='))
        .collect();
    let text = |key| pairs.get(key).copied().unwrap_or_default();
    Unit {
        load: text("LoadState").to_owned(),
        active: text("ActiveState").to_owned(),
        sub: text("SubState").to_owned(),
        main_pid: text("MainPID").parse().unwrap_or(0),
        restarts: text("NRestarts").parse().unwrap_or(0),
        control_group: text("ControlGroup").to_owned(),
        invocation: text("InvocationID").to_owned(),
        description: text("Description").to_owned(),
        syslog_identifier: text("SyslogIdentifier").to_owned(),
        result: text("Result").to_owned(),
        main_code: text("ExecMainCode").parse().unwrap_or(0),
        main_status: text("ExecMainStatus").parse().unwrap_or(0),
    }
}

async fn systemctl(arguments: &[&str], limit: Duration) -> Result<Ended, StartError> {
    run(&job(&command(arguments), limit)).await
}

fn command(arguments: &[&str]) -> Vec<String> {
    let words = ["systemctl", "--no-ask-password"].iter().chain(arguments);
    words.map(|word| (*word).to_owned()).collect()
}

fn job(arguments: &[String], limit: Duration) -> Job<'_> {
    let dir = Path::new("/");
    Job {
        arguments,
        dir,
        user: None,
        environment: &[],
        limit,
        leftovers: Leftovers::Killed,
        input: "",
    }
}

impl Unit {
    /// Returns its processes, whoever has started them.
    pub(crate) fn processes(&self) -> Vec<i32> {
        let found = cgroup::processes(&self.control_group);
        // Where the groups can't be seen.
        let main = (found.is_empty() && self.main_pid > 0).then_some(self.main_pid);
        found.into_iter().chain(main).collect()
    }

    /// Returns what keeps systemd from starting it, and what to do about it.
    pub(crate) fn obstacle(&self, name: &str) -> Option<String> {
        match self.load.as_str() {
            "loaded" => None,
            "masked" => Some(format!(
                "systemd says that {name} is masked; run `systemctl unmask {name}`"
            )),
            "not-found" => Some(format!(
                "systemd says that the unit file of {name} is not found; see `systemctl cat {name}`"
            )),
            other => Some(format!(
                "systemd says that the unit file of {name} is no good ({other}); see `systemctl \
                 status {name}`"
            )),
        }
    }

    /// Tells whether it runs, or is on its way to.
    pub(crate) fn is_up(&self) -> bool {
        matches!(self.active.as_str(), "active" | "reloading" | "activating")
            && self.sub != "auto-restart"
    }
}

#[cfg(test)]
mod tests {
    use super::{Unit, parse};

    #[test]
    fn what_keeps_a_unit_from_starting_is_told_with_the_next_step() {
        let obstacle = |load: &str| parse(&format!("LoadState={load}\n")).obstacle("web.service");
        assert_eq!(obstacle("loaded"), None);
        for (load, step) in [
            ("masked", "systemctl unmask web.service"),
            ("not-found", "systemctl cat web.service"),
            ("bad-setting", "systemctl status web.service"),
        ] {
            let told = obstacle(load).unwrap();
            assert!(told.contains(step), "{told}");
        }
    }

    #[test]
    fn a_unit_in_a_restart_loop_is_not_up() {
        let unit = |active: &str, sub: &str| {
            parse(&format!("ActiveState={active}\nSubState={sub}\n")).is_up()
        };
        assert!(unit("active", "running"));
        assert!(!unit("activating", "auto-restart"));
        assert!(!unit("failed", "failed"));
        assert!(!Unit::default().is_up());
    }
}
