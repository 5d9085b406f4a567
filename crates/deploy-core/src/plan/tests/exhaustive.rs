//! Every host state × target × flaw × crash point: after each step the invariants hold, and the
//! host always ends at its target or at the last verified build.

use std::collections::BTreeSet;

use crate::name::BuildName;
use crate::observed::{Instance, Lease, Observed, Probes, Runs};
use crate::plan::{Plan, Rest, Shape};
use crate::step::{Step, WaitFor};
use crate::wanted::{Gate, Wanted, WantedTarget};
use crate::wire::record::InService;
use crate::wire::report::Phase;

use super::model::{FLAWS, Flaw, Host, Next, way_back};
use super::text::{build, host, shape, wanted};

/// More steps than any deployment has; past that it goes round in circles.
const STEPS_MAX: u32 = 200;

const TARGETS: [&str; 9] = [
    "2",
    "2, held",
    "2, cut",
    "2 outside, previous 1",
    "1#8",
    "2, restart 9",
    "nothing",
    "unknown",
    "unreadable",
];

const STARTS: [&str; 9] = [
    "runs -,-",
    "on 1, current 1, runs 1,1",
    "on 1, current 1, at 1, verified 1, installed 1, finished 1, runs 1,1",
    "on 1, current 1, at 1, verified 1, installed 1, finished 1, runs 1,-",
    "on 1 2, prepared 2, current 1, at 1, verified 1, installed 1, finished 1, runs 1,1",
    "on 1 2, current 2, at 2, verified 1 2, prepared 1 2, installed 2, finished 2, runs 2,2",
    "on 1 3, current 3, at 3, verified 1 3, prepared 1 3, installed 3, finished 3, runs 3,3,3",
    "on 1, current 1, at 1, verified 1, installed 1, finished 1, runs 1,1m",
    "runs -,-m",
];

fn shapes() -> Vec<Shape> {
    let all = shape("");
    let bare = Shape {
        drains: false,
        probes: Probes::None,
        post_install: false,
        ..all
    };
    let two = Shape {
        batch: 2,
        burns_in: true,
        ..all
    };
    let none = Shape {
        restarts: false,
        drains: false,
        probes: Probes::None,
        ..all
    };
    vec![all, bare, two, none]
}

#[test]
fn invariants_hold_at_every_step_and_after_every_crash() {
    let mut runs = 0u64;
    for start in STARTS {
        for target in TARGETS {
            for flaw in FLAWS {
                // Whether an instance that was down is started before its unit goes away is
                // chance, and so is then the outcome.
                if flaw == Flaw::Unit && start.ends_with(",-") {
                    continue;
                }
                for shape in shapes() {
                    for crash in crashes(flaw) {
                        runs += deploy_with_every_crash((start, target), (flaw, crash), shape);
                    }
                }
            }
        }
    }
    assert!(runs > 10_000, "only {runs} deployments were tried");
}

/// A target that changes at every point of a deployment, after a crash there or not.
#[test]
fn a_target_that_changes_at_any_point_is_reached() {
    for (first, second) in [
        ("2", "1#8"),
        ("2", "3#8"),
        ("2", "2#8, restart 9"),
        ("2", "nothing"),
    ] {
        for flaw in FLAWS {
            for start in STARTS {
                for crash_at in 0.. {
                    let case = Case {
                        start,
                        target: second,
                        flaw,
                        crash_at: Some(crash_at),
                    };
                    let mut host = case.host(shape(""));
                    if !case.run(&mut host, &wanted(first)) {
                        break;
                    }
                    host.rise();
                    let steps = host.plan(&wanted(second)).steps;
                    case.never_three(&host, &steps);
                    case.run(&mut host, &wanted(second));
                    case.end(&host, &wanted(second));
                }
            }
        }
    }
}

/// What has become of the host after a crash.
type Back = fn(&mut Host);

/// The crashes that go with a flaw. A reboot takes down what has no unit any more, and who is out of
/// service then is no more of our doing.
fn crashes(flaw: Flaw) -> Vec<Back> {
    match flaw {
        Flaw::Unit => vec![Host::rise],
        _ => vec![Host::rise, Host::boot],
    }
}

/// Returns how many deployments were tried.
fn deploy_with_every_crash(
    (start, target): (&str, &str),
    (flaw, back): (Flaw, Back),
    shape: Shape,
) -> u64 {
    let mut undisturbed = None;
    for crash_at in 0.. {
        let case = Case {
            start,
            target,
            flaw,
            crash_at: (crash_at > 0).then(|| crash_at - 1),
        };
        let mut host = case.host(shape);
        let died = case.run(&mut host, &wanted(target));
        if died {
            back(&mut host);
            // Every other time, somebody breaks its lease meanwhile.
            if crash_at % 2 == 0 {
                host.seen.lease = Lease::None;
            }
            case.run(&mut host, &wanted(target));
        }
        let end = case.end(&host, &wanted(target));
        let expected = undisturbed.get_or_insert_with(|| end.clone());
        // A crash may cost time, never the outcome.
        assert_eq!(end, *expected, "{case:?}");
        if !died && crash_at > 0 {
            return crash_at as u64;
        }
    }
    unreachable!("a deployment has an end")
}

