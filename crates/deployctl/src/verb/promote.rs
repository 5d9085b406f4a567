//! `promote`: the canary build becomes the fleet build.
//!
//! `enabled` is written first and `enabled/canary` removed second. A crash between the two leaves
//! both with the same build: the fleet gets it, and the canary hosts have it. Where somebody rolls
//! the canary back at that very moment, the fleet's target is put back as well.

use clap::Args;
use deploy_core::name::BuildName;
use deploy_core::percent::Percent;
use deploy_core::rollout::Standing;
use deploy_core::rollout::choose::previous_of;
use deploy_core::wire::target::Target;
use deploy_zk::error::Error;
use deploy_zk::znode::Change;
use jiff::Timestamp;

use super::gate::{self, Flag, Force};
use super::host::rows;
use crate::change::{Intent, Numbered, Place, Swapped, canary_stays, remove, write_target};
use crate::cli::{Guard, OfService, Waits, Why};
use crate::context::Context;
use crate::exit::Exit;
use crate::fleet::{Fleet, HISTORY_MAX};
use crate::problem::Problem;
use crate::text;
use crate::wait::end::problem::failure_lines;
use crate::wait::{Lines, outcome, record};

/// Make the canary build the fleet build
#[derive(Debug, Args)]
#[command(before_help = "  deployctl promote web
  deployctl promote web --if-rollout 142      only if nobody changed anything since\n\n")]
pub(crate) struct PromoteArgs {
    #[command(flatten)]
    of: OfService,
    #[command(flatten)]
    why: Why,
    #[command(flatten)]
    guard: Guard,
    #[command(flatten)]
    force: Flag,
    #[command(flatten)]
    waits: Waits,
}

/// Writes `enabled`, removes `enabled/canary`, and waits.
pub(crate) async fn run(args: &PromoteArgs, context: &Context) -> Result<Exit, Problem> {
    let force = Force::of(&args.force);
    let fleet = Fleet::read_back(context, &args.of.service, HISTORY_MAX).await?;
    gate::not_moved(&fleet, args.guard.if_rollout)?;
    let canary = promotable(context, &fleet, force).await?;
    let build = &canary.build;
    let enabled = fleet.state.targets.enabled.as_ref();
    let intent = Intent {
        kind: "promote",
        from: enabled.map(|target| target.build.clone()),
        to: Some(build.clone()),
        why: args.why.why.clone().or_else(|| canary.why.clone()),
        ..Intent::default()
    };
    let artifact = match &canary.artifact {
        Some(artifact) => artifact.clone(),
        None => gate::registered(context, &fleet, build).await?.artifact,
    };
    let target = Target {
        artifact: Some(artifact),
        percent: Percent::ALL,
        previous: previous_of(&fleet.state, build),
        restart: canary.restart,
        ..Target::of_build(build.clone())
    };
    let numbered = write_target(context, &fleet, Place::Enabled, (&intent, &target)).await?;
    record::note_ended(context, &fleet).await;
    remove_canary(context, &fleet, (&numbered, build)).await?;
    let rollout = gate::begun(context, &fleet, (&intent, &numbered), build);
    outcome(context, &rollout, args.waits.patience(), Lines::Stderr).await
}

/// Returns the canary, which may be promoted.
///
/// # Errors
/// `Refused`, with what is in the way.
pub(crate) async fn promotable(
    context: &Context,
    fleet: &Fleet,
    force: Force,
) -> Result<Target, Problem> {
    let Some(canary) = fleet.state.targets.canary.clone() else {
        return Err(no_canary(fleet));
    };
    gate::not_newer(context, fleet, force)?;
    gate::not_held(context, fleet, force)?;
    gate::not_marked_bad(context, fleet, (&canary.build, force)).await?;
    if let Some(problem) = unhealthy(fleet, &canary) {
        gate::unless_forced(context, force, problem)?;
    }
    Ok(canary)
}

fn no_canary(fleet: &Fleet) -> Problem {
    let service = &fleet.service;
    if let Err(error) = &fleet.canary.target {
        return Problem::refused(format!("the canary of {service} is of no use: {error}"))
            .tip(format!("deployctl inspect {}", fleet.tree.canary()))
            .tip(format!("deployctl rollback {service}"));
    }
    let is = match &fleet.state.targets.enabled {
        Some(target) => {
            let ago = text::ago(target.at.as_deref(), Timestamp::now());
            let ago = ago.map_or_else(String::new, |ago| format!(", {ago}"));
            let number = target
                .rollout
                .map_or_else(String::new, |number| format!(" (#{number}{ago})"));
            format!("the fleet is on {}{number}", target.build)
        }
        None => "the fleet has no target either".to_owned(),
    };
    Problem::refused(format!("{service} has no canary to promote; {is}"))
        .tip(format!("deployctl canary {service} BUILD"))
}

