//! What an operator on the host sees of a deployd that runs, and changes: `status`, `reload`,
//! `log-level`, and metrics.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use deploy_core::wire::report::Phase;
use nix::sys::signal::Signal;
use serde_json::Value;
use tests::agent::{Agent, LIMIT, ServiceSettings, Settings, zookeeper};
use tests::builds::Health;
use tests::eventually::eventually;
use tests::ports;
use tests::supervisor::Answer;
use tests::witness::{Promise, Witness};

/// Says what a command of deployd ended with, and what it said.
fn ask(agent: &Agent, words: &[&str]) -> (Option<i32>, String, String) {
    let output = agent.output(words);
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (
        output.status.code(),
        text(&output.stdout),
        text(&output.stderr),
    )
}

fn status(agent: &Agent) -> Value {
    let (code, stdout, stderr) = ask(agent, &["status", "--json"]);
    assert_eq!(code, Some(0), "{stderr}");
    serde_json::from_str(&stdout).expect("it is JSON")
}

/// Sends a request over a stream, and returns all that comes back.
fn talk(mut stream: impl Read + Write, request: &str) -> String {
    let request = format!("{request} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).expect("it listens");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("it answers");
    answer
}

fn scrape(port: u16, path: &str) -> String {
    let stream = TcpStream::connect(("127.0.0.1", port)).expect("it listens");
    stream.set_read_timeout(Some(LIMIT)).expect("it can be set");
    talk(stream, &format!("GET {path}"))
}

fn metric(port: u16, line: &str) {
    eventually(&format!("the metric {line}"), LIMIT, || {
        let text = scrape(port, "/metrics");
        let found = text.lines().any(|seen| seen == line);
        if found { Ok(()) } else { Err(text) }
    });
}

/// Writes another configuration.
fn rewrite(agent: &Agent, change: (&str, &str)) {
    let text = fs::read_to_string(agent.config()).expect("it is there");
    let changed = text.replacen(change.0, change.1, 1);
    assert_ne!(changed, text, "`{}` is not in the configuration", change.0);
    fs::write(agent.config(), changed).expect("space");
}

/// An agent that serves metrics there, and doesn't run yet.
fn listening(address: &str) -> Option<Agent> {
    let agent = Agent::prepare(zookeeper()?, |_| {});
    let with = format!("[metrics]\nlisten = \"{address}\"\n[log]");
    rewrite(&agent, ("[log]", &with));
    Some(agent)
}

#[test]
fn metrics_say_what_is_and_count_what_was() {
    let port = ports::free();
    let Some(agent) = listening(&format!("127.0.0.1:{port}")) else {
        return;
    };
    agent.run();
    let web = agent.web();
    web.until("it is idle", |report| report.target.is_none());
    assert!(scrape(port, "/healthz").ends_with("\r\nok\n"));
    web.deploy("r1", 1);
    web.serves("r1");
    metric(port, "deployd_converged{service=\"web\"} 1");
    for line in [
        "deployd_build_info{version=\"0.1.0\"} 1",
        "deployd_zookeeper_connected 1",
        "deployd_phase{service=\"web\",phase=\"serving\"} 1",
        "deployd_wanted_build{service=\"web\",build=\"r1\"} 1",
        "deployd_running_build{service=\"web\",build=\"r1\"} 1",
        "deployd_lease{service=\"web\"} 0",
        "deployd_steps_total{service=\"web\",step=\"fetch\",result=\"done\"} 1",
        "deployd_step_duration_seconds_count{service=\"web\",step=\"activate\"} 1",
        "# TYPE deployd_steps counter",
        "# EOF",
    ] {
        metric(port, line);
    }
    let text = scrape(port, "/metrics");
    assert!(text.contains("content-type: application/openmetrics-text; version=1.0.0"));
    let bytes = agent.builds.bytes("r1").len();
    let downloaded = format!("deployd_download_bytes_total{{service=\"web\"}} {bytes}");
    assert!(text.contains(&downloaded), "{text}");
    assert!(scrape(port, "/readyz").ends_with("\r\nready\n"));
    // What changes something is not for everybody who can connect.
    for request in ["/v1/status", "/v1/reload", "/"] {
        assert!(
            scrape(port, request).starts_with("HTTP/1.1 404 "),
            "{request}"
        );
    }
    web.deploy_with("r2", 2, Health::Sick);
    web.failed("r2", "r1");
    metric(port, "deployd_converged{service=\"web\"} 0");
    let probes = "deployd_steps_total{service=\"web\",step=\"probe\",result=\"failed\"} 1";
    metric(port, probes);
    let ready = scrape(port, "/readyz");
    assert!(
        ready.starts_with("HTTP/1.1 503 ") && ready.ends_with("web: failed\n"),
        "{ready}"
    );
}

#[test]
fn who_connects_and_says_nothing_is_no_burden() {
    let port = ports::free();
    let Some(agent) = listening(&format!("127.0.0.1:{port}")) else {
        return;
    };
    agent.run();
    agent.web().until("it runs", |_| true);
    let silent: Vec<_> = (0..20)
        .map(|_| TcpStream::connect(("127.0.0.1", port)).expect("it listens"))
        .collect();
    // They are sent away in turns; then others are answered.
    assert!(scrape(port, "/healthz").ends_with("\r\nok\n"));
    drop(silent);
    let mut long = TcpStream::connect(("127.0.0.1", port)).expect("it listens");
    let _ = long.write_all(&vec![b'A'; 1 << 20]);
    let mut answer = Vec::new();
    let _ = long.read_to_end(&mut answer);
    assert!(!String::from_utf8_lossy(&answer).contains("200 OK"));
    assert!(scrape(port, "/healthz").ends_with("\r\nok\n"));
}

#[test]
fn an_address_that_is_taken_is_told_at_start() {
    let taken = std::net::TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
    let address = taken.local_addr().expect("it has one");
    let Some(agent) = listening(&address.to_string()) else {
        return;
    };
    let (code, _, stderr) = ask(&agent, &["run"]);
    assert_eq!(code, Some(1));
    let expected = format!("failed to serve metrics at {address}: Address already in use");
    assert!(stderr.contains(&expected), "{stderr}");
    // Nothing was begun by then: systemd tries this again and again, and a begin counts.
    let web = agent.web();
    web.deploy("r1", 1);
    ask(&agent, &["run"]);
    assert_eq!(agent.builds.downloads("r1"), 0);
}

#[test]
fn status_comes_from_the_socket_also_without_zookeeper() {
    let nowhere = ports::free();
    let Some(agent) = Agent::start_with(|settings| {
        settings.zookeeper = format!("127.0.0.1:{nowhere}");
    }) else {
        return;
    };
    let socket = agent.path("state/agent.sock");
    let now = eventually("it answers", LIMIT, || {
        let now = status(&agent);
        let is_down = |link: &str| link.starts_with("down: ");
        // It may be told that the link is down before anything is reported.
        match now["zookeeper"].as_str().is_some_and(is_down) && now["reports"][0].is_object() {
            true => Ok(now),
            false => Err(now),
        }
    });
    assert_eq!(now["running"], true);
    assert_eq!(now["log_level"], "debug");
    assert_eq!(now["reports"][0]["phase"], "waiting");
    let mode = fs::metadata(&socket)
        .expect("it is there")
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);
    let raw = UnixStream::connect(&socket).expect("it listens");
    assert!(talk(raw, "GET /readyz").contains("zookeeper: down: "));
    let (_, stdout, _) = ask(&agent, &["status"]);
    let pid = now["pid"].to_string();
    let first = format!("deployd 0.1.0 runs (pid {pid}); ZooKeeper down: ");
    assert!(stdout.starts_with(&first), "{stdout}");
    // Frozen, it still holds its lock.
    agent.signal(Signal::SIGSTOP);
    let (code, stdout, _) = ask(&agent, &["status"]);
    agent.signal(Signal::SIGCONT);
    assert_eq!(code, Some(0));
    assert!(
        stdout.contains("does not answer; this is what it reported last"),
        "{stdout}"
    );
}

