//! What fails is undone, at once and by itself, and says why.

use std::fs;
use std::process::{Command, Output};
use std::time::Duration;

use deploy_core::wire::report::{Phase, Report};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::json;
use tests::agent::{Agent, LIMIT, Settings, zookeeper};
use tests::archives::program;
use tests::builds::Health;
use tests::eventually::eventually;
use tests::service::{Service, named};
use tests::supervisor::{Answer, get};
use tests::witness::{Promise, Witness};

fn hooked(settings: &mut Settings) {
    settings.services[0].hooks = &["post_extract", "post_install"];
}

/// Asserts that the report of a failure says this, and that the host keeps its lease.
#[track_caller]
fn says(web: &Service<'_>, report: &Report, (step, words): (&str, &[&str])) {
    let error = report.error.as_ref().expect("a failure has a reason");
    assert_eq!(
        (error.step.as_str(), error.kind.as_str()),
        (step, "rejected")
    );
    for word in words {
        let said = error.message.contains(word) || error.log.iter().any(|line| line.contains(word));
        assert!(said, "{word} is not in {error:?}");
    }
    let log = web.agent.log();
    let rejected = log
        .lines()
        .filter(|line| line.contains("build rejected"))
        .collect::<Vec<_>>();
    assert_eq!(rejected.len(), 1, "{rejected:?}");
}

/// Starts an agent with hooks that serves `r1`.
fn at_r1() -> Option<Agent> {
    let agent = Agent::start_with(hooked)?;
    agent.web().deploy("r1", 1);
    agent.web().serves("r1");
    Some(agent)
}

#[test]
fn a_failed_post_extract_never_flips() {
    let Some(agent) = at_r1() else { return };
    let web = agent.web();
    let witness = Witness::start(&web, Promise::AllServe);
    let pids = web.pids();
    agent.supervisor.on(
        "hook web post_extract r2",
        Answer::Fail("pip: no such package".into()),
    );
    web.deploy("r2", 2);
    let report = web.failed("r2", "r1");
    says(
        &web,
        &report,
        (
            "post_extract",
            &["exit 7", "build r2", "pip: no such package"],
        ),
    );
    witness.finish();
    assert_eq!(web.pids(), pids);
    assert_eq!(agent.supervisor.asked("hook web post_install r2"), [""; 0]);
    // What failed before the host left service holds nobody else up.
    assert_eq!((report.lease, web.leases().len()), (false, 0));
    // The release of a failed hook is not kept: a new try starts from the archive.
    web.until("the release is gone", |report| {
        report.releases == [named("r1").expect("a name")]
    });
}

#[test]
fn a_failed_post_install_goes_back() {
    let Some(agent) = at_r1() else { return };
    let web = agent.web();
    let witness = Witness::start(&web, Promise::AllServe);
    let pids = web.pids();
    agent.supervisor.on(
        "hook web post_install r2",
        Answer::Fail("disk of the database is full".into()),
    );
    web.deploy("r2", 2);
    let report = web.failed("r2", "r1");
    says(
        &web,
        &report,
        ("post_install", &["exit 7", "disk of the database is full"]),
    );
    witness.finish();
    assert_eq!(web.pids(), pids, "nobody had left r1");
    assert_eq!((report.lease, web.leases().len()), (true, 1));
}

#[test]
fn a_failed_restart_goes_back() {
    let Some(agent) = at_r1() else { return };
    let web = agent.web();
    let witness = Witness::start(&web, Promise::OneServes);
    let pids = web.pids();
    agent
        .supervisor
        .on("restart web-1", Answer::FailOnce("unit is masked".into()));
    web.deploy("r2", 2);
    let report = web.failed("r2", "r1");
    says(
        &web,
        &report,
        ("restart", &["web-1", "exit 7", "unit is masked"]),
    );
    witness.finish();
    assert_eq!(web.pids()[1], pids[1], "the other one was never touched");
    assert_eq!((report.lease, web.leases().len()), (true, 1));
}

#[test]
fn a_sick_build_goes_back() {
    goes_back(
        Health::Sick,
        &[
            "web-1",
            "did not pass its probe in 5 s",
            "status 500, expected 200",
        ],
    );
}

