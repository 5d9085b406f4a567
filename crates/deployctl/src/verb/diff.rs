//! `diff`: what a change would do, before it is made. Nothing is written.

use clap::Args;
use deploy_core::name::{BuildName, HostName, ServiceName};
use deploy_core::percent::Percent;
use deploy_core::rollout::preview::{Audience, Preview, Wish, preview};
use deploy_core::rollout::version::Version;
use deploy_core::wire::build::Build;
use deploy_core::wire::target::Target;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::deploy::parse_percent;
use super::{gate, promote};
use crate::context::Context;
use crate::exit::Exit;
use crate::fleet::{Fleet, HISTORY_MAX};
use crate::out::Format;
use crate::problem::Problem;
use crate::table::table;
use crate::text;

/// Characters of a share, as the longest that people type.
const PERCENT_CHARS_MAX: usize = 20;
/// Hosts named in a line.
const HOSTS_SHOWN_MAX: usize = 8;

/// Show what a change would do: to how many hosts, and what they must download
#[derive(Debug, Args)]
#[command(
    before_help = "  deployctl diff web r2431              what a canary of it, or else a deployment, would change
  deployctl diff web r2431 --percent 10 which hosts would be the first tenth
  deployctl diff web                    what `promote` would change; without a canary, what is still to do\n\n"
)]
pub(crate) struct DiffArgs {
    /// The service
    #[arg(value_name = "SERVICE", value_parser = ServiceName::parse)]
    service: ServiceName,
    /// The build [default: the one that is wanted]
    #[arg(value_name = "BUILD", value_parser = BuildName::parse)]
    build: Option<BuildName>,
    /// Of a deployment to this share of the hosts, 0 to 100
    #[arg(long, value_name = "P", value_parser = parse_percent, requires = "build")]
    percent: Option<Percent>,
}

/// A change that could be made now.
struct Proposal {
    verb: &'static str,
    wish: Wish,
    build: Option<Build>,
    preview: Preview,
}

/// Prints it. Ends well: it could look.
pub(crate) async fn run(args: &DiffArgs, context: &Context) -> Result<Exit, Problem> {
    let fleet = Fleet::read_back(context, &args.service, HISTORY_MAX).await?;
    let (verb, wish) = proposed(args, &fleet)?;
    let build = match &args.build {
        Some(name) => Some(gate::registered(context, &fleet, name).await?),
        None => gate::registered(context, &fleet, &wish.build).await.ok(),
    };
    let preview = preview(&fleet.state, &wish);
    let proposal = Proposal {
        verb,
        wish,
        build,
        preview,
    };
    match context.out.format {
        Format::Text => say(context, &fleet, &proposal),
        _ => context.out.json(&object(context, &fleet, &proposal)),
    }
    Ok(Exit::Done)
}

/// Chooses the verb that somebody would type next.
fn proposed(args: &DiffArgs, fleet: &Fleet) -> Result<(&'static str, Wish), Problem> {
    let targets = &fleet.state.targets;
    let (canary, enabled) = (targets.canary.as_ref(), targets.enabled.as_ref());
    let is = |target: Option<&Target>, build: &BuildName| target.is_some_and(|t| t.build == *build);
    let wish = |build: &BuildName, audience, percent| Wish {
        build: build.clone(),
        percent,
        audience,
    };
    let Some(build) = &args.build else {
        let Some(target) = canary.or(enabled) else {
            return Err(gate::no_target(fleet));
        };
        return Ok(match canary {
            Some(_) => (
                "promote",
                wish(&target.build, Audience::Everybody, Percent::ALL),
            ),
            None => (
                "watch",
                wish(&target.build, Audience::Fleet, target.percent),
            ),
        });
    };
    let has_canary_hosts = fleet.state.canary_hosts().next().is_some();
    Ok(match args.percent {
        Some(percent) => ("deploy", wish(build, Audience::Fleet, percent)),
        None if is(canary, build) => ("promote", wish(build, Audience::Everybody, Percent::ALL)),
        None if is(enabled, build) && enabled.is_some_and(|t| t.percent == Percent::ALL) => {
            ("watch", wish(build, Audience::Fleet, Percent::ALL))
        }
        None if has_canary_hosts && !is(enabled, build) => {
            ("canary", wish(build, Audience::Canary, Percent::ALL))
        }
        None => ("deploy", wish(build, Audience::Fleet, Percent::ALL)),
    })
}