#[test]
fn the_log_level_changes_for_a_while() {
    let Some(agent) = Agent::start() else { return };
    agent.web().until("it runs", |_| true);
    let (code, stdout, _) = ask(&agent, &["log-level", "warn", "--for", "2s"]);
    assert_eq!((code, stdout.as_str()), (Some(0), "logging warn for 2 s\n"));
    assert_eq!(status(&agent)["log_level"], "warn");
    eventually("the level has fallen back", LIMIT, || {
        match &status(&agent)["log_level"] {
            level if level == "debug" => Ok(()),
            level => Err(level.clone()),
        }
    });
    agent.logs(&["the log level has fallen back"]);
    for (words, expected) in [
        (
            &["log-level", "loud"][..],
            "`level` is \"loud\"; expected error, warn, info, debug or trace",
        ),
        (
            &["log-level", "info", "--for", "3w"],
            "`3w` is no time; expected 90s, 10m or 2h",
        ),
    ] {
        let (code, _, stderr) = ask(&agent, words);
        assert_eq!(code, Some(2));
        assert!(stderr.contains(expected), "{stderr}");
    }
    for level in ["", "zookeeper_async::io=trace"] {
        let (code, _, _) = ask(&agent, &["log-level", level]);
        assert_eq!(
            code,
            Some(2),
            "{level}: it would log the session's password"
        );
    }
    let body = r#"{"level":"debug","for_s":18446744073709551615}"#;
    let length = body.len();
    let post = format!(
        "POST /v1/log-level HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{body}"
    );
    let mut raw = UnixStream::connect(agent.path("state/agent.sock")).expect("it listens");
    raw.write_all(post.as_bytes()).expect("it reads");
    let mut answer = String::new();
    raw.read_to_string(&mut answer).expect("it answers");
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
    agent.stop();
    let (code, _, stderr) = ask(&agent, &["log-level", "info"]);
    assert_eq!(code, Some(5));
    assert!(stderr.contains("deployd does not answer at "), "{stderr}");
}

