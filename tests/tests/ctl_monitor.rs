//! The monitor on a real terminal with a real ZooKeeper, and elsewhere.

mod ctl_rig;

use std::time::{Duration, Instant};

use ctl_rig::{Agent, HANG, Rig};
use deploy_core::wire::report::{Phase, StepReport};
use deploy_core::wire::role::Role;
use deploy_core::wire::target::Target;
use nix::sys::signal::Signal;
use tests::eventually::eventually_async;
use tests::proxy::{Cut, Mode, Proxy};
use tests::pty::Pty;

/// Who is told to end must not wait for a request, which may take 10 s; this leaves room for a machine that does much else.
const REQUEST_TIME: Duration = Duration::from_secs(7);

const SIZE: (u16, u16) = (100, 30);

const THREE: [(&str, Role); 3] = [
    ("web-01", Role::Canary),
    ("web-02", Role::Fleet),
    ("web-03", Role::Fleet),
];

/// Three hosts that serve r1.
async fn served(name: &str) -> Option<(Rig, Vec<Agent>)> {
    let (rig, agents) = Rig::with_agents(name, &THREE).await?;
    rig.ctl("deploy web r1 -m first --detach").await.is(0);
    for agent in &agents {
        agent.serves(1).await;
    }
    Some((rig, agents))
}

/// Checks that the terminal is as it was, and returns what stays on it.
#[track_caller]
fn given_back(pty: &Pty) -> String {
    tests::eventually::eventually("the terminal is given back", HANG, || {
        if pty.is_alternate() || !pty.has_cursor() {
            return Err(pty.raw());
        }
        Ok(())
    });
    assert!(pty.is_cooked());
    pty.screen()
}

/// Waits until a box with this in it is closed.
#[track_caller]
fn closed(pty: &Pty, part: &str) {
    tests::eventually::eventually("the box is closed", HANG, || {
        let screen = pty.screen();
        if screen.contains(part) {
            Err(screen)
        } else {
            Ok(())
        }
    });
}

/// Presses a key until its question is there: the change before may be under way still.
#[track_caller]
fn ask(pty: &mut Pty, key: &str, parts: &[&str]) {
    pty.press(key);
    tests::eventually::eventually("the question is there", HANG, || {
        let screen = pty.screen();
        if parts.iter().all(|part| screen.contains(part)) {
            return Ok(());
        }
        if screen.contains("one at a time") {
            pty.press("\u{1b}");
            closed(pty, "one at a time");
            pty.press(key);
        }
        Err(screen)
    });
}

#[track_caller]
fn turn_pages(pty: &mut Pty) {
    // The hosts, the failed one by name, and back.
    pty.press("/02\r\t\r");
    pty.sees(
        &[
            "web-02   web, fleet",
            "FAILED probe",
            "INSTANCES",
            "web@8001.service",
        ],
        HANG,
    );
    pty.press("\u{1b}");
    pty.sees(&["RECENT"], HANG);
    pty.press("?");
    pty.sees(&["KEYS AND MARKS"], HANG);
    pty.press("x");
}

#[tokio::test]
async fn a_rollout_goes_by_on_the_screen() {
    let Some((rig, agents)) = served("monitor-rollout").await else {
        return;
    };
    let mut pty = rig.spawn_on_terminal("monitor", SIZE);
    pty.sees(
        &[
            "deployctl monitor",
            "zk ok",
            "web",
            "done",
            "r1",
            "3/3",
            "web-03",
        ],
        HANG,
    );
    assert!(pty.is_alternate() && !pty.is_cooked());

    rig.ctl("deploy web r2 -m second --detach").await.is(0);
    let target = agents[0].target(2).await;
    let mut report = agents[0].report(Phase::Fetching, &target);
    report.step = Some(StepReport {
        name: "fetch".to_owned(),
        attempt: 1,
        done: Some(500_000),
        total: Some(1_000_000),
        since: None,
        detail: None,
    });
    agents[0].writes(&report).await;
    pty.sees(
        &[
            "ROLLING",
            "#2 deploy r1 -> r2",
            "\"second\"",
            ">> fetch",
            "500K/1M",
        ],
        HANG,
    );
    agents[0].serves(2).await;
    pty.sees(&["1/3"], HANG);
    agents[1].fails(2).await;
    // What failed is told with its output, in which nothing steers the terminal.
    pty.sees(
        &[
            "FAILED 1",
            "XX FAILED probe",
            "PAYMENTS_URL",
            "exit\\u{1b}[31m 3",
            "now failed",
        ],
        HANG,
    );

    turn_pages(&mut pty);
    pty.press("q");
    assert_eq!(pty.ended(HANG).code(), Some(0));
    let left = given_back(&pty);
    for part in [
        "SERVICE",
        "web",
        "failed",
        "1/3",
        "web-02: probe",
        "PAYMENTS_URL",
    ] {
        assert!(
            left.contains(part),
            "{part:?} stays in the scrollback:\n{left}"
        );
    }
}