#[derive(Debug)]
#[expect(dead_code, reason = "the fields are shown when a test fails")]
struct Case<'a> {
    start: &'a str,
    target: &'a str,
    flaw: Flaw,
    crash_at: Option<u32>,
}

impl Case<'_> {
    fn host(&self, shape: Shape) -> Host {
        let mut seen = host(self.start);
        for build in seen.journal.verified.clone() {
            let digest = super::text::artifact(build.as_str()).sha256;
            seen.journal.digests.insert(build, digest);
        }
        let began_at = seen.current.clone();
        Host {
            seen,
            shape,
            bad: (build("2"), self.flaw),
            effects_left: self.crash_at,
            began_at,
            untried: BTreeSet::new(),
        }
    }

    /// Runs until nothing is left to do; returns whether the agent died before.
    fn run(&self, host: &mut Host, wanted: &Wanted) -> bool {
        for _ in 0..STEPS_MAX {
            let plan = host.plan(wanted);
            let Some(step) = plan.steps.first() else {
                return false;
            };
            if matches!(step, Step::Wait(WaitFor::Unhold | WaitFor::ZooKeeper)) {
                return false;
            }
            self.before(host, &plan, wanted);
            let Ok(next) = host.perform(step, &plan, wanted) else {
                self.always(&host.seen);
                return true;
            };
            self.always(&host.seen);
            // What is tried for ever, with pauses, was seen.
            if next == Next::Pause {
                return false;
            }
        }
        panic!(
            "{self:?} goes round in circles: {:?}\n{:#?}",
            host.plan(wanted),
            host.seen
        );
    }

    /// What must hold at every instant.
    fn always(&self, seen: &Observed) {
        if let Some(current) = &seen.current {
            assert!(
                seen.releases.contains(current),
                "{self:?}: current is gone: {seen:#?}"
            );
        }
        for build in &seen.journal.verified {
            let pinned = seen.journal.verified.last() == Some(build);
            assert!(
                !pinned || seen.releases.contains(build),
                "{self:?}: {build} was pruned"
            );
        }
    }

    /// What must hold before a step is begun.
    fn before(&self, host: &Host, plan: &Plan, wanted: &Wanted) {
        let (seen, step) = (&host.snapshot(), &plan.steps[0]);
        let out = |instance: &&Instance| instance.drained || instance.runs == Runs::Nothing;
        let says = || format!("{self:?}: {step} of {plan:?}\n{seen:#?}");
        let begins = !seen.half_restarted() && !way_back(plan);
        if begins {
            self.can_be_finished(host, step);
        }
        match step {
            Step::Activate(build) => {
                assert!(seen.releases.contains(build), "{}", says());
                assert!(
                    !seen.journal.rejected.contains_key(build) || begins,
                    "{}",
                    says()
                );
                let prepared = &seen.journal.prepared;
                let passed = prepared.contains(build) || seen.journal.verified.contains(build);
                assert!(!host.shape.post_extract || passed, "{}", says());
                if begins {
                    assert_eq!(seen.lease, Lease::Held, "{}", says());
                    assert_eq!(wanted.gate, Gate::Open, "{}", says());
                }
            }
            Step::Restart(batch) | Step::Drain(batch) => {
                let mut taken: BTreeSet<_> = batch.iter().copied().collect();
                let already: Vec<_> = seen.instances.iter().enumerate().collect();
                taken.extend(
                    already
                        .iter()
                        .filter(|(_, i)| out(i))
                        .map(|(index, _)| *index),
                );
                let before = already.iter().filter(|(_, instance)| out(instance)).count();
                assert!(taken.len() <= host.shape.batch.max(before), "{}", says());
                if begins {
                    assert_eq!(wanted.gate, Gate::Open, "{}", says());
                }
                let in_service = |index: &usize| !seen.instances[*index].out_of_service();
                if batch.iter().any(in_service) && !way_back(plan) {
                    assert_eq!(seen.lease, Lease::Held, "{}", says());
                }
                if matches!(step, Step::Restart(_)) && host.shape.drains {
                    assert!(
                        batch.iter().all(|index| seen.instances[*index].emptied),
                        "{}",
                        says()
                    );
                }
            }
            Step::Undrain(batch) => {
                let tried = |index: &usize| !host.untried.contains(index);
                let probes = host.shape.probes == Probes::Configured;
                assert!(!probes || batch.iter().all(tried), "{}", says());
            }
            Step::Verify(build) => {
                let probes = host.shape.probes == Probes::Configured;
                assert!(!probes || host.untried.is_empty(), "{}", says());
                let hook_ran = seen.journal.installed.as_ref() == Some(build);
                let ours = host.began_at.as_ref() != Some(build) && host.shape.post_install;
                assert!(!ours || hook_ran, "{}", says());
            }
            Step::ReleaseLease => {
                assert!(seen.journal.service != InService::Left, "{}", says());
                assert!(plan.rest != Rest::Failed, "{}", says());
            }
            _ => {}
        }
    }

    /// What can't be brought to its end is not begun, and no lease is asked for.
    fn can_be_finished(&self, host: &Host, step: &Step) {
        let seen = &host.seen;
        let obstacle = seen.instances.iter().any(|i| i.obstacle.is_some());
        let in_service = seen.journal.service != InService::Left;
        let begins = matches!(
            step,
            Step::AcquireLease
                | Step::Wait(WaitFor::Lease)
                | Step::Activate(_)
                | Step::Drain(_)
                | Step::Restart(_)
        );
        let refused = obstacle && in_service && host.shape.restarts;
        assert!(!(begins && refused), "{self:?}: {step}\n{seen:#?}");
    }

    /// No third build is started on top of a half-restarted one.
    fn never_three(&self, host: &Host, steps: &[Step]) {
        let seen = &host.seen;
        let Some(Step::Activate(next)) = steps.first() else {
            return;
        };
        let run = seen
            .instances
            .iter()
            .filter_map(|instance| match &instance.runs {
                Runs::Build(build) => Some(build),
                _ => None,
            });
        let mut builds: BTreeSet<&BuildName> = run.collect();
        builds.insert(next);
        assert!(
            !seen.half_restarted() || builds.len() < 3,
            "{self:?}: {steps:?} on {seen:#?}"
        );
    }

    /// What must hold in the end; returns what is compared between crash points.
    fn end(&self, host: &Host, wanted: &Wanted) -> (Option<BuildName>, Phase) {
        let (seen, plan) = (&host.seen, host.plan(wanted));
        let says = || format!("{self:?} ends in {plan:?}\n{seen:#?}");
        let nowhere = seen.last_verified().is_none();
        let at_rest = plan.steps.is_empty();
        let Some(current) = &seen.current else {
            return (None, plan.phase());
        };
        let all_run = seen
            .instances
            .iter()
            .all(|i| i.runs == Runs::Build(current.clone()));
        let nobody_drained = seen.instances.iter().all(|instance| !instance.drained);
        match (&wanted.target, plan.phase()) {
            (WantedTarget::Build(goal), Phase::Serving) => {
                assert_eq!(*current, goal.build, "{}", says());
                assert_eq!(seen.lease, Lease::None, "{}", says());
                let restarts = host.shape.restarts && host.began_at != seen.current;
                assert!(all_run || !restarts, "{}", says());
            }
            (WantedTarget::Build(_), Phase::Failed) if !nowhere => {
                assert_eq!(Some(current), seen.last_verified(), "{}", says());
                assert_ne!(host.bad.1, Flaw::None, "{}", says());
            }
            (WantedTarget::Build(_), Phase::Blocked) => {
                let obstacle = seen.instances.iter().any(|i| i.obstacle.is_some());
                assert!(obstacle && at_rest, "{}", says());
                assert_eq!(seen.lease, Lease::None, "{}", says());
                assert_ne!(seen.journal.service, InService::Left, "{}", says());
            }
            (WantedTarget::Nothing | WantedTarget::Unreadable(_), Phase::Idle | Phase::Blocked) => {
                let is_left = seen.journal.service == InService::Left;
                assert!(!is_left || nowhere, "{}", says());
            }
            (WantedTarget::Build(_), Phase::Staged | Phase::Failed | Phase::Waiting)
            | (WantedTarget::Nothing | WantedTarget::Unknown | WantedTarget::Unreadable(_), _) => {}
            // There is nothing better than the last verified release: it is tried for ever.
            (WantedTarget::Build(_), _) => {
                assert!(
                    seen.last_verified() == plan.goal.as_ref() && !at_rest,
                    "{}",
                    says()
                );
                assert_ne!(host.bad.1, Flaw::None, "{}", says());
            }
        }
        let lost = host.shape.restarts && seen.journal.service == InService::Left && nowhere;
        assert!(nobody_drained || lost || !at_rest, "{}", says());
        (Some(current.clone()), plan.phase())
    }
}
