//! The agents and what they say of their hosts.

use std::collections::{BTreeMap, BTreeSet};

use deploy_core::wire::report::Phase;
use deploy_core::wire::time;
use jiff::Timestamp;

use super::finding::Finding;
use super::survey::{Host, Service};
use crate::text::{self, clean};

/// An agent reports every five minutes, six at most, though nothing has changed.
const SILENCE_S_MAX: i64 = 900;
/// Below it nothing is fetched, where `min_free_bytes` has its default.
const DISK_BYTES_MIN: u64 = 1 << 30;
/// Below it a large build may not fit.
const DISK_BYTES_LOW: u64 = 4 << 30;
/// Names in a line.
const NAMES_MAX: usize = 5;

/// Services by name.
pub(super) type Services = BTreeMap<String, Service>;

/// Hosts of all services, with the name of the service.
pub(super) fn all(services: &Services) -> impl Iterator<Item = (String, &Host)> {
    services.iter().flat_map(|(service, known)| {
        let hosts = known.hosts.iter();
        hosts.map(move |(host, known)| (format!("{host} ({service})"), known))
    })
}

/// Tells which hosts have no agent, and which agents do not report.
pub(super) fn agents(services: &Services, now: Timestamp) -> Finding {
    const CHECK: &str = "agents";
    // Who has a report that we may not read, may have a session that we may not see.
    let seen = || all(services).filter(|(_, host)| !host.is_hidden);
    let total = seen().count();
    let hidden = all(services).count() - total;
    if hidden > 0 && total == 0 {
        let what = format!("{} can't be looked at", text::count(hidden, "host"));
        return Finding::warn(CHECK, what).tip("the same credentials as for `access`");
    }
    if total == 0 {
        return Finding::ok(CHECK, "no host has reported yet");
    }
    let dead = seen().filter(|(_, host)| host.alive.is_none());
    let dead: Vec<String> = dead
        .map(|(name, host)| match &host.report {
            Some((report, _)) => {
                let ago = text::ago(report.at.as_deref(), now);
                format!(
                    "{name}: no session, last report {}",
                    ago.unwrap_or_default()
                )
            }
            None => format!("{name}: never reported"),
        })
        .collect();
    if !dead.is_empty() {
        let what = format!(
            "{} of {} have no agent",
            dead.len(),
            text::count(total, "host")
        );
        return Finding::warn(CHECK, what)
            .facts(dead)
            .tip("systemctl status deployd, there")
            .tip("where the machine is gone: deployctl host forget HOST");
    }
    let silent: Vec<String> = seen()
        .filter_map(|(name, host)| {
            let Some((report, _)) = &host.report else {
                return Some(format!(
                    "{name}: it has a session, and no report that can be read"
                ));
            };
            let at = time::parse(report.at.as_deref()?)?;
            let age = now.duration_since(at).as_secs();
            (age > SILENCE_S_MAX).then(|| {
                let age = text::seconds(age.unsigned_abs());
                format!("{name}: it has a session, and its last report is {age} old")
            })
        })
        .collect();
    if !silent.is_empty() {
        let what = format!(
            "{} of {} are silent",
            silent.len(),
            text::count(total, "agent")
        );
        return Finding::warn(CHECK, what)
            .facts(silent)
            .tip("journalctl -u deployd, there");
    }
    Finding::ok(
        CHECK,
        format!("{total} of {} live", text::count(total, "host")),
    )
}

/// Tells whether all run one version.
pub(super) fn versions(services: &Services) -> Option<Finding> {
    const CHECK: &str = "versions";
    let ours = env!("CARGO_PKG_VERSION");
    let mut by_version: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for (name, host) in all(services) {
        if let Some(version) = host.alive.as_ref().filter(|version| !version.is_empty()) {
            by_version.entry(version).or_default().push(name);
        }
    }
    let mut groups: Vec<(&str, Vec<String>)> = by_version.into_iter().collect();
    groups.sort_by_key(|(_, names)| std::cmp::Reverse(names.len()));
    match groups.as_slice() {
        [] => None,
        [(version, names)] => Some(Finding::ok(
            CHECK,
            format!(
                "{} {}, deployctl {ours}",
                text::count(names.len(), "agent"),
                clean(version)
            ),
        )),
        groups => {
            let facts = groups.iter().map(|(version, names)| {
                let shown = text::list(names.iter().map(String::as_str), NAMES_MAX);
                format!("{}: {shown}", clean(version))
            });
            let what = format!("agents are of {} versions, deployctl {ours}", groups.len());
            Some(
                Finding::warn(CHECK, what)
                    .facts(facts)
                    .tip("install one version everywhere; services keep running meanwhile"),
            )
        }
    }
}