/// Reads the target of the fleet, or of the canary, until it is of this build; `None`: until it is gone.
async fn wants(rig: &Rig, path: &str, build: Option<&str>) {
    eventually_async(&format!("{path} wants {build:?}"), HANG, || async {
        let znode = rig.zk.get(path).await.expect("ZooKeeper is healthy");
        let target = znode.and_then(|znode| Target::read(&znode.data).ok().flatten());
        let found = target.map(|target| target.build.to_string());
        if found.as_deref() == build {
            Ok(())
        } else {
            Err(found)
        }
    })
    .await;
}

async fn hold_and_unhold(rig: &Rig, pty: &mut Pty) {
    let tree = rig.tree("web");
    ask(pty, "h", &["HOLD web", "reason (needed)"]);
    // Not without a reason.
    pty.press("\rlook first\r");
    pty.sees(&["HELD by"], HANG);
    assert_eq!(rig.json(&tree.hold()).await["why"], "look first");
    ask(
        pty,
        "h",
        &["END THE HOLD OF web", "it was held", "[enter] end"],
    );
    pty.press("\r");
    eventually_async("the hold is over", HANG, || async {
        if rig.exists(&tree.hold()).await {
            Err(pty.screen())
        } else {
            Ok(())
        }
    })
    .await;
}

/// Waits until the history says how a rollout ended.
async fn recorded(rig: &Rig, wanted: u64) {
    eventually_async("the outcome is in the history", HANG, || async {
        let history = rig.history("web").await;
        let entry = history.into_iter().find(|(number, _)| *number == wanted);
        entry.and_then(|(_, entry)| entry.outcome).ok_or(())
    })
    .await;
}

#[tokio::test]
async fn changes_are_made_behind_a_question() {
    let Some((rig, agents)) = served("monitor-changes").await else {
        return;
    };
    let tree = rig.tree("web");
    rig.ctl("canary web r2 --detach").await.is(0);
    let mut pty = rig.spawn_on_terminal("monitor web", SIZE);
    pty.sees(&["zk ok", "ROLLING"], HANG);
    // What would be refused is refused before it is asked.
    pty.press("p");
    pty.sees(
        &["NOT DONE", "is not there yet", "nothing was changed"],
        HANG,
    );
    pty.press("x");
    agents[0].serves(2).await;
    pty.sees(&["canary ready"], HANG);
    pty.press("p");
    pty.sees(
        &[
            "PROMOTE THE CANARY OF web",
            "r1 -> r2 (#2)",
            "2 hosts change, 1 serve it",
        ],
        HANG,
    );
    // Safe, and nothing is done.
    pty.press("\u{1b}");
    closed(&pty, "[enter] promote");
    pty.press("p");
    pty.sees(&["[enter] promote"], HANG);
    pty.press("good\r");
    wants(&rig, &tree.canary(), None).await;
    wants(&rig, &tree.enabled(), Some("r2")).await;
    assert_eq!(rig.json(&tree.enabled()).await["why"], "good");
    pty.sees(&["ROLLING", "#3 promote"], HANG);

    agents[1].fails(3).await;
    pty.sees(&["FAILED 1"], HANG);
    pty.press("\t");
    ask(
        &mut pty,
        "R",
        &["TRY AGAIN web ON web-02", "r2 (#3) once more"],
    );
    pty.press("\r");
    let retry = tree.retry(&agents[1].host);
    eventually_async("the wish is written", HANG, || async {
        if rig.exists(&retry).await {
            Ok(())
        } else {
            Err(pty.screen())
        }
    })
    .await;

    ask(
        &mut pty,
        "r",
        &["ROLL BACK web", "r2 -> r1", "r2 is marked bad"],
    );
    pty.press("no PAYMENTS_URL\r");
    wants(&rig, &tree.enabled(), Some("r1")).await;
    assert_eq!(rig.json(&tree.enabled()).await["why"], "no PAYMENTS_URL");
    pty.sees(&["rollback"], HANG);

    hold_and_unhold(&rig, &mut pty).await;
    // The end of #4 is seen by nobody but the monitor, which records it.
    for agent in &agents {
        agent.serves(4).await;
    }
    recorded(&rig, 4).await;
    pty.press("\u{3}");
    assert_eq!(pty.ended(HANG).code(), Some(0));
    given_back(&pty);
}