fn say(context: &Context, fleet: &Fleet, proposal: &Proposal) {
    let mut lines = vec![format!(
        "{} {} in {}, {}",
        fleet.service,
        title(fleet, proposal),
        context.address,
        match fleet.version() {
            Version::Nothing => "at #0".to_owned(),
            Version::Rollout(number) => format!("at #{number}"),
            Version::ByHand => "changed by hand".to_owned(),
        }
    )];
    let rows: Vec<Vec<String>> = rows(fleet, proposal)
        .into_iter()
        .map(|(key, value)| vec![format!("  {key}"), value])
        .collect();
    lines.push(table(&rows));
    context.out.data(&lines.join("\n"));
    context.out.say("nothing was changed");
    let build = &proposal.wish.build;
    let what = match needs_force(fleet, proposal) {
        true => format!("{build} is marked bad; to do it nevertheless: "),
        false => String::new(),
    };
    context
        .out
        .tip(&format!("{what}{}", command(fleet, proposal)));
    if proposal.verb == "canary" {
        let service = &fleet.service;
        context.out.tip(&format!(
            "without a canary, every host: deployctl diff {service} {build} --percent 100"
        ));
    }
}

fn title(fleet: &Fleet, proposal: &Proposal) -> String {
    let build = &proposal.wish.build;
    let from = match proposal.wish.audience {
        Audience::Canary => fleet.state.targets.canary.as_ref(),
        Audience::Fleet | Audience::Everybody => None,
    };
    let from = from.or(fleet.state.targets.enabled.as_ref());
    match from.filter(|target| target.build != *build) {
        Some(from) => format!("{} -> {build}, {}", from.build, proposal.verb),
        None => format!("{build}, {}", proposal.verb),
    }
}

fn restarts(fleet: &Fleet, preview: &Preview) -> String {
    let instances = text::count(preview.instances, "instance");
    let changed = preview.moves.len() + preview.returns.len();
    let limit = fleet.lease_limit().map(|limit| limit.min(changed));
    let at_once = limit.map_or_else(|| "?".to_owned(), |limit| text::count(limit, "host"));
    format!("{instances}, {at_once} at a time")
}

fn rows(fleet: &Fleet, proposal: &Proposal) -> Vec<(&'static str, String)> {
    let Proposal { preview, .. } = proposal;
    let moves: Vec<&HostName> = preview.moves.keys().collect();
    let mut rows = vec![("changes", counted(&moves))];
    if let Some(previous) = &preview.previous
        && !preview.returns.is_empty()
    {
        let returns: Vec<&HostName> = preview.returns.keys().collect();
        let refused = match preview.taken_back(&proposal.wish.build).next() {
            Some(_) => "; it would be refused",
            None => "",
        };
        let value = format!("{} to {previous}{refused}", counted(&returns));
        rows.push(("returns", value));
    }
    for (key, hosts) in [
        ("stays", &preview.stays),
        ("stages", &preview.stages),
        ("offline", &preview.offline),
    ] {
        if !hosts.is_empty() {
            rows.push((key, counted(&hosts.iter().collect::<Vec<_>>())));
        }
    }
    if proposal.verb == "canary" {
        let others = fleet.state.hosts.len() - fleet.state.canary_hosts().count();
        let on = match &fleet.state.targets.enabled {
            Some(target) => format!("on {}", target.build),
            None => "without a build".to_owned(),
        };
        let others = text::count(others, "host");
        rows.push(("others", format!("{others} stay {on} until promote")));
    }
    if let Some(problem) = canary_problem(fleet, proposal) {
        rows.push(("CANARY", format!("{problem}; it would be refused")));
    }
    rows.push(("downloads", downloads(proposal)));
    if preview.instances > 0 {
        rows.push(("restarts", restarts(fleet, preview)));
    }
    if let Err(why) = &fleet.policy {
        rows.push(("POLICY", format!("{why}; no host is granted a lease")));
    }
    let now = Timestamp::now();
    if let Some(build) = &proposal.build {
        let ago = text::ago(build.at.as_deref(), now).unwrap_or_default();
        let signed = match &build.signed_by {
            Some(key) => format!(", signed by key {}", text::clean(key)),
            None => String::new(),
        };
        let by = text::by(build.by.as_deref());
        rows.push(("build", format!("added {ago}{by}{signed}")));
        if let Some(bad) = &build.bad {
            let (by, why) = (
                text::by(bad.by.as_deref()),
                text::because(bad.why.as_deref()),
            );
            rows.push(("BAD", format!("marked{by}{why}; it would be refused")));
        }
    }
    if let Some(hold) = &fleet.hold {
        let (by, why) = (
            text::by(hold.by.as_deref()),
            text::because(hold.why.as_deref()),
        );
        rows.push(("HELD", format!("{}{why}; it would be refused", by.trim())));
    }
    rows
}

