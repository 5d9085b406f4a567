//! `rollback`: back to the last good build, without a thought and without a question.
//!
//! With a canary under way the canary is taken away and the fleet left alone. Else, or where the fleet has failed since, the
//! fleet gets the last good build. The build that is left is marked bad.

use std::collections::BTreeMap;

use clap::Args;
use deploy_core::name::BuildName;
use deploy_core::rollout::choose::last_good;
use deploy_core::rollout::judge::{Goal, Verdict, judge};
use deploy_core::wire::build::{Bad, Build};
use deploy_core::wire::history::Outcome;
use deploy_core::wire::target::Target;
use deploy_core::wire::{self, time};
use deploy_zk::znode::{Change, Updated};
use jiff::Timestamp;

use super::gate::{self, Flag, Force};
use crate::change::{
    Intent, Place, Swapped, canary_stays, not_removed, remove, somebody_was_faster, take_number,
    write_target,
};
use crate::cli::{Guard, OfService, Waits, Why};
use crate::context::Context;
use crate::exit::Exit;
use crate::fleet::{Fleet, HISTORY_MAX, builds};
use crate::problem::Problem;
use crate::text;
use crate::wait::record::note;
use crate::wait::{Lines, Rollout, outcome};

/// Times that it looks anew because somebody promoted the canary that it took away.
const ROUNDS_MAX: usize = 3;

/// Two rollbacks within so many seconds mean the same, unless the first has ended.
const SAME_MOMENT_S: i64 = 10;

/// Go back to the last good build
#[derive(Debug, Args)]
#[command(before_help = "  deployctl rollback web -m \"healthz 500\"
  deployctl rollback web --to r2409\n\n")]
pub(crate) struct RollbackArgs {
    #[command(flatten)]
    of: OfService,
    /// Go to this build instead of the last good one
    #[arg(long, value_name = "BUILD", value_parser = BuildName::parse)]
    to: Option<BuildName>,
    #[command(flatten)]
    why: Why,
    #[command(flatten)]
    guard: Guard,
    #[command(flatten)]
    force: Flag,
    #[command(flatten)]
    waits: Waits,
}

/// What is to be done.
pub(crate) enum Way {
    /// Take the canary away.
    Canary,
    /// Give the fleet this build.
    Fleet(Box<Target>),
    /// Nothing: it is the wanted one.
    Already,
}

/// Goes back, and waits.
pub(crate) async fn run(args: &RollbackArgs, context: &Context) -> Result<Exit, Problem> {
    let fleet = Fleet::read_back(context, &args.of.service, HISTORY_MAX).await?;
    gate::not_moved(&fleet, args.guard.if_rollout)?;
    if let Some(hold) = &fleet.hold {
        let (by, why) = (
            text::by(hold.by.as_deref()),
            text::because(hold.why.as_deref()),
        );
        let service = &fleet.service;
        context.out.warn(&format!(
            "{service} is held{by}{why}: no host goes back before it ends"
        ));
        context.out.tip(&format!("deployctl unhold {service}"));
    }
    let rollout = match way(args, context, &fleet).await? {
        Way::Already => {
            let enabled = fleet.state.targets.enabled.as_ref();
            gate::already(
                context,
                &fleet,
                ("rollback", enabled.ok_or_else(|| gate::no_target(&fleet))?),
                args.waits.patience(),
            )
        }
        Way::Canary => {
            let rollout = leave_canary(args, context, &fleet).await?;
            unless_promoted(args, context, rollout).await?
        }
        Way::Fleet(target) => leave_build(args, context, (&fleet, &target)).await?,
    };
    outcome(context, &rollout, args.waits.patience(), Lines::Stderr).await
}

/// Where somebody promoted the canary while it was taken away, the fleet goes back as well. Only
/// then: the build that the fleet had before is a good one.
async fn unless_promoted(
    args: &RollbackArgs,
    context: &Context,
    rollout: Rollout,
) -> Result<Rollout, Problem> {
    // A canary of the fleet's own build, which somebody forced: nobody promoted it.
    if rollout.from == rollout.to {
        return Ok(rollout);
    }
    for _ in 0..ROUNDS_MAX {
        let fleet = Fleet::read_back(context, &args.of.service, HISTORY_MAX).await?;
        let enabled = fleet.state.targets.enabled.as_ref();
        let Some(enabled) = enabled.filter(|target| rollout.from.as_ref() == Some(&target.build))
        else {
            return Ok(rollout);
        };
        let target = back_from(context, &fleet, Some(enabled)).await?;
        match leave_build(args, context, (&fleet, &target)).await {
            // Somebody was faster, perhaps by putting it back: look again.
            Err(problem) if problem.exit == Exit::Refused => {}
            left => return left,
        }
    }
    Err(Problem::refused(format!(
        "{} is changed by others all the time",
        args.of.service
    ))
    .tip(format!("deployctl status {}", args.of.service)))
}

