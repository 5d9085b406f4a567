//! `status`: every service in a line, or every host of it.

use clap::Args;
use deploy_core::name::ServiceName;
use deploy_core::percent::Percent;
use deploy_core::rollout::Standing;
use deploy_core::rollout::phase::{Held, ServicePhase, service_phase};
use deploy_core::rollout::version::Version;
use deploy_core::wire::time;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::host::rows;
use crate::context::Context;
use crate::exit::Exit;
use crate::fleet::{Fleet, Slot};
use crate::out::Format;
use crate::problem::Problem;
use crate::table::{row, table};
use crate::text;
use crate::wait::event::Tally;

const SCHEMA: &str = "deployctl/status/1";

/// Show services and how far they are
#[derive(Debug, Args)]
#[command(before_help = "  deployctl status
  deployctl status web --hosts
  deployctl status -o json | jq '.services[] | select(.phase == \"failed\")'\n\n")]
pub(crate) struct StatusArgs {
    /// Services [default: all]
    #[arg(value_name = "SERVICE", value_parser = ServiceName::parse)]
    services: Vec<ServiceName>,
    /// Show every host
    #[arg(long)]
    hosts: bool,
}

/// Prints it. Ends well whatever the state is: it could look.
pub(crate) async fn run(args: &StatusArgs, context: &Context) -> Result<Exit, Problem> {
    let names = if args.services.is_empty() {
        context.services().await?
    } else {
        args.services.clone()
    };
    let mut fleets = Vec::new();
    for name in &names {
        fleets.push(Fleet::read(context, name).await?);
    }
    let now = Timestamp::now();
    match context.out.format {
        Format::Text if fleets.is_empty() => {
            context
                .out
                .say(&format!("{} has no service yet", context.address));
            context
                .out
                .tip("deployctl build add web r1 --url URL --file PATH");
        }
        Format::Text => {
            if let Some(name) = &context.name {
                let (name, now) = (text::clean(name), text::clock(now));
                let servers = context.servers.join(",");
                context.out.say(&format!("{name}  {servers}  {now}"));
            }
            context.out.data(&services_text(&fleets, now));
            for fleet in fleets.iter().filter(|_| args.hosts) {
                context
                    .out
                    .data(&format!("\n{}", rows::table_of(&[fleet], now)));
            }
            tips(context, &fleets);
        }
        Format::Json => {
            let services: Vec<Value> = fleets
                .iter()
                .map(|fleet| object(fleet, args.hosts.then_some(now)))
                .collect();
            context.out.json(&json!({
                "schema": SCHEMA, "context": context.address, "at": time::render(now),
                "services": services,
            }));
        }
        Format::Jsonl => {
            for fleet in &fleets {
                let mut service = object(fleet, args.hosts.then_some(now));
                service["schema"] = SCHEMA.into();
                service["at"] = time::render(now).into();
                context.out.json(&service);
            }
        }
    }
    Ok(Exit::Done)
}

/// Returns a table with a line for each service.
pub(crate) fn services_text(fleets: &[Fleet], now: Timestamp) -> String {
    let head = [
        "SERVICE", "PHASE", "ROLLOUT", "FLEET", "CANARY", "THERE", "LEASES", "BY", "SINCE", "NOTE",
    ];
    let mut lines = vec![row(head)];
    for fleet in fleets {
        let targets = &fleet.state.targets;
        let tally = Tally::of_standings(&fleet.state.standings());
        let version = fleet.version();
        // Who made the last change has not made what was made by hand.
        let newest = fleet.last_change().map(|(_, entry)| entry);
        let newest = newest.filter(|_| version != Version::ByHand);
        let phase = phase(fleet);
        let percent = targets
            .enabled
            .as_ref()
            .map_or(Percent::ALL, |target| target.percent);
        let fleet_build = match (&targets.enabled, percent == Percent::ALL) {
            (Some(target), true) => target.build.to_string(),
            (Some(target), false) => format!("{} {}%", target.build, text::share(percent)),
            (None, _) if fleet.enabled.target.is_err() => "?".to_owned(),
            (None, _) => "-".to_owned(),
        };
        let canary = targets
            .canary
            .as_ref()
            .map_or("-", |target| target.build.as_str());
        lines.push(vec![
            fleet.service.to_string(),
            phase.as_str().to_owned(),
            match version {
                Version::Nothing => "-".to_owned(),
                Version::Rollout(number) => format!("#{number}"),
                Version::ByHand => "by hand".to_owned(),
            },
            fleet_build,
            canary.to_owned(),
            format!("{}/{}", tally.there, tally.total),
            fleet.shown_leases(),
            text::person(newest.and_then(|entry| entry.by.as_deref())),
            text::ago(newest.and_then(|entry| entry.at.as_deref()), now).map_or_else(
                || "-".to_owned(),
                |ago| ago.trim_end_matches(" ago").to_owned(),
            ),
            note(fleet, &tally, now),
        ]);
    }
    table(&lines)
}

