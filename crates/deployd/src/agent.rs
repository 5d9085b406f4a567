//! The agent of one service: observe, plan, perform, report, and again.
//!
//! ```text
//!   znodes ──► wanted ─┐
//!   host ──► observed ─┴─► plan ──► first step ──► perform
//!     ▲                     └──► report               │
//!     └───────────────────────────────────────────────┘
//! ```
//!
//! Nothing is kept between two rounds but the pause after a failure, a count of what was done, and where
//! instances were seen, so that the next look begins there.

use std::time::Duration;

use deploy_core::name::{HostName, ServiceName};
use deploy_core::observed::Probes;
use deploy_core::plan::{Plan, Rest, Shape, plan};
use deploy_core::step::{Step, WaitFor};
use deploy_core::wanted::{Gate, Problem, Reader, Wanted, WantedTarget, wanted};
use deploy_core::wire::report::Report;
use deploy_zk::link::Link;
use deploy_zk::rhythm::Rhythm;
use tokio::sync::watch;
use tokio::time::{Instant, timeout};

use self::memory::{Memory, Pause};
use self::wait::Woken;
use crate::chain::Chain;
use crate::config::{DrainMethod, RestartMethod, Service};
use crate::inputs::Inputs;
use crate::observe::{Known, Seen, Sight, Units, observe};
use crate::perform::{Order, Performer};
use crate::report::{self, Scene};

mod judge;
mod memory;
mod step;
pub(crate) mod stuck;
pub(crate) mod wait;

/// How long a run that is to end waits for ZooKeeper.
const ONCE_TIME: Duration = Duration::from_secs(20);
/// How long after a stop a host that is out of service may take to come back.
const STOP_TIME: Duration = Duration::from_secs(75);

/// How long what a program has drained may take to be opened after that: systemd waits 90 s for all of it.
const OPEN_TIME: Duration = Duration::from_secs(10);

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
    /// What it was told.
    pub(crate) stop: watch::Receiver<Option<Stop>>,
    /// When it looks though nothing has changed.
    pub(crate) looks: Rhythm,
    /// `signed` or `zookeeper`: what vouches for the builds.
    pub(crate) trust: &'static str,
    /// What the look before has seen: a hint for the next one, no more.
    pub(crate) seen: Vec<Seen>,
    /// How old what systemd has said may be at the next look.
    pub(crate) units_age: Duration,
}

/// How long a host at rest takes the same start of a unit at systemd's word. What may change meanwhile is whether it could
/// be started again.
const AT_REST: Duration = Duration::from_secs(300);

/// The same between two steps of a rollout: what keeps a unit from being started is seen before it is drained, but for what
/// came within this time, which is the restart's to find.
const BETWEEN_STEPS: Duration = Duration::from_secs(1);

/// What was wanted and seen in one round, and what follows.
struct Round {
    wanted: Wanted,
    sight: Sight,
    plan: Plan,
    /// Why nobody can say whether our turn has come, as a policy that can't be read.
    queue: Option<String>,
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

/// What an agent is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stop {
    /// Another one takes its place, and goes on from what it finds: it ends where nothing is half done, and where nothing
    /// goes on.
    Reload,
    /// deployd ends, and was told so then: a host that is out of service comes back, in bounded time.
    End(Instant),
}

impl Agent {
    /// Runs until it is stopped. A host that is out of service comes back first, in bounded time.
    pub(crate) async fn run(mut self, run: Run) -> End {
        let mut memory = Memory::default();
        let mut ignored = None;
        let begun = Instant::now();
        loop {
            let round = self.look().await;
            if let (true, Some(problem)) = (round.wanted.ignored != ignored, &round.wanted.ignored)
            {
                tracing::warn!(service = %self.performer.service.name, znode = %problem.object, error = %problem.message, "a znode can't be read, and is ignored");
            }
            ignored.clone_from(&round.wanted.ignored);
            memory.keep_for(&round.wanted.target);
            if self.is_to_end(&round, &memory) {
                self.take_leave(round, &memory).await;
                return End::Stopped;
            }
            if !wants_hook(&round.plan) {
                self.performer.programs.end_left().await;
            }
            self.report(&round, memory.trouble(&round.plan));
            if run == Run::Once && !self.link.borrow().is_up() && begun.elapsed() > ONCE_TIME {
                return End::NoZooKeeper;
            }
            let step = round.plan.steps.first().cloned();
            match (step, memory.paused_until()) {
                (Some(Step::Wait(_)) | None, _) => {
                    memory.begin_anew();
                    if let Some(end) = once(run, &round.plan) {
                        return end;
                    }
                    // Once it is over, there is a link: and what is waited for then takes as long as it takes.
                    let deadline = Some(begun + ONCE_TIME)
                        .filter(|deadline| run == Run::Once && *deadline > Instant::now());
                    let until = self.hold_ends(&round.wanted).or(deadline);
                    self.units_age = match self.wait(until).await {
                        Woken::ByTime => AT_REST,
                        _ => Duration::ZERO,
                    };
                }
                (Some(_), Some(_)) if run == Run::Once => return End::NotConverged,
                (Some(_), Some(until)) => {
                    let woken = self.wait(Some(until)).await;
                    self.units_age = Duration::ZERO;
                    if woken == Woken::ByLink {
                        // The cause may be gone with it.
                        memory.pause = None;
                    }
                }
                (Some(step), None) => {
                    let before = memory.trouble(&round.plan);
                    let failures = before.map_or(0, |pause| pause.failures);
                    let result = self.perform((&step, failures), &round).await;
                    // A hook may do anything to a unit.
                    self.units_age = match runs_hook(&step) {
                        true => Duration::ZERO,
                        false => BETWEEN_STEPS,
                    };
                    let result = result.map(|result| result.and_then(|()| memory.done(&step)));
                    if let Some(Err(error)) = result {
                        let before = memory.pause.take();
                        memory.failed(self.judge((&step, error), &round, before));
                    }
                }
            }
        }
    }

