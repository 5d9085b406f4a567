//! A host that does what it is told, effect by effect, and can be stopped between any two.

use std::collections::BTreeSet;

use crate::name::BuildName;
use crate::observed::{Context, Instance, Lease, Observed, Runs, Traffic};
use crate::plan::{Plan, Shape, Way, plan};
use crate::step::{Step, WaitFor};
use crate::verdict::{Begin, Failure, Verdict, begin, verdict};
use crate::wanted::{Wanted, WantedTarget};
use crate::wire::record::Started;

use super::text::{artifact, rejection};

/// What is wrong with the build that the target names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Flaw {
    None,
    /// The archive is refused.
    Archive,
    /// `post_extract` fails.
    PostExtract,
    /// `post_install` fails.
    PostInstall,
    /// An instance does not start: it is down after the restart.
    Start,
    /// An instance starts and fails its probe.
    Probe,
    /// The unit of the second instance goes away when the host has left service.
    Unit,
}

pub(super) const FLAWS: [Flaw; 7] = [
    Flaw::None,
    Flaw::Archive,
    Flaw::PostExtract,
    Flaw::PostInstall,
    Flaw::Start,
    Flaw::Probe,
    Flaw::Unit,
];

/// A host, with the truth that a snapshot is taken from.
#[derive(Debug, Clone)]
pub(super) struct Host {
    pub(super) seen: Observed,
    pub(super) shape: Shape,
    /// The build that has the flaw.
    pub(super) bad: (BuildName, Flaw),
    /// Effects until the power goes; `None`: never.
    pub(super) effects_left: Option<u32>,
    /// Where the host was before anything began.
    pub(super) began_at: Option<BuildName>,
    /// Instances that were started and have not answered since: the truth, not what is remembered.
    pub(super) untried: BTreeSet<usize>,
}

/// The agent died.
#[derive(Debug)]
pub(super) struct Killed;

/// What the agent does after a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    GoOn,
    Pause,
}

type Effect<'a> = Box<dyn FnOnce(&mut Host) + 'a>;

impl Host {
    pub(super) fn plan(&self, wanted: &Wanted) -> Plan {
        plan(wanted, &self.shape, &self.snapshot())
    }

    /// Returns what the agent sees of it.
    pub(super) fn snapshot(&self) -> Observed {
        let mut seen = self.seen.clone();
        for (index, instance) in seen.instances.iter_mut().enumerate() {
            let context = Context {
                journal: &self.seen.journal,
                current: self.seen.current.as_ref(),
                probes: self.shape.probes,
            };
            let traffic = match (instance.drained, instance.emptied) {
                (true, true) => Traffic::Emptied,
                (true, false) => Traffic::Refused,
                (false, _) => Traffic::Open,
            };
            let seen = Instance::new(instance.runs.clone(), traffic, &index.to_string(), context);
            *instance = Instance {
                obstacle: instance.obstacle.take(),
                ..seen
            };
        }
        seen
    }

    /// Performs one step as the agent would, and draws the verdict where it fails.
    pub(super) fn perform(
        &mut self,
        step: &Step,
        plan: &Plan,
        wanted: &Wanted,
    ) -> Result<Next, Killed> {
        let goal = plan.goal.as_ref().unwrap_or(&self.bad.0).clone();
        let mut count = 0;
        let mut next = Next::GoOn;
        self.effect(|host| count = host.seen.journal.begin(step))?;
        let failed = match begin(count, &goal, &self.seen) {
            Begin::TooOften => true,
            Begin::Go => self.act(step, wanted)?,
        };
        if failed {
            match verdict(step, Failure::OfTheBuild, &goal, &self.seen) {
                Verdict::Reject(build) => {
                    let (rollout, retry) = match &wanted.target {
                        WantedTarget::Build(goal) => (goal.rollout, goal.retry),
                        _ => (None, 0),
                    };
                    let rejection = rejection(rollout, retry, step.name());
                    self.effect(|host| host.seen.journal.reject(&build, rejection))?;
                }
                Verdict::TryAgain => next = Next::Pause,
                Verdict::GoOn => self.effect(|host| pass(host, step))?,
            }
        }
        self.effect(|host| host.seen.journal.end(step))?;
        Ok(next)
    }

