//! Programs as units of their own, by `systemd-run`.
//!
//! Such a unit has a cgroup of its own: all of its processes can be ended, however they have
//! detached themselves, and it does not end with us. What started it can die; who comes next finds
//! the unit by its name, and its result. Nothing of our own limits or sandbox applies to it.
//!
//! The units are not collected by systemd: with their end their result would be gone. So each is
//! ended by us, whatever came of it.

use std::io;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::journal::{self, lines};
use super::{ANSWER_TIME, SystemdError, Unit, command, job, show, systemctl};
use crate::host::process::output::escape;
use crate::host::process::{
    Ended, How, Job, Leftovers, StartError, environment, program, read, run as run_child,
};

/// What `systemctl` ends with where a unit is not there: one that failed is gone once it is reset.
const NOT_LOADED: i32 = 5;
/// Between TERM and KILL.
const TERM_TIME: Duration = Duration::from_secs(5);
/// How long systemd may take to start a program. It waits that long itself, and we a little more.
const START_TIME: Duration = Duration::from_secs(20);
/// The first and the longest pause between two looks at a unit.
const LOOK_TIMES: (Duration, Duration) = (Duration::from_millis(20), Duration::from_millis(500));
/// Characters of a description: it is read at each look.
const DESCRIPTION_CHARS_MAX: usize = 300;
/// What systemd adds to the environment of a service, on top of what it is set to.
const ADDED: &[&str] = &[
    "SHELL",
    "HOME",
    "USER",
    "LOGNAME",
    "INVOCATION_ID",
    "JOURNAL_STREAM",
    "SYSTEMD_EXEC_PID",
    "MANAGERPID",
    "MEMORY_PRESSURE_WATCH",
    "MEMORY_PRESSURE_WRITE",
    "TERM",
];
/// The exit codes of systemd's own, for a program that it can't start: 200 to 243.
const START_CODES: std::ops::RangeInclusive<i32> = 200..=243;

/// A program to run as a unit.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Transient<'a> {
    /// The name of the unit. No other of that name can be at the same time.
    pub(crate) unit: &'a str,
    /// What it is, for people, and for who finds it.
    pub(crate) description: &'a str,
    /// What to run. It has no input.
    pub(crate) job: &'a Job<'a>,
}

/// What to do with a unit of that name that is there already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Found {
    /// It is waited for, where its description is the same; else it is ended.
    Adopted,
    /// It is ended.
    Ended,
}

