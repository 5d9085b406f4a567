//! Hosts and targets written in a line, for tests.

use crate::artifact::{Artifact, Digest};
use crate::name::BuildName;
use crate::observed::{Instance, Lease, Observed, Probes, Runs};
use crate::plan::{Rest, Shape, plan};
use crate::wanted::{Gate, Goal, Problem, Share, Wanted, WantedTarget};
use crate::wire::hold::Hold;
use crate::wire::record::{InService, Rejection};
use crate::wire::report::ErrorReport;
use crate::wire::role::Role;

pub(super) fn build(name: &str) -> BuildName {
    BuildName::parse(name).unwrap()
}

pub(super) fn artifact(name: &str) -> Artifact {
    let digest = Digest::from_bytes(&[name.as_bytes()[0]; 32]);
    Artifact {
        url: format!("https://builds/{name}"),
        sha256: digest,
        size: 1,
    }
}

pub(super) fn rejection(rollout: Option<u64>, retry: i64, step: &str) -> Rejection {
    let error = ErrorReport {
        step: step.to_owned(),
        kind: "rejected".to_owned(),
        message: String::new(),
        log: Vec::new(),
    };
    Rejection {
        rollout,
        retry,
        error,
    }
}

pub(super) fn shape(text: &str) -> Shape {
    let batch = text
        .strip_prefix("batch ")
        .map_or(1, |number| number.parse().unwrap());
    Shape {
        restarts: true,
        drains: true,
        probes: Probes::Configured,
        batch,
        burns_in: false,
        post_extract: true,
        post_install: true,
        post_restart: true,
        keep: 5,
    }
}

/// `2#7 outside, previous 1, restart 9, retry 6, held` and the like.
pub(super) fn wanted(text: &str) -> Wanted {
    let mut parts = text.split(", ");
    let first = parts.next().unwrap();
    let problem = |object: &str| Problem {
        object: object.to_owned(),
        message: String::new(),
    };
    let mut gate = Gate::Open;
    let mut refused = Vec::new();
    let mut goal = {
        let (name, flags) = first.split_once(' ').unwrap_or((first, ""));
        let (name, rollout) = name.split_once('#').unwrap_or((name, "7"));
        Goal {
            build: build(name),
            artifact: match flags {
                "unregistered" => Err(problem(&format!("builds/{name}"))),
                _ => Ok(artifact(name)),
            },
            rollout: Some(rollout.parse().unwrap()),
            share: if flags == "outside" {
                Share::Outside
            } else {
                Share::Inside
            },
            previous: None,
            restart: None,
            retry: 0,
        }
    };
    for part in parts {
        match part.split_once(' ').unwrap_or((part, "")) {
            ("previous", name) => goal.previous = Some((build(name), Ok(artifact(name)))),
            ("restart", number) => goal.restart = Some(number.parse().unwrap()),
            ("retry", number) => goal.retry = number.parse().unwrap(),
            ("held", _) => gate = Gate::Held(Hold::default()),
            ("cut", _) => gate = Gate::Cut,
            ("refused", object) => refused.push(problem(object)),
            other => panic!("{other:?}"),
        }
    }
    let target = match first {
        "nothing" => WantedTarget::Nothing,
        "unknown" => WantedTarget::Unknown,
        "unreadable" => WantedTarget::Unreadable(problem("enabled")),
        _ => WantedTarget::Build(goal),
    };
    Wanted {
        role: Some(Role::Fleet),
        target,
        gate,
        ignored: None,
        refused,
    }
}

/// `on 1 2, current 1, at 1, verified 1, rejected 2, runs 1,2du, lease held` and the like.
pub(super) fn host(text: &str) -> Observed {
    let mut observed = Observed::default();
    let builds = |text: &str| text.split(' ').map(build).collect::<Vec<_>>();
    // The instances hold commas themselves.
    let text = text.replace(", ", ";");
    for part in text.split(';') {
        let journal = &mut observed.journal;
        match part.split_once(' ').unwrap_or((part, "")) {
            ("on", names) => observed.releases = builds(names),
            ("taken", name) => {
                observed
                    .taken
                    .insert(build(name), "it is a file".to_owned());
            }
            ("current", name) => observed.current = Some(build(name)),
            ("foreign", object) => {
                observed.foreign = Some(Problem {
                    object: object.to_owned(),
                    message: String::new(),
                });
            }
            ("at", name) => journal.service = InService::At(build(name)),
            ("left", _) => journal.service = InService::Left,
            ("verified", names) => journal.verified = builds(names),
            ("prepared", names) => journal.prepared = builds(names),
            ("installed", name) => journal.installed = Some(build(name)),
            ("finished", name) => journal.finished = Some(build(name)),
            ("rejected", name) => {
                journal
                    .rejected
                    .insert(build(name), rejection(Some(7), 5, "probe"));
            }
            ("digest", text) => {
                let (name, _) = text.split_once(' ').unwrap();
                journal
                    .digests
                    .insert(build(name), Digest::from_bytes(&[0xee; 32]));
            }
            ("lease", "held") => observed.lease = Lease::Held,
            ("lease", "queued") => observed.lease = Lease::Queued,
            ("runs", instances) => {
                observed.instances = instances.split(',').map(instance).collect();
            }
            other => panic!("{other:?}"),
        }
    }
    if observed.journal.service == InService::AsFound {
        observed
            .instances
            .iter_mut()
            .for_each(|instance| instance.unproven = true);
    }
    observed
}

/// `2`, `2du` (drained, unproven), `2b` (drained, busy still), `2r9` (restarted for number 9), `2m` (masked), `-` (down), `?`.
fn instance(text: &str) -> Instance {
    let (text, restarted) = match text.split_once('r') {
        Some((text, number)) => (text, Some(number.parse().unwrap())),
        None => (text, None),
    };
    let name = text.trim_end_matches(['d', 'b', 'u', 'm']);
    let runs = match name {
        "-" => Runs::Nothing,
        "?" => Runs::Something,
        name => Runs::Build(build(name)),
    };
    Instance {
        runs,
        drained: text.contains(['d', 'b']),
        emptied: text.contains('d'),
        unproven: text.contains('u'),
        restarted,
        obstacle: text.contains('m').then(|| "masked".to_owned()),
    }
}

pub(super) fn plan_text(target: &str, on: &str, shape: &Shape) -> String {
    let plan = plan(&wanted(target), shape, &host(on));
    let steps: Vec<_> = plan.steps.iter().map(ToString::to_string).collect();
    let problem = match &plan.rest {
        Rest::Blocked(problem) if plan.steps.is_empty() => format!(" ({})", problem.object),
        _ => String::new(),
    };
    format!("{}{problem}: {}", plan.phase(), steps.join(", "))
        .trim_end()
        .to_owned()
}
