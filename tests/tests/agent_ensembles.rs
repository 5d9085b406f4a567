//! ZooKeeper as it is in a data centre: three servers of which some die, answers that take seconds,
//! and addresses that change. Whatever happens, nothing disruptive begins without it, nothing is
//! left half done, nobody is restarted twice, and one host at a time is out of service.
//!
//! `DEPLOY_TEST_LONG=1 cargo test -p tests --test agent_ensembles` waits longer for each answer.

use std::env;
use std::fs;
use std::time::{Duration, Instant};

use tests::agent::{Agent, LIMIT, zookeeper};
use tests::builds::Health;
use tests::eventually::eventually;
use tests::proxy::{Cut, Proxy};
use tests::service::Service;
use tests::supervisor::Answer;
use tests::witness::{Promise, Witness};
use tests::zookeeper::Ensemble;

/// A service and its neighbour on another host; one at a time may be out of service.
struct Pair {
    hosts: [Agent; 2],
}

impl Pair {
    fn start(ensemble: &Ensemble) -> Pair {
        let addresses = ensemble.addresses().join(",");
        let first = Agent::prepare_at(&addresses, |_| {});
        let second = first.neighbour(|settings| settings.host = "h2".to_owned());
        let web = first.web();
        web.put(&web.znodes.policy(), r#"{"v":1,"restart_concurrency":1}"#);
        let pair = Pair {
            hosts: [first, second],
        };
        pair.hosts.iter().for_each(Agent::run);
        pair.deploy("r1", 1);
        pair.serve("r1");
        pair
    }

    /// Puts a build on the shelf of the first, which both fetch from.
    fn deploy(&self, build: &str, rollout: u64) {
        let web = self.hosts[0].web();
        let artifact = self.hosts[0].builds.add(build, Health::Ok);
        web.enable(&web.target(build, rollout, &artifact));
    }

    #[track_caller]
    fn serve(&self, build: &str) {
        for host in &self.hosts {
            host.web().serves(build);
        }
        assert_eq!(self.hosts[0].web().leases(), [""; 0]);
    }

    fn restarts(&self) -> [usize; 2] {
        [0, 1].map(|host| self.hosts[host].supervisor.asked("restart").len())
    }

    /// Holds the first restart of each, and waits until one host has left service. Returns it, and
    /// the one that waits.
    fn half_way(&self, build: &str, rollout: u64) -> (&Agent, &Agent) {
        let before = self.restarts();
        for host in &self.hosts {
            host.supervisor.on("restart", Answer::HoldBefore);
        }
        self.deploy(build, rollout);
        let out = eventually("one host is out of service", LIMIT, || {
            let now = self.restarts();
            let out = (0..2).find(|host| now[*host] > before[*host]);
            out.ok_or(now)
        });
        (&self.hosts[out], &self.hosts[1 - out])
    }
}

/// The agent says so itself.
#[track_caller]
fn sees_no_zookeeper(agent: &Agent) {
    eventually("it sees no ZooKeeper", LIMIT, || {
        let log = agent.log();
        let last = log.lines().rfind(|line| line.contains("zookeeper link"));
        match last {
            Some(line) if line.contains("down") => Ok(()),
            other => Err(other.map(str::to_owned)),
        }
    });
}

#[track_caller]
fn is_at(web: &Service<'_>, build: &str) {
    eventually(&format!("at {build}"), LIMIT, || {
        web.differs_from(build).map_or(Ok(()), Err)
    });
}

#[test]
fn servers_of_an_ensemble_die_in_the_middle_of_deployments() {
    let Some(mut ensemble) = Ensemble::start() else {
        return;
    };
    let pair = Pair::start(&ensemble);
    let before = pair.restarts();
    let witnesses = [0, 1].map(|host| Witness::start(&pair.hosts[host].web(), Promise::OneServes));

    // The leader dies while one host is out of service and the other waits for it.
    let (out, waits) = pair.half_way("r2", 2);
    let asked = waits.supervisor.asked("restart").len();
    let leader = ensemble.leader();
    ensemble.servers[leader].kill();
    let next = ensemble.leader();
    assert_ne!(next, leader);
    eventually("writes are taken again", LIMIT, || {
        out.znodes.takes_writes().then_some(()).ok_or(())
    });
    assert_eq!(
        waits.supervisor.asked("restart").len(),
        asked,
        "two hosts out of service"
    );
    pair.hosts.iter().for_each(|host| host.supervisor.let_go());
    pair.serve("r2");
    ensemble.servers[leader].start_again();

    // The quorum is lost: one server is left, and serves reads to who asks for no more.
    let (out, waits) = pair.half_way("r3", 3);
    let asked = waits.supervisor.asked("restart").len();
    let left = ensemble.leader();
    let dead = [(left + 1) % 3, (left + 2) % 3];
    dead.iter()
        .for_each(|server| ensemble.servers[*server].kill());
    pair.hosts.iter().for_each(sees_no_zookeeper);
    eventually("what is left is read-only", LIMIT, || {
        match ensemble.servers[left].mode() {
            Some(mode) if mode == "read-only" => Ok(()),
            other => Err(other),
        }
    });
    pair.hosts.iter().for_each(|host| host.supervisor.let_go());
    // What is half done is finished; nothing else begins, and nobody takes a read-only server for
    // ZooKeeper.
    is_at(&out.web(), "r3");
    let status = || String::from_utf8_lossy(&waits.output(&["status"]).stdout).into_owned();
    eventually("the other waits", LIMIT, || match status() {
        text if text.contains("web  waiting") => Ok(()),
        text => Err(text),
    });
    waits.web().is_at("r2");
    assert_eq!(
        waits.supervisor.asked("restart").len(),
        asked,
        "begun without ZooKeeper"
    );
    assert_eq!(ensemble.servers[left].mode().as_deref(), Some("read-only"));
    dead.iter()
        .for_each(|server| ensemble.servers[*server].launch());
    ensemble.leader();
    pair.serve("r3");

    // Nobody lost a deployment, or did one twice.
    assert_eq!(pair.restarts(), before.map(|restarts| restarts + 4));
    witnesses.into_iter().for_each(Witness::finish);
}

/// Starts an agent whose hosts are `hosts`, of which one leads to ZooKeeper.
fn with_hosts(hosts: &str, session_timeout_s: u64) -> Option<Agent> {
    let agent = Agent::prepare(zookeeper()?, |settings| {
        settings.zookeeper = hosts.to_owned();
        settings.session_timeout_s = session_timeout_s;
    });
    agent.run();
    agent.web().deploy("r1", 1);
    agent.web().serves("r1");
    Some(agent)
}

#[test]
fn zookeeper_moves_to_another_address() {
    let Some(server) = zookeeper() else { return };
    let [old, new, last] = [(); 3].map(|()| Proxy::start(server.port()));
    new.close_listener();
    // One of the two is dead from the start.
    let Some(mut agent) = with_hosts(&format!("{},{}", new.address(), old.address()), 4) else {
        return;
    };
    let witness = Witness::start(&agent.web(), Promise::OneServes);
    // It moves to the other in the middle of a restart.
    agent.supervisor.on("restart web-1", Answer::HoldBefore);
    agent.web().deploy("r2", 2);
    agent.supervisor.wait_asked("restart web-1", 1);
    old.close_listener();
    old.cut(Cut::Rst);
    new.open_listener();
    agent.supervisor.let_go();
    agent.web().serves("r2");
    // All that are configured move: that is for an operator to say, and until then it waits.
    new.close_listener();
    new.cut(Cut::Rst);
    sees_no_zookeeper(&agent);
    agent.web().deploy("r3", 3);
    let plan = agent.output(&["plan"]);
    let said = String::from_utf8_lossy(&plan.stderr).into_owned();
    assert_eq!(plan.status.code(), Some(7), "{said}");
    assert!(
        said.contains(&new.address()) && said.contains(&old.address()),
        "{said}"
    );
    agent.web().is_at("r2");
    agent.settings.zookeeper = last.address();
    fs::write(agent.config(), agent.config_text()).expect("a file can be written");
    assert_eq!(agent.stop(), Some(0));
    agent.run();
    agent.web().serves("r3");
    assert_eq!(
        agent.supervisor.asked("restart").len(),
        6,
        "nobody is restarted twice"
    );
    witness.finish();
}

#[test]
fn every_answer_takes_long() {
    let Some(server) = zookeeper() else { return };
    let proxy = Proxy::start(server.port());
    // As long as that server grants.
    let Some(agent) = with_hosts(&proxy.address(), 10) else {
        return;
    };
    let web = agent.web();
    let witness = Witness::start(&web, Promise::OneServes);
    // Twice this, there and back: slow, and all the same ZooKeeper.
    let delay_ms = if env::var_os("DEPLOY_TEST_LONG").is_some() {
        750
    } else {
        200
    };
    proxy.set_delay(Duration::from_millis(delay_ms));
    let begin = Instant::now();
    web.deploy("r2", 2);
    web.serves_within("r2", 3 * LIMIT);
    let took = begin.elapsed();
    let answer_ms = 2 * delay_ms;
    println!("figure: a deployment in {took:.1?} where each answer takes {answer_ms} ms");
    assert!(
        !agent.log().contains("zookeeper link down"),
        "a slow ZooKeeper is one"
    );
    assert_eq!(agent.supervisor.asked("restart").len(), 4);
    // Five seconds, with a host out of service: that is none, and what is half done is finished.
    agent.supervisor.on("restart web-1", Answer::HoldBefore);
    web.deploy("r3", 3);
    agent.supervisor.wait_asked("restart web-1", 2);
    proxy.set_delay(Duration::from_millis(2500));
    sees_no_zookeeper(&agent);
    agent.supervisor.let_go();
    is_at(&web, "r3");
    let pids = web.pids();
    // Nothing new begins meanwhile, also when one answer gets through now and then.
    web.deploy("r4", 4);
    for delay_ms in [5000, 300, 5000] {
        proxy.set_delay(Duration::from_millis(delay_ms));
        proxy.cut(Cut::Rst);
    }
    sees_no_zookeeper(&agent);
    assert_eq!(web.pids(), pids);
    proxy.set_delay(Duration::ZERO);
    proxy.cut(Cut::Rst);
    web.serves("r4");
    assert_eq!(
        agent.supervisor.asked("restart").len(),
        8,
        "nobody is restarted twice"
    );
    assert_eq!(web.leases(), [""; 0]);
    witness.finish();
}
