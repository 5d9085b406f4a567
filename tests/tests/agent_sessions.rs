//! A bad network to ZooKeeper, sessions that end, and a ZooKeeper that is not there.

use std::sync::Arc;
use std::time::{Duration, Instant};

use deploy_core::wire;
use deploy_core::wire::alive::Alive;
use tests::agent::{Agent, LIMIT, zookeeper};
use tests::eventually::eventually;
use tests::proxy::{Cut, Mode, Proxy};
use tests::service::{Service, named};
use tests::supervisor::Answer;
use tests::witness::{Promise, Witness};
use tests::zookeeper::Server;

/// The session timeout that the agents of these tests have, and a little.
const SESSION_TIME: Duration = Duration::from_secs(5);

/// Starts an agent behind a proxy that serves `r1`.
fn behind_proxy() -> Option<(Agent, Proxy)> {
    let server = zookeeper()?;
    let proxy = Proxy::start(server.port());
    let agent = Agent::prepare(server, |settings| {
        settings.zookeeper = proxy.address();
        settings.services[0].hooks = &["post_extract"];
    });
    agent.run();
    agent.web().deploy("r1", 1);
    agent.web().serves("r1");
    Some((agent, proxy))
}

fn owner(web: &Service<'_>) -> Option<i64> {
    let znode = web.agent.znodes.get(&web.znodes.alive(&web.host))?;
    let alive: Alive = wire::decode(&znode.data).expect("it says who is alive");
    assert_eq!(alive.agent, "0.1.0");
    Some(znode.stat.ephemeral_owner)
}

#[test]
fn alive_is_there_while_the_agent_is() {
    let Some((agent, _proxy)) = behind_proxy() else {
        return;
    };
    let web = agent.web();
    assert!(owner(&web).is_some_and(|owner| owner != 0));
    assert_eq!(agent.stop(), Some(0));
    assert_eq!(
        owner(&web),
        None,
        "gone with SIGTERM, and not with the session timeout"
    );
    assert_eq!(web.report().map(|report| report.serving), Some(named("r1")));
    agent.run();
    eventually("alive again", LIMIT, || owner(&web).ok_or(()));
    agent.kill();
    agent.run();
    let old = owner(&web);
    eventually("taken over from the dead run", LIMIT, || {
        match owner(&web) {
            Some(now) if Some(now) != old => Ok(()),
            found => Err(found),
        }
    });
}

#[test]
fn a_session_that_expires_in_a_deployment() {
    let Some((agent, proxy)) = behind_proxy() else {
        return;
    };
    let web = agent.web();
    let witness = Witness::start(&web, Promise::OneServes);
    agent.supervisor.on("restart web-1", Answer::HoldBefore);
    web.deploy("r2", 2);
    agent.supervisor.wait_asked("restart web-1", 1);
    let (first, lease) = (owner(&web), web.leases());
    proxy.set_mode(Mode::BlackHole);
    eventually("the session is gone", LIMIT, || match owner(&web) {
        None => Ok(()),
        found => Err(found),
    });
    // The lease is the host's, not the session's.
    assert_eq!((web.leases(), lease.len()), (lease, 1));
    // What is half done is finished without ZooKeeper.
    agent.supervisor.let_go();
    eventually("in service without ZooKeeper", LIMIT, || {
        match web.differs_from("r2") {
            None => Ok(()),
            Some(other) => Err(other),
        }
    });
    proxy.set_mode(Mode::Forward);
    proxy.cut(Cut::Rst);
    web.serves("r2");
    let again = eventually("alive again", LIMIT, || owner(&web).ok_or(()));
    assert_ne!(Some(again), first);
    assert_eq!(web.leases(), [""; 0]);
    witness.finish();
    assert_eq!(
        agent.supervisor.asked("restart").len(),
        4,
        "nobody is restarted twice"
    );
}