    /// Whether it was told to end, and may.
    fn is_to_end(&self, round: &Round, memory: &Memory) -> bool {
        let Some(stop) = *self.stop.borrow() else {
            return false;
        };
        let goes_on = match (round.plan.steps.first(), stop) {
            (None, _) => false,
            (Some(step), Stop::Reload) => {
                !matches!(step, Step::Wait(_)) && memory.paused_until().is_none()
            }
            // What can't be drained was not touched yet, and is opened.
            (Some(Step::Drain(_)), Stop::End(_)) if memory.paused_until().is_some() => false,
            (Some(_), Stop::End(since)) => since.elapsed() <= STOP_TIME,
        };
        !(round.sight.observed.half_restarted() && goes_on)
    }

    /// Reports for the last time. Where nobody takes its place, what is drained is opened before.
    async fn take_leave(&mut self, mut round: Round, memory: &Memory) {
        let ends = matches!(*self.stop.borrow(), Some(Stop::End(_)));
        if ends && round.sight.observed.half_restarted() {
            let opening = timeout(OPEN_TIME, self.performer.open_all()).await;
            if opening.is_err() {
                tracing::error!(service = %self.performer.service.name, "what undrains did not end in time: it may be that not all are undrained");
            }
            round = self.look().await;
        }
        self.report(&round, memory.trouble(&round.plan));
    }

    /// Observes and plans.
    async fn look(&mut self) -> Round {
        let mut queue = None;
        if self.link.borrow().is_up()
            && let Err(error) = self.performer.lease.look().await
        {
            tracing::warn!(error = %Chain(&error), "the restart queue can't be read");
            queue = Some(Chain(&error).to_string());
        }
        let names = (&self.performer.service.name, &self.performer.host);
        let wanted = read_wanted(&mut self.inputs, &self.link, names);
        let known = Known {
            record: self.performer.journal.record(),
            fetched: self.performer.fetched.as_ref().map(|(build, _)| build),
            emptied: &self.performer.emptied,
            undeleted: self.performer.undeleted.releases(),
            lease: self.performer.lease.state(),
            before: &self.seen,
            units: Units {
                answers: &self.performer.units,
                age: self.units_age,
            },
        };
        match observe(&self.performer.service, known).await {
            Ok(sight) => {
                self.seen.clone_from(&sight.instances);
                let plan = plan(&wanted, &shape(&self.performer), &sight.observed);
                self.performer.keep_fetched_for(&plan);
                Round {
                    wanted,
                    sight,
                    plan,
                    queue,
                }
            }
            Err(error) => {
                let message = Chain(&error).to_string();
                tracing::error!(service = %self.performer.service.name, error = %message, "the service can't be looked at");
                Round {
                    wanted,
                    sight: Sight::default(),
                    plan: Plan::blocked(Problem {
                        object: "observe".to_owned(),
                        message,
                    }),
                    queue,
                }
            }
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
        let mut report = report::render(&scene, place);
        if let (Some(Step::Wait(WaitFor::Lease)), Some(why)) =
            (round.plan.steps.first(), &round.queue)
        {
            report.error = Some(report::blocked("lease", why.clone()));
        }
        self.reports.send_replace(Some(report));
    }
}

/// Tells whether a hook may be what is to be done next, and one that an earlier run has begun is
/// not to be ended: as long as ZooKeeper was not asked, nobody knows.
fn wants_hook(plan: &Plan) -> bool {
    match plan.steps.first() {
        Some(Step::Wait(WaitFor::ZooKeeper)) => true,
        None => plan.rest == Rest::Waiting,
        Some(step) => runs_hook(step),
    }
}

fn runs_hook(step: &Step) -> bool {
    matches!(
        step,
        Step::Prepare(_) | Step::PostInstall(_) | Step::PostRestart(_)
    )
}

/// Reads what is wanted.
fn read_wanted(
    inputs: &mut Inputs,
    link: &watch::Receiver<Link>,
    (service, host): (&ServiceName, &HostName),
) -> Wanted {
    let now = inputs.now();
    let reader = Reader { service, host, now };
    let mut wanted = wanted(&inputs.read(), &reader);
    if !link.borrow().is_up() {
        wanted.gate = Gate::Cut;
    }
    wanted
}

/// Whether an agent that runs once is done. It waits for its lease, and for nothing else.
fn once(run: Run, plan: &Plan) -> Option<End> {
    match (run, plan.steps.first(), &plan.rest) {
        (Run::On, _, _)
        | (Run::Once, None, Rest::Waiting)
        | (Run::Once, Some(Step::Wait(WaitFor::Lease | WaitFor::ZooKeeper)), _) => None,
        (Run::Once, None, Rest::Serving | Rest::Staged | Rest::Idle) => Some(End::Converged),
        (Run::Once, _, _) => Some(End::NotConverged),
    }
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
