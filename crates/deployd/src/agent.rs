//! The agent of one service: observe, plan, perform, report, and again.
//!
//! ```text
//!   znodes ──► wanted ─┐
//!   host ──► observed ─┴─► plan ──► first step ──► perform
//!     ▲                     └──► report               │
//!     └───────────────────────────────────────────────┘
//! ```
//!
//! Nothing is kept between two rounds but the pause after a failure.

use std::pin::pin;
use std::time::Duration;

use deploy_core::name::{BuildName, HostName, ServiceName};
use deploy_core::observed::Probes;
use deploy_core::plan::{Plan, Rest, Shape, Way, plan};
use deploy_core::step::{Interruption, Step, WaitFor};
use deploy_core::verdict::{self, Begin, Failure, Verdict};
use deploy_core::wanted::{Gate, Problem, Reader, Wanted, WantedTarget, wanted};
use deploy_core::wire::record::Rejection;
use deploy_core::wire::report::{ErrorReport, Report};
use deploy_zk::link::Link;
use jiff::Timestamp;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until};

use crate::chain::Chain;
use crate::config::{DrainMethod, RestartMethod, Service};
use crate::inputs::Inputs;
use crate::observe::{Known, Sight, observe};
use crate::perform::{Order, Performer, Progress, StepError};
use crate::report::{self, Scene};

/// How long a run that is to end waits for ZooKeeper.
const ONCE_TIME: Duration = Duration::from_secs(20);
/// How often a host that has nothing to do looks at itself: somebody may have changed it.
const LOOK_TIME: Duration = Duration::from_secs(30);
/// How long after a stop a step may go on that leaves a host halfway.
const STEP_STOP_TIME: Duration = Duration::from_secs(30);
/// How long after a stop a host that is out of service may take to come back.
const STOP_TIME: Duration = Duration::from_secs(75);

/// The agent of one service.
pub(crate) struct Agent {
    /// What ZooKeeper says.
    pub(crate) inputs: Inputs,
    /// Does the steps.
    pub(crate) performer: Performer,
    /// The state of the link to ZooKeeper.
    pub(crate) link: watch::Receiver<Link>,
    /// Where reports go.
    pub(crate) reports: watch::Sender<Option<Report>>,
    /// Becomes true when deployd is to end.
    pub(crate) stop: watch::Receiver<bool>,
    /// `signed` or `zookeeper`: what vouches for the builds.
    pub(crate) trust: &'static str,
}

/// A step that failed and is tried again.
#[derive(Debug, Clone)]
struct Pause {
    step: Step,
    error: StepError,
    failures: u32,
    until: Instant,
}

/// What was wanted and seen in one round, and what follows.
struct Round {
    wanted: Wanted,
    sight: Sight,
    plan: Plan,
}

/// Why the agent of a service ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// It was told to stop.
    Stopped,
    /// It was to run until nothing is left to do, and that is so.
    Converged,
    /// It was to run until nothing is left to do, and the target failed or can't be reached.
    NotConverged,
    /// It was to run until nothing is left to do, and ZooKeeper could not be reached.
    NoZooKeeper,
}

/// How long an agent runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Run {
    /// Until it is stopped.
    On,
    /// Until nothing is left to do.
    Once,
}