    /// Returns whether the step failed.
    fn act(&mut self, step: &Step, wanted: &Wanted) -> Result<bool, Killed> {
        let fails = self.fails(step);
        // A start that fails has stopped the instance before; the others change nothing.
        let effects = match step {
            Step::Restart(_) => self.effects(step, wanted),
            _ if fails => Vec::new(),
            _ => self.effects(step, wanted),
        };
        for effect in effects {
            self.effect(effect)?;
        }
        Ok(fails)
    }

    fn fails(&self, step: &Step) -> bool {
        let (bad, flaw) = &self.bad;
        let runs_bad = self.seen.current.as_ref() == Some(bad);
        match (step, flaw) {
            (Step::Extract(build), Flaw::Archive)
            | (Step::Prepare(build), Flaw::PostExtract)
            | (Step::PostInstall(build), Flaw::PostInstall) => build == bad,
            (Step::Restart(_), Flaw::Start) | (Step::Probe(_), Flaw::Probe) => runs_bad,
            (Step::Restart(batch), _) => self.has_obstacle(batch),
            _ => false,
        }
    }

    fn has_obstacle(&self, batch: &[usize]) -> bool {
        let mut instances = batch.iter().map(|index| &self.seen.instances[*index]);
        instances.any(|instance| instance.obstacle.is_some())
    }

    /// What a step does that lasts, in its order.
    fn effects<'a>(&self, step: &'a Step, wanted: &'a Wanted) -> Vec<Effect<'a>> {
        let one = |effect: Effect<'a>| vec![effect];
        match step {
            Step::Wait(WaitFor::Unhold | WaitFor::ZooKeeper) => Vec::new(),
            Step::Fetch(build) => one(Box::new(|host| host.seen.fetched = Some(build.clone()))),
            Step::Extract(build) => {
                let digest = artifact(build.as_str()).sha256;
                vec![
                    Box::new(move |host| host.seen.journal.extract(build, &digest)),
                    Box::new(|host| host.seen.releases.push(build.clone())),
                ]
            }
            Step::Prepare(build) => one(Box::new(|host| host.seen.journal.prepare(build))),
            Step::AcquireLease | Step::Wait(WaitFor::Lease) => {
                one(Box::new(|host| host.seen.lease = Lease::Held))
            }
            Step::Activate(build) => vec![
                Box::new(|host| host.seen.journal.activate(build)),
                Box::new(move |host| {
                    host.seen.current = Some(build.clone());
                    let (bad, flaw) = &host.bad;
                    if *flaw == Flaw::Unit && bad == build {
                        host.seen.instances[1].obstacle = Some("gone".to_owned());
                    }
                }),
            ],
            Step::PostInstall(build) => one(Box::new(|host| host.seen.journal.install(build))),
            Step::Drain(batch) => {
                let mut effects = one(Box::new(|host| host.seen.journal.leave()));
                effects.extend(batch.iter().map(|index| drain(*index)));
                effects.extend(batch.iter().map(|index| empty(*index)));
                effects
            }
            Step::Restart(batch) => {
                // Whom systemd refuses to restart, it leaves alone.
                if self.has_obstacle(batch) {
                    let records = batch.iter().map(|index| refuse(*index));
                    return records.collect();
                }
                let start = if self.fails(step) {
                    Start::Fails
                } else {
                    Start::Works
                };
                batch
                    .iter()
                    .flat_map(|index| restart(*index, wanted, start))
                    .collect()
            }
            Step::Probe(batch) => batch.iter().map(|index| prove(*index)).collect(),
            Step::Undrain(batch) => batch.iter().map(|index| undrain(*index)).collect(),
            Step::BurnIn(build) => one(Box::new(|host| host.seen.journal.burn_in(build))),
            Step::Verify(build) => one(Box::new(|host| host.seen.journal.verify(build))),
            Step::ReleaseLease => one(Box::new(|host| host.seen.lease = Lease::None)),
            Step::Prune(builds) => builds.iter().map(delete).collect(),
            Step::PostRestart(build) => one(Box::new(|host| host.seen.journal.finish(build))),
        }
    }

