//! `restart`: every instance, with the build that it has.

use clap::Args;
use deploy_core::wire::target::Target;

use super::gate::{self, Flag, Force};
use crate::change::{Intent, Place, Swapped, put, signed, take_number, write_numbered};
use crate::cli::{Guard, OfService, Waits, Why};
use crate::context::Context;
use crate::exit::Exit;
use crate::fleet::{Fleet, HISTORY_MAX};
use crate::problem::Problem;
use crate::wait::{Lines, outcome, record};

/// Restart every instance, one after the other
#[derive(Debug, Args)]
#[command(before_help = "  deployctl restart web -m \"new certificates\"\n\n")]
pub(crate) struct RestartArgs {
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

/// Writes the new number into the targets, and waits.
pub(crate) async fn run(args: &RestartArgs, context: &Context) -> Result<Exit, Problem> {
    let fleet = Fleet::read_back(context, &args.of.service, HISTORY_MAX).await?;
    gate::not_moved(&fleet, args.guard.if_rollout)?;
    let Some(enabled) = fleet.state.targets.enabled.clone() else {
        return Err(gate::no_target(&fleet));
    };
    gate::not_newer(context, &fleet, Force::of(&args.force))?;
    gate::not_held(context, &fleet, Force::of(&args.force))?;
    let build = enabled.build.clone();
    let intent = Intent {
        kind: "restart",
        from: Some(build.clone()),
        to: Some(build.clone()),
        why: args.why.why.clone(),
        ..Intent::default()
    };
    let numbered = take_number(context, &fleet.tree, &intent).await?;
    let again = |target: Target| {
        let target = Target {
            restart: Some(numbered.number),
            ..target
        };
        signed(context, &target, &intent, &numbered)
    };
    write_numbered(
        context,
        &fleet,
        Place::Enabled,
        (&again(enabled), &numbered),
    )
    .await?;
    record::note_ended(context, &fleet).await;
    // The canary hosts as well; they follow another target under the same number.
    if let Some(canary) = fleet.state.targets.canary.clone()
        && let Swapped::Lost(_) = put(context, &fleet, Place::Canary, &again(canary)).await?
    {
        context
            .out
            .warn("the canary was changed meanwhile; its hosts are not restarted");
    }
    let rollout = gate::begun(context, &fleet, (&intent, &numbered), &build);
    outcome(context, &rollout, args.waits.patience(), Lines::Stderr).await
}