/// Tells who takes builds that nobody has signed.
pub(super) fn trust(services: &Services) -> Option<Finding> {
    const CHECK: &str = "signatures";
    let live = || all(services).filter(|(_, host)| host.alive.is_some());
    let says = |host: &Host| {
        let report = host.report.as_ref();
        report.and_then(|(report, _)| report.trust.clone())
    };
    let unsigned: BTreeSet<String> = live()
        .filter(|(_, host)| says(host).as_deref() == Some("zookeeper"))
        .map(|(name, _)| name)
        .collect();
    let known = live().filter(|(_, host)| says(host).is_some()).count();
    if known == 0 {
        return None;
    }
    if unsigned.is_empty() {
        let what = format!(
            "{} take only builds that are signed",
            text::count(known, "host")
        );
        return Some(Finding::ok(CHECK, what));
    }
    let what = format!(
        "{} of {} take any build that ZooKeeper names: who may write there, may run code",
        unsigned.len(),
        text::count(known, "host")
    );
    Some(
        Finding::warn(CHECK, what)
            .facts(
                (unsigned.len() < known)
                    .then(|| text::list(unsigned.iter().map(String::as_str), NAMES_MAX)),
            )
            .tip("builds.trusted_keys in deployd.toml   (docs/security.md)"),
    )
}

/// Tells where the room on the disk ends.
pub(super) fn disk(services: &Services) -> Option<Finding> {
    const CHECK: &str = "disk";
    let mut free: Vec<(u64, String)> = all(services)
        .filter(|(_, host)| host.alive.is_some())
        .filter_map(|(name, host)| Some((host.report.as_ref()?.0.disk_free?, name)))
        .collect();
    free.sort();
    let (least, where_) = free.first()?;
    let low = |limit: u64| -> Vec<String> {
        let low = free.iter().filter(|(bytes, _)| *bytes < limit);
        low.map(|(bytes, name)| format!("{name}: {} free", text::bytes(*bytes)))
            .collect()
    };
    let tip = "there: lower builds.keep, or clean the disk that `dir` is on";
    let (none, little) = (low(DISK_BYTES_MIN), low(DISK_BYTES_LOW));
    let what = |number: usize, limit: u64| {
        let hosts = text::count(number, "host");
        format!("less than {} is free on {hosts}", text::bytes(limit))
    };
    Some(if !none.is_empty() {
        let what = what(none.len(), DISK_BYTES_MIN);
        Finding::fail(CHECK, what).facts(none).tip(tip)
    } else if !little.is_empty() {
        let what = what(little.len(), DISK_BYTES_LOW);
        Finding::warn(CHECK, what).facts(little).tip(tip)
    } else {
        Finding::ok(
            CHECK,
            format!("smallest free: {where_} {}", text::bytes(*least)),
        )
    })
}

/// Tells which hosts wait for something outside of their build.
pub(super) fn blocked(services: &Services) -> Option<Finding> {
    let blocked: Vec<String> = all(services)
        .filter(|(_, host)| host.alive.is_some())
        .filter_map(|(name, host)| {
            let (report, _) = host.report.as_ref()?;
            let error = report.error.as_ref()?;
            let is_blocked = report.phase == Phase::Blocked;
            is_blocked.then(|| format!("{name}: {}: {}", clean(&error.step), clean(&error.message)))
        })
        .collect();
    if blocked.is_empty() {
        return None;
    }
    let what = format!(
        "{} blocked by something outside the build",
        text::count(blocked.len(), "host")
    );
    Some(
        Finding::warn("blocked", what)
            .facts(blocked)
            .tip("deployctl host show HOST; it is tried again by itself"),
    )
}
