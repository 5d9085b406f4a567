//! Bad input: it is told what is wrong with what, the service runs on, nothing is lost, and the
//! host goes on by itself when the cause is gone.

use std::fs;
use std::time::Duration;

use deploy_core::wire::report::{Phase, Report};
use serde_json::{Value, json};
use tests::agent::{Agent, LIMIT};
use tests::archives::{Header, Tar, gzip};
use tests::builds::{Health, Serve};
use tests::eventually::eventually;
use tests::service::{Service, named};
use tests::witness::{Promise, Witness};

/// How long a host may take to notice that a cause is gone that it isn't told of: the longest
/// pause between two tries, and a deployment.
const NOTICE_MAX: Duration = Duration::from_secs(90);

/// Starts an agent that serves `r1`.
fn serving() -> Option<Agent> {
    let agent = Agent::start()?;
    agent.web().deploy("r1", 1);
    agent.web().serves("r1");
    Some(agent)
}

/// Does something bad, asserts that the report has these words, then mends it, and asserts that the
/// host goes to `r2` by itself and that `r1` was never disturbed before.
#[track_caller]
fn check(
    agent: &Agent,
    break_it: impl FnOnce(&Service<'_>),
    words: &[&str],
    mend: impl FnOnce(&Service<'_>),
) {
    let web = agent.web();
    let witness = Witness::start(&web, Promise::AllServe);
    let pids = web.pids();
    break_it(&web);
    let report = web.blocked(words);
    assert_eq!(report.serving, named("r1"));
    assert_eq!(web.current().as_deref(), Some("r1"));
    assert_eq!(web.pids(), pids);
    assert_eq!(report.instances.len(), 2);
    witness.finish();
    mend(&web);
    web.serves_within("r2", NOTICE_MAX);
}

fn good_target(web: &Service<'_>) -> Value {
    let artifact = web.agent.builds.add("r2", Health::Ok);
    web.target("r2", 2, &artifact)
}

/// A target that can't be read, and then the right one.
fn check_target(bad: impl FnOnce(&Service<'_>, Value) -> Vec<u8>, words: &[&str]) {
    let Some(agent) = serving() else { return };
    let good = good_target(&agent.web());
    let break_it = |web: &Service<'_>| {
        let bad = bad(web, good.clone());
        web.put(&web.znodes.enabled(), bad);
    };
    check(&agent, break_it, words, |web| web.enable(&good));
}

#[test]
fn targets_that_can_not_be_read() {
    let Some(agent) = serving() else { return };
    let web = agent.web();
    let good = good_target(&web);
    let with = |change: &dyn Fn(&mut Value)| {
        let mut target = good.clone();
        change(&mut target);
        target.to_string().into_bytes()
    };
    let cases: Vec<(Vec<u8>, &[&str])> = vec![
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
    ];
    let witness = Witness::start(&web, Promise::AllServe);
    let pids = web.pids();
    for (bad, words) in cases {
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

#[test]
fn an_artifact_from_elsewhere() {
    let elsewhere = tests::builds::Builds::start();
    let target = |_: &Service<'_>, mut target: Value| {
        let artifact = elsewhere.add("r2", Health::Ok);
        target["artifact"]["url"] = json!(artifact.url);
        target.to_string().into_bytes()
    };
    check_target(target, &["fetch", "/r2.tar.gz", "source"]);
    assert_eq!(elsewhere.downloads("r2"), 0);
}

#[test]
fn a_wrong_digest_and_then_the_right_one() {
    check_target(
        |_, mut target| {
            target["artifact"]["sha256"] = json!("0".repeat(64));
            target.to_string().into_bytes()
        },
        &["fetch", "/r2.tar.gz", &"0".repeat(64)],
    );
}

/// A build server that fails, and then doesn't.
fn check_server(serve: Serve, words: &[&str]) {
    let Some(agent) = serving() else { return };
    let good = good_target(&agent.web());
    let break_it = |web: &Service<'_>| {
        agent.builds.serve("r2", serve);
        web.enable(&good);
    };
    check(&agent, break_it, words, |_| {
        agent.builds.serve("r2", Serve::Whole)
    });
    let left = fs::read_dir(agent.path("state/downloads"))
        .expect("it was used")
        .count();
    assert_eq!(left, 0, "downloads have no names");
}

#[test]
fn a_server_that_does_not_have_it() {
    check_server(Serve::Status(404), &["fetch", "/r2.tar.gz", "404"]);
}

#[test]
fn a_server_that_fails() {
    check_server(Serve::Status(500), &["fetch", "/r2.tar.gz", "500"]);
}

#[test]
fn a_server_that_ends_too_early() {
    check_server(Serve::Truncated, &["fetch", "/r2.tar.gz"]);
}

#[test]
fn a_server_with_other_bytes() {
    check_server(Serve::Wrong, &["fetch", "/r2.tar.gz", "SHA-256"]);
}

#[test]
fn a_server_that_stalls() {
    let Some(agent) = serving() else { return };
    let web = agent.web();
    let good = good_target(&web);
    let witness = Witness::start(&web, Promise::AllServe);
    agent.builds.serve("r2", Serve::Stalled);
    web.enable(&good);
    let report = web.until("half of it is there", |report| {
        let step = report.step.as_ref().filter(|step| step.name == "fetch");
        step.is_some_and(|step| step.done > Some(0))
    });
    let step = report.step.expect("it was there");
    let size = good["artifact"]["size"].as_u64();
    assert_eq!((report.phase, step.total), (Phase::Fetching, size));
    assert!(step.done < step.total);
    // New downloads are whole; this one ends when no byte has come for a while.
    agent.builds.serve("r2", Serve::Whole);
    web.serves_within("r2", NOTICE_MAX);
    drop(witness);
}

#[test]
fn archives_that_are_refused() {
    let Some(agent) = serving() else { return };
    let web = agent.web();
    let evil = Tar::new().entry(Header::new(b'0', b"../evil"), b"x").end();
    let cases: [(&str, Vec<u8>, &[&str]); 3] = [
        (
            "garbage",
            b"this is no archive at all".repeat(100),
            &["refused"],
        ),
        ("evil", gzip(&evil), &["refused", "../evil"]),
        ("empty", gzip(&Tar::new().end()), &["refused", "empty"]),
    ];
    let witness = Witness::start(&web, Promise::AllServe);
    for (rollout, (name, bytes, words)) in (2..).zip(cases) {
        let artifact = agent.builds.add_archive(name, bytes);
        web.enable(&web.target(name, rollout, &artifact));
        let report = web.failed(name, "r1");
        let error = report.error.expect("a failure has a reason");
        assert_eq!(
            (error.step.as_str(), error.kind.as_str()),
            ("extract", "rejected")
        );
        for word in [&[name], words].concat() {
            assert!(error.message.contains(word), "{word} is not in {error:?}");
        }
        assert_eq!(web.releases(), ["r1"]);
    }
    witness.finish();
    assert!(!web.dir.join("evil").exists() && !web.dir.join("releases/evil").exists());
    assert_eq!(web.leases(), [""; 0]);
    web.deploy("r9", 9);
    web.serves("r9");
}

#[test]
fn a_build_name_with_other_bytes() {
    let Some(agent) = serving() else { return };
    let web = agent.web();
    let other = agent.builds.add("r1", Health::Sick);
    let good = good_target(&web);
    let break_it = |web: &Service<'_>| web.enable(&web.target("r1", 3, &other));
    check(
        &agent,
        break_it,
        &["builds/r1", "another archive", "new name"],
        |web| web.enable(&good),
    );
}

#[test]
fn a_file_in_the_place_of_releases() {
    let Some(server) = tests::agent::zookeeper() else {
        return;
    };
    let agent = Agent::prepare(server, |_| {});
    let web = agent.web();
    fs::create_dir(&web.dir).expect("the directory above is there");
    fs::write(web.dir.join("releases"), "in the way").expect("space");
    agent.run();
    web.deploy("r1", 1);
    let what = "the report says what is in the way";
    eventually(what, LIMIT, || match web.report() {
        Some(report) if told(&report, "releases") => Ok(()),
        report => Err((report, agent.is_running())),
    });
    fs::remove_file(web.dir.join("releases")).expect("it is there");
    web.serves_within("r1", NOTICE_MAX);
}

fn told(report: &Report, word: &str) -> bool {
    report.phase == Phase::Blocked
        && report
            .error
            .as_ref()
            .is_some_and(|error| error.message.contains(word))
}

#[test]
fn a_directory_above_that_is_missing() {
    let Some(server) = tests::agent::zookeeper() else {
        return;
    };
    let agent = Agent::prepare(server, |_| {});
    let web = agent.web();
    fs::remove_dir(agent.path("srv")).expect("it is empty");
    agent.run();
    web.deploy("r1", 1);
    web.until("blocked", |report| told(report, "srv"));
    assert!(
        !agent.path("srv").exists(),
        "a mount that is missing is not papered over"
    );
    fs::create_dir(agent.path("srv")).expect("it was gone");
    web.serves_within("r1", NOTICE_MAX);
}

#[test]
fn a_directory_in_the_place_of_current() {
    let Some(server) = tests::agent::zookeeper() else {
        return;
    };
    let agent = Agent::prepare(server, |_| {});
    let web = agent.web();
    fs::create_dir_all(web.dir.join("current")).expect("the directory above is there");
    fs::write(web.dir.join("current/precious"), "data").expect("space");
    agent.run();
    web.deploy("r1", 1);
    let report = web.until("blocked", |report| told(report, "current"));
    assert!(
        report
            .error
            .expect("it was there")
            .message
            .contains("a directory")
    );
    assert!(web.dir.join("current/precious").exists());
    fs::remove_dir_all(web.dir.join("current")).expect("it is there");
    web.serves_within("r1", NOTICE_MAX);
}