/// Why a program has no end.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TransientError {
    /// It can't be started: not there, not executable, its interpreter missing.
    #[error(transparent)]
    Start(#[from] StartError),
    /// systemd can't be asked.
    #[error(transparent)]
    Systemd(#[from] SystemdError),
    /// Its unit went away.
    #[error("{unit} was stopped by somebody else")]
    Gone {
        /// The unit.
        unit: String,
    },
}

/// Runs a program to its end, and ends what it left behind, or lets it live, as the job says.
///
/// Dropping the future leaves the unit: it is to be ended by [`end`].
///
/// # Errors
/// Where it can't be started, or nothing is known of its end.
pub(crate) async fn run(transient: Transient<'_>, found: Found) -> Result<Ended, TransientError> {
    let unit = transient.unit;
    let description = description(transient.description);
    // What it needs to be started is asked at the same time.
    let (there, foreign) = tokio::join!(show(unit), manager_environment());
    let there = there?;
    let same = there.is_loaded() && there.description == description;
    if found == Found::Adopted && same {
        tracing::info!(unit, "a program of an earlier run is waited for");
    } else {
        if there.is_loaded() {
            end(&[unit]).await?;
        }
        start(transient, &description, &foreign?).await?;
    }
    let result = await_end(transient).await;
    let well = matches!(&result, Ok(ended) if ended.how == How::Well);
    let cleared = if well && transient.job.leftovers == Leftovers::Live {
        stop(&[unit]).await
    } else {
        end(&[unit]).await
    };
    if let Err(error) = cleared {
        // What came of the program is known all the same.
        tracing::warn!(unit, %error, "the unit of a program can't be ended");
    }
    result
}

/// Ends units, with all of their processes. Names may be patterns; what is not there is no error.
///
/// # Errors
/// Where systemd can't be asked, or does not do it.
pub(crate) async fn end(units: &[&str]) -> Result<(), SystemdError> {
    kill(units).await?;
    stop(units).await
}

/// Ends units that let live what they have left behind: only their own program is ended.
///
/// # Errors
/// As [`end`].
pub(crate) async fn stop(units: &[&str]) -> Result<(), SystemdError> {
    let limit = TERM_TIME + ANSWER_TIME;
    let stopped = systemctl(&[&["stop", "--"], units].concat(), limit).await?;
    let _ = systemctl(&[&["reset-failed", "--"], units].concat(), ANSWER_TIME).await?;
    match stopped.how {
        How::Well | How::Exit(NOT_LOADED) => Ok(()),
        how => Err(SystemdError::Failed {
            verb: "stop",
            unit: units.join(" "),
            how,
            tail: stopped.tail,
        }),
    }
}

/// Kills all processes of units at once: they had their time.
async fn kill(units: &[&str]) -> Result<(), SystemdError> {
    // Nothing left to kill is as good.
    let _ = systemctl(
        &[&["kill", "--signal=KILL", "--"], units].concat(),
        ANSWER_TIME,
    )
    .await?;
    Ok(())
}

/// What `systemd-run` says of a program that is not there, before the name and the reason.
const NOT_FOUND: &str = "Failed to find executable";

/// Starts it. Whether that went well is seen in the unit: a program that fails at once may be taken
/// for one that can't be started.
async fn start(
    transient: Transient<'_>,
    description: &str,
    manager_environment: &[String],
) -> Result<(), TransientError> {
    let arguments = arguments(transient, description, manager_environment);
    // That systemd-run itself can't be run says nothing of the program.
    let starting = run_child(&job(&arguments, START_TIME + ANSWER_TIME)).await;
    let started = starting.map_err(SystemdError::from)?;
    if started.how == How::Well || show(transient.unit).await?.is_loaded() {
        return Ok(());
    }
    // It looks for the program before it asks systemd. One that is there and can't be executed leaves its unit.
    if let Some(said) = started.tail.iter().find(|line| line.contains(NOT_FOUND)) {
        return Err(cannot_start(transient, said).into());
    }
    Err(TransientError::Systemd(SystemdError::NotStarted {
        unit: transient.unit.to_owned(),
        how: started.how,
        tail: started.tail,
    }))
}

fn arguments(
    Transient { unit, job, .. }: Transient<'_>,
    description: &str,
    manager_environment: &[String],
) -> Vec<String> {
    let kill_mode = match job.leftovers {
        Leftovers::Killed => "control-group",
        Leftovers::Live => "process",
    };
    let mut all: Vec<String> = ["systemd-run", "--quiet", "--no-ask-password"]
        .map(str::to_owned)
        .to_vec();
    all.extend([
        format!("--unit={unit}"),
        format!("--description={description}"),
        "--service-type=exec".to_owned(),
        // Its result stays until we have read it.
        "--remain-after-exit".to_owned(),
        format!("--working-directory={}", job.dir.display()),
        format!("--property=RuntimeMaxSec={}ms", job.limit.as_millis()),
        format!("--property=TimeoutStartSec={}s", START_TIME.as_secs()),
        format!("--property=TimeoutStopSec={}s", TERM_TIME.as_secs()),
        format!("--property=KillMode={kill_mode}"),
        "--property=StandardOutput=journal".to_owned(),
        "--property=StandardError=journal".to_owned(),
        format!("--property=SyslogIdentifier={}", identifier(unit)),
    ]);
    if let Some(user) = job.user.filter(|user| !user.is_self()) {
        all.extend([
            format!("--uid={}", user.uid()),
            format!("--gid={}", user.gid()),
        ]);
    }
    let own = environment(job);
    let foreign = ADDED.iter().map(|name| (*name).to_owned());
    let foreign: Vec<String> = foreign
        .chain(manager_environment.iter().cloned())
        .filter(|name| !own.iter().any(|(own, _)| own == name))
        .collect();
    all.push(format!("--property=UnsetEnvironment={}", foreign.join(" ")));
    all.extend(
        own.iter()
            .map(|(name, value)| format!("--setenv={name}={value}")),
    );
    all.push("--".to_owned());
    all.push(program(job).display().to_string());
    // systemd replaces variables in arguments; nobody asked it to.
    let rest = job.arguments.iter().skip(1);
    all.extend(rest.map(|argument| argument.replace('$', "$$")));
    all
}

/// The names of what an operator has set for all services of this machine: hooks get what is
/// documented, on every host the same.
async fn manager_environment() -> Result<Vec<String>, SystemdError> {
    let arguments = command(&["show-environment"]);
    let (ended, output) = read(&job(&arguments, ANSWER_TIME)).await?;
    if ended.how != How::Well {
        return Err(SystemdError::Failed {
            verb: "show-environment",
            unit: "for all units".to_owned(),
            how: ended.how,
            tail: ended.tail,
        });
    }
    let names = output.lines().filter_map(|line| line.split_once('='));
    Ok(names.map(|(name, _)| name.to_owned()).collect())
}

async fn await_end(transient: Transient<'_>) -> Result<Ended, TransientError> {
    let Transient { unit, job, .. } = transient;
    // systemd ends it after its time; this is for a systemd that doesn't.
    let deadline = Instant::now() + job.limit + TERM_TIME * 2 + START_TIME + ANSWER_TIME;
    let mut pause = LOOK_TIMES.0;
    loop {
        match show(unit).await {
            Ok(seen) if !seen.is_loaded() => {
                let unit = unit.to_owned();
                return Err(TransientError::Gone { unit });
            }
            Ok(seen) if seen.has_ended() => return ended(transient, &seen).await,
            Err(error) if Instant::now() >= deadline => return Err(error.into()),
            // It answers again when it has reloaded itself.
            Err(error) => tracing::debug!(unit, %error, "a unit can't be looked at"),
            Ok(_) if Instant::now() >= deadline => {
                let how = How::TimedOut(job.limit);
                return Ok(Ended {
                    how,
                    tail: Vec::new(),
                });
            }
            Ok(_) => {}
        }
        sleep(pause).await;
        pause = (pause * 2).min(LOOK_TIMES.1);
    }
}

async fn ended(transient: Transient<'_>, unit: &Unit) -> Result<Ended, TransientError> {
    let how = how(unit, transient.job.limit);
    if how == How::Well {
        return Ok(Ended {
            how,
            tail: Vec::new(),
        });
    }
    // What it said last may not have been written yet.
    journal::sync().await;
    let invocation = &unit.invocation;
    if matches!(how, How::Exit(code) if START_CODES.contains(&code)) || unit.main_code == 0 {
        let said = lines(&[format!("INVOCATION_ID={invocation}")]).await;
        if let Some(why) = said
            .iter()
            .find_map(|line| line.split_once("Failed at step "))
        {
            return Err(cannot_start(transient, why.1).into());
        }
    }
    // Where a process has ended before the journal came to its lines, it doesn't know its invocation
    // any more; the identifier comes with the lines.
    let matches = [
        format!("SYSLOG_IDENTIFIER={}", unit.syslog_identifier),
        "+".to_owned(),
        format!("_SYSTEMD_INVOCATION_ID={invocation}"),
    ];
    let tail = lines(&matches).await;
    Ok(Ended { how, tail })
}

/// What the lines of one run have in the journal, and of no other.
fn identifier(unit: &str) -> String {
    let name = unit.trim_end_matches(".service");
    format!("{name}-{:08x}", fastrand::u32(..))
}

fn how(unit: &Unit, limit: Duration) -> How {
    match (unit.result.as_str(), unit.main_code, unit.main_status) {
        ("timeout", ..) => How::TimedOut(limit),
        (_, 1, 0) => How::Well,
        (_, 1, code) => How::Exit(code),
        (_, 0, _) => How::Exit(-1),
        (_, _, signal) => How::Signal(signal),
    }
}

/// `said` ends with the reason: `EXEC spawning bin/x: No such file or directory`.
fn cannot_start(transient: Transient<'_>, said: &str) -> StartError {
    let why = said.rsplit_once(": ").map_or(said, |(_, why)| why);
    StartError {
        program: program(transient.job),
        source: io::Error::other(why.to_owned()),
    }
}

fn description(text: &str) -> String {
    let line = escape(text);
    line.trim().chars().take(DESCRIPTION_CHARS_MAX).collect()
}

impl Unit {
    fn is_loaded(&self) -> bool {
        self.load == "loaded"
    }

    /// Tells whether a unit that stays after its end has ended.
    fn has_ended(&self) -> bool {
        match self.active.as_str() {
            "active" => self.sub == "exited",
            "failed" | "inactive" => true,
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests;