#[tokio::test]
async fn read_only_changes_nothing() {
    let Some((rig, _agents)) = served("monitor-read-only").await else {
        return;
    };
    let before = rig.history("web").await.len();
    let mut pty = rig.spawn_on_terminal("monitor --read-only", (80, 24));
    pty.sees(&["zk ok", "3/3", "read-only"], HANG);
    for key in ["p", "r", "h"] {
        pty.press(key);
        pty.sees(&["NOT DONE", "--read-only"], HANG);
        pty.press("\r");
        closed(&pty, "NOT DONE");
    }
    pty.press("q");
    assert_eq!(pty.ended(HANG).code(), Some(0));
    assert_eq!(rig.history("web").await.len(), before);
}

#[tokio::test]
async fn without_zookeeper_it_is_dim_and_says_since_when() {
    let Some((rig, mut agents)) = served("monitor-lost").await else {
        return;
    };
    let proxy = Proxy::start(rig.server.port());
    let line = format!("--zk {}{} monitor", proxy.address(), rig.root.path());
    let mut pty = rig.spawn_on_terminal(&line, SIZE);
    pty.sees(&["zk ok", "web-02", "3/3"], HANG);
    assert_eq!(pty.is_dim("3/3"), Some(false));
    // Silence, which no broken connection tells of.
    proxy.set_mode(Mode::BlackHole);
    pty.sees(&["data as of", "web-02"], HANG);
    assert_eq!(pty.is_dim("3/3"), Some(true));
    pty.press("r");
    pty.sees(&["NOT DONE", "ZooKeeper is not there"], HANG);
    pty.press("\u{1b}");
    agents[1].go().await;
    proxy.set_mode(Mode::Forward);
    pty.sees(&["zk ok", "?? OFFLINE"], HANG);
    assert_eq!(pty.is_dim("2/3"), Some(false));
    // And a connection that breaks and does not come back.
    proxy.close_listener();
    proxy.cut(Cut::Rst);
    pty.sees(&["zk LOST", "data as of"], HANG);
    pty.press("q");
    assert_eq!(pty.ended(Duration::from_secs(20)).code(), Some(0));
    let left = given_back(&pty);
    assert!(left.contains("when ZooKeeper was last there"), "{left}");
}

#[tokio::test]
async fn a_signal_gives_the_terminal_back() {
    let Some((rig, _agents)) = served("monitor-signals").await else {
        return;
    };
    for signal in [
        Signal::SIGTERM,
        Signal::SIGHUP,
        Signal::SIGINT,
        Signal::SIGQUIT,
    ] {
        let mut pty = rig.spawn_on_terminal("monitor", SIZE);
        pty.sees(&["zk ok", "3/3"], HANG);
        pty.signal(signal);
        assert_eq!(pty.ended(HANG).code(), Some(130), "{signal}");
        let left = given_back(&pty);
        assert!(left.contains("3/3"), "the last state stays:\n{left}");
    }
}

