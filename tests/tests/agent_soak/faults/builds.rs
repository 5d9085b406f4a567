//! Builds that don't work, and archives that are none.

use std::collections::BTreeSet;

use deploy_core::wire::report::Phase;
use tests::agent::LIMIT;
use tests::archives::{Header, Tar, gzip};
use tests::builds::Health;
use tests::eventually::eventually;

use crate::rig::Case;

pub(crate) fn sick(case: &mut Case<'_>) -> String {
    fails_on_one_host(case, Health::Sick)
}

pub(crate) fn dies(case: &mut Case<'_>) -> String {
    fails_on_one_host(case, Health::Dies)
}

/// The first host goes back and keeps its lease; so the others stay where they are.
fn fails_on_one_host(case: &mut Case<'_>, health: Health) -> String {
    let at = case.at();
    let build = case.build(health);
    case.go_to(&build);
    let service = case.service(0);
    eventually("one host has failed, and the others wait", LIMIT, || {
        let reports: Vec<_> = (0..case.rig.hosts.len())
            .map(|host| case.report(host))
            .collect();
        let is = |phase: Phase, lease: bool| {
            let mut found = 0;
            for report in reports.iter().flatten() {
                let ours = report
                    .target
                    .as_ref()
                    .is_some_and(|it| it.as_str() == build);
                found += usize::from(ours && report.phase == phase && report.lease == lease);
            }
            found
        };
        let there = case
            .services()
            .iter()
            .all(|it| it.differs_from(&at).is_none());
        if (is(Phase::Failed, true), is(Phase::Waiting, false)) == (1, 2) && there {
            Ok(())
        } else {
            Err(reports)
        }
    });
    let hosts: BTreeSet<String> = service.leases().into_iter().collect();
    assert_eq!(hosts.len(), 3, "one holds a lease, and two wait: {hosts:?}");
    case.go_to(&at);
    at
}

pub(crate) fn corrupt(case: &mut Case<'_>) -> String {
    let tar = Tar::new().file("greeting", b"half").end();
    let mut bytes = gzip(&tar);
    let mut dice = case.dice.borrow_mut();
    let place = dice.below(bytes.len() - 1) + 1;
    match dice.below(3) {
        0 => bytes.truncate(place),
        1 => bytes[place] ^= 1 << dice.below(8),
        _ => bytes.extend_from_slice(b"and more"),
    }
    // A flipped bit may be in what nobody reads, as the time in the header of gzip.
    let tail = bytes.len() - 8;
    bytes[tail] ^= 1;
    drop(dice);
    refused_everywhere(case, bytes)
}

pub(crate) fn hostile(case: &mut Case<'_>) -> String {
    let file = |name: &str| Tar::new().file(name, b"evil");
    let archives = [
        file("../evil"),
        file("/tmp/evil"),
        file("a/../../evil"),
        Tar::new().symlink("a", "/tmp").file("a/evil", b"evil"),
        Tar::new().symlink("a", ".").file("a/evil", b"evil"),
        Tar::new().hard_link("passwd", "/etc/passwd"),
        Tar::new().header(Header::new(b'3', b"null")),
        Tar::new().header(Header::new(b'6', b"fifo")),
        file("twice").file("twice", b"evil"),
        Tar::new()
            .long(b'L', "a/".repeat(300).as_bytes())
            .file("deep", b"evil"),
        Tar::new(),
    ];
    let chosen = case.dice.borrow_mut().below(archives.len());
    let tar = archives[chosen].clone().end();
    refused_everywhere(case, gzip(&tar))
}

/// Every host refuses it before it asks for a lease.
fn refused_everywhere(case: &mut Case<'_>, bytes: Vec<u8>) -> String {
    let at = case.at();
    let build = case.archive(bytes);
    case.go_to(&build);
    for host in 0..case.rig.hosts.len() {
        case.is_in(&Phase::Failed, host);
    }
    for service in case.services() {
        service.is_at(&at);
        assert_eq!(service.leases(), [""; 0]);
    }
    case.go_to(&at);
    at
}
