//! The conditions of a change, each with what to do where it is not met.

use std::collections::BTreeMap;
use std::fmt::Display;

use deploy_core::name::{BuildName, HostName};
use deploy_core::percent::Percent;
use deploy_core::rollout::judge::Goal;
use deploy_core::rollout::preview::{Audience, Wish, preview};
use deploy_core::rollout::version::Version;
use deploy_core::wire::WireError;
use deploy_core::wire::build::Build;
use deploy_core::wire::target::Target;
use deploy_core::wire::{self, time};
use jiff::Timestamp;

use crate::change::{Intent, Numbered};
use crate::context::Context;
use crate::exit::Exit;
use crate::fleet::{Fleet, builds};
use crate::problem::Problem;
use crate::text;
use crate::wait::{Patience, Rollout};

/// Builds listed in a message.
const BUILDS_SHOWN_MAX: usize = 3;
/// Hosts listed in a message.
const HOSTS_SHOWN_MAX: usize = 8;

/// Whether what can be overridden is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Force {
    /// It refuses.
    Off,
    /// `--force`: it goes on, and says what it overrode.
    On,
}

impl Force {
    /// Returns what the flag says.
    pub(crate) fn of(flag: &Flag) -> Force {
        if flag.force { Force::On } else { Force::Off }
    }
}

/// The flag.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Flag {
    /// Do it although it would be refused, and say what was overridden
    #[arg(long)]
    force: bool,
}

/// Lets the problem stand, or says that it is overridden.
pub(crate) fn unless_forced(
    context: &Context,
    force: Force,
    problem: Problem,
) -> Result<(), Problem> {
    match force {
        Force::On => {
            context
                .out
                .warn(&format!("overridden with --force: {}", problem.what));
            Ok(())
        }
        Force::Off => Err(problem),
    }
}

/// Refuses where the service moved on since the user looked.
pub(crate) fn not_moved(fleet: &Fleet, if_rollout: Option<u64>) -> Result<(), Problem> {
    let Some(looked_at) = if_rollout else {
        return Ok(());
    };
    let service = &fleet.service;
    let is = match fleet.version() {
        // As `diff` says it, 0 is before the first.
        Version::Nothing if looked_at == 0 => return Ok(()),
        Version::Rollout(now) if looked_at == now => return Ok(()),
        Version::Nothing => "it has no rollout yet".to_owned(),
        Version::Rollout(now) => format!("it is now #{now}{}", described(fleet, now)),
        Version::ByHand => "it was changed by hand since".to_owned(),
    };
    Err(Problem::refused(format!(
        "{service} has moved on: you looked at #{looked_at}, {is}"
    ))
    .fact("nothing was changed")
    .tip(format!("deployctl diff {service}")))
}

fn described(fleet: &Fleet, number: u64) -> String {
    let Some((_, entry)) = fleet.history.iter().find(|(found, _)| *found == number) else {
        return String::new();
    };
    let who = text::person(entry.by.as_deref());
    let ago = text::ago(entry.at.as_deref(), Timestamp::now()).unwrap_or_default();
    let build = entry
        .to
        .as_ref()
        .map_or_else(String::new, |to| format!(" {to}"));
    format!(" ({who}, {ago}, {}{build})", text::clean(&entry.kind))
}

/// Refuses to write over a target of a newer format: it may say what this program can't.
pub(crate) fn not_newer(context: &Context, fleet: &Fleet, force: Force) -> Result<(), Problem> {
    let slots = [
        ("enabled", &fleet.enabled),
        ("enabled/canary", &fleet.canary),
    ];
    let newer = slots.into_iter().find_map(|(name, slot)| {
        let what = format!("{name} of {}", fleet.service);
        newer(what, slot.target.as_ref().err()?)
    });
    let Some(problem) = newer else {
        return Ok(());
    };
    let problem = problem.tip("use a newer deployctl; or write over it: --force");
    unless_forced(context, force, problem)
}

/// Returns why a znode that could not be read is not written over, where its format is newer: it may say what this
/// program can't. What can't be read at all is of no use to anybody.
pub(crate) fn newer(what: impl Display, error: &WireError) -> Option<Problem> {
    matches!(error, WireError::Newer { .. })
        .then(|| Problem::refused(format!("{what}: {error}")).fact("nothing was changed"))
}

/// Refuses under a hold.
pub(crate) fn not_held(context: &Context, fleet: &Fleet, force: Force) -> Result<(), Problem> {
    let Some(hold) = &fleet.hold else {
        return Ok(());
    };
    let service = &fleet.service;
    let by = text::by(hold.by.as_deref());
    let until = hold.until.as_deref().map_or_else(String::new, |until| {
        format!(" until {}", text::when(Some(until), Timestamp::now()))
    });
    let why = text::because(hold.why.as_deref());
    let whom = match hold.by.as_deref() {
        Some(by) => format!("ask {}; then ", text::person(Some(by))),
        None => String::new(),
    };
    let problem = Problem::refused(format!("{service} is held{by}{until}{why}"))
        .fact("nothing was changed")
        .tip(format!("{whom}deployctl unhold {service}"));
    unless_forced(context, force, problem)
}

