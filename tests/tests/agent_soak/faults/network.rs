//! What is done to ZooKeeper, and to the way there.

use std::time::Duration;

use tests::proxy::{Cut, Mode};
use tests::zookeeper::expire::expire;

use crate::rig::Case;

/// Longer than a few of the client's tries, shorter than most sessions.
const WHILE: Duration = Duration::from_millis(2500);

pub(crate) fn cut(case: &mut Case<'_>) -> String {
    let build = case.deploy();
    for how in [Cut::Rst, Cut::Fin, Cut::Rst] {
        case.moment();
        case.rig.hosts.iter().for_each(|host| host.proxy.cut(how));
    }
    build
}

pub(crate) fn black_hole(case: &mut Case<'_>) -> String {
    with(case, Mode::BlackHole)
}

pub(crate) fn held_back(case: &mut Case<'_>) -> String {
    with(case, Mode::HoldToClient)
}

fn with(case: &mut Case<'_>, mode: Mode) -> String {
    let proxy = &case.rig.hosts[case.any()].proxy;
    let build = case.deploy();
    case.moment();
    proxy.set_mode(mode);
    case.for_a_while(WHILE);
    proxy.set_mode(Mode::Forward);
    build
}

pub(crate) fn slow(case: &mut Case<'_>) -> String {
    let proxy = &case.rig.hosts[case.any()].proxy;
    proxy.set_delay(Duration::from_millis(40));
    let build = case.deploy();
    case.is_served(&build);
    proxy.set_delay(Duration::ZERO);
    build
}

pub(crate) fn refused(case: &mut Case<'_>) -> String {
    let proxy = &case.rig.hosts[case.any()].proxy;
    let build = case.deploy();
    case.moment();
    proxy.close_listener();
    proxy.cut(Cut::Rst);
    case.for_a_while(WHILE);
    proxy.open_listener();
    build
}

pub(crate) fn restarted(case: &mut Case<'_>) -> String {
    let build = case.deploy();
    case.moment();
    case.rig.server.restart();
    case.rig.is_reachable();
    build
}

pub(crate) fn frozen(case: &mut Case<'_>) -> String {
    let build = case.deploy();
    case.moment();
    case.rig.server.pause();
    case.for_a_while(WHILE);
    case.rig.server.resume();
    case.rig.is_reachable();
    build
}

pub(crate) fn expired(case: &mut Case<'_>) -> String {
    let proxy = &case.rig.hosts[case.any()].proxy;
    let build = case.deploy();
    case.moment();
    let session = proxy.session().expect("it had a session");
    expire(&case.rig.server, session);
    build
}
