//! `watch`: the outcome of a rollout that somebody else began.

use clap::Args;
use deploy_core::name::BuildName;
use deploy_core::rollout::judge::Goal;
use deploy_core::wire;
use deploy_core::wire::history::Entry;
use deploy_core::wire::target::Target;

use super::gate;
use crate::cli::{Limit, OfService};
use crate::context::Context;
use crate::exit::Exit;
use crate::fleet::{Fleet, HISTORY_MAX};
use crate::problem::Problem;
use crate::text;
use crate::wait::{Lines, Patience, Rollout, outcome};

/// Wait for the outcome of a rollout
#[derive(Debug, Args)]
#[command(
    before_help = "  deployctl watch web                     the newest rollout
  deployctl watch web --rollout 142 --timeout 30m\n\n"
)]
pub(crate) struct WatchArgs {
    #[command(flatten)]
    of: OfService,
    /// Watch this rollout [default: the newest]
    #[arg(long, value_name = "N")]
    rollout: Option<u64>,
    #[command(flatten)]
    limit: Limit,
}

/// Waits. A rollout that is over ends at once, with the code of its outcome.
pub(crate) async fn run(args: &WatchArgs, context: &Context) -> Result<Exit, Problem> {
    let fleet = Fleet::read_back(context, &args.of.service, HISTORY_MAX).await?;
    let rollout = match args.rollout {
        Some(number) => numbered(context, &fleet, number).await?,
        None => newest(&fleet)?,
    };
    outcome(
        context,
        &rollout,
        Patience::Until(args.limit.timeout),
        Lines::Stdout,
    )
    .await
}

async fn numbered(context: &Context, fleet: &Fleet, number: u64) -> Result<Rollout, Problem> {
    if let Some(rollout) = of_target(fleet, Some(number)) {
        return Ok(rollout);
    }
    let path = fleet.tree.rollout(number);
    let service = &fleet.service;
    let Some(znode) = context.zk.get(&path).await? else {
        let newest = fleet.newest_number();
        let newest = newest.map_or_else(String::new, |newest| format!("; the newest is #{newest}"));
        return Err(
            Problem::not_found(format!("{service} has no rollout #{number}{newest}"))
                .tip(format!("deployctl history {service}")),
        );
    };
    let entry: Entry = wire::decode(&znode.data)
        .map_err(|error| Problem::refused(format!("rollout #{number} of {service}: {error}")))?;
    if !entry.changes_targets() {
        let kind = text::clean(&entry.kind);
        let what = format!("#{number} of {service} is `{kind}`, which is no rollout");
        return Err(Problem::not_found(what).tip(format!("deployctl history {service}")));
    }
    Ok(of_entry(fleet, (number, &entry)))
}

/// Returns the newest rollout. The newest change of a target decides. That may also be a canary that was taken away, which is in
/// no target; unless the fleet's target was written by hand since.
pub(crate) fn newest(fleet: &Fleet) -> Result<Rollout, Problem> {
    let targets = &fleet.state.targets;
    let in_targets = targets.newest_rollout();
    let fleet_build = targets.enabled.as_ref().map(|target| &target.build);
    let canary_left = fleet.last_change().filter(|(number, entry)| {
        let is_newest = Some(*number) > in_targets && targets.canary.is_none();
        is_newest && entry.kind == "rollback" && entry.to.as_ref() == fleet_build
    });
    match canary_left {
        Some((number, entry)) => Ok(of_entry(fleet, (*number, entry))),
        None => of_target(fleet, in_targets).ok_or_else(|| gate::no_target(fleet)),
    }
}

fn of_target(fleet: &Fleet, number: Option<u64>) -> Option<Rollout> {
    let targets = &fleet.state.targets;
    let target: &Target = [&targets.enabled, &targets.canary]
        .into_iter()
        .flatten()
        .find(|t| t.rollout == number)?;
    let entry = fleet
        .history
        .iter()
        .find(|(found, _)| Some(*found) == number);
    let entry = entry.map(|(_, entry)| entry);
    let previous = target
        .previous
        .as_ref()
        .map(|previous| previous.build.clone());
    Some(Rollout {
        service: fleet.service.clone(),
        tree: fleet.tree.clone(),
        number,
        kind: entry.map_or_else(|| "target".to_owned(), |entry| entry.kind.clone()),
        from: entry.map_or(previous, |entry| entry.from.clone()),
        to: Some(target.build.clone()),
        by: target.by.clone(),
        at: target.at.clone(),
        why: target.why.clone(),
        goal: Goal::Target {
            rollout: number,
            build: target.build.clone(),
        },
    })
}

/// Returns the rollout of an entry that is in no target: a canary that was taken away, or one that
/// is superseded, which the wait will find out.
fn of_entry(fleet: &Fleet, (number, entry): (u64, &Entry)) -> Rollout {
    let is_newest = fleet
        .last_change()
        .is_some_and(|(newest, _)| *newest == number);
    let goal = if entry.kind == "rollback" && is_newest {
        Goal::Returned {
            to: entry.to.clone(),
        }
    } else {
        let build = entry.to.clone().unwrap_or_else(nothing);
        Goal::Target {
            rollout: Some(number),
            build,
        }
    };
    Rollout {
        service: fleet.service.clone(),
        tree: fleet.tree.clone(),
        number: Some(number),
        kind: entry.kind.clone(),
        from: entry.from.clone(),
        to: entry.to.clone(),
        by: entry.by.clone(),
        at: entry.at.clone(),
        why: entry.why.clone(),
        goal,
    }
}

fn nothing() -> BuildName {
    BuildName::parse("none").expect("it follows the rule of build names")
}