impl Agent {
    /// Runs until it is stopped. A host that is out of service comes back first, in bounded time.
    pub(crate) async fn run(mut self, run: Run) -> End {
        let mut pause: Option<Pause> = None;
        let mut stopped_at: Option<Instant> = None;
        let begun = Instant::now();
        loop {
            let round = self.look().await;
            if *self.stop.borrow() {
                let since = *stopped_at.get_or_insert_with(Instant::now);
                if !round.sight.observed.half_restarted() || since.elapsed() > STOP_TIME {
                    self.report(&round, None);
                    return End::Stopped;
                }
            }
            let step = round.plan.steps.first().cloned();
            pause = pause.filter(|pause| Some(&pause.step) == step.as_ref());
            self.report(&round, pause.as_ref());
            if run == Run::Once && !self.link.borrow().is_up() && begun.elapsed() > ONCE_TIME {
                return End::NoZooKeeper;
            }
            match step {
                Some(Step::Wait(_)) | None => {
                    if let Some(end) = once(run, &round.plan) {
                        return end;
                    }
                    let deadline = (run == Run::Once).then_some(begun + ONCE_TIME);
                    self.wait(self.hold_ends(&round.wanted).or(deadline)).await;
                }
                Some(_)
                    if pause
                        .as_ref()
                        .is_some_and(|pause| Instant::now() < pause.until) =>
                {
                    if self.wait(pause.as_ref().map(|pause| pause.until)).await
                        == Woken::ByZooKeeper
                    {
                        // What is wanted may have changed, and the cause be gone with it.
                        pause = None;
                    }
                }
                Some(step) => match self.perform(&step, &round).await {
                    Some(Err(error)) => pause = self.judge((&step, error), &round, pause),
                    Some(Ok(())) | None => pause = None,
                },
            }
        }
    }

    /// Observes and plans.
    async fn look(&mut self) -> Round {
        if self.link.borrow().is_up()
            && let Err(error) = self.performer.lease.look().await
        {
            tracing::warn!(error = %Chain(&error), "the restart queue can't be read");
        }
        let names = (&self.performer.service.name, &self.performer.host);
        let wanted = read_wanted(&mut self.inputs, &self.link, names);
        let known = Known {
            record: self.performer.journal.record(),
            fetched: self.performer.fetched.as_ref().map(|(build, _)| build),
            lease: self.performer.lease.state(),
        };
        match observe(&self.performer.service, known).await {
            Ok(sight) => {
                let mut plan = plan(&wanted, &shape(&self.performer), &sight.observed);
                if let Some(found) = &sight.foreign {
                    // Nothing is begun that could not be finished, least of all with a lease.
                    let message =
                        format!("current is {found}, not a symlink into releases; move it away");
                    plan = blocked(("current", message));
                }
                Round {
                    wanted,
                    sight,
                    plan,
                }
            }
            Err(error) => {
                let message = Chain(&error).to_string();
                tracing::error!(service = %self.performer.service.name, error = %message, "the service can't be looked at");
                Round {
                    wanted,
                    sight: Sight::default(),
                    plan: blocked(("observe", message)),
                }
            }
        }
    }

