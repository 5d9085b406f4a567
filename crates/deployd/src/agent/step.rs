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

use super::wait::{told, told_to_end};
use super::{Agent, Round, STOP_TIME, Stop, order, read_wanted, runs_hook, shape};
use crate::inputs::Inputs;
use crate::metrics::Outcome;
use crate::perform::{Progress, StepError};
use crate::report::{self, Scene};

/// How long after a stop a step may go on that leaves a host halfway.
const STEP_STOP_TIME: Duration = Duration::from_secs(30);

impl Agent {
    /// Performs a step that has failed so often before; `None` where it was dropped because something else is wanted.
    pub(super) async fn perform(
        &mut self,
        (step, failures): (&Step, u32),
        round: &Round,
    ) -> Option<Result<(), StepError>> {
        if let Err(error) = self.begin(step, round) {
            return Some(Err(error));
        }
        let begun = Instant::now();
        let result = self.perform_begun((step, failures), round).await;
        let outcome = match &result {
            Some(Ok(())) => Outcome::Done,
            Some(Err(_)) => Outcome::Failed,
            None => Outcome::Dropped,
        };
        self.told(step, round, (outcome, begun.elapsed()));
        if result.is_none() && runs_program(step) {
            // What it ran as a unit would go on without us.
            self.performer.programs.end_dropped().await;
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
                step = step.name(),
                rollout = order(&round.wanted).rollout,
                build = round.plan.goal.as_ref().map(BuildName::as_str),
                ms = took.as_millis() as u64,
                result = "done",
                "step done: {step}",
            );
        }
    }

    async fn perform_begun(
        &mut self,
        (step, failures): (&Step, u32),
        round: &Round,
    ) -> Option<Result<(), StepError>> {
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
                failures,
                error: None,
            };
            reports.send_replace(Some(report::render(&scene, (&host, &service, trust))));
        };
        tell(Progress::default());
        tracing::debug!(service = %service.name, step = step.name(), "step begun: {step}");
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
                    tracing::warn!(service = %service.name, step = step.name(), "step dropped, its agent is to end: {step}");
                    return None;
                }
                () = inputs.changed() => {
                    if !still_wanted(inputs, link) && harmless {
                        tracing::info!(service = %service.name, step = step.name(), "step dropped, something else is wanted: {step}");
                        return None;
                    }
                }
            }
        }
    }
}

fn runs_program(step: &Step) -> bool {
    runs_hook(step) || matches!(step, Step::Restart(_))
}

/// Completes when a step is to be dropped because its agent is to end: a harmless one at once, the
/// others when deployd ends, and they, or all of them together, have had their time. Repeating them is safe.
///
/// Whoever takes the place of an agent waits until such a step has ended: it has a limit of its own.
async fn stop_patience(stop: &mut watch::Receiver<Option<Stop>>, interruption: Interruption) {
    told(stop).await;
    if interruption == Interruption::Harmless {
        return;
    }
    let at = told_to_end(stop).await;
    sleep_until((Instant::now() + STEP_STOP_TIME).min(at + STOP_TIME)).await;
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