#[test]
fn a_build_that_dies_at_start_goes_back() {
    goes_back(Health::Dies, &["web-1", "did not pass its probe in 5 s"]);
}

fn goes_back(health: Health, words: &[&str]) {
    let Some(agent) = at_r1() else { return };
    let web = agent.web();
    let witness = Witness::start(&web, Promise::OneServes);
    let pids = web.pids();
    web.deploy_with("r2", 2, health);
    let report = web.failed("r2", "r1");
    says(&web, &report, ("probe", words));
    witness.finish();
    assert_eq!(web.pids()[1], pids[1], "the other one was never touched");
    assert_ne!(web.pids()[0], pids[0]);
    assert_eq!((report.lease, web.leases().len()), (true, 1));
    assert_eq!(report.previous, None);
    // It is not tried again, and a good build finds the way out.
    web.looks_again();
    assert_eq!(agent.supervisor.asked("restart web-1").len(), 3);
    web.deploy("r3", 3);
    web.serves("r3");
    assert_eq!(web.leases(), [""; 0]);
}

#[test]
fn an_instance_that_dies_in_the_burn_in_goes_back() {
    let agent = Agent::start_with(|settings| settings.services[0].burn_in_s = 2.0);
    let Some(agent) = agent else { return };
    let web = agent.web();
    web.deploy("r1", 1);
    web.serves("r1");
    web.deploy("r2", 2);
    web.until("the burn-in has begun", |report| {
        report
            .step
            .as_ref()
            .is_some_and(|step| step.name == "burn_in")
            && report.current == named("r2")
    });
    agent.supervisor.kill("web-2");
    let report = web.failed("r2", "r1");
    says(&web, &report, ("burn_in", &["web-2"]));
}

#[test]
fn a_first_build_that_fails_has_nowhere_to_go() {
    let Some(agent) = Agent::start_with(hooked) else {
        return;
    };
    let web = agent.web();
    web.deploy_with("r1", 1, Health::Sick);
    let report = web.until("failed", |report| report.phase.as_str() == "failed");
    says(&web, &report, ("probe", &["web-1", "status 500"]));
    assert_eq!(
        (report.current.clone(), report.previous.clone()),
        (named("r1"), None)
    );
    assert_eq!((report.lease, web.leases().len()), (true, 1));
    let restarts = agent.supervisor.asked("restart").len();
    web.looks_again();
    assert_eq!(agent.supervisor.asked("restart").len(), restarts);
    web.deploy("r2", 2);
    web.serves("r2");
}

#[test]
fn a_failed_host_restarted_finds_that_it_has_failed() {
    let Some(agent) = Agent::start_with(hooked) else {
        return;
    };
    let web = agent.web();
    let first = web.deploy("r1", 1);
    web.serves("r1");
    web.deploy_with("r2", 2, Health::Sick);
    let before = web.failed("r2", "r1");
    let restarts = agent.supervisor.asked("restart").len();
    agent.kill();
    agent.run();
    web.looks_again();
    let after = web.failed("r2", "r1");
    assert_eq!((after.error, after.lease), (before.error, true));
    assert_eq!(agent.supervisor.asked("restart").len(), restarts);
    // Rolled back for the service: nothing to do but to give the lease back.
    web.enable(&json!({ "v": 1, "build": "r1", "rollout": 3, "artifact": first }));
    web.serves("r1");
    assert_eq!(agent.supervisor.asked("restart").len(), restarts);
    assert_eq!(web.leases(), [""; 0]);
}

