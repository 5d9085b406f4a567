//! SIGTERM in the middle of each step, and then a start, as in an upgrade: it ends soon and well,
//! no instance is left drained or down, and the next run goes to the target.
//!
//! A flip and a prune are over too soon to be met here; `agent_kills` kills deployd after each
//! change that it makes, theirs too. `DEPLOY_TEST_LONG=1 cargo test -p tests --test agent_stops`
//! also waits for a restart that never ends.

use std::collections::BTreeSet;
use std::env;
use std::fs;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use deploy_core::wire::report::{Phase, Report};
use nix::sys::signal::Signal;
use serde_json::{Value, json};
use tests::agent::{Agent, Drain, LIMIT, Settings};
use tests::archives::{Tar, gzip, program};
use tests::builds::{Health, Serve};
use tests::eventually::eventually;
use tests::service::Service;
use tests::supervisor::{Answer, get};
use tests::witness::{Promise, Witness};

/// Within this the unit allows deployd to end.
const STOP_MAX: Duration = Duration::from_secs(90);

fn all_programs(settings: &mut Settings) {
    settings.services[0].drain = Drain::Command(30);
    settings.services[0].hooks = &["post_extract", "post_install", "post_restart"];
}

fn serving(change: impl FnOnce(&mut Settings)) -> Option<Agent> {
    let agent = Agent::start_with(change)?;
    agent.web().deploy("r1", 1);
    agent.web().serves("r1");
    Some(agent)
}

/// Tells deployd to stop; returns when it has heard.
#[track_caller]
fn begin_stop(agent: &Agent) {
    let told = || agent.log().matches("told to stop").count();
    let before = told();
    agent.terminate();
    eventually("it is told", LIMIT, || {
        if told() > before { Ok(()) } else { Err(before) }
    });
}

/// Nobody is left drained: whoever was told to drain was told the contrary since.
#[track_caller]
fn nobody_is_drained(web: &Service<'_>) {
    for unit in ["web-1", "web-2"] {
        let asked = web.agent.supervisor.asked("traffic ");
        let last = asked.iter().rfind(|line| line.contains(unit));
        let is_open = last.is_none_or(|line| line.starts_with("traffic undrain"));
        assert!(is_open, "{unit}: {asked:?}");
    }
}

/// All instances serve one build: the one before, or the new one.
#[track_caller]
fn all_serve_one_of(web: &Service<'_>, builds: [&str; 2]) {
    let answers = web.ports.iter().map(|port| get(*port, "/"));
    let served: BTreeSet<_> = answers.map(|answer| answer.map(|(_, body)| body)).collect();
    let all = |build: &str| served == BTreeSet::from([Ok(build.to_owned())]);
    assert!(
        builds.into_iter().any(all),
        "{served:?}, not one of {builds:?}"
    );
}

#[test]
fn in_each_program() {
    let Some(agent) = serving(all_programs) else {
        return;
    };
    let web = agent.web();
    // What is asked, whether it is done when it is held, and how often it is asked in all.
    let points = [
        ("hook web post_extract", Answer::HoldBefore, 2),
        ("hook web post_install", Answer::HoldBefore, 1),
        ("traffic drain web-1", Answer::HoldBefore, 1),
        ("restart web-1", Answer::HoldBefore, 1),
        ("restart web-1", Answer::HoldAfter, 1),
        ("traffic undrain web-1", Answer::HoldBefore, 1),
        ("traffic drain web-2", Answer::HoldBefore, 1),
        ("restart web-2", Answer::HoldAfter, 1),
        ("traffic undrain web-2", Answer::HoldAfter, 1),
        ("hook web post_restart", Answer::HoldBefore, 2),
    ];
    let witness = Witness::start(&web, Promise::OneServes);
    let mut last = "r1".to_owned();
    for (rollout, (program, answer, times)) in (2..).zip(points) {
        let build = format!("r{rollout}");
        let asked = agent.supervisor.asked(program).len();
        let restarts = agent.supervisor.asked("restart").len();
        agent.supervisor.on(program, answer.clone());
        web.deploy(&build, rollout);
        agent.supervisor.wait_asked(program, asked);
        let begin = Instant::now();
        begin_stop(&agent);
        agent.supervisor.let_go();
        assert_eq!(agent.wait(), Some(0), "{program}");
        assert!(
            begin.elapsed() < STOP_MAX,
            "{program}: {:?}",
            begin.elapsed()
        );
        nobody_is_drained(&web);
        all_serve_one_of(&web, [&last, &build]);
        agent.run();
        web.serves(&build);
        nobody_is_drained(&web);
        eventually("all hooks have run", LIMIT, || {
            let hook = format!("hook web post_restart {build}");
            let ran = agent.supervisor.asked(&hook).len();
            if ran > 0 { Ok(()) } else { Err(ran) }
        });
        let found = agent.supervisor.asked(program).len() - asked;
        assert_eq!(found, times, "{program} {answer:?}");
        let restarted = agent.supervisor.asked("restart").len() - restarts;
        assert_eq!(
            restarted, 2,
            "{program} {answer:?}: nobody is restarted twice"
        );
        assert_eq!(web.leases(), [""; 0], "{program}");
        last = build;
    }
    witness.finish();
}

