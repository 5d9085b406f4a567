//! Hosts as rows of a table and as JSON.

use deploy_core::name::HostName;
use deploy_core::rollout::{Host, Standing};
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::fleet::Fleet;
use crate::table::{row, table};
use crate::text::{self, clean};

/// The largest error that fits into a row, in characters.
const NOTE_CHARS_MAX: usize = 60;

/// Returns a table of the hosts of services.
pub(crate) fn table_of(fleets: &[&Fleet], now: Timestamp) -> String {
    let head = [
        "HOST",
        "SERVICE",
        "ROLE",
        "STATE",
        "SERVES",
        "WANTS",
        "INSTANCES",
        "SEEN",
        "NOTE",
    ];
    let mut lines = vec![row(head)];
    for fleet in fleets {
        for (name, standing) in fleet.state.standings() {
            let host = &fleet.state.hosts[&name];
            lines.push(line(fleet, (&name, host, standing), now));
        }
    }
    table(&lines)
}

/// Returns the hosts of a service as JSON.
pub(crate) fn objects(fleet: &Fleet, now: Timestamp) -> Vec<Value> {
    let standings = fleet.state.standings().into_iter();
    standings
        .map(|(name, standing)| object(fleet, (&name, &fleet.state.hosts[&name], standing), now))
        .collect()
}

/// Returns the word for how a host is: its phase while it works, else its standing.
pub(crate) fn state_word(host: &Host, standing: Standing) -> String {
    match (standing, &host.report) {
        (Standing::Working | Standing::Waiting, Some(report)) => clean(report.phase.as_str()),
        _ => standing.as_str().to_owned(),
    }
}

fn line(
    fleet: &Fleet,
    (name, host, standing): (&HostName, &Host, Standing),
    now: Timestamp,
) -> Vec<String> {
    let report = host.report.as_ref();
    let instances = report.map_or(&[][..], |report| &report.instances);
    let serving = instances
        .iter()
        .filter(|instance| instance.state == "serving")
        .count();
    let target = fleet.state.targets.followed(host.role);
    let error = report.and_then(|report| report.error.as_ref());
    let note = error.map(|error| &error.message);
    let note: String = note
        .or(host.unreadable.as_ref())
        .map_or_else(String::new, |note| {
            note.chars().take(NOTE_CHARS_MAX).collect()
        });
    let note = clean(&note);
    let seen = text::ago(report.and_then(|report| report.at.as_deref()), now);
    vec![
        name.to_string(),
        fleet.service.to_string(),
        host.role.to_string(),
        state_word(host, standing),
        build(report.and_then(|report| report.serving.as_ref())),
        build(target.map(|target| &target.build)),
        if instances.is_empty() {
            "-".to_owned()
        } else {
            format!("{serving}/{}", instances.len())
        },
        seen.unwrap_or_else(|| "-".to_owned()),
        note,
    ]
}

fn object(
    fleet: &Fleet,
    (name, host, standing): (&HostName, &Host, Standing),
    now: Timestamp,
) -> Value {
    let target = fleet.state.targets.followed(host.role);
    let age = host
        .report
        .as_ref()
        .and_then(|report| deploy_core::wire::time::parse(report.at.as_deref()?))
        .map(|at| now.duration_since(at).as_secs().max(0));
    json!({
        "host": name, "service": fleet.service, "role": host.role, "alive": host.alive,
        "standing": standing.as_str(), "wants": target.map(|target| &target.build),
        "report_age_s": age, "report": host.report.as_deref(),
        "report_error": host.unreadable,
    })
}

fn build(name: Option<&deploy_core::name::BuildName>) -> String {
    name.map_or_else(|| "-".to_owned(), ToString::to_string)
}
