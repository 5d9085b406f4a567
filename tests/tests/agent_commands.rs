//! The commands of deployd, its end, and what it tells systemd.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::Output;
use std::time::Duration;

use deploy_core::wire::report::Phase;
use serde_json::Value;
use tests::agent::{Agent, LIMIT, ServiceSettings, Settings, zookeeper};
use tests::archives::tree;
use tests::builds::Health;
use tests::eventually::eventually;
use tests::missing;
use tests::service::named;
use tests::supervisor::Answer;

fn text(output: &Output) -> (Option<i32>, String, String) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (
        output.status.code(),
        text(&output.stdout),
        text(&output.stderr),
    )
}

fn processes_with(word: &str) -> Vec<String> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let lines = entries.filter_map(|entry| fs::read(entry.path().join("cmdline")).ok());
    let lines = lines.map(|line| String::from_utf8_lossy(&line).replace('\0', " "));
    lines.filter(|line| line.contains(word)).collect()
}

/// Returns what deployd has on disk.
fn files(agent: &Agent) -> Vec<String> {
    let there = ["state", "srv"].map(|name| agent.path(name)).into_iter();
    there
        .filter(|dir| dir.exists())
        .map(|dir| tree(&dir))
        .collect()
}

#[test]
fn check_warns_of_directories_that_others_may_write_to() {
    if !nix::unistd::Uid::effective().is_root() {
        return missing("root", "deployd as another user has nothing to lose");
    }
    let Some(server) = zookeeper() else { return };
    let agent = Agent::prepare(server, |_| {});
    let (dir, releases) = (agent.path("srv/web"), agent.path("srv/web/releases"));
    fs::create_dir_all(&releases).expect("the directory above is there");
    let warned = || {
        let (code, _, stderr) = text(&agent.output(&["check"]));
        assert_eq!(code, Some(0), "{stderr}");
        let lines = stderr
            .lines()
            .filter(|line| line.contains("others than root may write"));
        lines.map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(warned(), [""; 0]);
    std::os::unix::fs::chown(&dir, Some(65534), None).expect("root may");
    fs::set_permissions(&releases, fs::Permissions::from_mode(0o775)).expect("root may");
    let lines = warned();
    assert_eq!(lines.len(), 2, "{lines:?}");
    assert!(
        lines[0].contains(&format!("chown root:root {}", dir.display())),
        "{lines:?}"
    );
    assert!(
        lines[1].contains(&format!("chmod 755 {}", releases.display())),
        "{lines:?}"
    );
}

#[test]
fn check_tells_all_problems_at_once() {
    let Some(server) = zookeeper() else { return };
    let agent = Agent::prepare(server, |_| {});
    let (code, stdout, _) = text(&agent.output(&["check"]));
    assert_eq!(code, Some(0));
    assert!(
        stdout.ends_with("is valid: web (2 instances)\n"),
        "{stdout}"
    );
    let wrong = agent.path("wrong.toml");
    let good = agent.config_text();
    let bad = good
        .replace("[builds]\nsources", "[builds]\nsuorces")
        .replace("session_timeout_s = 4", "session_timeout_s = 1")
        .replace("timeout_s = 3", "timeuot_s = 3");
    let again = good.split("[[service]]").nth(1).expect("there is one");
    fs::write(&wrong, format!("{bad}\n[[service]]{again}")).expect("space");
    let (code, stdout, stderr) = text(&agent.output(&["check", &wrong.display().to_string()]));
    assert_eq!((code, stdout.as_str()), (Some(2), ""));
    let line = |word: &str| {
        let lines = fs::read_to_string(&wrong).expect("it was written");
        let found = lines.lines().position(|line| line.contains(word));
        format!("line {}, ", found.expect("it is in there") + 1)
    };
    for expected in [
        "`suorces`",
        "did you mean `sources`?",
        "`builds.sources` is missing",
        "did you mean `timeout_s`?",
        "service web is there twice",
        "unit web-1 is there twice",
        &line("suorces"),
        &line("session_timeout_s"),
        &line("timeuot_s"),
    ] {
        assert!(stderr.contains(expected), "{expected} is not in\n{stderr}");
    }
    // And deployd doesn't start with it.
    fs::write(agent.config(), fs::read(&wrong).expect("it was written")).expect("space");
    assert_eq!(
        text(&agent.output(&["run"])),
        (
            Some(2),
            String::new(),
            stderr.replace("wrong.toml", "deployd.toml")
        )
    );
}

#[test]
fn check_warns_of_what_may_be_intended() {
    let Some(server) = zookeeper() else { return };
    let agent = Agent::prepare(server, |_| {});
    let check = |change: (&str, &str)| {
        let good = agent.config_text();
        assert!(good.contains(change.0), "{good}");
        fs::write(agent.config(), good.replacen(change.0, change.1, 1)).expect("space");
        let (code, _, stderr) = text(&agent.output(&["check"]));
        assert_eq!(code, Some(0), "{stderr}");
        stderr
    };
    assert_eq!(check(("", "")), "");
    let listen = |address: &str| format!("[metrics]\nlisten = \"{address}\"\n[log]");
    assert_eq!(check(("[log]", &listen("127.0.0.2:9467"))), "");
    assert_eq!(
        check(("[log]", &listen("0.0.0.0:9467"))),
        "warning: metrics.listen is 0.0.0.0:9467: whoever reaches it reads which builds run here\n"
    );
    let said = check(("method = \"command\"", "method = \"none\""));
    assert!(said.starts_with("warning: line "), "{said}");
    assert!(
        said.ends_with(": `command` does nothing: restart `method` is not command\n"),
        "{said}"
    );
}

#[test]
fn a_missing_must_is_told() {
    let Some(server) = zookeeper() else { return };
    let agent = Agent::prepare(server, |_| {});
    for (there, expected) in [
        ("[[service]]", "`[[service]]` is needed"),
        ("name = \"web\"", "`name` is missing"),
        ("dir = ", "`dir` is missing"),
        ("sources = ", "`builds.sources` is missing"),
    ] {
        let lines: Vec<String> = agent.config_text().lines().map(str::to_owned).collect();
        let kept = match there {
            "[[service]]" => lines
                .split(|line| line == there)
                .next()
                .expect("the first")
                .to_vec(),
            _ => lines
                .into_iter()
                .filter(|line| !line.starts_with(there))
                .collect(),
        };
        fs::write(agent.path("wrong.toml"), kept.join("\n")).expect("space");
        let path = agent.path("wrong.toml").display().to_string();
        let (code, _, stderr) = text(&agent.output(&["check", &path]));
        assert_eq!(code, Some(2), "{there}");
        assert!(stderr.contains(expected), "{there}: {stderr}");
    }
}

#[test]
fn run_once_ends_at_the_target_or_says_that_it_failed() {
    let Some(server) = zookeeper() else { return };
    let agent = Agent::prepare(server, |_| {});
    let web = agent.web();
    let once = || {
        let mut command = agent.command(&["run", "--once"]);
        agent.log_to(&mut command);
        agent.adopt(command);
        agent.wait()
    };
    assert_eq!(once(), Some(0), "nothing is wanted");
    web.deploy("r1", 1);
    assert_eq!(once(), Some(0));
    web.serves("r1");
    web.deploy_with("r2", 2, Health::Sick);
    assert_eq!(once(), Some(3));
    web.failed("r2", "r1");
    web.put(&web.znodes.hold(), "{}");
    web.deploy("r3", 3);
    assert_eq!(once(), Some(3), "held");
    web.is_at("r1");
    assert_eq!(web.releases(), ["r1", "r2", "r3"]);
}

#[test]
fn plan_shows_the_steps_and_does_none() {
    let Some(server) = zookeeper() else { return };
    let agent = Agent::prepare(server, |settings| {
        settings.services[0].hooks = &["post_extract"]
    });
    let web = agent.web();
    let before = files(&agent);
    let (code, stdout, stderr) = text(&agent.output(&["plan"]));
    assert_eq!(
        (code, stdout.as_str()),
        (
            Some(0),
            "web  idle  current -  target nothing\n  nothing to do\n"
        ),
        "{stderr}"
    );
    web.deploy("r1", 1);
    let (code, stdout, stderr) = text(&agent.output(&["plan"]));
    let expected = "web  fetching  current -  target r1\n  fetch r1\n  extract r1\n  post_extract r1\n  \
                    ask for a lease\n  activate r1\n  restart 1\n  probe 1\n  restart 2\n  probe 2\n  verify r1\n";
    assert_eq!((code, stdout.as_str()), (Some(0), expected), "{stderr}");
    assert_eq!(files(&agent), before, "it wrote something");
    assert_eq!(agent.builds.downloads("r1"), 0);
    assert!(web.report().is_none());
    agent.run();
    web.serves("r1");
    let (_, stdout, _) = text(&agent.output(&["plan"]));
    assert_eq!(
        stdout,
        "web  serving  current r1  target r1\n  nothing to do\n"
    );
    web.put(&web.znodes.enabled(), "{");
    let (_, stdout, _) = text(&agent.output(&["plan"]));
    assert!(
        stdout.contains("target unreadable\n  blocked by enabled: "),
        "{stdout}"
    );
}

#[test]
fn status_prints_the_report() {
    let Some(server) = zookeeper() else { return };
    let agent = Agent::prepare(server, |settings| {
        settings.services.push(ServiceSettings::new("api"))
    });
    let web = agent.web();
    let (code, stdout, _) = text(&agent.output(&["status"]));
    assert_eq!(code, Some(0));
    assert_eq!(
        stdout,
        "deployd does not run; this is what it reported last\nweb: no report yet\napi: no report yet\n"
    );
    agent.run();
    web.deploy("r1", 1);
    web.serves("r1");
    web.deploy_with("r2", 2, Health::Sick);
    web.failed("r2", "r1");
    let (code, stdout, _) = text(&agent.output(&["status"]));
    assert_eq!(code, Some(0));
    for expected in [
        "deployd 0.1.0 runs (pid ",
        "web  failed  target r2 #2  current r1  serving r1  at 2",
        &format!("  web-1:{}  r1  serving\n", web.ports[0]),
        "  rejected probe: web-1 did not pass its probe in 5 s: ",
        "api  idle  target -  current -",
    ] {
        assert!(stdout.contains(expected), "{expected} is not in\n{stdout}");
    }
    let znode = agent
        .znodes
        .get(&web.znodes.host(&web.host))
        .expect("there is one");
    let report: Value = serde_json::from_slice(&znode.data).expect("a report is JSON");
    let shown = |agent: &Agent| -> Value {
        let (_, stdout, _) = text(&agent.output(&["status", "--json"]));
        serde_json::from_str(&stdout).expect("it is JSON")
    };
    let now = shown(&agent);
    assert_eq!((&now["v"], &now["running"]), (&1.into(), &true.into()));
    assert_eq!(now["reports"][0]["error"], report["error"]);
    assert_eq!(now["reports"][0]["instances"], report["instances"]);
    agent.kill();
    assert_eq!(shown(&agent)["running"], false);
}

#[test]
fn sigterm_ends_a_slow_hook() {
    let hooks = &["post_extract"];
    let agent = Agent::start_with(|settings| settings.services[0].hooks = hooks);
    let Some(agent) = agent else { return };
    let web = agent.web();
    agent.supervisor.on("hook", Answer::HoldBefore);
    web.deploy("r1", 1);
    agent.supervisor.wait_asked("hook web post_extract r1", 0);
    assert_eq!(agent.stop(), Some(0));
    let socket = agent.path("supervisor").display().to_string();
    eventually("the hook is gone", LIMIT, || {
        match processes_with(&socket) {
            left if left.is_empty() => Ok(()),
            left => Err(left),
        }
    });
    assert_eq!(web.current(), None);
    agent.supervisor.let_go();
    agent.run();
    web.serves("r1");
    assert_eq!(agent.supervisor.asked("hook").len(), 2);
}

#[test]
fn sigterm_waits_for_a_half_restarted_host() {
    let Some(agent) = Agent::start() else { return };
    let web = agent.web();
    web.deploy("r1", 1);
    web.serves("r1");
    agent.supervisor.on("restart web-1", Answer::HoldBefore);
    web.deploy("r2", 2);
    agent.supervisor.wait_asked("restart web-1", 1);
    agent.terminate();
    agent.logs(&["told to stop"]);
    assert!(agent.is_running());
    agent.supervisor.let_go();
    assert_eq!(agent.wait(), Some(0));
    web.is_at("r2");
    agent.run();
    web.serves("r2");
    assert_eq!(
        agent.supervisor.asked("restart").len(),
        4,
        "nobody is restarted twice"
    );
}

#[test]
fn a_second_deployd_refuses() {
    let Some(agent) = Agent::start() else { return };
    let web = agent.web();
    web.deploy("r1", 1);
    web.serves("r1");
    agent.supervisor.on("restart web-1", Answer::HoldBefore);
    web.deploy("r2", 2);
    agent.supervisor.wait_asked("restart web-1", 1);
    web.until("restarting", |report| report.phase == Phase::Restarting);
    let before = files(&agent);
    let (code, _, stderr) = text(&agent.output(&["run"]));
    assert_eq!(code, Some(5), "{stderr}");
    assert!(
        stderr.contains("another deployd runs here: pid "),
        "{stderr}"
    );
    assert_eq!(files(&agent), before, "it wrote something");
    assert_eq!(agent.supervisor.asked("restart").len(), 3);
    agent.supervisor.let_go();
    web.serves("r2");
}

#[test]
fn a_second_deployd_with_a_state_directory_of_its_own_leaves_the_services_alone() {
    let both = |settings: &mut Settings| settings.services.push(ServiceSettings::new("api"));
    let Some(agent) = Agent::start_with(both) else {
        return;
    };
    let (web, api) = (agent.web(), agent.service("api"));
    web.deploy("r1", 1);
    api.deploy("a1", 1);
    web.serves("r1");
    api.serves("a1");
    let unfinished = web.dir.join("releases/.r9.partial");
    fs::create_dir(&unfinished).expect("the directory above is there");
    // By another name it is the same directory.
    let link = agent.path("link");
    symlink(agent.path("srv"), &link).expect("nothing is there");
    let second = second_in(&agent, &link);
    second.run();
    second.logs(&["deployd started"]);
    let (code, stdout, _) = text(&second.output(&["status"]));
    assert_eq!(code, Some(0));
    let said = format!("another deployd runs here: pid {} holds", agent.pid());
    for service in ["web", "api"] {
        let holds = format!("{said} {}", link.join(service).display());
        assert!(stdout.contains(&holds), "{holds} is not in\n{stdout}");
        assert!(second.service(service).report().is_none());
    }
    web.deploy("r2", 2);
    web.serves("r2");
    assert!(unfinished.exists(), "it swept what another one may work at");
    // A service that the first one gives up is taken up, the other one is not.
    let config = agent.config_text();
    let (first, _) = config.rsplit_once("\n[[service]]").expect("there are two");
    fs::write(agent.config(), first).expect("space");
    let (code, stdout, _) = text(&agent.output(&["reload"]));
    assert_eq!(code, Some(0), "{stdout}");
    second.service("api").until("it is taken up", |report| {
        report.phase == Phase::Serving && report.serving == named("a1")
    });
    assert!(second.web().report().is_none());
    assert_eq!(second.supervisor.asked("restart web").len(), 0);
}

#[test]
fn of_two_that_begin_in_a_new_directory_one_works_there() {
    let Some(agent) = Agent::start() else { return };
    let second = second_in(&agent, &agent.path("srv"));
    second.run();
    let hosts = [&agent, &second];
    hosts
        .iter()
        .for_each(|host| host.logs(&["deployd started"]));
    assert!(!agent.web().dir.exists(), "nobody has anything to do");
    agent.web().deploy("r1", 1);
    let served = |host: &Agent| {
        let report = host.web().report()?;
        let said = report.error.map(|error| error.message).unwrap_or_default();
        match report.phase {
            Phase::Serving => Some(true),
            Phase::Blocked if said.contains("another deployd runs here: pid ") => Some(false),
            _ => None,
        }
    };
    let works = eventually("one serves, one is blocked", LIMIT, || {
        match hosts.map(served) {
            [Some(true), Some(false)] => Ok(0),
            [Some(false), Some(true)] => Ok(1),
            other => Err(other),
        }
    });
    assert_eq!(hosts[works].stop(), Some(0));
    hosts[1 - works].web().until("it goes on", |report| {
        report.phase == Phase::Serving && report.serving == named("r1")
    });
}

/// Another deployd, not started yet, with a host name and a state directory of its own, whose services are in `dir`.
fn second_in(agent: &Agent, dir: &Path) -> Agent {
    let second = agent.neighbour(|settings| settings.host = "h2".to_owned());
    let own = second.path("srv").display().to_string();
    let config = second
        .config_text()
        .replace(&own, &dir.display().to_string());
    fs::write(second.config(), config).expect("space");
    second
}

#[test]
fn systemd_is_told() {
    let Some(server) = zookeeper() else { return };
    let agent = Agent::prepare(server, |_| {});
    let path = agent.path("notify");
    let socket = UnixDatagram::bind(&path).expect("a socket can be made in a new directory");
    socket
        .set_read_timeout(Some(LIMIT))
        .expect("a timeout can be set");
    let mut command = agent.command(&["run"]);
    agent.log_to(&mut command);
    command.env("NOTIFY_SOCKET", &path);
    agent.adopt(command);
    let web = agent.web();
    expect(&socket, &["READY=1"]);
    web.deploy("r1", 1);
    expect(
        &socket,
        &["STATUS=", "web: r1, serving", "zk ok", "WATCHDOG=1"],
    );
    agent.terminate();
    expect(&socket, &["STOPPING=1"]);
    assert_eq!(agent.wait(), Some(0));
}

#[track_caller]
fn expect(socket: &UnixDatagram, words: &[&str]) {
    let mut seen = Vec::new();
    eventually(&format!("systemd is told {words:?}"), LIMIT, || {
        let mut buffer = [0; 4096];
        let length = socket
            .recv(&mut buffer)
            .map_err(|error| error.to_string())?;
        let said = String::from_utf8_lossy(&buffer[..length]).into_owned();
        let told = words.iter().all(|word| said.contains(word));
        seen.push(said);
        if told { Ok(()) } else { Err(seen.join(" / ")) }
    });
}

#[test]
fn the_state_is_nobody_elses_business() {
    let Some(agent) = Agent::start() else { return };
    let web = agent.web();
    web.deploy("r1", 1);
    web.serves("r1");
    let mode = |path: &Path| fs::metadata(path).expect("it exists").permissions().mode() & 0o777;
    for name in ["state", "state/journal", "state/status", "state/downloads"] {
        assert_eq!(mode(&agent.path(name)), 0o700, "{name}");
    }
    assert_eq!(mode(&web.dir.join("releases/r1")), 0o755);
    assert_eq!(agent.stop(), Some(0));
    eventually(
        "nobody says that it is alive",
        Duration::from_secs(2),
        || match agent.znodes.get(&web.znodes.alive(&web.host)) {
            None => Ok(()),
            found => Err(found),
        },
    );
}

#[test]
fn a_journal_of_a_newer_deployd_is_left_alone_and_said() {
    let Some(agent) = Agent::start() else { return };
    let web = agent.web();
    web.deploy("r1", 1);
    web.serves("r1");
    assert_eq!(agent.stop(), Some(0));
    let journal = agent.path("state/journal/web.json");
    let newer = r#"{"v":2,"service":"unheard of"}"#;
    fs::write(&journal, newer).expect("the journal can be written");
    agent.run();
    let report = web.blocked(&["journal", "has version 2"]);
    // What runs can be seen all the same.
    let r1 = named("r1");
    assert_eq!((&report.current, &report.serving), (&r1, &r1));
    assert_eq!(report.instances.len(), 2);
    assert_eq!(fs::read_to_string(&journal).expect("it exists"), newer);
    web.is_at("r1");
    assert_eq!(agent.stop(), Some(0));
}