/// Returns the build, which must be registered.
pub(crate) async fn registered(
    context: &Context,
    fleet: &Fleet,
    build: &BuildName,
) -> Result<Build, Problem> {
    let path = fleet.tree.build(build);
    if let Some(znode) = context.zk.get(&path).await? {
        return wire::decode(&znode.data).map_err(|error| {
            Problem::refused(format!(
                "build {build} of {} is of no use: {error}",
                fleet.service
            ))
            .tip(format!("deployctl inspect {path}"))
        });
    }
    let service = &fleet.service;
    let known = newest_first(builds(&context.zk, &fleet.tree).await?);
    let problem = Problem::not_found(format!("no build `{build}` of {service} is registered"));
    let problem = match known.is_empty() {
        true => problem.fact("none is registered yet"),
        false => problem.fact(format!("newest: {}", shown(fleet, &known))),
    };
    let names = known.iter().map(|(name, _, _)| name.as_str());
    let problem = match text::nearest(build.as_str(), names) {
        Some(near) => problem.tip(format!(
            "did you mean `{near}`?  all: deployctl build list {service}"
        )),
        None if known.is_empty() => problem,
        None => problem.tip(format!("all: deployctl build list {service}")),
    };
    Err(problem.tip(format!(
        "deployctl build add {service} {build} --url URL --file PATH"
    )))
}

/// Refuses a build that is marked bad.
pub(crate) fn not_bad(
    context: &Context,
    (name, build): (&BuildName, &Build),
    force: Force,
) -> Result<(), Problem> {
    let Some(bad) = &build.bad else {
        return Ok(());
    };
    let by = text::by(bad.by.as_deref());
    let ago = text::ago(bad.at.as_deref(), Timestamp::now()).unwrap_or_default();
    let why = text::because(bad.why.as_deref());
    let what = format!("build {name} was marked bad{by} {ago}");
    let problem = Problem::refused(format!("{}{why}", what.trim_end()))
        .fact("nothing was changed")
        .tip("deploy it nevertheless: --force");
    unless_forced(context, force, problem)
}

/// Refuses a build that is wanted already, as a canary, and was marked bad since. One that is not
/// registered carries no mark.
pub(crate) async fn not_marked_bad(
    context: &Context,
    fleet: &Fleet,
    (name, force): (&BuildName, Force),
) -> Result<(), Problem> {
    match registered(context, fleet, name).await {
        Ok(build) => not_bad(context, (name, &build), force),
        Err(problem) if problem.exit == Exit::NotFound => Ok(()),
        Err(problem) if problem.exit == Exit::Refused => unless_forced(context, force, problem),
        Err(problem) => Err(problem),
    }
}

/// Refuses a share of the build that is served: who serves it and is outside of the share would go
/// back to the build before.
pub(crate) async fn none_taken_back(
    context: &Context,
    fleet: &Fleet,
    (name, percent): (&BuildName, Percent),
    force: Force,
) -> Result<(), Problem> {
    let wish = Wish {
        build: name.clone(),
        percent,
        audience: Audience::Fleet,
    };
    let preview = preview(&fleet.state, &wish);
    let hosts: Vec<&str> = preview.taken_back(name).map(HostName::as_str).collect();
    let Some(previous) = preview.previous.as_ref().filter(|_| !hosts.is_empty()) else {
        return Ok(());
    };
    let service = &fleet.service;
    let (count, names) = (
        text::count(hosts.len(), "host"),
        text::list(hosts.iter().copied(), HOSTS_SHOWN_MAX),
    );
    let mut problem = Problem::refused(format!(
        "{count} of {service} would go from {name} back to {previous}: {names}"
    ));
    let known = registered(context, fleet, previous).await;
    if known.is_ok_and(|build| build.bad.is_some()) {
        problem = problem.fact(format!("{previous} is marked bad"));
    }
    let problem = problem
        .fact(format!(
            "with {} percent they are outside of the share; nothing was changed",
            text::share(percent)
        ))
        .tip(format!(
            "back on all hosts: deployctl rollback {service}; as you said: --force"
        ));
    unless_forced(context, force, problem)
}

