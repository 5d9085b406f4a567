//! Programs of the operator that fail, hang or talk too much, on one host.

use deploy_core::wire::report::Phase;
use serde_json::json;
use tests::supervisor::Answer;

use crate::rig::Case;

/// More than any pipe holds.
const FLOOD_BYTES: usize = 4 << 20;

pub(crate) fn post_extract(case: &mut Case<'_>) -> String {
    fails_once(case, "hook web post_extract")
}

pub(crate) fn post_install(case: &mut Case<'_>) -> String {
    fails_once(case, "hook web post_install")
}

pub(crate) fn restart(case: &mut Case<'_>) -> String {
    fails_once(case, "restart ")
}

/// The host goes back and says why; and goes on when somebody asks.
fn fails_once(case: &mut Case<'_>, what: &str) -> String {
    if !concerns(case, what) {
        return case.deploy();
    }
    let at = case.at();
    let supervisor = &case.victim().agent.supervisor;
    supervisor.on(what, Answer::FailOnce("not this time".to_owned()));
    let build = case.deploy();
    fails(case, &at);
    retry(case);
    build
}

/// Only the first service has hooks.
fn concerns(case: &Case<'_>, what: &str) -> bool {
    what.starts_with("restart") || case.progress.service == "web"
}

fn fails(case: &Case<'_>, at: &str) {
    let service = case.service(case.victim);
    let rollout = case.rollout();
    case.until("failed", case.victim, |report| {
        report.phase == Phase::Failed
            && report.rollout == Some(rollout)
            && report.step.is_none()
            && service.differs_from(at).is_none()
    });
}

fn retry(case: &Case<'_>) {
    let service = case.service(case.victim);
    let wish = json!({ "v": 1, "rollout": case.rollout(), "by": "soak" });
    service.put(&service.znodes.retry(&service.host), wish.to_string());
}

pub(crate) fn floods(case: &mut Case<'_>) -> String {
    let supervisor = &case.victim().agent.supervisor;
    supervisor.on(
        "hook",
        Answer::Say("more and more\n".repeat(FLOOD_BYTES / 14)),
    );
    let build = case.deploy();
    case.is_served(&build);
    supervisor.let_go_of("hook");
    build
}

/// It is killed when its time is over, and that is a failure.
pub(crate) fn hangs(case: &mut Case<'_>) -> String {
    let what = "hook web post_extract";
    if !concerns(case, what) {
        return case.deploy();
    }
    let at = case.at();
    let supervisor = &case.victim().agent.supervisor;
    supervisor.on(what, Answer::HoldBefore);
    let build = case.deploy();
    fails(case, &at);
    supervisor.let_go_of(what);
    retry(case);
    build
}

pub(crate) fn slow_restart(case: &mut Case<'_>) -> String {
    let supervisor = &case.rig.hosts[case.any()].agent.supervisor;
    supervisor.on("restart", Answer::HoldBefore);
    let build = case.deploy();
    for _ in 0..4 {
        case.moment();
    }
    supervisor.let_go_of("restart");
    build
}
