//! Who may do what, against what `init --acl` sets.
//!
//! The root's list tells who operators and agents are, as it does for `init --acl`. ZooKeeper shows
//! hashes only to who may change a list, so that users are compared by name.

use deploy_core::znode::kind::Kind;
use deploy_zk::acl::{Grant, Rights};

use super::finding::Finding;
use super::survey::{Found, Survey};
use crate::access::{AGENTS_WRITE, for_agents, is_agents};
use crate::text::{self, clean};

const CHECK: &str = "access";
const SET_AGAIN: &str =
    "deployctl init --acl --auth-file operators.auth --agents agents.auth   (docs/security.md)";

/// What is wrong with a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Fault {
    /// Anybody may change it.
    Open(String),
    /// Somebody may do more than the root's list lets them.
    TooMuch(String),
    /// Somebody may do less than they need.
    TooLittle(String),
}

/// Compares every list with that of the root.
pub(super) fn check(survey: &Survey) -> Vec<Finding> {
    let root = survey.znodes.first();
    let Some(root) = root.and_then(|root| root.grants.as_ref()) else {
        return vec![
            Finding::warn(
                CHECK,
                "who may do what can't be read with these credentials",
            )
            .tip("--auth-file FILE of an operator"),
        ];
    };
    if changes(root, is_anyone) {
        return vec![
            Finding::warn(
                CHECK,
                format!(
                    "anyone who reaches ZooKeeper may change everything below {}",
                    survey.root
                ),
            )
            .tip(SET_AGAIN),
        ];
    }
    let mut findings = vec![];
    let faults: Vec<(&str, Fault)> = survey
        .znodes
        .iter()
        .flat_map(|found| {
            faults(survey, found, root)
                .into_iter()
                .map(|fault| (found.path.as_str(), fault))
        })
        .collect();
    let of = |wanted: fn(&Fault) -> Option<&String>| -> Vec<String> {
        let facts = faults
            .iter()
            .filter_map(|(path, fault)| Some((path, wanted(fault)?)));
        facts
            .map(|(path, what)| format!("{}: {what}", clean(path)))
            .collect()
    };
    let open = of(|fault| match fault {
        Fault::Open(what) => Some(what),
        _ => None,
    });
    if !open.is_empty() {
        let what = format!("anyone may change {}", text::count(open.len(), "znode"));
        findings.push(Finding::fail(CHECK, what).facts(open).tip(SET_AGAIN));
    }
    let more = of(|fault| match fault {
        Fault::TooMuch(what) => Some(what),
        _ => None,
    });
    if !more.is_empty() {
        let what = format!("{} too much", text::count(more.len(), "grant"));
        findings.push(Finding::fail(CHECK, what).facts(more).tip(SET_AGAIN));
    }
    let less = of(|fault| match fault {
        Fault::TooLittle(what) => Some(what),
        _ => None,
    });
    if !less.is_empty() {
        let what = format!("{} missing", text::count(less.len(), "grant"));
        findings.push(Finding::fail(CHECK, what).facts(less).tip(SET_AGAIN));
    }
    findings.extend(unknown(survey));
    if findings.is_empty() {
        findings.push(Finding::ok(CHECK, described(survey, root)));
    }
    findings
}

/// What could not be looked at is not vouched for.
fn unknown(survey: &Survey) -> Option<Finding> {
    let hidden = survey
        .znodes
        .iter()
        .filter(|found| found.grants.is_none() || found.znode.is_none());
    let hidden: Vec<String> = hidden.map(|found| clean(&found.path)).collect();
    if hidden.is_empty() {
        return None;
    }
    let what = format!(
        "{} can't be read with these credentials",
        text::count(hidden.len(), "znode")
    );
    Some(
        Finding::warn(CHECK, what)
            .facts(hidden)
            .tip("--auth-file FILE with both identities, that of the operators and of the agents"),
    )
}

fn described(survey: &Survey, root: &[Grant]) -> String {
    let who = |wanted: Rights| {
        let grants = root
            .iter()
            .filter(|grant| !is_anyone(grant) && grant.rights == wanted);
        let names: Vec<String> = grants.map(|grant| clean(user(grant))).collect();
        match names.is_empty() {
            true => "nobody".to_owned(),
            false => names.join(", "),
        }
    };
    let others = match root.iter().any(is_anyone) {
        true => "read",
        false => "nothing",
    };
    format!(
        "{} may change {}, {} hosts and leases, others {others}",
        who(Rights::ALL),
        survey.root,
        who(Rights::READ)
    )
}

/// Says what is wrong with the list of one znode.
pub(super) fn faults(survey: &Survey, found: &Found, root: &[Grant]) -> Vec<Fault> {
    let Some(grants) = &found.grants else {
        return Vec::new();
    };
    let is_theirs = is_agents(&found.path, &survey.root);
    // What an agent has made is its own: ZooKeeper does not tell it the operators' hash.
    let is_made_by_agent = is_theirs && Kind::of(&survey.names(&found.path)) != Kind::Folder;
    let wanted = match is_theirs {
        true => for_agents(root),
        false => root.to_vec(),
    };
    let mut faults = Vec::new();
    for grant in grants {
        let allowed = wanted
            .iter()
            .find(|wanted| is_same(wanted, grant))
            .map_or(Rights::NONE, |wanted| wanted.rights);
        let is_maker = is_made_by_agent && allowed.has(AGENTS_WRITE);
        if allowed.has(grant.rights) || is_maker {
            continue;
        }
        let what = format!(
            "{} may {}, not just {}",
            who(grant),
            grant.rights,
            shown(allowed)
        );
        faults.push(
            match is_anyone(grant) && changes(std::slice::from_ref(grant), is_anyone) {
                true => Fault::Open(format!("{} may {}", who(grant), grant.rights)),
                false => Fault::TooMuch(what),
            },
        );
    }
    for need in &wanted {
        let has = grants
            .iter()
            .find(|grant| is_same(grant, need))
            .map_or(Rights::NONE, |grant| grant.rights);
        let is_agent = need.rights.has(AGENTS_WRITE) && !need.rights.has(Rights::ADMIN);
        // Operators delete what an agent has made by their right to its parent.
        if has.has(need.rights) || is_made_by_agent && !is_agent {
            continue;
        }
        faults.push(Fault::TooLittle(format!(
            "{} may {}, and needs {}",
            who(need),
            shown(has),
            need.rights
        )));
    }
    faults
}

fn changes(grants: &[Grant], of: fn(&Grant) -> bool) -> bool {
    grants
        .iter()
        .any(|grant| of(grant) && !Rights::READ.has(grant.rights))
}

fn is_anyone(grant: &Grant) -> bool {
    grant.scheme == "world"
}

/// A list that we may not change shows `x` in place of a hash.
fn is_same(a: &Grant, b: &Grant) -> bool {
    let is_masked = |grant: &Grant| grant.id.ends_with(":x");
    let is_same_id = a.id == b.id || (is_masked(a) || is_masked(b)) && user(a) == user(b);
    a.scheme == b.scheme && is_same_id
}

fn user(grant: &Grant) -> &str {
    match grant.scheme.as_str() {
        "digest" => grant.id.split(':').next().unwrap_or_default(),
        _ => &grant.id,
    }
}

fn who(grant: &Grant) -> String {
    match grant.scheme.as_str() {
        "world" => "anyone".to_owned(),
        "digest" => clean(user(grant)),
        scheme => clean(&format!("{scheme}:{}", grant.id)),
    }
}

fn shown(rights: Rights) -> String {
    match rights.to_string() {
        none if none.is_empty() => "nothing".to_owned(),
        rights => rights,
    }
}
