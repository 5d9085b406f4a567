//! `host show`.

use deploy_core::name::HostName;
use deploy_core::rollout::{Host, Standing};
use deploy_core::wire::report::Report;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::{fleets_of, rows};
use crate::cli::OfHost;
use crate::context::Context;
use crate::exit::Exit;
use crate::fleet::Fleet;
use crate::out::Format;
use crate::problem::Problem;
use crate::table::table;
use crate::text::{self, clean};
use crate::wait::lines;

/// Prints what the host says of itself, for each of its services.
pub(crate) async fn run(of: &OfHost, context: &Context) -> Result<Exit, Problem> {
    let fleets = fleets_of(context, of).await?;
    let now = Timestamp::now();
    let of_host = |fleet: &Fleet| {
        let objects = rows::objects(fleet, now).into_iter();
        objects
            .filter(|object| object["host"] == of.host.as_str())
            .collect::<Vec<Value>>()
    };
    match context.out.format {
        Format::Text => {
            for (index, fleet) in fleets.iter().enumerate() {
                let gap = if index == 0 { "" } else { "\n" };
                context
                    .out
                    .data(&format!("{gap}{}", described(fleet, of, now)));
            }
            let tips = fleets.iter().flat_map(|fleet| tips(fleet, &of.host));
            tips.for_each(|tip| context.out.tip(&tip));
        }
        Format::Json => {
            let objects: Vec<Value> = fleets.iter().flat_map(of_host).collect();
            context
                .out
                .json(&json!({"schema": "deployctl/host/1", "services": objects}));
        }
        Format::Jsonl => fleets.iter().flat_map(of_host).for_each(|mut object| {
            object["schema"] = "deployctl/host/1".into();
            context.out.json(&object);
        }),
    }
    Ok(Exit::Done)
}

fn described(fleet: &Fleet, of: &OfHost, now: Timestamp) -> String {
    let host = &fleet.state.hosts[&of.host];
    let target = fleet.state.targets.followed(host.role);
    let standing = fleet.state.standing(&of.host, host, target);
    let wants = match target {
        Some(target) => {
            let number = target
                .rollout
                .map_or_else(String::new, |number| format!(" (#{number})"));
            format!("{}{number}", target.build)
        }
        None => "-".to_owned(),
    };
    let state = match host.alive {
        true => rows::state_word(host, standing),
        false => "offline: its agent has no session".to_owned(),
    };
    let mut lines = vec![
        pair("host", of.host.as_str()),
        pair("service", fleet.service.as_str()),
        pair("role", &host.role.to_string()),
        pair("state", &state),
    ];
    let step = host.report.as_ref().and_then(|it| it.step.as_ref());
    if let Some(step) = step.filter(|_| host.alive) {
        let since = text::ago(step.since.as_deref(), now);
        let since = since.map_or_else(String::new, |ago| {
            format!(", for {}", ago.trim_end_matches(" ago"))
        });
        lines.push(pair("step", &format!("{}{since}", lines::step(step))));
    }
    lines.push(pair("wants", &wants));
    if let Some(report) = &host.report {
        lines.extend(reported(report, now));
    }
    lines.extend(
        host.unreadable
            .iter()
            .map(|why| pair("report", &clean(why))),
    );
    let mut shown = table(&lines);
    shown.push_str(&trouble(host));
    shown
}

fn reported(report: &Report, now: Timestamp) -> Vec<Vec<String>> {
    let name = |build: &Option<deploy_core::name::BuildName>| {
        build
            .as_ref()
            .map_or_else(|| "-".to_owned(), ToString::to_string)
    };
    let mut lines = vec![
        pair("serves", &name(&report.serving)),
        pair("current", &name(&report.current)),
        pair("previous", &name(&report.previous)),
    ];
    for instance in &report.instances {
        let build = name(&instance.build);
        let connections = instance.connections.map_or_else(String::new, |number| {
            format!(", {}", text::count(number as usize, "connection"))
        });
        let what = format!(
            "{}  {build}  {}{connections}",
            clean(&instance.unit),
            clean(&instance.state)
        );
        lines.push(pair("instance", &what));
    }
    let releases: Vec<&str> = report
        .releases
        .iter()
        .map(|release| release.as_str())
        .collect();
    lines.push(pair("releases", &text::list(releases, 10)));
    lines.push(pair("lease", if report.lease { "held" } else { "-" }));
    if let Some(trust) = &report.trust {
        lines.push(pair("trust", &clean(trust)));
    }
    if let Some(free) = report.disk_free {
        lines.push(pair("disk free", &text::bytes(free)));
    }
    lines.push(pair("agent", &clean(&report.agent)));
    let ago = text::ago(report.at.as_deref(), now);
    lines.push(pair("reported", &ago.unwrap_or_else(|| "-".to_owned())));
    lines
}

fn trouble(host: &Host) -> String {
    let error = host
        .report
        .as_ref()
        .and_then(|report| report.error.as_ref());
    let Some(error) = error else {
        return String::new();
    };
    let mut shown = format!("{}: {}\n", clean(&error.step), clean(&error.message));
    for line in &error.log {
        shown.push_str(&format!("  | {}\n", clean(line)));
    }
    shown
}

fn tips(fleet: &Fleet, name: &HostName) -> Vec<String> {
    let service = &fleet.service;
    let host = &fleet.state.hosts[name];
    let target = fleet.state.targets.followed(host.role);
    let says_why = host
        .report
        .as_ref()
        .is_some_and(|report| report.error.is_some());
    match fleet.state.standing(name, host, target) {
        _ if !says_why => Vec::new(),
        _ if fleet.state.has_failed(name) => vec![
            format!("deployctl host retry {name} {service}"),
            format!("deployctl rollback {service}"),
        ],
        Standing::Blocked => {
            vec!["it is tried again by itself; look at the host: journalctl -u deployd".to_owned()]
        }
        _ => Vec::new(),
    }
}

fn pair(key: &str, value: &str) -> Vec<String> {
    vec![key.to_owned(), value.to_owned()]
}