/// Whether the fleet is going back already: two people who roll back at the same time mean the same,
/// and not to go back twice as far.
fn is_under_way(fleet: &Fleet, enabled: &Target) -> bool {
    let entry = fleet
        .history
        .iter()
        .find(|(number, _)| Some(*number) == enabled.rollout);
    let Some((_, entry)) = entry.filter(|(_, entry)| entry.kind == "rollback") else {
        return false;
    };
    let at = entry.at.as_deref().and_then(time::parse);
    let age_s = at.map(|at| Timestamp::now().duration_since(at).as_secs());
    entry.outcome.is_none()
        && (verdict(fleet, enabled) == Verdict::Going
            || age_s.is_some_and(|age_s| (0..SAME_MOMENT_S).contains(&age_s)))
}

/// Returns what a rollback without `--to` does.
///
/// # Errors
/// `Refused` where there is no build to go back to.
pub(crate) async fn way_back(context: &Context, fleet: &Fleet) -> Result<Way, Problem> {
    let targets = &fleet.state.targets;
    if is_canary(fleet) {
        return Ok(Way::Canary);
    }
    // One that is garbage or gone is left as well: this is the last resort.
    let enabled = targets.enabled.as_ref();
    if enabled.is_some_and(|enabled| is_under_way(fleet, enabled)) {
        return Ok(Way::Already);
    }
    Ok(Way::Fleet(Box::new(
        back_from(context, fleet, enabled).await?,
    )))
}

/// Whether the canary is what is under way. One of the fleet's own build, and older than that, is what a promote leaves that
/// was cut off halfway. And where the fleet got another build since, and that has failed, it is the fleet that has to go
/// back: without the canary its hosts would get what has failed.
fn is_canary(fleet: &Fleet) -> bool {
    let targets = &fleet.state.targets;
    let is_past = match (&targets.canary, &targets.enabled) {
        (Some(canary), Some(enabled)) if canary.rollout <= enabled.rollout => {
            canary.build == enabled.build || verdict(fleet, enabled) == Verdict::Failed
        }
        _ => false,
    };
    fleet.canary.is_written() && !is_past
}

fn verdict(fleet: &Fleet, target: &Target) -> Verdict {
    judge(&fleet.state, &Goal::of(target)).verdict
}

async fn way(args: &RollbackArgs, context: &Context, fleet: &Fleet) -> Result<Way, Problem> {
    let Some(to) = &args.to else {
        return way_back(context, fleet).await;
    };
    let build = gate::registered(context, fleet, to).await?;
    gate::not_bad(context, (to, &build), Force::of(&args.force))?;
    let enabled = fleet.state.targets.enabled.as_ref();
    if Some(to) == enabled.map(|target| &target.build) {
        return Ok(if is_canary(fleet) {
            Way::Canary
        } else {
            Way::Already
        });
    }
    let artifact = Some(build.artifact);
    Ok(Way::Fleet(Box::new(Target {
        artifact,
        ..Target::of_build(to.clone())
    })))
}

/// Returns the target that the fleet goes back to.
async fn back_from(
    context: &Context,
    fleet: &Fleet,
    enabled: Option<&Target>,
) -> Result<Target, Problem> {
    let known = builds(&context.zk, &fleet.tree).await?;
    let known: BTreeMap<BuildName, Build> = known
        .into_iter()
        .filter_map(|(name, (build, _))| Some((name, build.ok()?)))
        .collect();
    let history: Vec<_> = fleet
        .history
        .iter()
        .map(|(_, entry)| entry.clone())
        .collect();
    let service = &fleet.service;
    let Some(name) = last_good(enabled, &history, &known) else {
        let Some(enabled) = enabled else {
            return Err(gate::no_target(fleet));
        };
        return Err(Problem::refused(format!(
            "{service} has no build to go back to: nothing but {} was ever good",
            enabled.build
        ))
        .fact("nothing was changed")
        .tip(format!(
            "deployctl build list {service}; deployctl rollback {service} --to BUILD"
        ))
        .tip(format!("to freeze it: deployctl hold {service} -m WHY")));
    };
    let of_previous = enabled
        .and_then(|enabled| enabled.previous.as_ref())
        .filter(|previous| previous.build == name);
    let artifact = known
        .get(&name)
        .map(|build| build.artifact.clone())
        .or_else(|| of_previous.and_then(|previous| previous.artifact.clone()));
    Ok(Target {
        artifact,
        ..Target::of_build(name)
    })
}

