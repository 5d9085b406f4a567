//! `monitor`: services, hosts and failures as they change.

use clap::Args;
use deploy_core::name::ServiceName;

use crate::context::Context;
use crate::exit::Exit;
use crate::monitor::source::Wanted;
use crate::monitor::{self, Request};
use crate::out::Format;
use crate::problem::Problem;

/// Watch services and hosts live, and change them
#[derive(Debug, Args)]
#[command(before_help = "  deployctl monitor
  deployctl monitor web api --read-only
  deployctl monitor web | tee rollout.log      elsewhere than on a terminal: a line for each outcome
  deployctl monitor -o jsonl\n\n")]
pub(crate) struct MonitorArgs {
    /// Services [default: all, and those that come]
    #[arg(value_name = "SERVICE", value_parser = ServiceName::parse)]
    services: Vec<ServiceName>,
    /// Only look: nothing can be changed from here
    #[arg(long)]
    read_only: bool,
}

/// It never ends by itself, so there is no one object to print.
pub(crate) fn check(format: Format) -> Result<(), Problem> {
    if format == Format::Json {
        return Err(Problem::usage(
            "monitor goes on until it is ended, and has no one JSON object",
        )
        .tip("one object a line: deployctl monitor -o jsonl")
        .tip("one object now: deployctl status -o json"));
    }
    Ok(())
}

/// Shows it until somebody ends it.
pub(crate) async fn run(args: &MonitorArgs, context: &Context) -> Result<Exit, Problem> {
    check(context.out.format)?;
    for service in &args.services {
        context.service(service).await?;
    }
    // A root that is missing is said now; a service may come later.
    context.services().await?;
    let wanted = match args.services.is_empty() {
        true => Wanted::All,
        false => Wanted::Named(args.services.iter().cloned().collect()),
    };
    let request = Request {
        wanted,
        read_only: args.read_only,
    };
    // Its future is large, and all verbs share the room of the largest.
    Box::pin(monitor::run(request, context)).await
}
