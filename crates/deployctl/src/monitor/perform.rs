//! Does what was confirmed: the verb that the user would have typed.

use clap::FromArgMatches;
use deploy_core::name::ServiceName;
use deploy_core::wire::history::Outcome;

use super::wish::{Confirm, Wish};
use crate::cli::{self, Cli};
use crate::context::Context;
use crate::exit::Exit;
use crate::problem::Problem;
use crate::verb;
use crate::wait::record::note;

/// Runs the verb of a confirmed wish. What it says goes where `context` sends it.
pub(super) async fn act(confirm: Confirm, context: &Context) -> (Wish, Result<(), Problem>) {
    let words = [vec!["deployctl".to_owned()], confirm.command()].concat();
    let parsed = cli::command()
        .try_get_matches_from(words)
        .and_then(|matches| Cli::from_arg_matches(&matches));
    let acted = match parsed {
        Ok(cli) => match verb::check(&cli.verb) {
            // A verb runs in this very future, which is one itself.
            Ok(()) => Box::pin(verb::run(&cli.verb, context)).await,
            Err(problem) => Err(problem),
        },
        Err(error) => Err(Problem::new(Exit::Bug, error.to_string())),
    };
    let acted = acted.map_err(|problem| Problem {
        tips: problem
            .tips
            .iter()
            .map(|tip| context.out.paste(tip))
            .collect(),
        ..problem
    });
    (confirm.wish, acted.map(|_| ()))
}

/// Writes into the history how a rollout ended.
pub(super) async fn record(
    (service, number): (ServiceName, u64),
    outcome: Outcome,
    context: &Context,
) {
    let tree = context.root.service(&service);
    note(context, (&tree, number), outcome).await;
}
