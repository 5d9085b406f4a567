//! What somebody, or the machine, does to a host beside deployd.

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;

use deploy_core::wire::report::Phase;
use tests::agent::LIMIT;
use tests::eventually::eventually;

use super::operator;
use crate::rig::Case;

/// Left on the small disk: enough for the archive of a build, and not for its release.
const LEFT_BYTES: u64 = 64 * 1024;

pub(crate) fn current(case: &mut Case<'_>) -> String {
    let (at, service) = (case.at(), case.service(case.victim));
    case.outside
        .breaks_current(case.progress.service, case.victim);
    fs::remove_file(service.dir.join("current")).expect("it is a symlink");
    let build = if case.dice.borrow_mut().below(2) == 0 {
        case.go_to(&at);
        at
    } else {
        case.deploy()
    };
    case.is_served(&build);
    case.outside.is_whole(case.progress.service);
    build
}

/// The instances still run what is no longer on disk.
pub(crate) fn serving(case: &mut Case<'_>) -> String {
    let (at, service) = (case.at(), case.service(case.victim));
    case.outside
        .breaks_current(case.progress.service, case.victim);
    let release = service.dir.join("releases").join(&at);
    fs::remove_dir_all(&release).expect("it is there");
    case.go_to(&at);
    eventually("the release is there again", LIMIT, || {
        fs::read_to_string(service.dir.join("current/greeting"))
    });
    case.is_served(&at);
    case.outside.is_whole(case.progress.service);
    at
}

pub(crate) fn staged(case: &mut Case<'_>) -> String {
    operator::hold(case);
    let build = case.deploy();
    operator::is_ready(case, &build);
    let release = case.service(case.victim).dir.join("releases").join(&build);
    fs::remove_dir_all(release).expect("it is there");
    operator::unhold(case);
    build
}

pub(crate) fn kept(case: &mut Case<'_>) -> String {
    let Some(before) = case.before() else {
        return case.deploy();
    };
    let release = case.service(case.victim).dir.join("releases").join(&before);
    // It may have been pruned.
    let _ = fs::remove_dir_all(release);
    case.go_to(&before);
    before
}

pub(crate) fn instance(case: &mut Case<'_>) -> String {
    let service = case.progress.service;
    case.outside.takes_one_out(service);
    let supervisor = &case.victim().agent.supervisor;
    let number = 1 + case.dice.borrow_mut().below(2);
    supervisor.kill(&format!("{service}-{number}"));
    let build = case.deploy();
    case.is_served(&build);
    case.outside.is_whole(service);
    build
}

pub(crate) fn no_room(case: &mut Case<'_>) -> String {
    let agent = &case.victim().agent;
    let text = agent.config_text();
    let none = text.replace("min_free_bytes = 0", "min_free_bytes = 1000000000000000");
    assert_ne!(text, none);
    assert_eq!(agent.stop(), Some(0));
    fs::write(agent.config(), none).expect("a file can be written");
    agent.run();
    let build = case.deploy();
    case.is_in(&Phase::Blocked, case.victim);
    assert_eq!(agent.stop(), Some(0));
    fs::write(agent.config(), text).expect("a file can be written");
    agent.run();
    build
}

/// A real disk with no room for one more release, where there is one.
pub(crate) fn full(case: &mut Case<'_>) -> String {
    let last = case.rig.hosts.len() - 1;
    let host = &case.rig.hosts[last];
    if host.disk.is_none() {
        return case.deploy();
    }
    let ballast = host.agent.path("srv/ballast");
    fill(&ballast);
    let build = case.deploy();
    case.is_in(&Phase::Blocked, last);
    fs::remove_file(ballast).expect("it was written");
    build
}

fn fill(path: &Path) {
    let mut file = File::create(path).expect("a file can be made");
    let block = vec![0; 4096];
    while file.write_all(&block).is_ok() {}
    let length = file.metadata().map_or(0, |metadata| metadata.len());
    file.set_len(length.saturating_sub(LEFT_BYTES))
        .expect("a file can be cut");
}