#[test]
fn nothing_begins_without_zookeeper() {
    let Some((agent, proxy)) = behind_proxy() else {
        return;
    };
    let web = agent.web();
    let witness = Witness::start(&web, Promise::AllServe);
    let pids = web.pids();
    agent
        .supervisor
        .on("hook web post_extract r2", Answer::HoldBefore);
    web.deploy("r2", 2);
    agent.supervisor.wait_asked("hook web post_extract r2", 0);
    proxy.set_mode(Mode::BlackHole);
    agent.logs(&["zookeeper link", "down"]);
    agent.supervisor.let_go();
    // What disturbs nobody goes on; the flip waits.
    let waits = || String::from_utf8_lossy(&agent.output(&["status"]).stdout).into_owned();
    eventually("it waits, prepared", LIMIT, || match waits() {
        text if text.contains("web  waiting") => Ok(()),
        text => Err(text),
    });
    assert!(
        web.journal()
            .prepared
            .contains(&named("r2").expect("a name"))
    );
    web.is_at("r1");
    assert_eq!(web.pids(), pids);
    witness.finish();
    proxy.set_mode(Mode::Forward);
    proxy.cut(Cut::Rst);
    web.serves("r2");
}

#[test]
fn resets_all_through_a_deployment() {
    let Some((agent, proxy)) = behind_proxy() else {
        return;
    };
    let web = agent.web();
    let witness = Witness::start(&web, Promise::OneServes);
    for (rollout, build) in [(2, "r2"), (3, "r3")] {
        web.deploy(build, rollout);
        let begin = Instant::now();
        let mut cuts = 0;
        // Reconnecting takes a while: faster, and nobody would ever get through.
        while web
            .report()
            .is_none_or(|report| report.serving != named(build))
        {
            assert!(begin.elapsed() < 2 * LIMIT, "{cuts} cuts");
            proxy.cut(Cut::Rst);
            cuts += 1;
            std::thread::sleep(Duration::from_millis(100));
        }
        assert!(cuts > 1, "it was done before it began");
        web.serves(build);
        assert_eq!(web.leases(), [""; 0]);
    }
    witness.finish();
    assert_eq!(
        agent.supervisor.asked("restart").len(),
        6,
        "nobody is restarted twice"
    );
}

#[test]
fn a_zookeeper_that_is_not_there_and_one_that_dies() {
    let Some(mut server) = Server::start() else {
        return;
    };
    let Some(admin) = zookeeper() else { return };
    server.kill();
    // The fixture's own znodes are elsewhere; those of this agent are asked for below.
    let agent = Agent::prepare(Arc::clone(&admin), |settings| {
        settings.zookeeper = server.address()
    });
    agent.run();
    agent.logs(&["deployd started"]);
    let web = agent.web();
    let status = || String::from_utf8_lossy(&agent.output(&["status"]).stdout).into_owned();
    eventually("it says that it waits", LIMIT, || match status() {
        text if text.contains("web  waiting") => Ok(()),
        text => Err(text),
    });
    let plan = agent.output(&["plan"]);
    assert_eq!(
        plan.status.code(),
        Some(7),
        "{}",
        String::from_utf8_lossy(&plan.stderr)
    );
    server.start_again();
    let znodes = tests::znodes::Znodes::connect(&server.address());
    let artifact = agent.builds.add("r1", tests::builds::Health::Ok);
    let put = |build: &str, rollout: u64, artifact: &_| {
        znodes.put(
            &web.znodes.enabled(),
            web.target(build, rollout, artifact).to_string(),
        );
    };
    put("r1", 1, &artifact);
    let serves = |build: &str| {
        eventually(&format!("{build} is served"), LIMIT, || {
            let text = status();
            let line = format!("web  serving  target {build} ");
            if text.contains(&line) {
                Ok(())
            } else {
                Err(text)
            }
        });
        web.is_at(build);
    };
    serves("r1");
    let witness = Witness::start(&web, Promise::AllServe);
    server.kill();
    agent.logs(&["zookeeper link", "down"]);
    assert!(agent.is_running());
    assert!(agent.output(&["status"]).status.success());
    witness.finish();
    server.start_again();
    let artifact = agent.builds.add("r2", tests::builds::Health::Ok);
    put("r2", 2, &artifact);
    serves("r2");
}

#[test]
fn sigterm_without_zookeeper_is_soon_over() {
    let Some((agent, proxy)) = behind_proxy() else {
        return;
    };
    proxy.set_mode(Mode::BlackHole);
    let begin = Instant::now();
    assert_eq!(agent.stop(), Some(0));
    assert!(begin.elapsed() < 2 * SESSION_TIME, "{:?}", begin.elapsed());
    agent.web().is_at("r1");
}
