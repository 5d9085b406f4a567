//! `deploy`: a build for the fleet, or for a share of it.

use clap::Args;
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
use crate::wait::{Lines, Patience, outcome, record};

/// Put a build on the fleet, or on a share of it
#[derive(Debug, Args)]
#[command(before_help = "  deployctl deploy web r2431 -m \"checkout fix\"
  deployctl deploy web r2431 --percent 10      a tenth of the hosts; the others have it staged
  deployctl deploy web r2431 --percent 50      more of them, never fewer\n\n")]
pub(crate) struct DeployArgs {
    #[command(flatten)]
    of: OfBuild,
    /// The share of the hosts that activate it, 0 to 100
    #[arg(long, value_name = "P", default_value = "100", value_parser = parse_percent)]
    percent: Percent,
    #[command(flatten)]
    why: Why,
    #[command(flatten)]
    guard: Guard,
    #[command(flatten)]
    force: Flag,
    #[command(flatten)]
    waits: Waits,
}

/// A deployment to the fleet.
pub(crate) struct Deployment<'a> {
    /// `deploy` or `stage`.
    pub(crate) kind: &'static str,
    /// What of which service.
    pub(crate) of: &'a OfBuild,
    /// The share of the hosts that activate it.
    pub(crate) percent: Percent,
    /// Why.
    pub(crate) why: &'a Why,
    /// What it is bound to.
    pub(crate) guard: &'a Guard,
    /// What may be overridden.
    pub(crate) force: Force,
    /// How long to wait.
    pub(crate) patience: Patience,
}

/// Writes `enabled`, and waits.
pub(crate) async fn run(args: &DeployArgs, context: &Context) -> Result<Exit, Problem> {
    let deployment = Deployment {
        kind: "deploy",
        of: &args.of,
        percent: args.percent,
        why: &args.why,
        guard: &args.guard,
        force: Force::of(&args.force),
        patience: args.waits.patience(),
    };
    deploy(context, &deployment).await
}

/// Writes `enabled`, and waits.
pub(crate) async fn deploy(context: &Context, wish: &Deployment<'_>) -> Result<Exit, Problem> {
    let name = &wish.of.build;
    let fleet = Fleet::read_back(context, &wish.of.service, HISTORY_MAX).await?;
    gate::not_moved(&fleet, wish.guard.if_rollout)?;
    let build = gate::registered(context, &fleet, name).await?;
    let enabled = fleet.state.targets.enabled.as_ref();
    if let Some(enabled) = enabled
        && enabled.build == *name
        && enabled.percent == wish.percent
    {
        let rollout = gate::already(context, &fleet, (wish.kind, enabled), wish.patience);
        return outcome(context, &rollout, wish.patience, Lines::Stderr).await;
    }
    gate::not_newer(context, &fleet, wish.force)?;
    gate::not_held(context, &fleet, wish.force)?;
    gate::not_bad(context, (name, &build), wish.force)?;
    gate::none_taken_back(context, &fleet, (name, wish.percent), wish.force).await?;
    if let Some(canary) = &fleet.state.targets.canary {
        context.out.say(&format!(
            "the canary stays: hosts with that role go on with {} until promote or rollback",
            canary.build
        ));
    }
    let intent = Intent {
        kind: wish.kind,
        // A build that was staged is on its way from the one before it.
        from: enabled.map(|target| match &target.previous {
            Some(previous) if target.build == *name => previous.build.clone(),
            _ => target.build.clone(),
        }),
        to: Some(name.clone()),
        percent: Some(wish.percent).filter(|percent| *percent < Percent::ALL),
        why: wish.why.why.clone(),
        ..Intent::default()
    };
    let target = Target {
        artifact: Some(build.artifact),
        percent: wish.percent,
        previous: previous_of(&fleet.state, name),
        // A restart asked for before is not asked for again.
        restart: enabled
            .filter(|target| target.build == *name)
            .and_then(|target| target.restart),
        ..Target::of_build(name.clone())
    };
    let numbered = write_target(context, &fleet, Place::Enabled, (&intent, &target)).await?;
    record::note_ended(context, &fleet).await;
    let rollout = gate::begun(context, &fleet, (&intent, &numbered), name);
    outcome(context, &rollout, wish.patience, Lines::Stderr).await
}

/// Parses a share of the hosts.
pub(crate) fn parse_percent(text: &str) -> Result<Percent, String> {
    let number = text.trim();
    let number = number.strip_suffix('%').unwrap_or(number);
    let value: f64 = number
        .parse()
        .map_err(|_| "a number from 0 to 100 is wanted".to_owned())?;
    Percent::new(value).map_err(|error| error.to_string())
}
