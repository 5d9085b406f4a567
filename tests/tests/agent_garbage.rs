//! Garbage of every kind in every znode that the agent reads: it is told which znode and why, the
//! service runs on, nothing spins, and the host goes on as soon as the znode is mended.

use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use deploy_core::wire;
use deploy_core::wire::build::Build;
use deploy_core::wire::report::{Phase, Report};
use serde_json::{Value, json};
use tests::agent::{Agent, LIMIT};
use tests::builds::Health;
use tests::eventually::eventually;
use tests::garbage::garbage;
use tests::oversize;
use tests::service::{Service, named};
use tests::usage::Usage;
use tests::witness::{Promise, Witness};
use tests::zookeeper::Server;

/// Of the log, at level debug: each kind makes a few lines.
const LOG_BYTES_MAX: usize = 300_000;
/// So long garbage is left in peace, to see that nothing spins.
const QUIET: Duration = Duration::from_secs(1);

fn serving() -> Option<Agent> {
    let agent = Agent::start()?;
    agent.web().deploy("r1", 1);
    agent.web().serves("r1");
    Some(agent)
}

fn good(web: &Service<'_>) -> Value {
    let artifact = web.agent.builds.add("r2", Health::Ok);
    web.target("r2", 2, &artifact)
}

/// Nothing of what others wrote may steer a terminal, or fill a report.
#[track_caller]
fn told(report: &Report, context: &impl Debug) {
    let error = report.error.as_ref();
    let message = error.map_or("", |error| error.message.as_str());
    assert!(message.len() < 1000, "{context:?}: {} bytes", message.len());
    assert!(
        !message.chars().any(char::is_control),
        "{context:?}: {message:?}"
    );
}