/// Stops it when a report is as wanted, and starts it again.
#[track_caller]
fn stop_at(web: &Service<'_>, what: &str, wanted: impl FnMut(&Report) -> bool) {
    web.until(what, wanted);
    let begin = Instant::now();
    assert_eq!(web.agent.stop(), Some(0), "{what}");
    assert!(begin.elapsed() < STOP_MAX, "{what}: {:?}", begin.elapsed());
}

fn at_step(name: &'static str) -> impl FnMut(&Report) -> bool {
    move |report| report.step.as_ref().is_some_and(|step| step.name == name)
}

#[test]
fn while_it_fetches_extracts_and_waits() {
    let Some(agent) = serving(|_| {}) else { return };
    let web = agent.web();
    let witness = Witness::start(&web, Promise::AllServe);
    let pids = web.pids();
    let artifact = agent.builds.add("r2", Health::Ok);
    agent.builds.serve("r2", Serve::Stalled);
    web.enable(&web.target("r2", 2, &artifact));
    stop_at(&web, "fetching", |report| {
        report.step.as_ref().is_some_and(|step| step.done > Some(0))
    });
    let left = fs::read_dir(agent.path("state/downloads")).map(Iterator::count);
    assert_eq!(left.unwrap_or(0), 0);
    // Large enough to be met while it is unpacked.
    let ballast = vec![0; 48 << 20];
    let tar = Tar::new()
        .file("greeting", b"r3")
        .file("health", b"ok")
        .file("ballast", &ballast);
    let artifact = agent.builds.add_archive("r3", gzip(&tar.end()));
    web.put(&web.znodes.hold(), r#"{"v":1,"by":"alice"}"#);
    web.enable(&web.target("r3", 3, &artifact));
    agent.run();
    eventually("it is unpacked", LIMIT, || {
        let found = web.releases();
        let partial = found.iter().any(|name| name.contains("partial"));
        if partial || found.contains(&"r3".to_owned()) {
            Ok(())
        } else {
            Err(found)
        }
    });
    assert_eq!(agent.stop(), Some(0));
    agent.run();
    stop_at(&web, "held", |report| {
        report.phase == Phase::Waiting
            && report
                .target
                .as_ref()
                .is_some_and(|build| build.as_str() == "r3")
    });
    assert_eq!(web.releases(), ["r1", "r3"]);
    let place = format!("{}/other-0000000000", web.znodes.leases());
    web.put(&place, r#"{"v":1,"host":"other","nonce":"n"}"#);
    web.delete(&web.znodes.hold());
    agent.run();
    stop_at(&web, "in the restart queue", |report| {
        let detail = report.step.as_ref().and_then(|step| step.detail.as_deref());
        detail == Some("waits for a lease")
    });
    witness.finish();
    assert_eq!((web.pids(), web.current().as_deref()), (pids, Some("r1")));
    web.delete(&place);
    agent.run();
    web.serves("r3");
    assert_eq!(
        web.leases(),
        [""; 0],
        "one place in the queue, found again and given back"
    );
}

#[test]
fn while_a_bad_build_is_probed() {
    let Some(agent) = serving(all_programs) else {
        return;
    };
    let web = agent.web();
    let witness = Witness::start(&web, Promise::OneServes);
    web.deploy_with("r2", 2, Health::Sick);
    stop_at(&web, "probing", at_step("probe"));
    nobody_is_drained(&web);
    web.is_at("r1");
    agent.run();
    web.failed("r2", "r1");
    witness.finish();
}

#[test]
fn while_it_is_burnt_in() {
    let Some(agent) = serving(|settings| settings.services[0].burn_in_s = 2.0) else {
        return;
    };
    let web = agent.web();
    let witness = Witness::start(&web, Promise::OneServes);
    let restarts = agent.supervisor.asked("restart").len();
    web.deploy("r2", 2);
    stop_at(&web, "burning in", at_step("burn_in"));
    web.is_at("r2");
    assert_eq!(web.leases().len(), 1, "it is not proven yet");
    agent.run();
    web.until("burning in again", at_step("burn_in"));
    web.serves("r2");
    assert_eq!(agent.supervisor.asked("restart").len() - restarts, 2);
    witness.finish();
}

#[test]
fn an_upgrade_in_the_middle_of_a_restart() {
    let Some(agent) = serving(all_programs) else {
        return;
    };
    let web = agent.web();
    assert_eq!(agent.stop(), Some(0));
    // The older one lies elsewhere, and is gone when the newer one runs.
    let old = agent.path("deployd-old");
    fs::copy(program("deployd"), &old).expect("a program can be copied");
    let mut command = Command::new(&old);
    command.arg("run").arg("--config").arg(agent.config());
    command
        .env_remove("JOURNAL_STREAM")
        .stdin(Stdio::null())
        .stdout(Stdio::null());
    agent.log_to(&mut command);
    agent.adopt(command);
    let witness = Witness::start(&web, Promise::OneServes);
    let restarts = agent.supervisor.asked("restart").len();
    agent.supervisor.on("restart web-1", Answer::HoldAfter);
    web.deploy("r2", 2);
    agent.supervisor.wait_asked("restart web-1", 1);
    begin_stop(&agent);
    fs::remove_file(&old).expect("it can be removed while it runs");
    agent.supervisor.let_go();
    assert_eq!(agent.wait(), Some(0));
    web.is_at("r2");
    agent.run();
    web.serves("r2");
    assert_eq!(agent.supervisor.asked("restart").len() - restarts, 2);
    witness.finish();
}

#[test]
fn the_journal_of_an_older_deployd() {
    let Some(agent) = serving(|_| {}) else { return };
    let web = agent.web();
    let pids = web.pids();
    let path = agent.path("state/journal/web.json");
    let read = || -> Value {
        let text = fs::read(&path).expect("there is a journal");
        serde_json::from_slice(&text).expect("it is JSON")
    };
    // What an older one may not have known, and a newer one of the same version may.
    for missing in [
        &["begun"][..],
        &[
            "begun",
            "burned_in",
            "finished",
            "digests",
            "prepared",
            "units",
        ],
    ] {
        assert_eq!(agent.stop(), Some(0));
        let mut journal = read();
        let object = journal.as_object_mut().expect("it is an object");
        missing.iter().for_each(|field| drop(object.remove(*field)));
        object.insert("of_another".to_owned(), json!({ "deployd": 1 }));
        fs::write(&path, journal.to_string()).expect("a file can be written");
        agent.run();
        web.looks_again();
        web.is_at("r1");
        assert_eq!(web.pids(), pids, "without {missing:?}");
    }
    web.deploy("r2", 2);
    web.serves("r2");
}

#[test]
fn in_a_restart_that_never_ends() {
    if env::var_os("DEPLOY_TEST_LONG").is_none() {
        eprintln!("SKIPPED: it takes a minute; DEPLOY_TEST_LONG=1 runs it");
        return;
    }
    let Some(agent) = serving(all_programs) else {
        return;
    };
    let web = agent.web();
    agent.supervisor.on("restart web-1", Answer::HoldBefore);
    web.deploy("r2", 2);
    agent.supervisor.wait_asked("restart web-1", 1);
    let begin = Instant::now();
    agent.terminate();
    eventually("deployd ends", 2 * STOP_MAX, || {
        if agent.is_running() { Err(()) } else { Ok(()) }
    });
    println!(
        "figure: stopped in {:.0?} with a restart that hangs",
        begin.elapsed()
    );
    assert!(begin.elapsed() < STOP_MAX, "{:?}", begin.elapsed());
    assert_eq!(agent.wait(), Some(0));
    agent.supervisor.let_go();
    agent.run();
    // It was begun three times, and hung each time: that is a failure.
    web.failed("r2", "r1");
    nobody_is_drained(&web);
}

/// What it was told waits with it.
#[test]
fn a_frozen_deployd_that_is_told_to_stop_ends_when_it_goes_on() {
    let Some(agent) = serving(|_| {}) else { return };
    let status = format!("/proc/{}/status", agent.pid());
    let says = |line: &str| {
        eventually(line, LIMIT, || {
            let status = fs::read_to_string(&status).unwrap_or_default();
            let found = status.lines().any(|found| found.starts_with(line));
            if found { Ok(()) } else { Err(status) }
        });
    };
    agent.signal(Signal::SIGSTOP);
    says("State:\tT");
    std::thread::scope(|scope| {
        let stopping = scope.spawn(|| agent.stop());
        says("ShdPnd:\t0000000000004000");
        agent.signal(Signal::SIGCONT);
        assert_eq!(stopping.join().expect("it ends"), Some(0));
    });
    agent.run();
    agent.web().serves("r1");
}
