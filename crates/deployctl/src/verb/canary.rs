//! `canary`: a build for the canary hosts.

use clap::Args;
use deploy_core::name::BuildName;
use deploy_core::percent::Percent;
use deploy_core::rollout::choose::previous_of;
use deploy_core::wire::target::Target;

use super::gate::{self, Flag, Force};
use crate::change::{Intent, Place, write_target};
use crate::cli::{Guard, OfBuild, Waits, Why};
use crate::context::Context;
use crate::exit::Exit;
use crate::fleet::{Fleet, HISTORY_MAX};
use crate::problem::Problem;
use crate::text;
use crate::wait::{Lines, outcome, record};

/// Put a build on the canary hosts
#[derive(Debug, Args)]
#[command(
    before_help = "  deployctl canary web r2431 -m \"checkout fix, PR 812\"
  deployctl canary web r2431 --detach\n\n"
)]
pub(crate) struct CanaryArgs {
    #[command(flatten)]
    of: OfBuild,
    #[command(flatten)]
    why: Why,
    #[command(flatten)]
    guard: Guard,
    #[command(flatten)]
    force: Flag,
    #[command(flatten)]
    waits: Waits,
}

/// Writes `enabled/canary`, and waits.
pub(crate) async fn run(args: &CanaryArgs, context: &Context) -> Result<Exit, Problem> {
    let (name, force) = (&args.of.build, Force::of(&args.force));
    let fleet = Fleet::read_back(context, &args.of.service, HISTORY_MAX).await?;
    gate::not_moved(&fleet, args.guard.if_rollout)?;
    let build = gate::registered(context, &fleet, name).await?;
    let targets = &fleet.state.targets;
    let canary = targets.canary.as_ref();
    if let Some(target) = canary.filter(|canary| canary.build == *name) {
        let rollout = gate::already(context, &fleet, ("canary", target), args.waits.patience());
        return outcome(context, &rollout, args.waits.patience(), Lines::Stderr).await;
    }
    gate::not_newer(context, &fleet, force)?;
    gate::not_held(context, &fleet, force)?;
    gate::not_bad(context, (name, &build), force)?;
    not_of_the_fleet(context, &fleet, (name, force))?;
    some_canary_host(&fleet, &args.of)?;

    let before = targets.canary.as_ref().or(targets.enabled.as_ref());
    let intent = Intent {
        kind: "canary",
        from: before.map(|target| target.build.clone()),
        to: Some(name.clone()),
        why: args.why.why.clone(),
        ..Intent::default()
    };
    let target = Target {
        artifact: Some(build.artifact),
        previous: previous_of(&fleet.state, name),
        ..Target::of_build(name.clone())
    };
    let numbered = write_target(context, &fleet, Place::Canary, (&intent, &target)).await?;
    record::note_ended(context, &fleet).await;
    let rollout = gate::begun(context, &fleet, (&intent, &numbered), name);
    outcome(context, &rollout, args.waits.patience(), Lines::Stderr).await
}

/// Refuses the fleet's own build: who wants the canary hosts on it wants the canary to end.
fn not_of_the_fleet(
    context: &Context,
    fleet: &Fleet,
    (name, force): (&BuildName, Force),
) -> Result<(), Problem> {
    let enabled = fleet.state.targets.enabled.as_ref();
    let Some(enabled) = enabled.filter(|target| target.build == *name) else {
        return Ok(());
    };
    let service = &fleet.service;
    let number = enabled.rollout;
    let number = number.map_or_else(String::new, |number| format!(" (#{number})"));
    let problem = Problem::refused(format!(
        "{name} is what the fleet of {service} has{number}: it is no canary"
    ))
    .fact("nothing was changed");
    let problem = match (fleet.canary.is_written(), enabled.percent == Percent::ALL) {
        (true, _) => problem.tip(format!("to end the canary: deployctl rollback {service}")),
        (false, false) => problem.tip(format!("for every host: deployctl deploy {service} {name}")),
        (false, true) => problem.tip(format!("how far it is: deployctl status {service}")),
    };
    gate::unless_forced(context, force, problem)
}

fn some_canary_host(fleet: &Fleet, of: &OfBuild) -> Result<(), Problem> {
    if fleet.state.canary_hosts().next().is_some() {
        return Ok(());
    }
    let (service, build) = (&of.service, &of.build);
    let hosts = &fleet.state.hosts;
    let first = hosts.keys().next().map_or("HOST", |host| host.as_str());
    Err(Problem::refused(format!(
        "{service} has no canary hosts (0 of {} have the role canary), nothing would be tested",
        text::count(hosts.len(), "host")
    ))
    .tip(format!("deployctl host role {first} {service} canary"))
    .tip(format!(
        "without a canary: deployctl deploy {service} {build}"
    )))
}