/// Returns why `promote` would refuse the canary as it is.
fn canary_problem(fleet: &Fleet, proposal: &Proposal) -> Option<String> {
    let canary = fleet.state.targets.canary.as_ref();
    let canary = canary.filter(|_| proposal.verb == "promote")?;
    Some(promote::unhealthy(fleet, canary)?.what)
}

fn counted(hosts: &[&HostName]) -> String {
    if hosts.is_empty() {
        return "no live host".to_owned();
    }
    let names = text::list(hosts.iter().map(|host| host.as_str()), HOSTS_SHOWN_MAX);
    format!("{}: {names}", text::count(hosts.len(), "host"))
}

fn downloads(proposal: &Proposal) -> String {
    let fetches = proposal.preview.fetches.len();
    let size = proposal.build.as_ref().map(|build| build.artifact.size);
    match (fetches, size) {
        (0, _) => "nothing: every live host has it on disk".to_owned(),
        (hosts, None) => format!("by {}", text::count(hosts, "host")),
        (1, Some(size)) => format!("{} by 1 host", text::bytes(size)),
        (hosts, Some(size)) => format!(
            "{} by each of {hosts} hosts, {} together",
            text::bytes(size),
            text::bytes(size.saturating_mul(hosts as u64))
        ),
    }
}

/// Returns the number that a change can be bound to; 0 is before the first.
fn number(fleet: &Fleet) -> Option<u64> {
    match fleet.version() {
        Version::Nothing => Some(0),
        Version::Rollout(number) => Some(number),
        Version::ByHand => None,
    }
}

/// Returns the command that does it, and only if nobody changes anything before.
fn command(fleet: &Fleet, proposal: &Proposal) -> String {
    let (service, build) = (&fleet.service, &proposal.wish.build);
    // What was made by hand has no number to bind it to.
    let bound = number(fleet).map_or_else(String::new, |number| format!(" --if-rollout {number}"));
    let percent = match proposal.wish.percent {
        Percent::ALL => String::new(),
        // What is to be pasted says exactly that, also where it is next to nothing.
        percent if percent.to_string().len() > PERCENT_CHARS_MAX => {
            format!(" --percent {:e}", percent.value())
        }
        percent => format!(" --percent {percent}"),
    };
    let forced = match needs_force(fleet, proposal) {
        true => " --force",
        false => "",
    };
    match proposal.verb {
        "watch" => format!("deployctl watch {service}"),
        "promote" => format!("deployctl promote {service}{bound}{forced}"),
        verb => format!("deployctl {verb} {service} {build}{percent}{bound}{forced}"),
    }
}

fn is_bad(proposal: &Proposal) -> bool {
    let build = proposal.build.as_ref();
    build.is_some_and(|build| build.bad.is_some())
}

/// Tells whether the mark of its build is in the way, and nothing else: `--force` would override that as well.
fn needs_force(fleet: &Fleet, proposal: &Proposal) -> bool {
    let mut taken_back = proposal.preview.taken_back(&proposal.wish.build);
    is_bad(proposal)
        && proposal.verb != "watch"
        && fleet.hold.is_none()
        && canary_problem(fleet, proposal).is_none()
        && taken_back.next().is_none()
}

fn object(context: &Context, fleet: &Fleet, proposal: &Proposal) -> Value {
    let Proposal {
        verb,
        wish,
        build,
        preview,
    } = proposal;
    json!({
        "schema": "deployctl/diff/1", "context": context.address, "service": fleet.service,
        "rollout": number(fleet), "verb": verb, "build": wish.build,
        "percent": wish.percent, "command": context.out.paste(&command(fleet, proposal)),
        "moves": preview.moves, "stays": preview.stays, "stages": preview.stages,
        "returns": preview.returns, "previous": preview.previous,
        "offline": preview.offline, "downloads": preview.fetches,
        "size": build.as_ref().map(|build| build.artifact.size),
        "instances": preview.instances, "at_a_time": fleet.lease_limit(),
        "bad": is_bad(proposal),
        "held": fleet.hold.is_some(), "canary_problem": canary_problem(fleet, proposal),
    })
}
