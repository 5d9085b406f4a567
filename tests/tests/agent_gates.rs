//! What lets a deployment wait, fail, and be tried again.

use std::time::{Duration, Instant};

use deploy_core::wire::report::{Phase, Report};
use deploy_core::wire::time;
use jiff::{SignedDuration, Timestamp};
use serde_json::json;
use tests::agent::Agent;
use tests::builds::Health;
use tests::service::named;
use tests::supervisor::Answer;

#[test]
fn a_held_host_prepares_and_waits() {
    let Some(agent) = Agent::start() else { return };
    let web = agent.web();
    web.deploy("r1", 1);
    web.serves("r1");
    let pids = web.pids();
    web.put(&web.znodes.hold(), r#"{"v":1,"by":"alice","why":"sale"}"#);
    web.deploy("r2", 2);
    let is_held = |report: &Report| {
        let waits = report.step.as_ref().and_then(|step| step.detail.as_deref());
        report.phase == Phase::Waiting && waits == Some("the service is held")
    };
    let report = web.until("held", is_held);
    assert_eq!((report.current, report.lease), (named("r1"), false));
    assert_eq!(web.releases(), ["r1", "r2"]);
    assert_eq!(web.leases(), [""; 0]);
    web.is_at("r1");
    assert_eq!(web.pids(), pids);
    web.delete(&web.znodes.hold());
    web.serves("r2");
    assert_eq!(agent.builds.downloads("r2"), 1);
}

#[test]
fn a_hold_ends_by_itself() {
    let Some(agent) = Agent::start() else { return };
    let web = agent.web();
    web.deploy("r1", 1);
    web.serves("r1");
    let begin = Instant::now();
    let until = time::render(Timestamp::now() + SignedDuration::from_secs(3));
    web.put(
        &web.znodes.hold(),
        json!({ "v": 1, "by": "alice", "until": until }).to_string(),
    );
    web.deploy("r2", 2);
    web.until("held", |report| report.phase == Phase::Waiting);
    web.until("on the way", |report| report.current == named("r2"));
    // A second less: times have whole seconds.
    assert!(begin.elapsed() >= Duration::from_secs(2));
    web.serves("r2");
}

#[test]
fn a_half_restarted_host_finishes_under_hold() {
    let Some(agent) = Agent::start() else { return };
    let web = agent.web();
    web.deploy("r1", 1);
    web.serves("r1");
    agent.supervisor.on("restart web-2", Answer::HoldBefore);
    web.deploy("r2", 2);
    agent.supervisor.wait_asked("restart web-2", 1);
    web.put(&web.znodes.hold(), r#"{"v":1,"by":"alice"}"#);
    agent.supervisor.let_go();
    web.serves("r2");
}

#[test]
fn a_failed_rollout_is_tried_again_when_somebody_asks() {
    let agent = Agent::start_with(|settings| settings.services[0].hooks = &["post_install"]);
    let Some(agent) = agent else { return };
    let web = agent.web();
    web.deploy("r1", 1);
    web.serves("r1");
    let hook = "hook web post_install r2";
    agent
        .supervisor
        .on(hook, Answer::Fail("no network".to_owned()));
    let artifact = web.deploy("r2", 2);
    web.failed("r2", "r1");
    let asked = || agent.supervisor.asked(hook).len();
    assert_eq!(asked(), 1);
    web.looks_again();
    // A wish for another rollout is none for this one.
    let retry = web.znodes.retry(&web.host);
    web.put(&retry, r#"{"v":1,"rollout":1,"by":"alice"}"#);
    web.looks_again();
    // And a new agent is no reason either.
    assert_eq!(agent.stop(), Some(0));
    agent.run();
    web.looks_again();
    web.failed("r2", "r1");
    assert_eq!(asked(), 1);
    web.put(&retry, r#"{"v":1,"rollout":2,"by":"alice"}"#);
    agent.supervisor.wait_asked(hook, 1);
    web.failed("r2", "r1");
    assert_eq!(asked(), 2);
    web.put(&retry, r#"{"v":1,"rollout":2,"by":"alice"}"#);
    agent.supervisor.wait_asked(hook, 2);
    web.failed("r2", "r1");
    agent.supervisor.let_go();
    // The same build in a new rollout is another try.
    web.enable(&web.target("r2", 3, &artifact));
    web.serves("r2");
    assert_eq!(web.leases(), [""; 0]);
}

#[test]
fn a_target_that_changes_midway_is_followed() {
    let Some(agent) = Agent::start() else { return };
    let web = agent.web();
    web.deploy("r1", 1);
    web.serves("r1");
    // While it is downloaded, it is dropped.
    let second = agent.builds.add("r2", Health::Ok);
    agent.builds.serve("r2", tests::builds::Serve::Stalled);
    web.enable(&web.target("r2", 2, &second));
    web.until("fetching", |report| report.phase == Phase::Fetching);
    web.deploy("r3", 3);
    web.serves("r3");
    assert_eq!(web.releases(), ["r1", "r3"]);
    // Half restarted, it is finished first: no host ever has three builds at work.
    agent.supervisor.on("restart web-1", Answer::HoldAfter);
    web.deploy("r4", 4);
    agent.supervisor.wait_asked("restart web-1", 2);
    web.deploy("r5", 5);
    agent.supervisor.let_go();
    web.serves("r5");
    // Nobody was restarted into r5 before both were in service with r4.
    assert_eq!(agent.supervisor.asked("restart").len(), 8);
}