#[test]
fn a_host_whose_way_back_fails_too_has_failed_and_may_try_again() {
    let Some(server) = zookeeper() else { return };
    let agent = Agent::prepare(server, |_| {});
    let ctl = |line: &str| {
        let address = format!("{}{}", agent.settings.zookeeper, agent.root().path());
        let mut command = Command::new(program("deployctl"));
        let output = command
            .args(["--zk", &address])
            .args(line.split(' '))
            .output();
        output.expect("deployctl can be started")
    };
    ends(&ctl("init"), 0, "");
    for (build, health) in [("r1", Health::Ok), ("r2", Health::Sick)] {
        let artifact = agent.builds.add(build, health);
        let (url, sha256, size) = (&artifact.url, &artifact.sha256, artifact.size);
        let line = format!("build add web {build} --url {url} --sha256 {sha256} --size {size}");
        ends(&ctl(&line), 0, "");
    }
    agent.run();
    let web = agent.web();
    ends(&ctl("deploy web r1 --detach --force"), 0, "");
    web.serves("r1");
    // What r1 needs of the host is gone as well: so it passes its probe no more.
    let health = web.dir.join("releases/r1/health");
    fs::write(&health, "sick").expect("a file can be written");
    let failed = ctl("deploy web r2 --timeout 60s");
    ends(&failed, 3, "rollout #2 of web failed on h1");
    ends(&failed, 3, "h1 is not back in service");
    let way_back = "the second try on the way back has failed";
    web.until(way_back, |report| {
        report.phase == Phase::RollingBack
            && report.step.as_ref().is_some_and(|step| step.attempt > 2)
    });
    let retry = "deployctl host retry h1 web";
    ends(&ctl("host show h1 web"), 0, retry);
    ends(&ctl("host retry h1 web --detach"), 0, "r2  retry");
    // It first comes back at r1, which is mended, and then tries r2, which is as bad as before.
    fs::write(&health, "ok").expect("a file can be written");
    let mut restart = Command::new(program("instance"));
    restart.arg("ask").arg(agent.path("supervisor"));
    restart.args(["restart", "web-1", &web.ports[0].to_string()]);
    let restarted = restart.arg(&web.dir).output();
    ends(&restarted.expect("instance can be started"), 0, "");
    eventually("r2 was tried again", LIMIT, || {
        match agent.log().matches("build rejected").count() {
            2 => Ok(()),
            other => Err(other),
        }
    });
    web.failed("r2", "r1");
}

#[track_caller]
fn ends(output: &Output, code: i32, says: &str) {
    let told = [&output.stdout[..], &output.stderr].concat();
    let told = String::from_utf8_lossy(&told);
    assert_eq!(output.status.code(), Some(code), "{told}");
    assert!(told.contains(says), "{told}");
}

#[test]
fn the_instance_that_is_dead_is_restarted_first() {
    let Some(agent) = Agent::start() else { return };
    let web = agent.web();
    web.deploy("r1", 1);
    web.serves("r1");
    agent.supervisor.kill("web-2");
    let witness = Witness::start(&web, Promise::OneServes);
    let report = web.looks_again();
    let states: Vec<&str> = report
        .instances
        .iter()
        .map(|it| it.state.as_str())
        .collect();
    assert_eq!(states, ["serving", "down"]);
    web.deploy("r2", 2);
    web.serves("r2");
    let asked = agent.supervisor.asked("restart");
    let units: Vec<_> = asked
        .iter()
        .filter_map(|line| line.split(' ').nth(1))
        .collect();
    assert_eq!(units, ["web-1", "web-2", "web-2", "web-1"]);
    witness.finish();
}

#[test]
fn a_build_is_not_blamed_for_an_agent_that_stood_still() {
    let Some(agent) = Agent::start() else { return };
    let web = agent.web();
    web.deploy("r1", 1);
    web.serves("r1");
    agent.supervisor.on("restart web-1", Answer::HoldAfter);
    web.deploy("r2", 2);
    // It does not answer before deployd stands still, and answers long before that goes on.
    let instance = eventually("it is started", LIMIT, || {
        match (agent.supervisor.pid("web-1"), get(web.ports[0], "/")) {
            (Some(pid), Ok((200, build))) if build == "r2" => Ok(pid),
            found => Err(found),
        }
    });
    let instance = Pid::from_raw(i32::try_from(instance).expect("a process id fits"));
    kill(instance, Signal::SIGSTOP).expect("it runs");
    let probes = || agent.log().matches("step begun: probe 1").count();
    let before = probes();
    agent.supervisor.let_go();
    eventually("it is probed", LIMIT, || match probes() {
        now if now > before => Ok(()),
        now => Err(now),
    });
    agent.signal(Signal::SIGSTOP);
    kill(instance, Signal::SIGCONT).expect("it runs");
    std::thread::sleep(Duration::from_secs_f64(
        agent.settings.services[0].probe_timeout_s + 1.0,
    ));
    agent.signal(Signal::SIGCONT);
    web.serves("r2");
}
