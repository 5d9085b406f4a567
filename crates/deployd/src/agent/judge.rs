//! What follows from a step that failed, or that was begun too often.

use deploy_core::name::BuildName;
use deploy_core::step::Step;
use deploy_core::verdict::{self, Begin, Failure, Verdict};
use deploy_core::wanted::WantedTarget;
use deploy_core::wire::record::Rejection;
use deploy_core::wire::report::ErrorReport;
use tokio::time::Instant;

use super::{Agent, Pause, Round, order};
use crate::perform::StepError;

impl Agent {
    /// Counts the begin of a step, and refuses what was begun too often.
    pub(super) fn begin(&mut self, step: &Step, round: &Round) -> Result<(), StepError> {
        let mut begun = self.performer.journal.record().clone();
        let count = begun.begin(step);
        let begin = match &round.plan.goal {
            Some(goal) => verdict::begin(count, goal, &round.sight.observed),
            None => Begin::Go,
        };
        if begin == Begin::TooOften {
            return Err(StepError {
                failure: Failure::OfTheBuild,
                message: format!("{step}: begun {count} times, and it never held"),
                log: Vec::new(),
            });
        }
        if begun == *self.performer.journal.record() {
            // It is not counted.
            return Ok(());
        }
        let restarted = match step {
            Step::Restart(batch) => self.performer.instances(batch),
            _ => Vec::new(),
        };
        self.performer.write(|record| {
            record.begin(step);
            // What the step itself writes first: one durable write for both.
            restarted.iter().for_each(|i| record.restart(&i.unit));
        })
    }

    /// Draws the consequence of a failed step.
    pub(super) fn judge(
        &mut self,
        (step, error): (&Step, StepError),
        round: &Round,
        pause: Option<Pause>,
    ) -> Option<Pause> {
        let service = self.performer.service.name.clone();
        let observed = &round.sight.observed;
        let goal = round.plan.goal.clone().or_else(|| step_build(step));
        let rollout = order(&round.wanted).rollout;
        let verdict = match &goal {
            Some(goal) => verdict::verdict(step, error.failure, goal, observed),
            None => Verdict::TryAgain,
        };
        let failed = match verdict {
            Verdict::Reject(build) => {
                tracing::error!(%service, step = step.name(), rollout, %build, result = "failed", error = %error.message, "build rejected: {step}");
                match self.reject(&build, (step, error), round) {
                    Ok(()) => return None,
                    Err(unwritten) => unwritten,
                }
            }
            Verdict::GoOn => {
                tracing::warn!(%service, step = step.name(), rollout, result = "failed", error = %error.message, "step failed, and is passed over: {step}");
                match self.pass_over(step) {
                    Ok(()) => return None,
                    Err(unwritten) => unwritten,
                }
            }
            Verdict::TryAgain => error,
        };
        let failures = pause.map_or(0, |pause| pause.failures) + 1;
        let most = verdict::pause_max(failures);
        // Half of it at least, so that nothing is hammered; the rest spreads the hosts.
        let wait = most.mul_f64(0.5 + fastrand::f64() / 2.0);
        tracing::warn!(%service, step = step.name(), rollout, result = "failed", error = %failed.message, wait_s = wait.as_secs_f64(), "step failed, and is tried again: {step}");
        Some(Pause {
            step: step.clone(),
            error: failed,
            failures,
            until: Instant::now() + wait,
        })
    }

    /// Writes down that a build failed here.
    fn reject(
        &mut self,
        build: &BuildName,
        (step, error): (&Step, StepError),
        round: &Round,
    ) -> Result<(), StepError> {
        let (rollout, retry) = match &round.wanted.target {
            WantedTarget::Build(goal) => (goal.rollout, goal.retry),
            _ => (None, 0),
        };
        let error = ErrorReport {
            step: step.name().to_owned(),
            kind: "rejected".to_owned(),
            message: error.message,
            log: error.log,
        };
        let rejection = Rejection {
            rollout,
            retry,
            error,
        };
        self.performer
            .write(|record| record.reject(build, rejection))
    }

    /// A hook that failed and is not waited for counts as run. Where that can't be written, nothing says so, and it would be run
    /// again at once, and again.
    fn pass_over(&mut self, step: &Step) -> Result<(), StepError> {
        self.performer.write(|record| match step {
            Step::PostInstall(build) => record.install(build),
            Step::PostRestart(build) => record.finish(build),
            _ => {}
        })
    }
}

fn step_build(step: &Step) -> Option<BuildName> {
    match step {
        Step::Fetch(build) | Step::Extract(build) | Step::Prepare(build) => Some(build.clone()),
        _ => None,
    }
}
