//! `lease`: who may be out of service.

use clap::{Args, Subcommand};
use deploy_core::name::{HostName, ServiceName};
use deploy_zk::error::Error;
use deploy_zk::znode::Expect;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::ask::ask;
use crate::change::{Intent, take_number};
use crate::cli::Why;
use crate::context::Context;
use crate::exit::Exit;
use crate::fleet::{Fleet, Lease};
use crate::out::{Format, Out};
use crate::problem::Problem;
use crate::table::{row, table};
use crate::text;

const SCHEMA: &str = "deployctl/leases/1";

/// What can be done with leases.
#[derive(Debug, Subcommand)]
pub(crate) enum LeaseVerb {
    /// List the restart queue: who is out of service, and who waits
    #[command(before_help = "  deployctl lease list web\n\n")]
    List(ListArgs),
    /// Take the lease of a host away, so that another host may restart
    #[command(before_help = "  deployctl lease break web web-09 --yes\n\n")]
    Break(BreakArgs),
}

/// Whose leases.
#[derive(Debug, Args)]
pub(crate) struct ListArgs {
    /// The service
    #[arg(value_name = "SERVICE", value_parser = ServiceName::parse)]
    service: ServiceName,
}

/// Whose lease.
#[derive(Debug, Args)]
pub(crate) struct BreakArgs {
    /// The service
    #[arg(value_name = "SERVICE", value_parser = ServiceName::parse)]
    service: ServiceName,
    /// The host
    #[arg(value_name = "HOST", value_parser = HostName::parse)]
    host: HostName,
    #[command(flatten)]
    why: Why,
}

/// Does it.
pub(crate) async fn run(verb: &LeaseVerb, context: &Context) -> Result<Exit, Problem> {
    match verb {
        LeaseVerb::List(args) => list(args, context).await,
        LeaseVerb::Break(args) => take_away(args, context).await,
    }
}

async fn list(args: &ListArgs, context: &Context) -> Result<Exit, Problem> {
    let fleet = Fleet::read(context, &args.service).await?;
    if let Err(why) = &fleet.policy {
        context
            .out
            .warn(&format!("{why}; no host is granted a lease"));
    }
    let objects = || {
        fleet
            .leases
            .iter()
            .enumerate()
            .map(|(rank, lease)| object(&fleet, rank, lease))
    };
    match context.out.format {
        Format::Text => context.out.data(&text_of(&fleet, &context.out)),
        Format::Json => context.out.json(&json!({
            "schema": SCHEMA, "service": fleet.service, "limit": fleet.lease_limit(),
            "leases": objects().collect::<Vec<_>>(),
        })),
        Format::Jsonl => objects().for_each(|mut object| {
            object["schema"] = SCHEMA.into();
            context.out.json(&object);
        }),
    }
    Ok(Exit::Done)
}

fn text_of(fleet: &Fleet, out: &Out) -> String {
    let now = Timestamp::now();
    let mut lines = vec![row(["LEASE", "HOST", "STATE", "HELD", "ROLLOUT", "NOTE"])];
    let limit = fleet.lease_limit();
    for (rank, lease) in fleet.leases.iter().enumerate() {
        let since = lease
            .claim
            .as_ref()
            .and_then(|claim| claim.since.as_deref());
        let rollout = lease.claim.as_ref().and_then(|claim| claim.rollout);
        let state = state(fleet, lease);
        let note = match state.as_str() {
            "failed" => format!(
                "kept: deployctl host retry {0} {1}, or rollback {1}",
                lease.host, fleet.service
            ),
            "offline" => format!(
                "kept: deployctl lease break {} {}",
                fleet.service, lease.host
            ),
            _ => String::new(),
        };
        lines.push(vec![
            match limit {
                Some(limit) if rank < limit => format!("{}/{limit}", rank + 1),
                Some(_) => "waits".to_owned(),
                None => "?".to_owned(),
            },
            text::clean(&lease.host),
            state,
            text::ago(since, now).map_or_else(|| "-".to_owned(), |ago| ago.replace(" ago", "")),
            rollout.map_or_else(|| "-".to_owned(), |number| format!("#{number}")),
            out.paste(&note),
        ]);
    }
    table(&lines)
}