    /// Does one thing that lasts, or dies instead.
    fn effect(&mut self, effect: impl FnOnce(&mut Host)) -> Result<(), Killed> {
        if let Some(left) = &mut self.effects_left {
            *left = left.checked_sub(1).ok_or(Killed)?;
        }
        effect(self);
        Ok(())
    }

    /// The agent comes back: what it held in memory is gone, what it did stays.
    pub(super) fn rise(&mut self) {
        self.effects_left = None;
        self.seen.fetched = None;
        let instances = self.seen.instances.iter_mut();
        instances.for_each(|instance| instance.emptied = false);
    }

    /// The host comes back after a power cut: its packet filter is empty, and systemd has started
    /// all instances from `current`, hooks or not.
    pub(super) fn boot(&mut self) {
        self.rise();
        let Some(current) = self.seen.current.clone() else {
            return;
        };
        // What has passed here before is not in doubt after a mere reboot.
        let passed = self.seen.journal.verified.contains(&current);
        let starts = passed || self.bad != (current.clone(), Flaw::Start);
        let runs = if starts {
            Runs::Build(current)
        } else {
            Runs::Nothing
        };
        for (index, instance) in self.seen.instances.iter_mut().enumerate() {
            instance.drained = false;
            if instance.runs != runs {
                instance.runs = runs.clone();
                if !passed {
                    self.untried.insert(index);
                }
            }
        }
    }
}

/// A hook that failed and is not waited for counts as run.
fn pass(host: &mut Host, step: &Step) {
    match step {
        Step::PostInstall(build) => host.seen.journal.install(build),
        Step::PostRestart(build) => host.seen.journal.finish(build),
        _ => {}
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Start {
    Works,
    Fails,
}

fn drain<'a>(index: usize) -> Effect<'a> {
    Box::new(move |host| host.seen.instances[index].drained = true)
}

fn empty<'a>(index: usize) -> Effect<'a> {
    Box::new(move |host| host.seen.instances[index].emptied = true)
}

fn undrain<'a>(index: usize) -> Effect<'a> {
    Box::new(move |host| {
        let instance = &mut host.seen.instances[index];
        (instance.drained, instance.emptied) = (false, false);
    })
}

fn refuse<'a>(index: usize) -> Effect<'a> {
    Box::new(move |host| host.seen.journal.restart(&index.to_string()))
}

fn prove<'a>(index: usize) -> Effect<'a> {
    Box::new(move |host| {
        host.untried.remove(&index);
        host.seen.journal.prove(&index.to_string());
    })
}

fn delete(build: &BuildName) -> Effect<'_> {
    Box::new(move |host| host.seen.releases.retain(|it| it != build))
}

fn restart<'a>(index: usize, wanted: &'a Wanted, start: Start) -> Vec<Effect<'a>> {
    let number = match &wanted.target {
        WantedTarget::Build(goal) => goal.restart,
        _ => None,
    };
    let mut effects: Vec<Effect<'a>> = vec![
        Box::new(move |host| host.seen.journal.restart(&index.to_string())),
        Box::new(move |host| {
            host.untried.insert(index);
            host.seen.instances[index].runs = Runs::Nothing;
        }),
    ];
    if start == Start::Works {
        effects.push(Box::new(move |host| {
            host.seen.instances[index].runs = Runs::Build(current(host));
        }));
        effects.push(Box::new(move |host| {
            let started = Started {
                build: current(host),
                identity: None,
            };
            host.seen
                .journal
                .restarted(&index.to_string(), started, number);
        }));
    }
    effects
}

fn current(host: &Host) -> BuildName {
    host.seen
        .current
        .clone()
        .expect("a restart follows an activation")
}

/// Tells whether a step leads a host that has nowhere to go back to.
pub(super) fn way_back(plan: &Plan) -> bool {
    plan.way == Way::Back
}