/// Takes the canary away. One that somebody else took away at the same moment is left as well.
async fn leave_canary(
    args: &RollbackArgs,
    context: &Context,
    fleet: &Fleet,
) -> Result<Rollout, Problem> {
    let targets = &fleet.state.targets;
    let from = targets.canary.as_ref().map(|canary| canary.build.clone());
    let to = targets
        .enabled
        .as_ref()
        .map(|enabled| enabled.build.clone());
    let why = args.why.why.clone();
    let intent = Intent {
        kind: "rollback",
        from: from.clone(),
        to: to.clone(),
        why,
        ..Intent::default()
    };
    let numbered = take_number(context, &fleet.tree, &intent).await?;
    let removed = match &fleet.canary.znode {
        Some(before) => remove(context, &fleet.tree.canary(), before).await,
        None => Ok(Swapped::Lost(None)),
    };
    numbered.withdraw_unless_written(context, &removed).await;
    let removed = match removed {
        Ok(removed) => removed,
        Err(error) => return Err(not_removed(context, error).await),
    };
    let mut number = Some(numbered.number);
    match removed {
        Swapped::Written => note_left(context, fleet, targets.canary.as_ref()).await,
        Swapped::Lost(None) => {
            number = None;
            context
                .out
                .say("somebody else took the canary away at the same moment");
        }
        Swapped::Lost(now) => return Err(somebody_was_faster(&fleet.service, now.as_ref())),
    }
    if let Some(from) = from.as_ref().filter(|from| Some(*from) != to.as_ref()) {
        mark_bad(context, fleet, (from, args.why.why.as_deref())).await;
    }
    Ok(Rollout {
        service: fleet.service.clone(),
        tree: fleet.tree.clone(),
        number,
        kind: intent.kind.to_owned(),
        from,
        to: to.clone(),
        by: Some(context.by.clone()),
        at: Some(numbered.at.clone()),
        why: intent.why,
        goal: Goal::Returned { to },
    })
}

/// Gives the fleet another build, and takes a canary away.
async fn leave_build(
    args: &RollbackArgs,
    context: &Context,
    (fleet, target): (&Fleet, &Target),
) -> Result<Rollout, Problem> {
    let targets = &fleet.state.targets;
    let left = targets
        .enabled
        .as_ref()
        .map(|enabled| enabled.build.clone());
    let why = args.why.why.clone();
    let intent = Intent {
        kind: "rollback",
        from: left.clone(),
        to: Some(target.build.clone()),
        why,
        ..Intent::default()
    };
    let numbered = write_target(context, fleet, Place::Enabled, (&intent, target)).await?;
    if let Err(error) = &fleet.enabled.target {
        let service = &fleet.service;
        let what = format!("enabled of {service} is written over: {error}");
        context.out.warn(&what);
    }
    let mut other = targets.canary.as_ref().map(|canary| &canary.build);
    if let Some(canary) = fleet
        .canary
        .znode
        .as_ref()
        .filter(|_| fleet.canary.is_written())
    {
        let removed = remove(context, &fleet.tree.canary(), canary).await;
        if let Err(error) = removed {
            canary_stays(context, fleet, (numbered.number, &target.build), error).await;
            other = None;
        }
    }
    if let Some(canary) = other.filter(|canary| Some(*canary) != left.as_ref()) {
        context.out.say(&format!(
            "the canary {canary} is taken away as well; nothing is said against the build"
        ));
    }
    if let Some(left) = left.as_ref().filter(|left| **left != target.build) {
        mark_bad(context, fleet, (left, args.why.why.as_deref())).await;
    }
    note_left(context, fleet, targets.enabled.as_ref()).await;
    Ok(gate::begun(
        context,
        fleet,
        (&intent, &numbered),
        &target.build,
    ))
}

/// Marks a build as bad, if it is registered and not marked yet. Where that fails the rollback goes
/// on: it matters more.
async fn mark_bad(context: &Context, fleet: &Fleet, (name, why): (&BuildName, Option<&str>)) {
    let (by, at) = context.signature();
    let why = why.map_or_else(
        || "rolled back".to_owned(),
        |why| format!("rolled back: {why}"),
    );
    let bad = Bad {
        by,
        at,
        why: Some(why),
    };
    let path = fleet.tree.build(name);
    let marking = context.zk.update(&path, |znode| {
        let Some(znode) = znode else {
            return Change::Leave;
        };
        match wire::decode::<Build>(&znode.data) {
            Ok(build) if build.bad.is_none() => {
                let build = Build {
                    bad: Some(bad.clone()),
                    ..build
                };
                Change::Write(wire::encode_over(&build, &znode.data))
            }
            _ => Change::Leave,
        }
    });
    match marking.await {
        Ok(Updated::Written(_)) => context.out.say(&context.out.paste(&format!(
            "{name} is marked bad; to take that back: deployctl build bad {} {name} --undo",
            fleet.service
        ))),
        Ok(Updated::Deleted | Updated::Left) => {}
        Err(error) => context
            .out
            .warn(&format!("{name} could not be marked bad: {error}")),
    }
}

/// Writes into the history how the rollout ended that is left.
async fn note_left(context: &Context, fleet: &Fleet, target: Option<&Target>) {
    let Some((target, number)) = target.and_then(|target| Some((target, target.rollout?))) else {
        return;
    };
    let begun = target.at.as_deref().and_then(time::parse);
    let seconds = begun.map_or(0, |begun| {
        Timestamp::now()
            .duration_since(begun)
            .as_secs()
            .max(0)
            .unsigned_abs()
    });
    let concerned = judge(&fleet.state, &Goal::of(target)).hosts;
    let there = concerned.values().filter(|standing| standing.is_there());
    let outcome = Outcome {
        result: "rolled back".to_owned(),
        hosts: there.count() as u64,
        total: Some(concerned.len() as u64),
        seconds: Some(seconds),
    };
    note(context, (&fleet.tree, number), outcome).await;
}