fn object(fleet: &Fleet, rank: usize, lease: &Lease) -> Value {
    json!({
        "host": lease.host, "rank": rank, "held": fleet.lease_limit().map(|limit| rank < limit),
        "state": state(fleet, lease), "znode": format!("{}/{}", fleet.tree.leases(), lease.name),
        "rollout": lease.claim.as_ref().and_then(|claim| claim.rollout),
        "since": lease.claim.as_ref().and_then(|claim| claim.since.as_deref()),
    })
}

fn state(fleet: &Fleet, lease: &Lease) -> String {
    let host = HostName::parse(&lease.host).ok();
    let Some((name, host)) = host
        .as_ref()
        .and_then(|host| fleet.state.hosts.get_key_value(host))
    else {
        return "unknown host".to_owned();
    };
    let target = fleet.state.targets.followed(host.role);
    super::host::rows::state_word(host, fleet.state.standing(name, host, target))
}

async fn take_away(args: &BreakArgs, context: &Context) -> Result<Exit, Problem> {
    let fleet = Fleet::read(context, &args.service).await?;
    let (service, host) = (&args.service, &args.host);
    let leases = fleet.leases.iter();
    let leases: Vec<&Lease> = leases.filter(|lease| lease.host == host.as_str()).collect();
    let Some(first) = leases.first() else {
        let holders = text::list(fleet.leases.iter().map(|lease| lease.host.as_str()), 10);
        let holders = match holders.is_empty() {
            true => "nobody".to_owned(),
            false => text::clean(&holders),
        };
        return Err(
            Problem::not_found(format!("{host} has no lease of {service}"))
                .fact(format!("in the queue: {holders}")),
        );
    };
    let (question, told) = consequences(&fleet, (host, first));
    ask(context, &question)?;
    let intent = Intent {
        kind: "break",
        host: Some(host.clone()),
        why: args.why.why.clone(),
        ..Intent::default()
    };
    let numbered = take_number(context, &fleet.tree, &intent).await?;
    for lease in &leases {
        let path = format!("{}/{}", fleet.tree.leases(), lease.name);
        match context.zk.delete(&path, Expect::Any).await {
            Ok(()) | Err(Error::NoNode(_)) => {}
            Err(error) => {
                numbered.withdraw_after(context, &error).await;
                return Err(error.into());
            }
        }
    }
    if context.out.format != Format::Text {
        context.out.json(&json!({
            "schema": "deployctl/lease-break/1", "service": service, "host": host,
            "rollout": numbered.number,
        }));
    }
    context.out.say(&told);
    Ok(Exit::Done)
}

/// Returns what is asked before a host's first lease is taken away, and what is said afterwards: who only
/// waits for one keeps nobody else in service.
fn consequences(fleet: &Fleet, (host, first): (&HostName, &Lease)) -> (String, String) {
    let (service, state) = (&fleet.service, state(fleet, first));
    // Where nobody knows how many are held, this may be one of them.
    let held = fleet.held_leases().unwrap_or(&fleet.leases);
    let waiting = &fleet.leases[held.len()..];
    if !held.contains(first) {
        return (
            format!(
                "{host} is {state}, and only waits for a lease of {service}; it would lose its place in the queue"
            ),
            format!(
                "{host} has lost its place in the queue; no other host goes out of service for that"
            ),
        );
    }
    let mut waiting = waiting.iter();
    let next = waiting.find(|lease| lease.host != host.as_str());
    let then = next.map_or_else(
        || "nobody waits for it".to_owned(),
        |next| format!("{} is the next in the queue", text::clean(&next.host)),
    );
    (
        format!(
            "{host} is {state}; without its lease another host of {service} may go out of service as well"
        ),
        format!("the lease of {host} is taken away; {then}"),
    )
}
