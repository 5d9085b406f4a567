//! One fault each, at a known place: what went wrong once must not again.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use tests::agent::{Agent, LIMIT, ServiceSettings, zookeeper};
use tests::calls::{self, Answer, Call, Calls};
use tests::eventually::eventually;
use tests::supervisor::Answer as Held;

/// Starts an agent that serves `r1`, with its calls watched.
fn serving(hooks: &'static [&'static str]) -> Option<(Agent, Calls)> {
    let server = zookeeper().filter(|_| calls::available())?;
    let agent = Agent::prepare(server, |settings| {
        settings.services[0] = ServiceSettings {
            hooks,
            probe_timeout_s: 20.0,
            ..ServiceSettings::new("web")
        };
        settings.builds = "keep = 1".to_owned();
    });
    let calls = agent.calls();
    agent.run_watched(&calls);
    agent.web().deploy("r1", 1);
    agent.web().serves("r1");
    Some((agent, calls))
}

fn touches(call: &Call, end: &str) -> bool {
    call.paths
        .iter()
        .any(|path| path.to_string_lossy().contains(end))
}

#[test]
fn a_release_that_could_not_be_synced_is_fetched_anew() {
    let Some((agent, calls)) = serving(&["post_extract"]) else {
        return;
    };
    let (web, files) = (agent.web(), agent.files());
    // Of a release there is one before its rename, and one after its hook.
    for (rollout, fails) in [(2, 0), (3, 1)] {
        let build = format!("r{rollout}");
        let mut syncs = 0;
        calls.rule(move |call| {
            syncs += usize::from(call.name == "syncfs");
            match call.name == "syncfs" && syncs == fails + 1 {
                true => Answer::Fail(Errno::EIO),
                false => Answer::GoOn,
            }
        });
        web.deploy(&build, rollout);
        web.serves(&build);
        assert_eq!(agent.builds.downloads(&build), 2, "sync {fails} of {build}");
        assert_eq!(calls.counts()["syncfs"], 2 + fails as u64 + 1, "of {build}");
        assert_eq!(files.broken(), [""; 0]);
    }
}

#[test]
fn a_flip_that_could_not_be_synced_is_undone() {
    let Some((agent, calls)) = serving(&[]) else {
        return;
    };
    let web = agent.web();
    let hits = Arc::new(AtomicUsize::new(0));
    let hit = Arc::clone(&hits);
    calls.rule(move |call| {
        let flip = call.name == "fsync" && call.paths[0].ends_with("srv/web");
        match flip {
            true => {
                hit.fetch_add(1, Ordering::Relaxed);
                Answer::Fail(Errno::EIO)
            }
            false => Answer::GoOn,
        }
    });
    web.deploy("r2", 2);
    web.blocked(&["activate", "sync the directory of", "current", "os error 5"]);
    web.is_at("r1");
    eventually("it is tried again", LIMIT, || {
        match hits.load(Ordering::Relaxed) {
            hits if hits > 1 => Ok(()),
            hits => Err(hits),
        }
    });
    calls.let_go();
    web.serves("r2");
}

#[test]
fn a_hook_is_not_run_again_and_again_where_the_journal_is_full() {
    let Some((agent, calls)) = serving(&["post_restart"]) else {
        return;
    };
    let (web, hook) = (agent.web(), "hook web post_restart r2");
    agent.supervisor.on(hook, Held::HoldBefore);
    web.deploy("r2", 2);
    agent.supervisor.wait_asked(hook, 0);
    let hits = Arc::new(AtomicUsize::new(0));
    let hit = Arc::clone(&hits);
    calls.rule(move |call| match touches(call, "/state/journal/") {
        true => {
            hit.fetch_add(1, Ordering::Relaxed);
            Answer::Fail(Errno::ENOSPC)
        }
        false => Answer::GoOn,
    });
    let begin = Instant::now();
    agent.supervisor.let_go();
    let report = web.until("it is told", |report| report.error.is_some());
    let error = report.error.expect("it was waited for");
    assert!(error.message.contains("files are free in"), "{error:?}");
    assert!(
        error.message.contains("state/journal/web.json"),
        "{error:?}"
    );
    eventually("it is tried again", LIMIT, || {
        match hits.load(Ordering::Relaxed) {
            hits if hits > 8 => Ok(()),
            hits => Err(hits),
        }
    });
    // Each try makes a few calls, and there is half a second between two at least.
    assert!(
        begin.elapsed() > Duration::from_millis(500),
        "{:?}",
        begin.elapsed()
    );
    assert_eq!(agent.supervisor.asked(hook).len(), 1);
    calls.let_go();
    web.serves("r2");
}

#[test]
fn what_could_not_be_deleted_goes_before_the_next_release_comes() {
    let Some((agent, calls)) = serving(&[]) else {
        return;
    };
    let (web, files) = (agent.web(), agent.files());
    for rollout in 2..=3 {
        calls.rule(
            |call| match call.name == "unlinkat" && touches(call, ".trash/") {
                true => Answer::Fail(Errno::EIO),
                false => Answer::GoOn,
            },
        );
        let build = format!("r{rollout}");
        web.deploy(&build, rollout);
        web.serves(&build);
    }
    eventually("something is trash", LIMIT, || {
        match web.releases().iter().any(|name| name.ends_with(".trash")) {
            true => Ok(()),
            false => Err(web.releases()),
        }
    });
    calls.let_go();
    web.deploy("r4", 4);
    web.serves("r4");
    assert_eq!(files.leftovers(), [""; 0]);
}

#[test]
fn what_can_never_be_deleted_holds_nothing_up() {
    let Some((agent, calls)) = serving(&[]) else {
        return;
    };
    let web = agent.web();
    calls.rule(
        |call| match call.name == "unlinkat" && touches(call, ".trash/") {
            true => Answer::Fail(Errno::EPERM),
            false => Answer::GoOn,
        },
    );
    for rollout in 2..=6 {
        let build = format!("r{rollout}");
        web.deploy(&build, rollout);
        web.serves(&build);
    }
    let log = agent.log();
    for build in ["r1", "r2"] {
        let told = |line: &&str| line.contains("WARN") && line.contains(&format!(".{build}.trash"));
        let count = log.lines().filter(told).count();
        assert!((1..=2).contains(&count), "{count} warnings of {build}");
    }
}