    /// Performs a step; `None` where it was dropped because something else is wanted.
    async fn perform(&mut self, step: &Step, round: &Round) -> Option<Result<(), StepError>> {
        if let Err(error) = self.begin(step, round) {
            return Some(Err(error));
        }
        let result = self.perform_begun(step, round).await;
        match (self.performer.write(|record| record.end(step)), result) {
            (Err(error), Some(Ok(()))) => Some(Err(error)),
            (_, result) => result,
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
        tracing::info!(service = %service.name, step = %step, "step begun");
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

    /// Counts the begin of a step, and refuses what was begun too often.
    fn begin(&mut self, step: &Step, round: &Round) -> Result<(), StepError> {
        // These change nothing that could take us down.
        if matches!(
            step,
            Step::AcquireLease | Step::ReleaseLease | Step::Fetch(_)
        ) {
            return Ok(());
        }
        let mut count = 0;
        self.performer.write(|record| count = record.begin(step))?;
        let Some(goal) = &round.plan.goal else {
            return Ok(());
        };
        match verdict::begin(count, goal, &round.sight.observed) {
            Begin::Go => Ok(()),
            Begin::TooOften => Err(StepError {
                failure: Failure::OfTheBuild,
                message: format!("{step}: begun {count} times, and it never held"),
                log: Vec::new(),
            }),
        }
    }

    /// Draws the consequence of a failed step.
    fn judge(
        &mut self,
        (step, error): (&Step, StepError),
        round: &Round,
        pause: Option<Pause>,
    ) -> Option<Pause> {
        let service = self.performer.service.name.clone();
        let observed = &round.sight.observed;
        let goal = round.plan.goal.clone().or_else(|| step_build(step));
        let verdict = match &goal {
            Some(goal) => verdict::verdict(step, error.failure, goal, observed),
            None => Verdict::TryAgain,
        };
        match verdict {
            Verdict::Reject(build) => {
                tracing::error!(%service, step = %step, %build, error = %error.message, "build rejected");
                self.reject(&build, (step, error), round)
                    .map(|error| Pause {
                        step: step.clone(),
                        until: Instant::now() + verdict::PAUSE_MIN,
                        failures: 1,
                        error,
                    })
            }
            Verdict::GoOn => {
                tracing::warn!(%service, step = %step, error = %error.message, "step failed, and is passed over");
                self.pass_over(step);
                None
            }
            Verdict::TryAgain => {
                let failures = pause.map_or(0, |pause| pause.failures) + 1;
                let most = verdict::pause_max(failures);
                // Half of it at least, so that nothing is hammered; the rest spreads the hosts.
                let wait = most.mul_f64(0.5 + fastrand::f64() / 2.0);
                tracing::warn!(%service, step = %step, error = %error.message, wait_s = wait.as_secs_f64(), "step failed, and is tried again");
                Some(Pause {
                    step: step.clone(),
                    error,
                    failures,
                    until: Instant::now() + wait,
                })
            }
        }
    }

    /// Writes down that a build failed here; returns why that can't be written.
    fn reject(
        &mut self,
        build: &BuildName,
        (step, error): (&Step, StepError),
        round: &Round,
    ) -> Option<StepError> {
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
            .err()
    }

    /// A hook that failed and is not waited for counts as run.
    fn pass_over(&mut self, step: &Step) {
        let written = self.performer.write(|record| match step {
            Step::PostInstall(build) => record.install(build),
            Step::PostRestart(build) => record.finish(build),
            _ => {}
        });
        if let Err(error) = written {
            tracing::error!(error = %error.message, "the journal can't be written");
        }
    }

    fn report(&self, round: &Round, pause: Option<&Pause>) {
        let scene = Scene {
            wanted: &round.wanted,
            plan: &round.plan,
            sight: &round.sight,
            step: None,
            failures: pause.map_or(0, |pause| pause.failures),
            error: pause.map(|pause| (&pause.step, &pause.error)),
        };
        let performer = &self.performer;
        let place = (&performer.host, &performer.service, self.trust);
        self.reports
            .send_replace(Some(report::render(&scene, place)));
    }

    /// Waits until there is something to look at.
    async fn wait(&mut self, until: Option<Instant>) -> Woken {
        let look = Instant::now() + LOOK_TIME.mul_f64(0.75 + fastrand::f64() / 2.0);
        let until = until.map_or(look, |until| until.min(look));
        // Cancel-safe: they only wait for a version of a watch, or for a time.
        tokio::select! {
            () = told(&mut self.stop) => {
                // Once it is told, this is always ready: a pause, so that nothing spins.
                sleep(Duration::from_millis(50)).await;
                Woken::ToStop
            }
            () = self.inputs.changed() => Woken::ByZooKeeper,
            () = self.performer.lease.changed() => Woken::ByZooKeeper,
            changed = self.link.changed() => {
                if changed.is_err() {
                    sleep(LOOK_TIME).await;
                }
                Woken::ByZooKeeper
            }
            () = sleep_until(until) => Woken::ByTime,
        }
    }

    /// When the hold that is waited for ends by itself.
    fn hold_ends(&self, wanted: &Wanted) -> Option<Instant> {
        let Gate::Held(hold) = &wanted.gate else {
            return None;
        };
        let left = hold.ends()?.duration_since(Timestamp::now());
        Some(Instant::now() + Duration::try_from(left).unwrap_or_default())
    }
}

/// Completes when a step is to be dropped because deployd is to end: a harmless one at once, the
/// others when they have had their time. Repeating them is safe.
async fn stop_patience(stop: &mut watch::Receiver<bool>, interruption: Interruption) {
    told(stop).await;
    match interruption {
        Interruption::Harmless => {}
        Interruption::FinishFirst => sleep(STEP_STOP_TIME).await,
    }
}

/// Reads what is wanted.
fn read_wanted(
    inputs: &mut Inputs,
    link: &watch::Receiver<Link>,
    (service, host): (&ServiceName, &HostName),
) -> Wanted {
    let mut wanted = wanted(
        &inputs.read(),
        &Reader {
            service,
            host,
            now: Timestamp::now(),
        },
    );
    if !link.borrow().is_up() {
        wanted.gate = Gate::Cut;
    }
    wanted
}

/// Completes when deployd is to end. Cancel-safe.
async fn told(stop: &mut watch::Receiver<bool>) {
    if stop.wait_for(|stop| *stop).await.is_err() {
        std::future::pending().await
    }
}

/// What has ended a wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Woken {
    ByZooKeeper,
    ByTime,
    ToStop,
}

/// Whether an agent that runs once is done. It waits for its lease, and for nothing else.
fn once(run: Run, plan: &Plan) -> Option<End> {
    match (run, plan.steps.first(), &plan.rest) {
        (Run::On, _, _) | (Run::Once, None, Rest::Waiting) => None,
        (Run::Once, Some(Step::Wait(WaitFor::Lease | WaitFor::ZooKeeper)), _) => None,
        (Run::Once, None, Rest::Serving | Rest::Staged | Rest::Idle) => Some(End::Converged),
        (Run::Once, _, _) => Some(End::NotConverged),
    }
}

/// The plan of a host that nothing can be done with.
fn blocked((object, message): (&str, String)) -> Plan {
    let problem = Problem {
        object: object.to_owned(),
        message,
    };
    Plan {
        goal: None,
        way: Way::Forward,
        steps: Vec::new(),
        rest: Rest::Blocked(problem),
    }
}

fn step_build(step: &Step) -> Option<BuildName> {
    match step {
        Step::Fetch(build) | Step::Extract(build) | Step::Prepare(build) => Some(build.clone()),
        _ => None,
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

/// How the service is deployed here, as far as it decides which steps there are.
pub(crate) fn shape(performer: &Performer) -> Shape {
    let Service {
        hooks,
        restart,
        drain,
        probe,
        instances,
        ..
    } = &performer.service;
    let restarts = restart.method != RestartMethod::None && !instances.is_empty();
    Shape {
        restarts,
        drains: restarts && drain.method != DrainMethod::None,
        probes: if probe.check.is_some() && !instances.is_empty() {
            Probes::Configured
        } else {
            Probes::None
        },
        batch: restart.batch,
        burns_in: !probe.burn_in.is_zero(),
        post_extract: !hooks.post_extract.is_empty(),
        post_install: !hooks.post_install.is_empty(),
        post_restart: !hooks.post_restart.is_empty(),
        keep: performer.builds.keep,
    }
}

/// What a step needs of the target.
pub(crate) fn order(wanted: &Wanted) -> Order {
    let WantedTarget::Build(goal) = &wanted.target else {
        return Order::default();
    };
    let own = Some((&goal.build, &goal.artifact));
    let previous = goal
        .previous
        .as_ref()
        .map(|(build, artifact)| (build, artifact));
    let known = own.into_iter().chain(previous);
    let artifacts = known
        .filter_map(|(build, artifact)| Some((build.clone(), artifact.clone().ok()?)))
        .collect();
    Order {
        artifacts,
        rollout: goal.rollout,
        restart: goal.restart,
    }
}
