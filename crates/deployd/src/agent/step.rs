//! The step under way: performed, told of, and dropped where that is right.

use std::pin::pin;
use std::time::Duration;

use deploy_core::name::BuildName;
use deploy_core::plan::plan;
use deploy_core::step::{Interruption, Step};
use deploy_zk::link::Link;
use jiff::Timestamp;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until};

use super::wait::told;
use super::{Agent, Round, STOP_TIME, order, read_wanted, shape};
use crate::inputs::Inputs;
use crate::metrics::Outcome;
use crate::perform::{Progress, StepError};
use crate::report::{self, Scene};

/// How long after a stop a step may go on that leaves a host halfway.
const STEP_STOP_TIME: Duration = Duration::from_secs(30);

impl Agent {
    /// Performs a step; `None` where it was dropped because something else is wanted.
    pub(super) async fn perform(
        &mut self,
        step: &Step,
        round: &Round,
    ) -> Option<Result<(), StepError>> {
        if let Err(error) = self.begin(step, round) {
            return Some(Err(error));
        }
        let begun = Instant::now();
        let result = self.perform_begun(step, round).await;
        let outcome = match &result {
            Some(Ok(())) => Outcome::Done,
            Some(Err(_)) => Outcome::Failed,
            None => Outcome::Dropped,
        };
        self.told(step, round, (outcome, begun.elapsed()));
        if result.is_none() {
            // What it ran as a unit would go on without us.
            self.performer.programs.end_left().await;
        }
        match (self.performer.note(|record| record.end(step)), result) {
            (Err(error), Some(Ok(()))) => Some(Err(error)),
            (_, result) => result,
        }
    }

    /// Counts a step, and tells of one that is done; the others are told of where it is known what follows.
    fn told(&self, step: &Step, round: &Round, (outcome, took): (Outcome, Duration)) {
        let service = &self.performer.service.name;
        self.performer.metrics.step(service, step, (outcome, took));
        if outcome == Outcome::Done {
            tracing::info!(
                %service,
                step = %step,
                rollout = order(&round.wanted).rollout,
                build = round.plan.goal.as_ref().map(BuildName::as_str),
                ms = took.as_millis() as u64,
                result = "done",
                "step done: {step}",
            );
        }
    }

    async fn perform_begun(&mut self, step: &Step, round: &Round) -> Option<Result<(), StepError>> {
        let order = order(&round.wanted);
        let shape = shape(&self.performer);
        let (host, service) = (self.performer.host.clone(), self.performer.service.clone());
        let since = Timestamp::now();
        let Agent {
            inputs,
            performer,
            link,
            reports,
            stop,
            trust,
            looks: _,
            seen: _,
            units_age: _,
        } = self;
        let tell = |progress: Progress| {
            let step = Some((step, progress, since));
            let (wanted, plan, sight) = (&round.wanted, &round.plan, &round.sight);
            let scene = Scene {
                wanted,
                plan,
                sight,
                step,
                failures: 0,
                error: None,
            };
            reports.send_replace(Some(report::render(&scene, (&host, &service, trust))));
        };
        tell(Progress::default());
        tracing::debug!(service = %service.name, step = %step, "step begun: {step}");
        let harmless = step.interruption() == Interruption::Harmless;
        let still_wanted = |inputs: &mut Inputs, link: &watch::Receiver<Link>| {
            let wanted = read_wanted(inputs, link, (&service.name, &host));
            plan(&wanted, &shape, &round.sight.observed).steps.first() == Some(step)
        };
        let mut watching = pin!(watch_progress(performer.progress.subscribe(), tell));
        let mut performing = pin!(performer.perform(step, &order));
        let mut patience = pin!(stop_patience(stop, step.interruption()));
        loop {
            // All arms are cancel-safe: what is performed and watched is kept, the others only
            // wait for a version of a watch, or for a time.
            tokio::select! {
                result = &mut performing => return Some(result),
                () = &mut watching => {}
                () = &mut patience => {
                    tracing::warn!(service = %service.name, step = %step, "step dropped: deployd is to end");
                    return None;
                }
                () = inputs.changed() => {
                    if !still_wanted(inputs, link) && harmless {
                        tracing::info!(service = %service.name, step = %step, "step dropped: something else is wanted");
                        return None;
                    }
                }
            }
        }
    }
}

/// Completes when a step is to be dropped because deployd is to end: a harmless one at once, the
/// others when they, or all of them together, have had their time. Repeating them is safe.
async fn stop_patience(stop: &mut watch::Receiver<Option<Instant>>, interruption: Interruption) {
    let mut at = told(stop).await;
    let told_at = Instant::now();
    if interruption == Interruption::Harmless {
        return;
    }
    loop {
        let step_ends = told_at.max(at) + STEP_STOP_TIME;
        // Cancel-safe: they only wait for a time, or for a version of a watch.
        tokio::select! {
            () = sleep_until(step_ends.min(at + STOP_TIME)) => return,
            // A stop may come while a reload is waited for.
            changed = stop.changed() => match (changed, *stop.borrow_and_update()) {
                (Ok(()), Some(earlier)) => at = earlier,
                _ => return,
            },
        }
    }
}

/// Tells of progress, a few times a second.
async fn watch_progress(mut progress: watch::Receiver<Progress>, mut tell: impl FnMut(Progress)) {
    while progress.changed().await.is_ok() {
        let now = *progress.borrow_and_update();
        tell(now);
        sleep(Duration::from_millis(200)).await;
    }
    std::future::pending().await
}