/// Returns why the canary should not be promoted, if any canary host does not serve it.
pub(crate) fn unhealthy(fleet: &Fleet, canary: &Target) -> Option<Problem> {
    let service = &fleet.service;
    let standings = fleet.state.standings();
    let canary_hosts: Vec<_> = fleet.state.canary_hosts().collect();
    if canary_hosts.is_empty() {
        return Some(
            Problem::refused(format!(
                "the canary of {service} was tested by nobody: no host has the role canary"
            ))
            .tip(format!("deployctl host role HOST {service} canary")),
        );
    }
    let not_there: Vec<_> = canary_hosts
        .iter()
        .filter(|(name, _)| standings[*name] != Standing::Done)
        .collect();
    let (first, _) = *not_there.first()?;
    let says = |name: &deploy_core::name::HostName, host: &deploy_core::rollout::Host| {
        let error = host
            .report
            .as_ref()
            .and_then(|report| report.error.as_ref());
        match (standings[name], error) {
            (Standing::Failed, Some(error)) => {
                format!("{name} failed `{}`", text::clean(&error.step))
            }
            (standing, _) => format!("{name} is {}", rows::state_word(host, standing)),
        }
    };
    let all: Vec<String> = not_there
        .iter()
        .map(|(name, host)| says(name, host))
        .collect();
    let all = text::list(all.iter().map(String::as_str), 5);
    let all_waiting = not_there.iter().all(|(name, _)| {
        matches!(
            standings[*name],
            Standing::Working | Standing::Unseen | Standing::Waiting
        )
    });
    let is = match all_waiting {
        true => "not there yet",
        false => "not healthy",
    };
    let build = &canary.build;
    let what = format!("the canary {build} of {service} is {is}: {all}");
    let mut problem = Problem::refused(what);
    for (name, host) in not_there
        .iter()
        .filter(|(name, _)| standings[*name] == Standing::Failed)
        .take(2)
    {
        problem = problem.facts(failure_lines(name, host));
    }
    let (there, total) = (canary_hosts.len() - not_there.len(), canary_hosts.len());
    problem = problem.fact(format!(
        "{there} of {} serve it; nothing was changed",
        text::count(total, "canary host")
    ));
    Some(if all_waiting {
        problem.tip(format!("wait for it: deployctl watch {service}"))
    } else {
        problem
            .tip(format!("deployctl rollback {service}"))
            .tip(format!("deployctl host show {first} {service}"))
    })
}

/// Removes the canary that was promoted. Another canary that took its place stays.
async fn remove_canary(
    context: &Context,
    fleet: &Fleet,
    (numbered, build): (&Numbered, &BuildName),
) -> Result<(), Problem> {
    let Some(before) = &fleet.canary.znode else {
        return Ok(());
    };
    let service = &fleet.service;
    match remove(context, &fleet.tree.canary(), before).await {
        Ok(Swapped::Written) => Ok(()),
        Err(error) => {
            canary_stays(context, fleet, (numbered.number, build), error).await;
            Ok(())
        }
        Ok(Swapped::Lost(Some(_))) => {
            context.out.warn(&format!(
                "the canary of {service} was changed meanwhile, and stays"
            ));
            context.out.tip(&format!("deployctl status {service}"));
            Ok(())
        }
        Ok(Swapped::Lost(None)) => Err(take_back(context, fleet, (numbered, build)).await?),
    }
}

/// The canary was rolled back while it was promoted: the fleet must not get it.
async fn take_back(
    context: &Context,
    fleet: &Fleet,
    (numbered, build): (&Numbered, &BuildName),
) -> Result<Problem, Problem> {
    let ours = |data: &[u8]| {
        Target::read(data)
            .ok()
            .flatten()
            .is_some_and(|target| target.rollout == Some(numbered.number))
    };
    let before = fleet
        .enabled
        .znode
        .as_ref()
        .map_or(&[][..], |znode| &znode.data);
    let enabled = fleet.tree.enabled();
    let written = context.zk.update(&enabled, |now| match now {
        Some(now) if ours(&now.data) => Change::Write(before.to_vec()),
        _ => Change::Leave,
    });
    written
        .await
        .map_err(|error| not_taken_back(fleet, (numbered, build), error))?;
    numbered.withdraw(context).await;
    let service = &fleet.service;
    Ok(Problem::refused(format!(
        "the canary of {service} was taken away at the same moment"
    ))
    .fact("the target of the fleet is what it was")
    .tip(format!("deployctl history {service}")))
}

/// What was rolled back goes to the fleet, and only who reads this knows it.
fn not_taken_back(
    fleet: &Fleet,
    (numbered, build): (&Numbered, &BuildName),
    error: Error,
) -> Problem {
    let (service, number) = (&fleet.service, numbered.number);
    let was_not = match error {
        Error::Unknown(_) => "may not have been",
        _ => "was not",
    };
    Problem::from(error)
        .fact(format!(
            "the canary of {service} was taken away at the same moment, and #{number}, which gives {build} to the fleet, {was_not} taken back"
        ))
        .tip(format!("deployctl rollback {service}"))
}