/// Puts garbage of each kind into a znode. `refused` says of a report whether it was noticed;
/// `reset` lets the agent forget what the last one was refused for.
#[track_caller]
fn check_each(
    (web, path): (&Service<'_>, &str),
    kinds: Vec<(&'static str, Vec<u8>)>,
    reset: impl Fn(),
    refused: impl Fn(&Report) -> bool,
) {
    let witness = Witness::start(web, Promise::AllServe);
    let pids = web.pids();
    for (kind, data) in kinds {
        web.put(path, &data);
        let report = web.until(&format!("{kind} in {path} is refused"), &refused);
        told(&report, &kind);
        let at = named("r1");
        assert_eq!((&report.current, &report.serving), (&at, &at), "{kind}");
        reset();
    }
    web.put(path, "{");
    web.until("the last is refused", &refused);
    let before = Usage::of(web.agent.pid()).processor;
    std::thread::sleep(QUIET);
    let spent = Usage::of(web.agent.pid()).processor - before;
    assert!(
        spent < QUIET / 2,
        "{path}: {spent:?} of processor time in {QUIET:?} of quiet"
    );
    witness.finish();
    assert_eq!(web.pids(), pids);
    let log = web.agent.log();
    assert!(log.len() < LOG_BYTES_MAX, "{} bytes of log", log.len());
}

/// A few kinds, where there is no telling from outside that one was noticed but a look that is
/// waited for.
fn some_garbage() -> Vec<(&'static str, Vec<u8>)> {
    let mut kinds = garbage();
    kinds.retain(|(kind, _)| ["nul", "nested", "a megabyte"].contains(kind));
    kinds
}

fn blocked_by(report: &Report, znode: &str) -> bool {
    let error = report.error.as_ref();
    report.phase == Phase::Blocked && error.is_some_and(|error| error.step == znode)
}

#[test]
fn in_the_target() {
    let Some(agent) = serving() else { return };
    let web = agent.web();
    let good = good(&web);
    let path = web.znodes.enabled();
    let reset = || {
        web.put(&path, "");
        web.until("idle", |report| report.phase == Phase::Idle);
    };
    let refused = |report: &Report| blocked_by(report, "enabled");
    check_each((&web, &path), garbage(), reset, refused);
    assert_eq!(agent.builds.downloads("r2"), 0, "nothing was begun");
    web.enable(&good);
    web.serves("r2");
}

#[test]
fn in_the_canary_target() {
    let Some(agent) = serving() else { return };
    let web = agent.web();
    let good = good(&web);
    let pids = web.pids();
    web.put(&web.znodes.role(&web.host), r#"{"v":1,"role":"canary"}"#);
    // No target for canaries is no problem.
    let reset = || {
        web.put(&web.znodes.canary(), " \n");
        web.until("at the fleet's build", |report| {
            report.phase == Phase::Serving
        });
    };
    let refused = |report: &Report| blocked_by(report, "enabled/canary");
    check_each((&web, &web.znodes.canary()), garbage(), reset, refused);
    assert_eq!(web.pids(), pids);
    web.put(&web.znodes.canary(), good.to_string());
    web.serves("r2");
}

#[test]
fn in_the_role() {
    let Some(agent) = serving() else { return };
    let web = agent.web();
    let good = good(&web);
    let role = web.znodes.role(&web.host);
    let reset = || {
        web.delete(&role);
        web.until("a host of the fleet", |report| {
            report.phase == Phase::Serving
        });
    };
    let refused = |report: &Report| blocked_by(report, "role") && report.role.is_none();
    check_each((&web, &role), garbage(), reset, refused);
    web.put(&role, r#"{"v":1,"role":"fleet"}"#);
    web.enable(&good);
    web.serves("r2");
}

#[test]
fn in_a_build() {
    let Some(agent) = serving() else { return };
    let web = agent.web();
    let good = good(&web);
    let path = web.znodes.build(named("r2").as_ref().expect("a name"));
    web.put(&path, "");
    web.put(&web.znodes.enabled(), "r2");
    web.blocked(&["builds/r2", "empty"]);
    let reset = || {
        web.delete(&path);
        web.blocked(&["builds/r2", "not registered"]);
    };
    let refused = |report: &Report| {
        let error = report.error.as_ref();
        let absent = error.is_some_and(|error| error.message.contains("not registered"));
        blocked_by(report, "builds/r2") && !absent
    };
    check_each((&web, &path), garbage(), reset, refused);
    let artifact = serde_json::from_value(good["artifact"].clone());
    let build = Build {
        artifact: artifact.expect("it is one"),
        signed_by: None,
        bad: None,
        by: None,
        at: None,
        why: None,
    };
    web.put(&path, wire::encode(&build));
    web.serves("r2");
}

#[test]
fn in_the_policy() {
    let Some(agent) = serving() else { return };
    let web = agent.web();
    let policy = web.znodes.policy();
    web.put(&policy, "");
    web.deploy("r3", 3);
    let refused = |report: &Report| {
        let error = report.error.as_ref();
        report.phase == Phase::Waiting
            && error.is_some_and(|error| error.message.contains("policy"))
    };
    web.until("an empty policy is refused", refused);
    // With a good policy it waits for somebody else's lease, and nothing is wrong.
    let place = format!("{}/x-0000000000", web.znodes.leases());
    web.put(&place, "");
    let reset = || {
        web.put(&policy, r#"{"v":1,"restart_concurrency":1}"#);
        web.until("it waits", |report| report.error.is_none());
    };
    check_each((&web, &policy), garbage(), reset, refused);
    web.delete(&place);
    web.put(&policy, r#"{"v":1,"restart_concurrency":1}"#);
    web.serves("r3");
}

#[test]
fn in_the_hold() {
    let Some(agent) = serving() else { return };
    let web = agent.web();
    let hold = web.znodes.hold();
    web.put(&hold, "");
    web.deploy("r3", 3);
    let held = |report: &Report| {
        let detail = report.step.as_ref().and_then(|step| step.detail.as_deref());
        report.phase == Phase::Waiting && detail.is_some_and(|detail| detail.contains("held"))
    };
    web.until("an empty hold holds", held);
    let reset = || drop(web.looks_again());
    check_each((&web, &hold), some_garbage(), reset, held);
    web.delete(&hold);
    web.serves("r3");
}

#[test]
fn in_a_retry_wish() {
    let Some(agent) = serving() else { return };
    let web = agent.web();
    web.deploy_with("r3", 3, Health::Dies);
    web.failed("r3", "r1");
    let restarts = agent.supervisor.asked("restart").len();
    let retry = web.znodes.retry(&web.host);
    let reset = || drop(web.looks_again());
    let failed = |report: &Report| report.phase == Phase::Failed;
    check_each((&web, &retry), some_garbage(), reset, failed);
    agent.logs(&["is ignored", "retry", "the retry wish can't be read"]);
    assert_eq!(
        agent.supervisor.asked("restart").len(),
        restarts,
        "it was tried again"
    );
    web.put(&retry, r#"{"v":1,"rollout":3}"#);
    agent.supervisor.wait_asked("restart", restarts);
    web.failed("r3", "r1");
}

#[test]
fn in_the_restart_queue() {
    let Some(agent) = serving() else { return };
    let web = agent.web();
    // Names that are no places in the queue, and contents that are none of a lease.
    let names = [
        "x",
        "h1",
        "h1-",
        "h1-123",
        "é-1",
        "a b",
        "-",
        "h1-000000000x",
        "..x",
        "\u{200b}",
    ];
    for (name, (_, data)) in names.iter().zip(garbage()) {
        web.put(&format!("{}/{name}", web.znodes.leases()), data);
    }
    web.deploy("r2", 2);
    web.serves("r2");
    assert_eq!(
        web.leases().len(),
        names.len(),
        "they are nobody's to remove"
    );
    // A place is a place, whatever is written there: so the host waits until somebody breaks it.
    let place = format!("{}/x-0000000000", web.znodes.leases());
    web.put(&place, vec![b'['; 60_000]);
    web.deploy("r3", 3);
    web.until("it waits", |report| report.phase == Phase::Waiting);
    assert!(!web.looks_again().lease);
    web.delete(&place);
    web.serves("r3");
}

#[test]
fn larger_than_any_znode() {
    // ZooKeeper takes a megabyte, with the request, unless an operator says otherwise.
    let Some(server) = Server::start_taking(8 << 20) else {
        return;
    };
    let server = Arc::new(server);
    let agent = Agent::prepare(Arc::clone(&server), |_| {});
    agent.run();
    let web = agent.web();
    web.deploy("r1", 1);
    web.serves("r1");
    let good = good(&web);
    let before = Usage::of(agent.pid());
    let witness = Witness::start(&web, Promise::AllServe);
    let pids = web.pids();
    for bytes in [1 << 20, 4 << 20] {
        let path = web.znodes.enabled();
        web.put(&path, "");
        web.until("idle", |report| report.phase == Phase::Idle);
        let error = oversize::set(server.port(), &path, &vec![b'x'; bytes]);
        assert_eq!(error.expect("the server takes it"), 0);
        let size = bytes.to_string();
        web.blocked(&["enabled", &size, "above the limit"]);
    }
    witness.finish();
    assert_eq!(web.pids(), pids);
    web.enable(&good);
    web.serves("r2");
    let after = Usage::of(agent.pid());
    let kib = |usage: &Usage| usage.rss_bytes >> 10;
    println!(
        "figure: memory {} -> {} KiB after a znode of 4 MiB",
        kib(&before),
        kib(&after)
    );
    assert!(after.rss_bytes < before.rss_bytes + (64 << 20));
}

#[test]
fn in_its_own_report() {
    let Some(agent) = serving() else { return };
    let web = agent.web();
    let path = web.znodes.host(&web.host);
    let pids = web.pids();
    let mut kinds = garbage();
    kinds.retain(|(kind, _)| *kind == "a megabyte");
    kinds.push((
        "another host's",
        json!({ "v": 1, "host": "h2" }).to_string().into_bytes(),
    ));
    for (kind, data) in kinds {
        agent.znodes.put(&path, &data);
        eventually(&format!("{kind} is replaced"), LIMIT, || {
            let found = agent.znodes.get(&path).map(|znode| znode.data);
            match found.map(|found| wire::decode::<Report>(&found)) {
                Some(Ok(report)) if report.serving == named("r1") => Ok(()),
                _ => Err("no report"),
            }
        });
    }
    agent.logs(&["somebody else has written our report"]);
    // Not at once, each time: two hosts of one name must not hammer ZooKeeper.
    let version = || {
        agent
            .znodes
            .get(&path)
            .map_or(0, |znode| znode.stat.version)
    };
    let before = version();
    for _ in 0..50 {
        agent.znodes.put(&path, "x");
    }
    let ours = version() - before - 50;
    assert!(ours <= 2, "{ours} reports against 50 of others");
    assert_eq!(web.pids(), pids);
    eventually("it is replaced", LIMIT, || {
        let found = agent.znodes.get(&path).map(|znode| znode.data);
        found.filter(|data| data != b"x").ok_or("x")
    });
    web.deploy("r2", 2);
    web.serves("r2");
}
