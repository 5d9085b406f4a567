//! `host`: the machines.

use clap::{Args, Subcommand};
use deploy_core::name::{HostName, ServiceName};
use deploy_core::rollout::State;
use futures_util::future::try_join_all;

use super::gate::Flag;
use crate::cli::{OfHost, Waits, Why};
use crate::context::Context;
use crate::exit::Exit;
use crate::fleet::Fleet;
use crate::problem::Problem;
use crate::text;

mod forget;
mod list;
mod retry;
mod role;
pub(crate) mod rows;
mod show;

/// What can be done with hosts.
#[derive(Debug, Subcommand)]
pub(crate) enum HostVerb {
    /// List hosts and what they run
    #[command(before_help = "  deployctl host list\n  deployctl host list web\n\n")]
    List(ListArgs),
    /// Show what a host says of itself, with its last error
    #[command(before_help = "  deployctl host show web-09\n  deployctl host show web-09 web\n\n")]
    Show(OfHost),
    /// Let a host follow the canary or the fleet
    #[command(
        before_help = "  deployctl host role web-01 web canary -m \"least traffic\"\n  deployctl host role web-01 web fleet\n\n"
    )]
    Role(RoleArgs),
    /// Let a host try again what failed there
    #[command(before_help = "  deployctl host retry web-09\n\n")]
    Retry(RetryArgs),
    /// Remove what is left of a host that is gone
    #[command(before_help = "  deployctl host forget web-12 --yes\n\n")]
    Forget(ForgetArgs),
}

/// Which hosts.
#[derive(Debug, Args)]
pub(crate) struct ListArgs {
    /// The service [default: all]
    #[arg(value_name = "SERVICE", value_parser = ServiceName::parse)]
    service: Option<ServiceName>,
}

/// Which role.
#[derive(Debug, Args)]
pub(crate) struct RoleArgs {
    /// The host
    #[arg(value_name = "HOST", value_parser = HostName::parse)]
    host: HostName,
    /// The service
    #[arg(value_name = "SERVICE", value_parser = ServiceName::parse)]
    service: ServiceName,
    /// The role: canary or fleet
    #[arg(value_name = "ROLE", value_enum, hide_possible_values = true)]
    role: RoleWord,
    #[command(flatten)]
    why: Why,
    #[command(flatten)]
    force: Flag,
}

/// The roles.
#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum RoleWord {
    /// It gets what the fleet gets
    Fleet,
    /// It gets the canary, while there is one
    Canary,
}

/// What to forget.
#[derive(Debug, Args)]
pub(crate) struct ForgetArgs {
    #[command(flatten)]
    of: OfHost,
    #[command(flatten)]
    why: Why,
}

/// What to try again.
#[derive(Debug, Args)]
pub(crate) struct RetryArgs {
    #[command(flatten)]
    of: OfHost,
    #[command(flatten)]
    why: Why,
    #[command(flatten)]
    waits: Waits,
}

/// Does it.
pub(crate) async fn run(verb: &HostVerb, context: &Context) -> Result<Exit, Problem> {
    match verb {
        HostVerb::List(args) => list::run(args, context).await,
        HostVerb::Show(args) => show::run(args, context).await,
        HostVerb::Role(args) => role::run(args, context).await,
        HostVerb::Retry(args) => retry::run(args, context).await,
        HostVerb::Forget(args) => forget::run(args, context).await,
    }
}

/// Reads the services named, or all.
async fn fleets(context: &Context, service: Option<&ServiceName>) -> Result<Vec<Fleet>, Problem> {
    let services = match service {
        Some(service) => vec![service.clone()],
        None => context.services().await?,
    };
    try_join_all(services.iter().map(|service| Fleet::read(context, service))).await
}

/// Reads the services that know the host: the one named, or all.
async fn fleets_of(context: &Context, of: &OfHost) -> Result<Vec<Fleet>, Problem> {
    /// Hosts listed in a message.
    const HOSTS_SHOWN_MAX: usize = 20;
    let mut all = fleets(context, of.service.as_ref()).await?;
    let known: Vec<String> = all
        .iter()
        .flat_map(|fleet| fleet.state.hosts.keys().map(ToString::to_string))
        .collect::<std::collections::BTreeSet<_>>()
        .into_iter()
        .collect();
    let knows = |state: &State| state.hosts.contains_key(&of.host);
    all.retain(|fleet| knows(&fleet.state));
    if !all.is_empty() {
        return Ok(all);
    }
    let of_service = of
        .service
        .as_ref()
        .map_or_else(String::new, |service| format!(" of {service}"));
    let problem = Problem::not_found(format!("no host `{}`{of_service}", of.host));
    let names = known.iter().map(String::as_str);
    let list = text::list(names.clone(), HOSTS_SHOWN_MAX);
    Err(match text::nearest(of.host.as_str(), names) {
        Some(near) => problem.tip(format!("did you mean `{near}`?  all: {list}")),
        None if known.is_empty() => problem.fact("no host has reported yet"),
        None => problem.fact(format!("all: {list}")),
    })
}