#[tokio::test]
async fn colours_only_where_they_are_wanted() {
    let Some((rig, _agents)) = served("monitor-colours").await else {
        return;
    };
    for (line, is_colored) in [("monitor", true), ("--color never monitor", false)] {
        let mut pty = rig.spawn_on_terminal(line, SIZE);
        pty.sees(&["zk ok", "3/3"], HANG);
        pty.press("q");
        pty.ended(HANG);
        // Green, as crossterm writes it.
        assert_eq!(
            pty.raw().contains("\u{1b}[38;5;2;49m"),
            is_colored,
            "{line}: {:?}",
            pty.raw()
        );
    }
}

#[tokio::test]
async fn elsewhere_each_outcome_is_a_line() {
    let Some((rig, agents)) = served("monitor-lines").await else {
        return;
    };
    let mut text = rig.spawn("monitor web");
    let mut events = rig.spawn("monitor -o jsonl --read-only");
    // What is over is one line and its end, whatever the number of hosts.
    text.sees("#1 web  deploy").await;
    let end = text.sees("done r1 3/3").await;
    assert!(end.contains("#1 web"), "{end}");
    events.sees("rollout.end").await;
    rig.ctl("deploy web r2 -m second --detach").await.is(0);
    text.sees("r1 -> r2").await;
    agents[0].serves(2).await;
    text.sees("web-01    serving").await;
    agents[1].fails(2).await;
    text.sees("web-02    FAILED").await;
    text.sees("FAILED r2 1/3").await;
    text.sees("| 19:41:44 ERROR KeyError: 'PAYMENTS_URL'").await;
    let hostile = text.sees("exit").await;
    assert!(
        hostile.contains("\\u{1b}") && !hostile.contains('\u{1b}'),
        "{hostile}"
    );
    let end = events.sees("\"rollout.end\",\"result\":\"failed\"").await;
    let end: serde_json::Value = serde_json::from_str(&end).unwrap();
    assert_eq!(
        (&end["schema"], &end["rollout"]),
        (&"deployctl/event/1".into(), &2.into())
    );
    text.signal(Signal::SIGTERM);
    events.signal(Signal::SIGINT);
    text.end().await.is(130);
    events.end().await.is(130);
    rig.ctl("monitor -o json")
        .await
        .is(2)
        .says(&["no one JSON object", "jsonl"]);
    rig.ctl("monitor nothing")
        .await
        .is(6)
        .says(&["no service `nothing`"]);
}

#[tokio::test]
async fn who_closes_the_pipe_ends_it_with_the_next_line() {
    let Some((rig, agents)) = served("monitor-pipe").await else {
        return;
    };
    let mut ends = Vec::new();
    for (line, seen) in [
        ("monitor web", "done r1 3/3"),
        ("monitor web -o jsonl", "rollout.end"),
    ] {
        let mut monitor = rig.spawn(line);
        monitor.sees(seen).await;
        let (child, stdout) = monitor.into_child();
        drop(stdout);
        ends.push((line, child));
    }
    rig.ctl("deploy web r2 --detach").await.is(0);
    agents[0].serves(2).await;
    for (line, mut child) in ends {
        let ended = tokio::time::timeout(HANG, child.wait()).await;
        let status = ended.unwrap_or_else(|_| panic!("{line} goes on"));
        assert_eq!(status.expect("it is our child").code(), Some(0), "{line}");
    }
}

#[tokio::test]
async fn a_signal_ends_it_while_an_outcome_is_recorded() {
    let Some((rig, agents)) = served("monitor-slow").await else {
        return;
    };
    let proxy = Proxy::start(rig.server.port());
    let line = format!("--zk {}{} monitor", proxy.address(), rig.root.path());
    let mut monitor = rig.spawn(&line);
    monitor.sees("done r1 3/3").await;
    rig.ctl("deploy web r2 --detach").await.is(0);
    monitor.sees("r1 -> r2").await;
    let (last, others) = agents.split_last().expect("it has agents");
    for agent in others {
        agent.serves(2).await;
    }
    // Each request takes twice as long, and to record it takes two. No longer than it must: a session that is lost doesn't come back.
    proxy.set_delay(Duration::from_secs(2));
    last.serves(2).await;
    monitor.sees("done r2 3/3").await;
    let signalled = Instant::now();
    monitor.signal(Signal::SIGTERM);
    monitor.end().await.is(130);
    let took = signalled.elapsed();
    assert!(took < REQUEST_TIME, "it took {took:?}");
}