#[test]
fn a_wrong_configuration_changes_nothing() {
    let Some(agent) = Agent::start() else { return };
    let web = agent.web();
    web.deploy("r1", 1);
    web.serves("r1");
    let good = fs::read_to_string(agent.config()).expect("it is there");
    rewrite(&agent, ("burn_in_s", "brun_in_s"));
    let (code, _, stderr) = ask(&agent, &["reload"]);
    assert_eq!(code, Some(2));
    assert!(
        stderr.contains("did you mean `burn_in_s`?") && stderr.contains("| ^"),
        "{stderr}"
    );
    agent.signal(Signal::SIGHUP);
    agent.logs(&[
        "the configuration is not reloaded",
        "did you mean `burn_in_s`?",
    ]);
    web.deploy("r2", 2);
    web.serves("r2");
    fs::write(agent.config(), &good).expect("space");
    rewrite(&agent, ("session_timeout_s = 4", "session_timeout_s = 5"));
    let (code, _, stderr) = ask(&agent, &["reload"]);
    assert_eq!(code, Some(2));
    assert!(
        stderr.contains("[zookeeper] can't change while deployd runs; systemctl restart deployd"),
        "{stderr}"
    );
    fs::write(agent.config(), good).expect("space");
    let (code, stdout, _) = ask(&agent, &["reload"]);
    assert_eq!(code, Some(0));
    assert!(
        stdout.ends_with("deployd.toml: no service changes\n"),
        "{stdout}"
    );
}

fn two_services(settings: &mut Settings) {
    settings.services.push(ServiceSettings {
        hooks: &["post_extract"],
        ..ServiceSettings::new("api")
    });
}

#[test]
fn a_reload_disturbs_only_what_it_changes() {
    let Some(agent) = Agent::start_with(two_services) else {
        return;
    };
    let (web, api) = (agent.web(), agent.service("api"));
    web.deploy("r1", 1);
    api.deploy("a1", 1);
    web.serves("r1");
    api.serves("a1");
    let witness = Witness::start(&web, Promise::OneServes);
    // The other service is in the middle of a hook, and stays there.
    let hook = "hook api post_extract";
    let asked = agent.supervisor.asked(hook).len();
    agent.supervisor.on(hook, Answer::HoldBefore);
    api.deploy("a2", 2);
    agent.supervisor.wait_asked(hook, asked);
    rewrite(&agent, ("burn_in_s = 0", "burn_in_s = 0.2"));
    let (code, stdout, stderr) = ask(&agent, &["reload"]);
    assert_eq!(code, Some(0), "{stderr}");
    assert!(stdout.ends_with("deployd.toml: changed web\n"), "{stdout}");
    web.deploy("r2", 2);
    web.serves("r2");
    agent.logs(&["step done: burn_in r2"]);
    agent.supervisor.let_go();
    api.serves("a2");
    assert_eq!(agent.supervisor.asked(hook).len(), asked + 1, "it ran once");
    witness.finish();
}

