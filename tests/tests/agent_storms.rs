//! Targets that change faster than anybody can follow: the agent takes the last, and is none the
//! worse for the others.

use std::fs;
use std::time::{Duration, Instant};

use deploy_core::wire::report::Phase;
use serde_json::Value;
use tests::agent::{Agent, LIMIT};
use tests::builds::Health;
use tests::eventually::eventually;
use tests::usage::Usage;
use tests::witness::{Promise, Witness};

/// Changes of the target.
const CHANGES: u64 = 10_000;
/// Builds that the targets name in turn.
const BUILDS: u64 = 20;
/// Memory that the agent may keep after the storm, besides what it had.
const RSS_MORE_MAX: u64 = 24 << 20;
/// Connections and what else is open for a moment.
const FILES_MORE_MAX: usize = 8;
/// Threads for blocking work come and go.
const THREADS_MORE_MAX: usize = 8;
/// Of the log, in bytes: at level debug, with several lines a look.
const LOG_BYTES_MAX: u64 = 2 << 20;

#[test]
fn ten_thousand_changes_of_the_target() {
    let Some(agent) = Agent::start() else { return };
    let web = agent.web();
    let artifacts: Vec<_> = (0..BUILDS)
        .map(|number| agent.builds.add(&format!("s{number}"), Health::Ok))
        .collect();
    let target = |number: u64| -> Value {
        let build = number % BUILDS;
        web.target(&format!("s{build}"), number, &artifacts[build as usize])
    };
    web.deploy("r1", 1);
    web.serves("r1");
    let log_before = agent.log().len();
    let downloads_before = agent.builds.downloads_in_all();
    let reports = || {
        agent
            .znodes
            .get(&web.znodes.host(&web.host))
            .map(|z| z.stat.version)
    };
    let reports_before = reports();
    let before = Usage::of(agent.pid());
    let witness = Witness::start(&web, Promise::OneServes);
    let begin = Instant::now();
    for number in 2..CHANGES {
        web.enable(&target(number));
    }
    let took = begin.elapsed();
    let most = Usage::of(agent.pid());
    web.deploy("last", CHANGES);
    web.serves("last");
    witness.finish();
    let seconds = took.as_secs() + 1;
    let after = settled(&agent, &before);
    let log = (agent.log().len() - log_before) as u64;
    let downloads = agent.builds.downloads_in_all() - downloads_before;
    let written = reports().zip(reports_before).map(|(now, then)| now - then);
    let restarts = agent.supervisor.asked("restart").len();
    println!(
        "figure: {CHANGES} targets in {took:.1?}: {downloads} downloads begun, {restarts} restarts, {written:?} \
         reports, {log} bytes of log; memory {} -> {} -> {} KiB, processor {:?}",
        before.rss_bytes >> 10,
        most.rss_bytes >> 10,
        after.rss_bytes >> 10,
        after.processor - before.processor,
    );
    assert!(log < LOG_BYTES_MAX, "{log} bytes of log");
    assert!(
        downloads as u64 <= 20 * seconds,
        "{downloads} downloads in {seconds} s"
    );
    assert_eq!(web.leases(), [""; 0]);
    // Kept: the current one, the last verified, and `keep`.
    assert!(web.releases().len() <= 8, "{:?}", web.releases());
    let left = fs::read_dir(agent.path("state/downloads")).map(Iterator::count);
    assert_eq!(left.unwrap_or(0), 0);
}

/// Waits until the agent takes about what it took before.
fn settled(agent: &Agent, before: &Usage) -> Usage {
    eventually("the agent takes what it took before", LIMIT, || {
        let now = Usage::of(agent.pid());
        let is_back = now.rss_bytes <= before.rss_bytes + RSS_MORE_MAX
            && now.files <= before.files + FILES_MORE_MAX
            && now.threads <= before.threads + THREADS_MORE_MAX;
        if is_back {
            Ok(now)
        } else {
            Err((*before, now))
        }
    })
}

/// So long nothing happens, and the agent has to be quiet.
const QUIET: Duration = Duration::from_secs(2);

#[test]
fn a_target_that_flaps_is_no_reason_to_restart() {
    let Some(agent) = Agent::start() else { return };
    let web = agent.web();
    let first = web.deploy("r1", 1);
    web.serves("r1");
    let pids = web.pids();
    let witness = Witness::start(&web, Promise::AllServe);
    let nothing = web.znodes.enabled();
    // Each of these would be a deployment, an uninstallation or an error if it were taken alone.
    for number in 0..300_u64 {
        match number % 4 {
            0 => web.put(&nothing, ""),
            1 => web.put(&nothing, "{"),
            2 => web.delete(&nothing),
            _ => web.enable(&web.target("r1", number, &first)),
        }
    }
    web.until("the last is seen", |report| {
        report.rollout == Some(299) && report.phase == Phase::Serving
    });
    let before = Usage::of(agent.pid()).processor;
    std::thread::sleep(QUIET);
    let spent = Usage::of(agent.pid()).processor - before;
    assert!(
        spent < QUIET / 4,
        "{spent:?} of processor time in {QUIET:?} of quiet"
    );
    witness.finish();
    assert_eq!(web.pids(), pids);
}
