//! `stage`: every host prepares a build, and none serves it.

use clap::Args;
use deploy_core::percent::Percent;

use super::deploy::{Deployment, deploy};
use super::gate::{Flag, Force};
use crate::cli::{Guard, OfBuild, Waits, Why};
use crate::context::Context;
use crate::exit::Exit;
use crate::problem::Problem;

/// Have every host prepare a build, and none serve it
#[derive(Debug, Args)]
#[command(
    before_help = "  deployctl stage web r2431          then, a flip and a restart away:
  deployctl deploy web r2431\n\n"
)]
pub(crate) struct StageArgs {
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

/// Writes `enabled` with 0 percent, and waits.
pub(crate) async fn run(args: &StageArgs, context: &Context) -> Result<Exit, Problem> {
    let deployment = Deployment {
        kind: "stage",
        of: &args.of,
        percent: Percent::NONE,
        why: &args.why,
        guard: &args.guard,
        force: Force::of(&args.force),
        patience: args.waits.patience(),
    };
    deploy(context, &deployment).await
}
