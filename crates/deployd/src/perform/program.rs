//! The operator's programs: others say *what* to run, here it is decided *how*.
//!
//! Where systemd runs the machine, hooks and the restart command are units of their own: they are
//! ended as a whole, outlive us, and are found by who comes next. Elsewhere they are children in a
//! process group of their own. The commands of drain and probe are children everywhere: they are
//! short, some run every second, and none is worth to go on without us.

use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use deploy_core::name::ServiceName;
use deploy_core::verdict::Failure;
use sha2::{Digest as _, Sha256};
use tokio::time::sleep;

use super::StepError;
use crate::chain::Chain;
use crate::config::DEFAULT_STATE_DIR;
use crate::host::process::{Ended, How, Job, StartError, run};
use crate::host::systemd;
use crate::host::systemd::transient::{self, Found, Transient, TransientError};

/// What the names of all hooks' units begin with.
pub(crate) const HOOK_UNITS: &str = "deployd-hook-";
const RESTART_UNITS: &str = "deployd-restart-";

/// A program that must end well.
#[derive(Debug)]
pub(super) struct Program<'a> {
    /// What to run.
    pub(super) job: Job<'a>,
    /// What that is, for messages.
    pub(super) what: String,
    /// Whose fault it is when it doesn't end well.
    pub(super) failure: Failure,
}

/// Runs a program as a child: it ends with us.
pub(super) async fn run_beside(program: &Program<'_>) -> Result<(), StepError> {
    judge(program, run_child(program).await?)
}

/// Like [`run_beside`], for a program that may take longer than it is waited for; tells whether it came to its end.
pub(super) async fn run_in_time(program: &Program<'_>) -> Result<bool, StepError> {
    let ended = run_child(program).await?;
    match ended.how {
        How::TimedOut(_) => Ok(false),
        _ => judge(program, ended).map(|()| true),
    }
}

async fn run_child(program: &Program<'_>) -> Result<Ended, StepError> {
    let ended = run(&program.job).await;
    ended.map_err(|error| not_started(program, &error))
}

/// The programs of a service that run apart from us.
#[derive(Debug)]
pub(crate) struct Programs {
    /// What tells our units from those of other services, and of another deployd.
    place: String,
    left: Left,
    /// What a restart is.
    pub(crate) restarts: Restarts,
}

/// What a restart is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Restarts {
    /// The operator's command is run.
    Real,
    /// Time that passes: all that [`simulate`](crate::simulate) leaves out of an agent.
    Simulated(Duration),
}

/// Whether units of ours are there that nobody waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Left {
    /// An earlier run may have left some.
    OfAnEarlierRun,
    /// This run may have left some, as when a step was dropped.
    OfThisRun,
    /// There are none.
    Nothing,
}

impl Programs {
    /// Returns those of a service, of the deployd with this state directory.
    pub(crate) fn new(service: &ServiceName, state_dir: &Path) -> Programs {
        // No service has a dot or an underscore in its name: the units of `web` are not taken for
        // those of `web-2`, nor for those of another deployd's `web`.
        let place = if state_dir == Path::new(DEFAULT_STATE_DIR) {
            service.to_string()
        } else {
            let digest = Sha256::digest(state_dir.as_os_str().as_encoded_bytes());
            let short: String = digest[..4].iter().map(|b| format!("{b:02x}")).collect();
            format!("{service}_{short}")
        };
        Programs {
            place,
            left: Left::OfAnEarlierRun,
            restarts: Restarts::Real,
        }
    }

    /// Runs a hook. One that an earlier run has begun is waited for, and not begun again.
    pub(super) async fn hook(
        &mut self,
        name: &str,
        program: &Program<'_>,
    ) -> Result<(), StepError> {
        if !systemd::is_ours_to_use() {
            return run_beside(program).await;
        }
        let found = match self.left {
            Left::OfAnEarlierRun => Found::Adopted,
            // It was dropped, or its end could not be cleared away: that outcome is not this one's.
            Left::OfThisRun | Left::Nothing => Found::Ended,
        };
        self.left = Left::OfThisRun;
        let unit = format!("{HOOK_UNITS}{}.{name}.service", self.place);
        run_apart(&unit, program, found).await
    }

    /// Runs the restart command. What it starts lives on in the unit, so each has its own.
    pub(super) async fn restart(&self, program: &Program<'_>) -> Result<(), StepError> {
        if let Restarts::Simulated(time) = self.restarts {
            sleep(time).await;
            return Ok(());
        }
        if !systemd::is_ours_to_use() {
            return run_beside(program).await;
        }
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let (seconds, chance) = (now.map_or(0, |now| now.as_secs()), fastrand::u32(..));
        let unit = format!(
            "{RESTART_UNITS}{}.{seconds}-{chance:08x}.service",
            self.place
        );
        run_apart(&unit, program, Found::Ended).await
    }

    /// Ends what a step has left that was dropped: a restart command too, which nobody will ask how it ended.
    pub(crate) async fn end_dropped(&mut self) {
        self.left = Left::OfThisRun;
        self.end_left().await;
    }

    /// Ends what was left: a hook with all of its processes, of a restart command only itself.
    pub(crate) async fn end_left(&mut self) {
        if self.left == Left::Nothing || !systemd::is_ours_to_use() {
            return;
        }
        let hooks = format!("{HOOK_UNITS}{}.*", self.place);
        let restarts = format!("{RESTART_UNITS}{}.*", self.place);
        let ended = match transient::end(&[&hooks]).await {
            Ok(()) => transient::stop(&[&restarts]).await,
            Err(error) => Err(error),
        };
        match ended {
            Ok(()) => self.left = Left::Nothing,
            Err(error) => {
                tracing::warn!(error = %Chain(&error), "programs that were left can't be ended");
            }
        }
    }
}

async fn run_apart(unit: &str, program: &Program<'_>, found: Found) -> Result<(), StepError> {
    let transient = Transient {
        unit,
        description: &program.what,
        job: &program.job,
    };
    match transient::run(transient, found).await {
        Ok(ended) => judge(program, ended),
        Err(TransientError::Start(error)) => Err(not_started(program, &error)),
        // No fault of the program.
        Err(error @ (TransientError::Systemd(_) | TransientError::Gone { .. })) => {
            Err(failed(program, Failure::Passing, &error))
        }
    }
}

fn judge(program: &Program<'_>, ended: Ended) -> Result<(), StepError> {
    if ended.how == How::Well {
        return Ok(());
    }
    Err(StepError {
        failure: program.failure,
        message: format!("{}: {}", program.what, ended.how),
        log: ended.tail,
    })
}

fn not_started(program: &Program<'_>, error: &StartError) -> StepError {
    let failure = match error.is_of_the_program() {
        true => program.failure,
        false => Failure::Passing,
    };
    failed(program, failure, error)
}

fn failed(
    program: &Program<'_>,
    failure: Failure,
    error: &(dyn std::error::Error + 'static),
) -> StepError {
    StepError {
        failure,
        message: format!("{}: {}", program.what, Chain(error)),
        log: Vec::new(),
    }
}

#[cfg(test)]
mod tests;
