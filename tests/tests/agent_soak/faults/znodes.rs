//! Znodes that somebody has written or deleted by hand.

use deploy_core::wire::report::Phase;

use crate::rig::{Case, POLICY};

const GARBAGE: [&[u8]; 6] = [
    b"{",
    b"{\"v\":99}",
    b"[[[[[[[[[[",
    b"\xff\xfe\x00",
    b"no such word, no",
    b"{\"v\":1,\"build\":\"../../etc\",\"role\":7,\"restart_concurrency\":0}",
];

fn garbage(case: &Case<'_>) -> &'static [u8] {
    GARBAGE[case.dice.borrow_mut().below(GARBAGE.len())]
}

pub(crate) fn target(case: &mut Case<'_>) -> String {
    let data = garbage(case);
    unreadable_target(case, data)
}

pub(crate) fn oversized(case: &mut Case<'_>) -> String {
    let text = format!(
        "{{\"v\":1,\"build\":\"r1\",\"why\":\"{}\"}}",
        "x".repeat(70_000)
    );
    unreadable_target(case, text.as_bytes())
}

/// Nobody moves, and all say why.
fn unreadable_target(case: &mut Case<'_>, data: &[u8]) -> String {
    let (at, service) = (case.at(), case.service(0));
    service.put(&service.znodes.enabled(), data);
    case.until_all("blocked", |report| report.phase == Phase::Blocked);
    for service in case.services() {
        service.is_at(&at);
    }
    case.deploy()
}

/// Nobody knows how many may go.
pub(crate) fn policy(case: &mut Case<'_>) -> String {
    let service = case.service(0);
    service.put(&service.znodes.policy(), garbage(case));
    let build = case.deploy();
    for _ in 0..3 {
        case.moment();
    }
    service.put(&service.znodes.policy(), POLICY);
    build
}

pub(crate) fn hold(case: &mut Case<'_>) -> String {
    let (at, service) = (case.at(), case.service(0));
    service.put(&service.znodes.hold(), garbage(case));
    let build = case.deploy();
    for _ in 0..3 {
        case.moment();
    }
    for service in case.services() {
        service.is_at(&at);
    }
    service.delete(&service.znodes.hold());
    build
}

/// One host does nothing, and the others go on.
pub(crate) fn role(case: &mut Case<'_>) -> String {
    let (at, service) = (case.at(), case.service(case.victim));
    let role = service.znodes.role(&service.host);
    service.put(&role, garbage(case));
    case.until("blocked", case.victim, |report| {
        report.phase == Phase::Blocked
    });
    let build = case.deploy();
    for host in (0..case.rig.hosts.len()).filter(|host| *host != case.victim) {
        case.serves(&build, host);
    }
    service.is_at(&at);
    service.delete(&role);
    build
}

/// It is a place in the queue, whoever has made it.
pub(crate) fn lease(case: &mut Case<'_>) -> String {
    let (at, service) = (case.at(), case.service(0));
    let path = format!("{}/nobody-0000000000", service.znodes.leases());
    service.put(&path, garbage(case));
    let stray = format!("{}/stray", service.znodes.leases());
    service.put(&stray, garbage(case));
    let build = case.deploy();
    for host in 0..case.rig.hosts.len() {
        case.is_in(&Phase::Waiting, host);
    }
    for service in case.services() {
        service.is_at(&at);
    }
    service.delete(&stray);
    service.delete(&path);
    build
}

pub(crate) fn report(case: &mut Case<'_>) -> String {
    for service in case.services() {
        service.put(&service.znodes.host(&service.host), garbage(case));
    }
    case.deploy()
}

/// As somebody does who tidies up.
pub(crate) fn hosts(case: &mut Case<'_>) -> String {
    let build = case.deploy();
    case.moment();
    for service in case.services() {
        service.delete(&service.znodes.alive(&service.host));
    }
    case.moment();
    build
}
