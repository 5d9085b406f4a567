//! Znodes that can't be read: it is told what is wrong with which, the service runs on, nothing is
//! lost, and the host goes on by itself when the cause is gone.

use deploy_core::wire::report::{Phase, Report};
use serde_json::{Value, json};
use tests::agent::Agent;
use tests::builds::Health;
use tests::service::{Service, named};
use tests::witness::{Promise, Witness};

/// Starts an agent that serves `r1`.
fn serving() -> Option<Agent> {
    let agent = Agent::start()?;
    agent.web().deploy("r1", 1);
    agent.web().serves("r1");
    Some(agent)
}

fn good_target(web: &Service<'_>) -> Value {
    let artifact = web.agent.builds.add("r2", Health::Ok);
    web.target("r2", 2, &artifact)
}

/// Returns targets that can't be read, each with what is said of it.
fn unreadable(good: &Value) -> Vec<(Vec<u8>, &'static [&'static str])> {
    let with = |change: &dyn Fn(&mut Value)| {
        let mut target = good.clone();
        change(&mut target);
        target.to_string().into_bytes()
    };
    vec![
        (b"{\"v\":1,".to_vec(), &["enabled", "can't be read"]),
        (
            b"[1]".to_vec(),
            &["enabled", "neither a JSON object nor a build name"],
        ),
        (b"\xff\xfe\x00".to_vec(), &["enabled", "neither"]),
        (
            with(&|t| t["v"] = json!(2)),
            &["enabled", "version 2", "too old"],
        ),
        (
            with(&|t| t["build"] = json!("../r2")),
            &["enabled", "build", "../r2"],
        ),
        (
            with(&|t| t["percent"] = json!(101)),
            &["enabled", "percent is 101"],
        ),
        (
            with(&|t| t["artifact"]["sha256"] = json!("xyz")),
            &["sha256", "xyz", "64 hexadecimal digits"],
        ),
        (
            with(&|t| t["artifact"]["sha256"] = json!("g".repeat(64))),
            &["sha256", "64 hexadecimal"],
        ),
        (
            with(&|t| t["artifact"]["size"] = json!(-1)),
            &["enabled", "size"],
        ),
        (
            with(&|t| t["why"] = json!("x".repeat(70_000))),
            &["enabled", "above the limit of 65536"],
        ),
        (
            vec![b' '; 1_000_000],
            &["enabled", "above the limit of 65536"],
        ),
        (
            with(&|t| t["artifact"] = Value::Null),
            &["builds/r2", "not registered"],
        ),
    ]
}

#[test]
fn targets_that_can_not_be_read() {
    let Some(agent) = serving() else { return };
    let web = agent.web();
    let good = good_target(&web);
    let witness = Witness::start(&web, Promise::AllServe);
    let pids = web.pids();
    for (bad, words) in unreadable(&good) {
        web.put(&web.znodes.enabled(), bad);
        let report = web.blocked(words);
        assert_eq!((report.current, report.serving), (named("r1"), named("r1")));
    }
    // Nothing is wanted: that is no problem, and no reason to stop anything.
    for empty in ["", " \n"] {
        web.put(&web.znodes.enabled(), empty);
        web.until("idle", |report| {
            report.phase == Phase::Idle && report.error.is_none()
        });
    }
    web.delete(&web.znodes.enabled());
    web.until("idle", |report| report.phase == Phase::Idle);
    witness.finish();
    assert_eq!(web.pids(), pids);
    web.enable(&good);
    web.serves("r2");
}

#[test]
fn a_role_that_can_not_be_read() {
    let Some(agent) = serving() else { return };
    let web = agent.web();
    let role = web.znodes.role(&web.host);
    let witness = Witness::start(&web, Promise::AllServe);
    for (bad, words) in [
        (r#"{"v":1,"role":"canery"}"#, &["role", "canery"][..]),
        ("canary", &["role", "can't be read"]),
        ("", &["role", "empty"]),
    ] {
        web.put(&role, bad);
        let report = web.blocked(words);
        assert_eq!((report.role, report.serving), (None, named("r1")));
    }
    // Nothing starts as long as nobody knows which target it is.
    web.enable(&good_target(&web));
    web.looks_again();
    assert_eq!(agent.builds.downloads("r2"), 0);
    witness.finish();
    web.put(&role, r#"{"v":1,"role":"fleet"}"#);
    web.serves("r2");
}

#[test]
fn a_policy_that_can_not_be_read() {
    let Some(agent) = serving() else { return };
    let web = agent.web();
    web.put(
        &web.znodes.policy(),
        r#"{"v":1,"restart_concurrency":"many"}"#,
    );
    web.enable(&good_target(&web));
    let waits = |report: &Report| report.phase == Phase::Waiting || report.phase == Phase::Blocked;
    web.until("it waits", waits);
    agent.logs(&["the policy can't be read", "many"]);
    assert_eq!(web.current().as_deref(), Some("r1"));
    web.put(&web.znodes.policy(), r#"{"v":1,"restart_concurrency":2}"#);
    web.serves("r2");
}
