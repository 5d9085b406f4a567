//! The steps of a plan, once it is decided where it leads.

use super::course::Course;
use super::{Plan, Rest, Shape, Way};
use crate::artifact::Artifact;
use crate::name::BuildName;
use crate::observed::{Instance, Lease, Observed, Probes, Runs};
use crate::prune::prunable;
use crate::step::{Step, WaitFor};
use crate::wanted::{Gate, Problem, Share, Wanted, WantedTarget};
use crate::wire::record::InService;

/// All that the steps depend on.
pub(super) struct Planner<'a> {
    pub(super) wanted: &'a Wanted,
    pub(super) shape: &'a Shape,
    pub(super) observed: &'a Observed,
    pub(super) course: &'a Course,
}

impl Planner<'_> {
    /// Returns the steps that lead there, then what is left to do there, and what the host is when all is done.
    pub(super) fn plan(&self) -> Plan {
        let mut rest = self.course.rest.clone();
        let mut steps = self.steps().unwrap_or_else(|problem| {
            rest = Rest::Blocked(problem);
            Vec::new()
        });
        if steps.is_empty() {
            steps = self.settle(&rest);
        }
        Plan {
            goal: self.course.to.clone(),
            way: self.course.way,
            steps,
            rest,
        }
    }

    /// Returns the steps that lead there; none where the host is there.
    fn steps(&self) -> Result<Vec<Step>, Problem> {
        // Who has left service comes back first, with the release that is here; a problem of what is wanted is for after that.
        let returns = self.observed.journal.service == InService::Left && self.course.to.is_some();
        if self.course.way == Way::Forward && !returns {
            let builds = self.course.stage.iter().chain(&self.course.to);
            builds
                .into_iter()
                .try_for_each(|build| self.same_archive(build))?;
        }
        let stage = match &self.course.stage {
            Some(stage) if self.course.to.as_ref() != Some(stage) => self.ready(stage),
            _ => Ok(Vec::new()),
        };
        let stage = match returns {
            true => stage.unwrap_or_default(),
            false => stage?,
        };
        let Some(to) = &self.course.to else {
            return Ok(stage);
        };
        let entering = self.enter(to);
        if entering.is_empty() {
            // Its release may have been deleted by hand: instances still run it, and could not be
            // started again.
            let there = self.observed.releases.contains(to);
            let again = if there { Vec::new() } else { self.ready(to)? };
            return Ok([again, stage].concat());
        }
        let ready = self.ready(to)?;
        if let Some(problem) = self.obstacle(to) {
            // Nothing leaves service, but all is made ready meanwhile.
            let steps = [ready, stage].concat();
            return if steps.is_empty() {
                Err(problem)
            } else {
                Ok(steps)
            };
        }
        // What has to wait leaves time to make the other build ready; what is out of service does not.
        let waits = entering
            .iter()
            .position(|step| matches!(step, Step::Wait(_)));
        let (before, after) = entering.split_at(waits.unwrap_or(entering.len()));
        Ok([&ready, before, &stage, after].concat())
    }

    /// What keeps an instance from being restarted, as long as the host has not left service for it.
    /// Who is halfway goes on: a restart that fails then has an outcome of its own.
    fn obstacle(&self, to: &BuildName) -> Option<Problem> {
        if self.course.way != Way::Forward || self.observed.journal.service == InService::Left {
            return None;
        }
        let instances = self.observed.instances.iter();
        let current = self.observed.current.as_ref() == Some(to);
        let leaves =
            |instance: &&Instance| self.shape.restarts && (!current || self.restarts(instance, to));
        let mut obstacles: Vec<_> = instances
            .filter(leaves)
            .filter_map(|instance| instance.obstacle.as_deref())
            .collect();
        // The same program may be missing for all of them.
        obstacles.dedup();
        (!obstacles.is_empty()).then(|| Problem {
            object: "restart".to_owned(),
            message: obstacles.join("; "),
        })
    }

    /// A build of the same name from another archive is another build, and would never be noticed.
    fn same_archive(&self, build: &BuildName) -> Result<(), Problem> {
        let here = self.observed.journal.digests.get(build);
        let here = here.filter(|_| self.observed.releases.contains(build));
        match (here, self.artifact(build)) {
            (Some(here), Ok(wanted)) if *here != wanted.sha256 => {
                let message = format!(
                    "build {build} is on this host from an archive with SHA-256 {here}, and \
                     another archive of that name is wanted: a build needs a new name"
                );
                Err(Problem {
                    object: format!("builds/{build}"),
                    message,
                })
            }
            _ => Ok(()),
        }
    }

    /// The steps that put a release on disk.
    fn ready(&self, build: &BuildName) -> Result<Vec<Step>, Problem> {
        let mut steps = Vec::new();
        let journal = &self.observed.journal;
        let on_disk = self.observed.releases.contains(build);
        if !on_disk {
            self.free(build)?;
            self.artifact(build)?;
            if self.observed.fetched.as_ref() != Some(build) {
                steps.push(Step::Fetch(build.clone()));
            }
            steps.push(Step::Extract(build.clone()));
        }
        let as_found =
            self.observed.current.as_ref() == Some(build) && journal.service == InService::AsFound;
        let passed = journal.prepared.contains(build) || journal.verified.contains(build);
        let prepared = on_disk && (passed || as_found);
        if self.shape.post_extract && !prepared {
            steps.push(Step::Prepare(build.clone()));
        }
        Ok(steps)
    }

    /// A release is only ever renamed to a name that nothing has: what would be downloaded for it is
    /// of no use before.
    fn free(&self, build: &BuildName) -> Result<(), Problem> {
        match self.observed.taken.get(build) {
            None => Ok(()),
            Some(found) => Err(Problem {
                object: format!("releases/{build}"),
                message: format!("{found}, not a release; move it away"),
            }),
        }
    }

    fn artifact(&self, build: &BuildName) -> Result<Artifact, Problem> {
        let goal = match &self.wanted.target {
            WantedTarget::Build(goal) => Some(goal),
            _ => None,
        };
        let previous = goal.and_then(|goal| goal.previous.as_ref());
        match (goal, previous) {
            (Some(goal), _) if goal.build == *build => goal.artifact.clone(),
            (_, Some((previous, artifact))) if previous == build => artifact.clone(),
            _ => Err(Problem {
                object: format!("releases/{build}"),
                message: format!("release {build} is gone, and nothing says where its archive is"),
            }),
        }
    }

    /// The steps that bring the host into service at a release that is on disk.
    fn enter(&self, to: &BuildName) -> Vec<Step> {
        let (shape, observed) = (self.shape, self.observed);
        let service = &observed.journal.service;
        let current = observed.current.as_ref() == Some(to);
        let (down, up) = self.batches(to);
        let nothing_to_restart = down.is_empty() && up.is_empty();
        // One that was unpacked anew has not passed yet.
        let passed = !observed.releases.contains(to) || observed.journal.verified.contains(to);
        if current && nothing_to_restart && passed && *service == InService::At(to.clone()) {
            return Vec::new();
        }
        let restarts = |steps: &[Step]| steps.iter().any(|step| matches!(step, Step::Restart(_)));
        let half = observed.half_restarted();
        let mut steps = Vec::new();
        if self.course.way == Way::Forward
            && !half
            && (!current || restarts(&down) || restarts(&up))
        {
            steps.extend(self.permission(&self.wanted.gate));
        }
        if !current {
            steps.push(Step::Activate(to.clone()));
        }
        let installed = current
            && (*service != InService::Left || observed.journal.installed.as_ref() == Some(to));
        if shape.post_install && !installed {
            steps.push(Step::PostInstall(to.clone()));
        }
        steps.extend(down);
        // A host that lost its lease brings back what is out of service, and takes nothing more
        // down before it has one again. A hold is no reason to stay half restarted.
        if half && self.course.way != Way::Back && restarts(&up) {
            steps.extend(self.permission(match self.wanted.gate {
                Gate::Cut => &Gate::Cut,
                Gate::Open | Gate::Held(_) => &Gate::Open,
            }));
        }
        steps.extend(up);
        // What has passed here before is not watched again: going back must be quick.
        let watched = [
            observed.last_verified(),
            observed.journal.burned_in.as_ref(),
        ];
        if shape.burns_in && !watched.contains(&Some(to)) {
            steps.push(Step::BurnIn(to.clone()));
        }
        steps.push(Step::Verify(to.clone()));
        steps
    }

    /// What has to be waited for before anything is disturbed. Who holds a lease goes on without
    /// ZooKeeper only with what it had begun.
    fn permission(&self, gate: &Gate) -> Vec<Step> {
        match (gate, self.observed.lease) {
            (Gate::Held(_), _) => vec![Step::Wait(WaitFor::Unhold)],
            (Gate::Cut, Lease::Held) if self.observed.half_restarted() => Vec::new(),
            (Gate::Cut, _) => vec![Step::Wait(WaitFor::ZooKeeper)],
            (Gate::Open, Lease::None) => vec![Step::AcquireLease],
            (Gate::Open, Lease::Queued) => vec![Step::Wait(WaitFor::Lease)],
            (Gate::Open, Lease::Held) => Vec::new(),
        }
    }

    /// The restarts, a batch at a time: first of who is out of service already, since taking
    /// another one down before would make it worse, then of the others.
    fn batches(&self, to: &BuildName) -> (Vec<Step>, Vec<Step>) {
        let instances: Vec<_> = self.observed.instances.iter().enumerate().collect();
        let (down, up): (Vec<_>, Vec<_>) = instances
            .into_iter()
            .filter(|(_, instance)| self.concerns(instance, to))
            .partition(|(_, instance)| instance.out_of_service());
        let steps = |instances: &[(usize, &Instance)]| {
            let batches = instances.chunks(self.shape.batch.max(1));
            batches.flat_map(|batch| self.batch(batch, to)).collect()
        };
        (steps(&down), steps(&up))
    }

    fn batch(&self, batch: &[(usize, &Instance)], to: &BuildName) -> Vec<Step> {
        let those = |wanted: &dyn Fn(&Instance) -> bool| -> Vec<usize> {
            batch
                .iter()
                .filter(|(_, i)| wanted(i))
                .map(|(index, _)| *index)
                .collect()
        };
        let restarts = |instance: &Instance| self.restarts(instance, to);
        let drains = |instance: &Instance| self.shape.drains && restarts(instance);
        let steps = [
            Step::Drain(those(&|instance| drains(instance) && !instance.emptied)),
            Step::Restart(those(&restarts)),
            Step::Probe(those(&|instance| {
                self.shape.probes == Probes::Configured && (restarts(instance) || instance.unproven)
            })),
            Step::Undrain(those(&|instance| drains(instance) || instance.drained)),
        ];
        let concerns_some = |step: &Step| !step.instances().is_empty();
        steps.into_iter().filter(concerns_some).collect()
    }

    fn concerns(&self, instance: &Instance, to: &BuildName) -> bool {
        instance.drained || instance.unproven || self.restarts(instance, to)
    }

    fn restarts(&self, instance: &Instance, to: &BuildName) -> bool {
        let service = &self.observed.journal.service;
        self.shape.restarts
            && match &instance.runs {
                Runs::Build(build) => build != to || self.restart_wanted(instance, to),
                Runs::Something => *service == InService::Left,
                // Somebody may have stopped it on purpose, where the host is in service.
                Runs::Nothing => *service != InService::At(to.clone()),
            }
    }

    /// Whether the target asks for a restart that the instance has not had, of the build that it wants here.
    fn restart_wanted(&self, instance: &Instance, to: &BuildName) -> bool {
        let WantedTarget::Build(goal) = &self.wanted.target else {
            return false;
        };
        let previous = goal.previous.as_ref().map(|(build, _)| build);
        let stays = goal.share == Share::Outside && previous == Some(to);
        (goal.build == *to || stays) && goal.restart.is_some() && instance.restarted < goal.restart
    }

    /// Whether the host holds up others for nothing: it is in service, and has nothing to restart now. A host that failed
    /// keeps its lease: so a bad build stops by itself.
    pub(super) fn owes_lease(&self, plan: &Plan) -> bool {
        let (observed, wanted) = (self.observed, self.wanted);
        let can_let_go = observed.lease != Lease::None
            && wanted.gate != Gate::Cut
            && self.course.way != Way::Back
            && observed.journal.service != InService::Left;
        can_let_go
            && match plan.steps.first() {
                // This disturbs nothing, and may take for ever.
                Some(Step::Fetch(_) | Step::Extract(_) | Step::Prepare(_)) => true,
                Some(Step::Prune(_) | Step::PostRestart(_)) | None => match &plan.rest {
                    Rest::Idle | Rest::Serving | Rest::Staged => true,
                    Rest::Failed | Rest::Waiting => false,
                    // Where the target can't be read, nobody knows whether what failed is still wanted.
                    Rest::Blocked(_) => {
                        matches!(wanted.target, WantedTarget::Build(_))
                            || observed.journal.rejected.is_empty()
                    }
                },
                Some(_) => false,
            }
    }

    /// What is left to do where the host is where it should be.
    fn settle(&self, rest: &Rest) -> Vec<Step> {
        let (shape, observed) = (self.shape, self.observed);
        let mut steps = Vec::new();
        let InService::At(at) = &observed.journal.service else {
            return steps;
        };
        if !matches!(rest, Rest::Serving | Rest::Staged | Rest::Failed) {
            return steps;
        }
        let wanted: Vec<_> = self.course.stage.iter().chain(&self.course.to).collect();
        let prunable = prunable(observed, &wanted, shape.keep);
        if !prunable.is_empty() {
            steps.push(Step::Prune(prunable));
        }
        let owes_hook = shape.post_restart
            && *rest != Rest::Failed
            && self.course.to.as_ref() == Some(at)
            && observed.journal.finished.as_ref() != Some(at);
        if owes_hook {
            steps.push(Step::PostRestart(at.clone()));
        }
        steps
    }
}
