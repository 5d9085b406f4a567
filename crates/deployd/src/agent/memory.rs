//! What an agent keeps between two rounds, as long as the same is wanted: a pause, and a count of what was done.

use std::collections::BTreeMap;

use deploy_core::plan::Plan;
use deploy_core::step::Step;
use deploy_core::verdict::Failure;
use deploy_core::wanted::WantedTarget;
use tokio::time::Instant;

use crate::perform::StepError;

/// A step that failed and is tried again.
#[derive(Debug, Clone)]
pub(super) struct Pause {
    pub(super) step: Step,
    pub(super) error: StepError,
    pub(super) failures: u32,
    pub(super) until: Instant,
}

/// How often a step may succeed, and be to do again, before nothing is left to do.
const DONE_MAX: u32 = 3;

/// What is kept between two rounds, as long as the same is wanted.
#[derive(Default)]
pub(super) struct Memory {
    target: Option<WantedTarget>,
    pub(super) pause: Option<Pause>,
    /// How often each step was done.
    done: BTreeMap<String, u32>,
}

impl Memory {
    /// Forgets everything where something else is wanted: the cause may be gone with it.
    pub(super) fn keep_for(&mut self, target: &WantedTarget) {
        if self.target.as_ref() != Some(target) {
            *self = Memory {
                target: Some(target.clone()),
                ..Memory::default()
            };
        }
    }

    /// Forgets what has happened: nothing is left to do, or to be done only later.
    pub(super) fn begin_anew(&mut self) {
        *self = Memory {
            target: self.target.take(),
            ..Memory::default()
        };
    }

    /// Notes that a step has failed, and when it may be tried again, if it may.
    pub(super) fn failed(&mut self, pause: Option<Pause>) {
        self.done.clear();
        self.pause = pause;
    }

    /// Until when nothing is tried.
    pub(super) fn paused_until(&self) -> Option<Instant> {
        let pause = self.pause.as_ref()?;
        (Instant::now() < pause.until).then_some(pause.until)
    }

    /// The failure that holds things up. A step may turn out to be done after all, as where only the
    /// journal could not say so: then it is over, and a host that serves is not called blocked until
    /// it looks again.
    pub(super) fn trouble(&self, plan: &Plan) -> Option<&Pause> {
        let pause = self.pause.as_ref()?;
        let holds = match plan.steps.first() {
            None | Some(Step::Wait(_)) => false,
            Some(step) => *step == pause.step || self.paused_until().is_some(),
        };
        holds.then_some(pause)
    }

    /// Notes a step that was done. Somebody who undoes it each time, as a hook that deletes its own
    /// release, must not make us do it for ever.
    pub(super) fn done(&mut self, step: &Step) -> Result<(), StepError> {
        self.pause.take_if(|pause| pause.step == *step);
        let count = self.done.entry(step.to_string()).or_default();
        *count += 1;
        if *count <= DONE_MAX {
            return Ok(());
        }
        Err(StepError {
            failure: Failure::OfTheBuild,
            message: format!("{step}: done {count} times, and something undoes it each time"),
            log: Vec::new(),
        })
    }
}

#[cfg(test)]
mod tests;