#[test]
fn services_come_and_go_with_the_configuration() {
    let Some(agent) = Agent::start_with(two_services) else {
        return;
    };
    let (web, api) = (agent.web(), agent.service("api"));
    api.deploy("a1", 1);
    api.serves("a1");
    let both = fs::read_to_string(agent.config()).expect("it is there");
    let (first, _) = both.rsplit_once("\n[[service]]").expect("there are two");
    fs::write(agent.config(), first).expect("space");
    agent.signal(Signal::SIGHUP);
    agent.logs(&["the configuration is reloaded: removed api"]);
    let alive = api.znodes.alive(&api.host);
    eventually("its alive znode is gone", LIMIT, || {
        agent
            .znodes
            .get(&alive)
            .map_or(Ok(()), |znode| Err(znode.data))
    });
    let target = api.deploy("a2", 2);
    web.deploy("r1", 1);
    web.serves("r1");
    assert_eq!(api.current().as_deref(), Some("a1"), "it is left alone");
    assert_eq!(agent.builds.downloads("a2"), 0, "{target:?}");
    fs::write(agent.config(), &both).expect("space");
    let (code, stdout, _) = ask(&agent, &["reload"]);
    assert_eq!(code, Some(0));
    assert!(stdout.ends_with("deployd.toml: added api\n"), "{stdout}");
    api.serves("a2");
    assert!(agent.znodes.get(&alive).is_some());
}

#[test]
fn a_reload_mends_a_host_that_can_not_go_back_by_itself() {
    let Some(agent) = Agent::start_with(two_services) else {
        return;
    };
    let (web, api) = (agent.web(), agent.service("api"));
    web.deploy("r1", 1);
    web.serves("r1");
    // It worked once.
    let health = agent.path("srv/web/releases/r1/health");
    fs::write(health, "sick").expect("it can be written");
    web.deploy_with("r2", 2, Health::Sick);
    web.until("its way back fails", |report| {
        report.phase == Phase::RollingBack && report.error.is_some()
    });
    // What an operator does who knows better than the probe; it concerns the other service, too.
    rewrite(&agent, ("/healthz", "/"));
    rewrite(&agent, ("min_free_bytes = 0", "min_free_bytes = 1"));
    let (code, stdout, stderr) = ask(&agent, &["reload"]);
    assert_eq!(code, Some(0), "{stderr}");
    assert!(
        stdout.ends_with("deployd.toml: changed web, api\n"),
        "{stdout}"
    );
    api.deploy("a1", 1);
    api.serves("a1");
    web.failed("r2", "r1");
}

#[test]
fn a_stop_in_a_reload_is_a_stop() {
    let Some(agent) = Agent::start() else { return };
    let web = agent.web();
    web.deploy("r1", 1);
    web.serves("r1");
    // Halfway through a restart, which a reload and a stop let finish.
    agent.supervisor.on("restart web-1", Answer::HoldBefore);
    let asked = agent.supervisor.asked("restart web-1").len();
    web.deploy("r2", 2);
    agent.supervisor.wait_asked("restart web-1", asked);
    rewrite(&agent, ("burn_in_s = 0", "burn_in_s = 0.2"));
    let (code, stdout, _) = ask(&agent, &["reload"]);
    assert_eq!(code, Some(0));
    assert!(stdout.contains("changed web"), "{stdout}");
    agent.terminate();
    std::thread::sleep(Duration::from_millis(100));
    assert!(agent.is_running(), "the restart is waited for");
    // Nobody is started any more.
    let (code, _, stderr) = ask(&agent, &["reload"]);
    assert_eq!(code, Some(2));
    assert!(stderr.contains("deployd is about to end"), "{stderr}");
    agent.supervisor.let_go();
    assert_eq!(agent.wait(), Some(0));
    agent.run();
    web.serves("r2");
}
