//! The znodes: too large, not to be read, or not ours; leases of the dead, and holds that are old.

use deploy_core::name::HostName;
use deploy_core::wire::{WireError, ZNODE_BYTES_MAX, time};
use deploy_core::znode::kind::Kind;
use jiff::Timestamp;

use super::finding::Finding;
use super::hosts::Services;
use super::survey::Survey;
use crate::text::{self, clean};

/// Three quarters of what is read: told before it is too late.
const BYTES_LARGE: usize = ZNODE_BYTES_MAX / 4 * 3;
/// A hold without an end is forgotten after a day.
const HOLD_S_MAX: i64 = 24 * 3600;

/// Looks at the data of each.
pub(super) fn check(survey: &Survey) -> Vec<Finding> {
    const CHECK: &str = "znodes";
    let (mut broken, mut newer, mut large, mut foreign) = (vec![], vec![], vec![], vec![]);
    for found in &survey.znodes {
        let path = clean(&found.path);
        let kind = Kind::of(&survey.names(&found.path));
        let Some(znode) = &found.znode else { continue };
        match kind.check(&znode.data) {
            Err(error @ WireError::Newer { .. }) => newer.push(format!("{path}: {error}")),
            Err(error) => broken.push(format!("{path}: {}", clean(&error.to_string()))),
            Ok(()) if kind == Kind::Unknown => foreign.push(path),
            Ok(()) if znode.data.len() > BYTES_LARGE => {
                let (is, may) = (znode.data.len() as u64, ZNODE_BYTES_MAX as u64);
                let (is, may) = (text::bytes(is), text::bytes(may));
                large.push(format!("{path}: {is}, and above {may} nobody reads it"));
            }
            Ok(()) => {}
        }
    }
    let mut findings = Vec::new();
    let count = |paths: &[String]| text::count(paths.len(), "znode");
    if !broken.is_empty() {
        let what = format!("{} can't be read", count(&broken));
        findings.push(
            Finding::fail(CHECK, what)
                .facts(broken)
                .tip("deployctl inspect ZNODE; write it again, or delete it with zkCli"),
        );
    }
    if !newer.is_empty() {
        let what = format!("{} by a newer version", count(&newer));
        findings.push(
            Finding::warn(CHECK, what)
                .facts(newer)
                .tip("use a newer deployctl"),
        );
    }
    if !large.is_empty() {
        let what = format!("{} nearly too large", count(&large));
        findings.push(Finding::warn(CHECK, what).facts(large));
    }
    if !foreign.is_empty() {
        let what = format!("{} that nothing of ours reads", count(&foreign));
        findings.push(
            Finding::warn(CHECK, what)
                .facts(foreign)
                .tip("a slip of the pen? deployctl inspect ZNODE"),
        );
    }
    if survey.is_cut {
        let what = format!("only the first {} are looked at", survey.znodes.len());
        findings.push(Finding::warn(CHECK, what));
    }
    if findings.is_empty() {
        let what = format!("{} can be read", text::count(survey.znodes.len(), "znode"));
        findings.push(Finding::ok(CHECK, what));
    }
    findings
}

/// Looks for hosts that are dead and hold a lease: nobody gives it back.
pub(super) fn leases(services: &Services) -> Finding {
    const CHECK: &str = "leases";
    let mut held = 0;
    let mut dead = Vec::new();
    let mut tips = Vec::new();
    for (name, service) in services {
        let limit = service.lease_limit();
        for (rank, host) in service.queue.iter().enumerate() {
            let known = HostName::parse(host).ok();
            let known = known.and_then(|host| service.hosts.get(&host));
            held += usize::from(rank < limit);
            if known.is_some_and(|host| host.alive.is_some() || host.is_hidden) {
                continue;
            }
            let (name, host) = (clean(name), clean(host));
            let what = match rank < limit {
                true => "holds a lease, so that others wait",
                false => "waits for a lease",
            };
            dead.push(format!("{host} ({name}) has no agent, and {what}"));
            if tips.len() < 3 {
                tips.push(format!(
                    "if it is out of service anyway: deployctl lease break {name} {host}"
                ));
            }
        }
    }
    if dead.is_empty() {
        return Finding::ok(CHECK, format!("{held} held, none by a dead host"));
    }
    let what = format!("{} of dead hosts", text::count(dead.len(), "lease"));
    tips.into_iter()
        .fold(Finding::warn(CHECK, what).facts(dead), Finding::tip)
}

/// Looks for holds that somebody may have forgotten.
pub(super) fn holds(services: &Services, now: Timestamp) -> Finding {
    const CHECK: &str = "holds";
    let mut held = 0;
    let (mut old, mut tips) = (Vec::new(), Vec::new());
    for (name, service) in services {
        let Some(hold) = service.hold.as_ref() else {
            continue;
        };
        let (by, why) = (
            text::by(hold.by.as_deref()),
            text::because(hold.why.as_deref()),
        );
        let name = clean(name);
        if !hold.holds(now) {
            continue;
        }
        held += 1;
        let at = hold.at.as_deref().and_then(time::parse);
        let age_s = at.map(|at| now.duration_since(at).as_secs());
        if hold.ends().is_none() && age_s.is_none_or(|age| age > HOLD_S_MAX) {
            let since = age_s.map_or_else(String::new, |age| {
                format!(" for {}", text::seconds(age.unsigned_abs()))
            });
            old.push(format!("{name} is held{since}{by}{why}, without an end"));
            tips.push(format!("deployctl unhold {name}"));
        }
    }
    if old.is_empty() {
        return Finding::ok(CHECK, format!("{held} in force, none that is old"));
    }
    let what = format!("{} old", text::count(old.len(), "hold"));
    let tips = tips.into_iter().take(3);
    tips.fold(Finding::warn(CHECK, what).facts(old), Finding::tip)
}