/// Seconds of CPU that a process has used.
fn cpu_s(pid: u32) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).expect("it runs");
    let fields: Vec<&str> = stat
        .rsplit(')')
        .next()
        .unwrap_or_default()
        .split_whitespace()
        .collect();
    let ticks: f64 = fields[11..13]
        .iter()
        .filter_map(|field| field.parse::<f64>().ok())
        .sum();
    let per_second = nix::unistd::sysconf(nix::unistd::SysconfVar::CLK_TCK);
    ticks / per_second.ok().flatten().unwrap_or(100) as f64
}

/// Writes what so many hosts report, a few hundred at a time.
async fn all_report(rig: &Rig, hosts: &[String], phase: &Phase) {
    let target = rig.json(&rig.tree("web").enabled()).await;
    for hosts in hosts.chunks(200) {
        let writes = hosts.iter().map(async |host| {
            let instance = serde_json::json!({"unit": "web@1.service", "port": 8001, "build": "r1", "state": "serving"});
            let report = serde_json::json!({
                "v": 1, "host": host, "service": "web", "agent": "0.1.0", "phase": phase.as_str(),
                "rollout": target["rollout"], "target": target["build"], "current": "r1", "serving": "r1",
                "releases": ["r1", "r0"], "instances": [instance.clone(), instance.clone(), instance.clone(), instance],
            });
            let tree = rig.tree("web");
            let path = format!("{}/{host}", tree.hosts());
            rig.write(&path, report.to_string().as_bytes()).await;
            rig.write(&format!("{path}/alive"), br#"{"v":1,"agent":"0.1.0"}"#).await;
        });
        futures_util::future::join_all(writes).await;
    }
}

/// What a large fleet costs: printed, and no claim. 200 hosts; `DEPLOY_TEST_LONG=1 cargo test -p tests
/// --test ctl_monitor -- --nocapture large` takes 2,000.
#[tokio::test]
async fn a_large_fleet_is_shown_and_what_that_costs() {
    let is_long = std::env::var_os("DEPLOY_TEST_LONG").is_some_and(|long| long == "1");
    let (count, idle) = if is_long { (2000, 30) } else { (200, 2) };
    let Some(rig) = Rig::start("monitor-large").await else {
        return;
    };
    rig.add_build("web", "r1").await;
    rig.ctl("deploy web r1 --detach").await.is(0);
    let hosts: Vec<String> = (1..=count)
        .map(|number| format!("web-{number:04}"))
        .collect();
    all_report(&rig, &hosts, &Phase::Fetching).await;
    let begun = Instant::now();
    let mut pty = rig.spawn_on_terminal("monitor", SIZE);
    pty.sees(&[&format!("0/{count}"), ">> fetching"], HANG);
    let (shown, cpu_shown) = (begun.elapsed(), cpu_s(pty.id()));
    tokio::time::sleep(Duration::from_secs(idle)).await;
    let cpu_idle = cpu_s(pty.id());
    let begun = Instant::now();
    all_report(&rig, &hosts, &Phase::Serving).await;
    pty.sees(&[&format!("{count}/{count}")], HANG);
    let (stormed, cpu_storm) = (begun.elapsed(), cpu_s(pty.id()));
    println!("{count} hosts: on the screen after {shown:.1?}, {cpu_shown:.2} s of CPU");
    println!(
        "{count} hosts: idle, {:.2} % of a CPU over {idle} s",
        (cpu_idle - cpu_shown) * 100.0 / idle as f64
    );
    println!(
        "{count} hosts: each reports once within {stormed:.1?}: {:.2} s of CPU",
        cpu_storm - cpu_idle
    );
    pty.press("q");
    assert_eq!(pty.ended(HANG).code(), Some(0));
}
