//! Roles and holds.

use deploy_core::wire::report::Phase;
use serde_json::Value;
use tests::agent::LIMIT;
use tests::builds::Health;
use tests::eventually::eventually;

use crate::rig::Case;

const CANARY: &str = r#"{"v":1,"role":"canary"}"#;
const HOLD: &str = r#"{"v":1,"by":"soak","why":"a test"}"#;

pub(crate) fn canary(case: &mut Case<'_>) -> String {
    let (build, target) = at_the_canary(case);
    case.go_to(&build);
    let service = case.service(case.victim);
    let gone = [service.znodes.canary(), service.znodes.role(&service.host)];
    // Both orders are harmless.
    let first = case.dice.borrow_mut().below(2);
    service.delete(&gone[first]);
    service.delete(&gone[1 - first]);
    drop(target);
    build
}

pub(crate) fn canary_withdrawn(case: &mut Case<'_>) -> String {
    let at = case.at();
    at_the_canary(case);
    let service = case.service(case.victim);
    service.delete(&service.znodes.canary());
    case.go_to(&at);
    case.serves(&at, case.victim);
    service.delete(&service.znodes.role(&service.host));
    at
}

/// Brings a new build to one host by the canary znode; the others stay where they are.
fn at_the_canary(case: &mut Case<'_>) -> (String, Value) {
    let at = case.at();
    let service = case.service(case.victim);
    service.put(&service.znodes.role(&service.host), CANARY);
    let build = case.build(Health::Ok);
    let target = case.target(&build);
    service.put(&service.znodes.canary(), target.to_string());
    case.serves(&build, case.victim);
    for (host, service) in case.services().iter().enumerate() {
        if host != case.victim {
            service.is_at(&at);
        }
    }
    (build, target)
}

/// Without a canary target, a canary follows the fleet.
pub(crate) fn role(case: &mut Case<'_>) -> String {
    let service = case.service(case.victim);
    let build = case.deploy();
    case.moment();
    service.put(&service.znodes.role(&service.host), CANARY);
    case.moment();
    service.delete(&service.znodes.role(&service.host));
    build
}

/// Everything is made ready, and nobody moves.
pub(crate) fn held(case: &mut Case<'_>) -> String {
    let (at, service) = (case.at(), case.service(0));
    service.put(&service.znodes.hold(), HOLD);
    let build = case.deploy();
    is_ready(case, &build);
    for service in case.services() {
        service.is_at(&at);
    }
    service.delete(&service.znodes.hold());
    build
}

pub(crate) fn held_midway(case: &mut Case<'_>) -> String {
    let service = case.service(0);
    let build = case.deploy();
    case.moment();
    service.put(&service.znodes.hold(), HOLD);
    case.moment();
    service.delete(&service.znodes.hold());
    build
}

/// Puts a hold on the service.
pub(crate) fn hold(case: &Case<'_>) {
    let service = case.service(0);
    service.put(&service.znodes.hold(), HOLD);
}

/// Takes it away.
pub(crate) fn unhold(case: &Case<'_>) {
    let service = case.service(0);
    service.delete(&service.znodes.hold());
}

/// Waits until all hosts have a release, and wait.
pub(crate) fn is_ready(case: &Case<'_>, build: &str) {
    for (host, service) in case.services().iter().enumerate() {
        case.is_in(&Phase::Waiting, host);
        eventually("the release is there", LIMIT, || {
            let releases = service.releases();
            if releases.iter().any(|name| name == build) {
                Ok(())
            } else {
                Err(releases)
            }
        });
    }
}
