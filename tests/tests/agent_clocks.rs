//! The clock of the host is set, by an hour and by a year, forward and back, in the middle of a
//! deployment: no deadline moves, nothing is skipped or done twice, and no hold ends by it.

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use deploy_core::wire::report::{Phase, Report};
use deploy_core::wire::time;
use jiff::{SignedDuration, Timestamp};
use serde_json::json;
use tests::agent::{Agent, Drain, LIMIT, zookeeper};
use tests::archives::program;
use tests::builds::{Health, Serve};
use tests::eventually::eventually;
use tests::faketime::FakeClock;
use tests::service::{Service, named};
use tests::supervisor::Answer;
use tests::witness::{Promise, Witness};
use tests::{missing, ports, spawn_tied};

/// How far the clock is set.
const JUMPS: [&str; 4] = ["+1h", "-1h", "+1y", "-1y"];
/// How long a bad build is probed, in seconds.
const PROBE_S: f64 = 4.0;
/// How long a good one is watched, in seconds.
const BURN_IN_S: f64 = 1.5;

/// Starts an agent with a clock of its own that serves `r1`.
/// The clock comes first, so that it goes last.
fn serving() -> Option<(FakeClock, Agent)> {
    let agent = Agent::prepare(zookeeper()?, |settings| {
        let service = &mut settings.services[0];
        service.drain = Drain::Command(30);
        service.hooks = &["post_extract", "post_restart"];
        service.probe_timeout_s = PROBE_S;
        service.burn_in_s = BURN_IN_S;
    });
    let clock = FakeClock::new(&agent.path(""))?;
    let mut command = agent.command(&["run"]);
    agent.log_to(&mut command);
    clock.give(&mut command);
    agent.adopt(command);
    agent.web().deploy("r1", 1);
    agent.web().serves("r1");
    Some((clock, agent))
}

fn all_jumps(check: impl Fn(&str) + Sync) {
    // Most of it is waiting.
    std::thread::scope(|scope| {
        for jump in JUMPS {
            let check = &check;
            scope.spawn(move || check(jump));
        }
    });
}

