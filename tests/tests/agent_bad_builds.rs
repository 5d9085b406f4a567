//! Build servers that fail and archives that are refused: it is told what is wrong with which, the
//! service runs on, nothing is lost, and the host goes on by itself when the cause is gone.

use std::fs;
use std::time::Duration;

use deploy_core::wire::report::Phase;
use serde_json::{Value, json};
use tests::agent::Agent;
use tests::archives::{Header, Tar, gzip};
use tests::builds::{Health, Serve};
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
fn servers_that_fail() {
    let cases: [(Serve, &[&str]); 4] = [
        (Serve::Status(404), &["fetch", "/r2.tar.gz", "404"]),
        (Serve::Status(500), &["fetch", "/r2.tar.gz", "500"]),
        (Serve::Truncated, &["fetch", "/r2.tar.gz"]),
        (Serve::Wrong, &["fetch", "/r2.tar.gz", "SHA-256"]),
    ];
    // Most of it is waiting.
    std::thread::scope(|scope| {
        for (serve, words) in cases {
            scope.spawn(move || check_server(serve, words));
        }
    });
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
    web.deploy("r0", 2);
    web.serves("r0");
    let other = agent.builds.add("r1", Health::Sick);
    let witness = Witness::start(&web, Promise::AllServe);
    web.enable(&web.target("r1", 3, &other));
    web.blocked(&["builds/r1", "another archive", "new name"]);
    web.is_at("r0");
    witness.finish();
    web.deploy("r2", 4);
    web.serves("r2");
}

#[test]
fn a_build_in_service_that_is_wanted_with_other_bytes_is_refused() {
    let Some(agent) = Agent::start() else { return };
    let web = agent.web();
    web.deploy("r1", 1);
    web.serves("r1");
    let other = agent.builds.add("r1", Health::Sick);
    web.enable(&web.target("r1", 2, &other));
    web.blocked(&["builds/r1", "another archive", "new name"]);
    web.is_at("r1");
}