/// Returns the problem of a service that has no target yet.
pub(crate) fn no_target(fleet: &Fleet) -> Problem {
    let service = &fleet.service;
    let problem = match &fleet.enabled.target {
        Err(error) => Problem::refused(format!("the target of {service} is of no use: {error}"))
            .tip(format!("deployctl inspect {}", fleet.tree.enabled())),
        Ok(_) if was_deployed(fleet) => Problem::refused(format!(
            "{service} has no target: `enabled` was emptied by hand"
        )),
        Ok(_) => Problem::refused(format!(
            "{service} has no target: no build was deployed yet"
        )),
    };
    let problem = match was_deployed(fleet) {
        true => problem.tip(format!(
            "to the last good build of the history: deployctl rollback {service}"
        )),
        false => problem,
    };
    problem.tip(format!("deployctl deploy {service} BUILD"))
}

fn was_deployed(fleet: &Fleet) -> bool {
    let mut kinds = fleet.history.iter().map(|(_, entry)| entry.kind.as_str());
    kinds.any(|kind| matches!(kind, "deploy" | "promote"))
}

/// Says that the build is wanted already, and returns the rollout to watch.
pub(crate) fn already(
    context: &Context,
    fleet: &Fleet,
    (kind, target): (&str, &Target),
    patience: Patience,
) -> Rollout {
    let number = target
        .rollout
        .map_or_else(String::new, |number| format!(" as #{number}"));
    let by = text::by(target.by.as_deref());
    let (service, build) = (&fleet.service, &target.build);
    let then = match patience {
        Patience::Detach => "nothing was changed",
        Patience::Until(_) => "watching it",
    };
    context.out.say(&format!(
        "{service} {build} is already wanted{number}{by}; {then}"
    ));
    // It may have come to be wanted in another way.
    let mut entries = fleet.history.iter();
    let entry = entries.find(|(number, _)| Some(*number) == target.rollout);
    let previous = target.previous.as_ref();
    let (kind, from) = match entry {
        Some((_, entry)) => (entry.kind.clone(), entry.from.clone()),
        None => (kind.to_owned(), previous.map(|it| it.build.clone())),
    };
    Rollout {
        service: fleet.service.clone(),
        tree: fleet.tree.clone(),
        number: target.rollout,
        kind,
        from,
        to: Some(target.build.clone()),
        by: target.by.clone(),
        at: target.at.clone(),
        why: target.why.clone(),
        goal: Goal::of(target),
    }
}

/// Returns the rollout of a target that was just written.
pub(crate) fn begun(
    context: &Context,
    fleet: &Fleet,
    (intent, numbered): (&Intent<'_>, &Numbered),
    build: &BuildName,
) -> Rollout {
    Rollout {
        service: fleet.service.clone(),
        tree: fleet.tree.clone(),
        number: Some(numbered.number),
        kind: intent.kind.to_owned(),
        from: intent.from.clone(),
        to: intent.to.clone(),
        by: Some(context.by.clone()),
        at: Some(numbered.at.clone()),
        why: intent.why.clone(),
        goal: Goal::Target {
            rollout: Some(numbered.number),
            build: build.clone(),
        },
    }
}

/// Returns builds with the newest first: name, what is registered, when in milliseconds since 1970.
pub(crate) fn newest_first(
    builds: BTreeMap<BuildName, (Result<Build, WireError>, i64)>,
) -> Vec<(BuildName, Result<Build, WireError>, i64)> {
    let mut builds: Vec<_> = builds
        .into_iter()
        .map(|(name, (build, at))| (name, build, at))
        .collect();
    builds.sort_by(|a, b| b.2.cmp(&a.2).then_with(|| b.0.cmp(&a.0)));
    builds
}

fn shown(fleet: &Fleet, builds: &[(BuildName, Result<Build, WireError>, i64)]) -> String {
    let now = Timestamp::now();
    let describe = |(name, build, _): &(BuildName, Result<Build, WireError>, i64)| {
        let build = build.as_ref().ok();
        let ago = build
            .and_then(|build| build.at.as_deref())
            .filter(|at| time::parse(at).is_some());
        let mut notes: Vec<String> = text::ago(ago, now).into_iter().collect();
        if build.is_some_and(|build| build.bad.is_some()) {
            notes.push("BAD".to_owned());
        }
        let targets = &fleet.state.targets;
        if targets
            .enabled
            .as_ref()
            .is_some_and(|target| target.build == *name)
        {
            notes.push("fleet".to_owned());
        }
        if targets
            .canary
            .as_ref()
            .is_some_and(|target| target.build == *name)
        {
            notes.push("canary".to_owned());
        }
        if notes.is_empty() {
            name.to_string()
        } else {
            format!("{name} ({})", notes.join(", "))
        }
    };
    builds
        .iter()
        .take(BUILDS_SHOWN_MAX)
        .map(describe)
        .collect::<Vec<_>>()
        .join(", ")
}