/// Sets the clock, and waits until deployd has seen it.
#[track_caller]
fn set(web: &Service<'_>, clock: &FakeClock, offset: &str) {
    let said = || {
        web.agent
            .log()
            .matches("the clock of this host was set")
            .count()
    };
    let before = said();
    clock.set(offset);
    // A look, whatever it is at.
    let role = web.znodes.role(&web.host);
    web.put(&role, r#"{"v":1,"role":"fleet"}"#);
    if offset != "+0" {
        eventually("deployd sees the clock", LIMIT, || {
            if said() > before { Ok(()) } else { Err(before) }
        });
    }
}

fn at_step(name: &'static str) -> impl FnMut(&Report) -> bool {
    move |report| report.step.as_ref().is_some_and(|step| step.name == name)
}

fn detail(report: &Report) -> Option<&str> {
    report.step.as_ref()?.detail.as_deref()
}

/// Before anything leaves service: in a download that stands still, and in the restart queue.
fn while_it_waits((web, clock): (&Service<'_>, &FakeClock), jump: &str) {
    let agent = web.agent;
    // It is neither given up nor begun anew.
    let artifact = agent.builds.add("r2", Health::Ok);
    agent.builds.serve("r2", Serve::Stalled);
    web.enable(&web.target("r2", 2, &artifact));
    web.until("half of it is there", |report| {
        report.step.as_ref().is_some_and(|step| step.done > Some(0))
    });
    set(web, clock, jump);
    web.until("fetching", at_step("fetch"));
    assert_eq!(agent.builds.downloads("r2"), 1);
    // Nobody's lease lapses.
    let policy = r#"{"v":1,"restart_concurrency":1,"lease_reclaim_s":600}"#;
    web.put(&web.znodes.policy(), policy);
    let place = format!("{}/dead-0000000000", web.znodes.leases());
    web.put(&place, r#"{"v":1,"host":"dead","nonce":"n"}"#);
    clock.set("+0");
    web.deploy("r3", 3);
    web.until("in the queue", |report| {
        detail(report) == Some("waits for a lease")
    });
    set(web, clock, jump);
    let report = web.looks_again();
    assert_eq!(
        (report.phase, report.lease),
        (Phase::Waiting, false),
        "{jump}"
    );
    let year = |text: Option<&str>| text.map(|text| text[..4].to_owned());
    if jump.ends_with('y') {
        let now = time::render(Timestamp::now());
        assert_ne!(
            year(report.at.as_deref()),
            year(Some(&now)),
            "it was not set"
        );
    }
    for program in PROGRAMS {
        agent.supervisor.on(program, Answer::HoldBefore);
    }
    web.delete(&place);
}

/// The programs in which the clock is set, and set right again in the next.
const PROGRAMS: [&str; 4] = [
    "traffic drain web-1",
    "restart web-1",
    "traffic undrain web-1",
    "restart web-2",
];

/// In each program, and while it is watched.
fn while_it_restarts((web, clock): (&Service<'_>, &FakeClock), jump: &str) {
    let agent = web.agent;
    for (program, offset) in PROGRAMS.iter().zip([jump, "+0", jump, "+0"]) {
        // The first was that of r1.
        agent.supervisor.wait_asked(program, 1);
        clock.set(offset);
        agent.supervisor.let_go_of(program);
    }
    web.until("burning in", at_step("burn_in"));
    let begin = Instant::now();
    clock.set(jump);
    web.serves("r3");
    let least = Duration::from_secs_f64(BURN_IN_S / 2.0);
    assert!(begin.elapsed() > least, "{jump}: not watched");
    let hook = "hook web post_restart r3";
    eventually("the last hook ran", LIMIT, || {
        let ran = agent.supervisor.asked(hook).len();
        if ran == 1 { Ok(()) } else { Err(ran) }
    });
}

#[test]
fn in_each_step() {
    all_jumps(|jump| {
        let Some((clock, agent)) = serving() else {
            return;
        };
        let web = agent.web();
        let witness = Witness::start(&web, Promise::OneServes);
        let restarts = agent.supervisor.asked("restart").len();
        while_it_waits((&web, &clock), jump);
        while_it_restarts((&web, &clock), jump);
        let restarted = agent.supervisor.asked("restart").len() - restarts;
        assert_eq!(restarted, 2, "{jump}: each once");
        // A probe has its time, and no more: the build is found bad, not the clock.
        clock.set("+0");
        web.deploy_with("r4", 4, Health::Sick);
        web.until("probing", at_step("probe"));
        let begin = Instant::now();
        clock.set(jump);
        web.failed("r4", "r3");
        let least = Duration::from_secs_f64(PROBE_S / 2.0);
        assert!(begin.elapsed() > least, "{jump}: not probed");
        witness.finish();
    });
}

#[test]
fn under_a_hold_that_ends() {
    all_jumps(|jump| {
        let Some((clock, agent)) = serving() else {
            return;
        };
        let web = agent.web();
        let witness = Witness::start(&web, Promise::AllServe);
        let pids = web.pids();
        let until = time::render(Timestamp::now() + SignedDuration::from_mins(30));
        let hold = json!({ "v": 1, "by": "alice", "until": until });
        web.put(&web.znodes.hold(), hold.to_string());
        web.deploy("r2", 2);
        let held = |report: &Report| detail(report) == Some("the service is held");
        web.until("held", held);
        for offset in [jump, "+0", jump] {
            set(&web, &clock, offset);
            for _ in 0..2 {
                let report = web.looks_again();
                assert!(held(&report), "{jump}, {offset}: {report:?}");
                assert_eq!(report.serving, named("r1"));
            }
        }
        witness.finish();
        assert_eq!(web.pids(), pids);
        web.delete(&web.znodes.hold());
        web.serves("r2");
    });
}

/// A server whose certificate nobody trusts; ends with the test.
struct TlsServer(Child);

impl Drop for TlsServer {
    fn drop(&mut self) {
        // Fails only if it is dead already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_server_that_is_not_trusted_is_told_with_the_time() {
    let dir = tempfile::tempdir().expect("a temporary directory can be made");
    let Some(clock) = FakeClock::new(dir.path()) else {
        return;
    };
    let openssl = |line: &str| {
        let mut command = Command::new("openssl");
        command.args(line.split(' ')).current_dir(dir.path());
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        command
    };
    let made = openssl(
        "req -x509 -newkey rsa:2048 -nodes -subj /CN=localhost -keyout key -out cert -days 2",
    )
    .status();
    if !made.is_ok_and(|status| status.success()) {
        missing("openssl", "no certificate can be made");
        return;
    }
    let port = ports::free();
    let serve = format!("s_server -accept 127.0.0.1:{port} -key key -cert cert -www");
    let _server = TlsServer(spawn_tied(openssl(&serve)));
    eventually("the server listens", LIMIT, || {
        std::net::TcpStream::connect(("127.0.0.1", port))
    });
    clock.set("+10y");
    let mut command = Command::new(program("deployd"));
    let file = dir.path().join("file");
    command
        .args(["fetch", &format!("https://localhost:{port}/x")])
        .arg(&file);
    command.args(["--sha256", &"0".repeat(64), "--size", "1"]);
    clock.give(&mut command);
    let output = command.output().expect("deployd can be started");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let year = (Timestamp::now() + SignedDuration::from_hours(10 * 365 * 24)).to_string();
    let words = format!("no trust in the server, at {}", &year[..4]);
    assert!(said.contains(&words), "`{words}` is not in {said}");
    assert_eq!(output.status.code(), Some(1));
    assert!(!file.exists());
}