fn phase(fleet: &Fleet) -> ServicePhase {
    let held = if fleet.hold.is_some() {
        Held::Yes
    } else {
        Held::No
    };
    service_phase(&fleet.state, held)
}

fn holders(fleet: &Fleet) -> Option<Vec<&str>> {
    let held = fleet.held_leases()?.iter();
    Some(held.map(|lease| lease.host.as_str()).collect())
}

fn note(fleet: &Fleet, tally: &Tally, now: Timestamp) -> String {
    let mut notes = Vec::new();
    for (number, what) in [
        (tally.failed, "failed"),
        (tally.blocked, "blocked"),
        (tally.offline.len(), "offline"),
    ] {
        if number > 0 {
            notes.push(format!("{number} {what}"));
        }
    }
    notes.extend(
        [&fleet.enabled, &fleet.canary]
            .into_iter()
            .filter_map(error),
    );
    notes.extend(fleet.policy.as_ref().err().cloned());
    if let Some(hold) = &fleet.hold {
        let until = hold.until.as_deref().map_or_else(String::new, |until| {
            format!(", until {}", text::when(Some(until), now))
        });
        let by = text::by(hold.by.as_deref());
        notes.push(format!(
            "held{by}{}{until}",
            text::because(hold.why.as_deref())
        ));
    }
    notes.join(", ")
}

fn tips(context: &Context, fleets: &[Fleet]) {
    /// Failed hosts that are named.
    const TIPS_MAX: usize = 3;
    let mut given = 0;
    for fleet in fleets {
        for (host, standing) in fleet.state.standings() {
            if standing == Standing::Failed && given < TIPS_MAX {
                let service = &fleet.service;
                context.out.tip(&format!(
                    "{host} failed; see deployctl host show {host} {service}"
                ));
                given += 1;
            }
        }
    }
}

/// Returns why a target can't be read.
fn error(slot: &Slot) -> Option<String> {
    slot.target.as_ref().err().map(ToString::to_string)
}

fn object(fleet: &Fleet, with_hosts: Option<Timestamp>) -> Value {
    let targets = &fleet.state.targets;
    let tally = Tally::of_standings(&fleet.state.standings());
    let enabled = targets.enabled.as_ref();
    let held = fleet
        .hold
        .as_ref()
        .map(|hold| json!({"by": hold.by, "at": hold.at, "why": hold.why, "until": hold.until}));
    let version = fleet.version();
    let rollout = match version {
        Version::Rollout(number) => Some(number),
        Version::Nothing | Version::ByHand => None,
    };
    let mut object = json!({
        "name": fleet.service, "phase": phase(fleet).as_str(), "rollout": rollout,
        "by_hand": version == Version::ByHand,
        "fleet_build": enabled.map(|target| &target.build),
        "previous_build": enabled.and_then(|target| target.previous.as_ref()).map(|it| &it.build),
        "percent": enabled.map(|target| target.percent),
        "canary_build": targets.canary.as_ref().map(|target| &target.build),
        "fleet_error": error(&fleet.enabled), "canary_error": error(&fleet.canary),
        "hosts": {
            "total": tally.total, "live": tally.total - tally.offline.len(), "there": tally.there,
            "working": tally.working, "waiting": tally.waiting, "failed": tally.failed,
            "blocked": tally.blocked, "offline": tally.offline.len(),
        },
        "leases": {"limit": fleet.lease_limit(), "held_by": holders(fleet)},
        "held": held,
    });
    if let Some(now) = with_hosts {
        object["by_host"] = rows::objects(fleet, now).into();
    }
    object
}
