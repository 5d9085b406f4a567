//! The restart queue, with real agents in it.

use std::ops::RangeInclusive;
use std::time::Duration;

use deploy_core::name::HostName;
use deploy_core::wire::report::{Phase, Report};
use tests::agent::{Agent, LIMIT, zookeeper};
use tests::eventually::eventually;
use tests::proxy::{Mode, Proxy};
use tests::service::Service;
use tests::supervisor::Answer;
use tests::usage::Usage;

/// Who waits, in all: more than the queue has room for, as where older agents wait in it.
const WAITING: usize = 1000;
/// Agents at the front of the queue: those that a release may wake.
const NEAR: usize = 3;
/// Other agents that wait in it, behind many that are not there, and those outside of it.
const FAR: usize = 3;
const OUTSIDE: usize = 3;
/// Who is before those far behind.
const BEFORE_FAR: usize = 40;
/// What a waking may cost: one lease is gone, the leases are counted, and their names read, with a watch, and once more to be sure.
const REQUESTS_EACH: u64 = 6;
/// Looks that each of the others takes by itself, as long as it takes here to be sure that nobody stirs.
const LOOKS: u64 = 3;
/// No request for so long: all have done what they had to.
const QUIET: Duration = Duration::from_secs(2);
/// A little more than passes between two looks of a host that is far behind.
const LOOK_TIME: Duration = Duration::from_secs(22);
/// What an agent says of each look that fails.
const UNREADABLE: &str = "the restart queue can't be read";
/// A policy.
const ONE_AT_A_TIME: &str = r#"{"v":1,"restart_concurrency":1}"#;

/// An agent, and the proxy that counts what it asks.
type Counted = (Agent, Proxy);

#[test]
fn one_release_wakes_few_of_a_thousand_waiting_hosts() {
    let Some(server) = zookeeper() else { return };
    let first = Agent::prepare(server, |_| {});
    let web = first.web();
    web.put(&web.znodes.policy(), ONE_AT_A_TIME);
    let holder = claim(&first, "holder", 0);
    web.deploy("r1", 1);

    let wait = |number: usize| -> Counted {
        let proxy = Proxy::start(server_port(&first));
        let agent = first.neighbour(|settings| {
            settings.host = format!("h{number}");
            settings.zookeeper = proxy.address();
            settings.services[0].instances = 1;
        });
        agent.run();
        let waits = |report: &Report| report.phase == Phase::Waiting;
        agent.web().until("it waits", waits);
        (agent, proxy)
    };
    let join = |number: usize| -> Counted {
        let counted = wait(number);
        let own = format!("h{number}-");
        eventually("it has a place in the queue", LIMIT, || {
            let leases = web.leases();
            let found = leases.iter().any(|lease| lease.starts_with(&own));
            if found { Ok(()) } else { Err(leases.len()) }
        });
        counted
    };
    let ghosts = |numbers: RangeInclusive<usize>| {
        numbers.for_each(|number| drop(claim(&first, &format!("ghost{number}"), number)));
    };
    let near: Vec<Counted> = (1..=NEAR).map(&join).collect();
    ghosts(NEAR + 1..=BEFORE_FAR);
    let far: Vec<Counted> = (BEFORE_FAR + 1..=BEFORE_FAR + FAR).map(&join).collect();
    ghosts(BEFORE_FAR + FAR + 1..=WAITING);
    let outside: Vec<Counted> = (WAITING + 1..=WAITING + OUTSIDE).map(&wait).collect();
    assert_eq!(web.leases().len(), WAITING + 1, "no others came in");

    // The one whose turn comes stays where it is: so there is one release, and not a row of them.
    near[0].0.supervisor.on("restart", Answer::HoldBefore);
    let all: Vec<&Counted> = near.iter().chain(&far).chain(&outside).collect();
    let before = when_quiet(&all);
    web.delete(&holder);
    near[0].0.supervisor.wait_asked("restart", 0);
    let after = when_quiet(&all);

    let asked: Vec<u64> = after.iter().zip(&before).map(|(a, b)| a - b).collect();
    let woken = &asked[1..NEAR];
    assert!(
        woken.iter().all(|requests| *requests <= REQUESTS_EACH),
        "{asked:?}"
    );
    // Nobody else stirs, but for the look that each takes from time to time.
    assert!(
        asked[NEAR..].iter().all(|requests| *requests <= LOOKS),
        "{asked:?}"
    );
    println!("figure: one release at {WAITING} waiting hosts: requests of those near {woken:?}");
    // Once at its start each looks for a lease of its own; who waits in the queue has seen it once more.
    let lists = |all: &[Counted]| -> Vec<u64> {
        let leases = |(_, proxy): &Counted| proxy.lists(&web.znodes.leases());
        all.iter().map(leases).collect()
    };
    assert_eq!(lists(&outside), [1; OUTSIDE]);
    assert_eq!(lists(&far), [2; FAR]);
    near[0].0.supervisor.let_go();
}

/// Where many may be out of service, nobody waits in the queue, and nobody reads it.
#[test]
fn a_host_outside_comes_in_when_there_is_room() {
    let Some(server) = zookeeper() else { return };
    let proxy = Proxy::start(server.port());
    let agent = Agent::prepare(server, |settings| {
        settings.zookeeper = proxy.address();
    });
    agent.run();
    let web = agent.web();
    web.put(&web.znodes.policy(), r#"{"v":1,"restart_concurrency":200}"#);
    let holders: Vec<String> = (0..200)
        .map(|number| claim(&agent, "holder", number))
        .collect();
    web.deploy("r1", 1);
    let waits = |report: &Report| report.phase == Phase::Waiting;
    web.until("waiting for room", waits);
    let report = web.looks_again();
    assert_eq!((report.phase, report.lease), (Phase::Waiting, false));
    assert_eq!(web.leases().len(), holders.len());
    web.delete(&holders[150]);
    web.serves("r1");
    assert_eq!(web.leases().len(), holders.len() - 1);
    // It waits for room no more when there is nothing to do.
    claim(&agent, "holder", 1000);
    web.deploy("r2", 2);
    web.until("waiting for room", waits);
    web.deploy("r1", 3);
    web.serves("r1");
    // With more room it need not look.
    web.deploy("r3", 4);
    web.until("waiting for room", waits);
    web.put(&web.znodes.policy(), r#"{"v":1,"restart_concurrency":201}"#);
    web.serves("r3");
    let lists = proxy.lists(&web.znodes.leases());
    assert!(lists <= 1, "the names were read {lists} times");
}

/// What is no lease takes no room from those that are.
#[test]
fn names_that_are_no_leases_keep_nobody_out() {
    let Some(server) = zookeeper() else { return };
    let agent = Agent::prepare(server, |_| {});
    let web = agent.web();
    web.put(&web.znodes.policy(), r#"{"v":1,"restart_concurrency":1}"#);
    for number in 0..300 {
        web.put(&format!("{}/x{number}", web.znodes.leases()), "");
    }
    let first = claim(&agent, "first", 300);
    agent.run();
    web.deploy("r1", 1);
    web.until("waiting for its turn", |report| {
        report.phase == Phase::Waiting
    });
    eventually("it has a place in the queue", LIMIT, || {
        let leases = web.leases().len();
        if leases == 302 { Ok(()) } else { Err(leases) }
    });
    web.delete(&first);
    web.serves("r1");
}

#[test]
fn a_dead_host_keeps_its_lease_unless_the_policy_says_otherwise() {
    let Some(agent) = Agent::start() else { return };
    let web = agent.web();
    web.put(&web.znodes.policy(), ONE_AT_A_TIME);
    let leases: Vec<String> = (0..20)
        .map(|number| claim(&agent, "dead", number))
        .collect();
    web.deploy("r1", 1);
    web.until("waiting for its turn", |report| {
        report.phase == Phase::Waiting
    });
    let report = web.looks_again();
    assert_eq!((report.phase, report.lease), (Phase::Waiting, false));
    web.put(
        &web.znodes.policy(),
        r#"{"v":1,"restart_concurrency":1,"lease_reclaim_s":1}"#,
    );
    web.serves("r1");
    assert_eq!(
        web.leases().len(),
        leases.len(),
        "they are for an operator to break"
    );
}

#[test]
fn a_policy_that_changes_lets_the_next_hosts_go() {
    let Some(agent) = Agent::start() else { return };
    let web = agent.web();
    let policy = |concurrency: &str| {
        let text = format!(r#"{{"v":1,"restart_concurrency":{concurrency}}}"#);
        web.put(&web.znodes.policy(), text);
    };
    policy("1");
    claim(&agent, "first", 0);
    claim(&agent, "second", 1);
    web.deploy("r1", 1);
    let waits = |report: &Report| report.phase == Phase::Waiting;
    web.until("waiting for its turn", waits);
    // Two places, and both are taken.
    policy("2");
    web.looks_again();
    let report = web.looks_again();
    assert_eq!((report.phase, report.lease), (Phase::Waiting, false));
    policy("3");
    web.serves("r1");
    // Of one host that is alive, any share is one: and that one is taken.
    policy("\"100%\"");
    web.deploy("r2", 2);
    web.until("waiting for its turn", waits);
    policy("3");
    web.serves("r2");
}

/// It has a place in the queue, and only can't know whether its turn has come: that is not the build's fault.
#[test]
fn a_host_that_finds_its_lease_beside_a_garbage_policy_rejects_nothing() {
    let Some(agent) = Agent::start() else { return };
    let web = agent.web();
    web.deploy("r1", 1);
    web.serves("r1");
    web.put(&web.znodes.policy(), "no such word, no");
    // The first in the queue may go before the policy is read: any policy lets it.
    let ghost = claim(&agent, "ghost", 0);
    web.deploy("r2", 2);
    agent.logs(&[UNREADABLE]);
    let leases = web.leases();
    assert_eq!(leases.len(), 2);
    agent.kill();
    let before = agent.log().matches(UNREADABLE).count();
    agent.run();
    eventually("it has looked again", LIMIT, || {
        match agent.log().matches(UNREADABLE).count() {
            now if now > before => Ok(()),
            now => Err(now),
        }
    });
    let report = web.looks_again();
    assert_eq!((report.phase, report.lease), (Phase::Waiting, false));
    assert_eq!(web.leases(), leases);
    web.delete(&ghost);
    web.put(&web.znodes.policy(), ONE_AT_A_TIME);
    web.serves("r2");
    assert_eq!(web.leases(), [""; 0]);
}

/// Nobody can say how many may go, and the host would ask again and again.
#[test]
fn a_host_far_behind_rests_while_the_policy_is_garbage() {
    let garbage = |web: &Service<'_>, _: &Proxy| web.put(&web.znodes.policy(), "{");
    let good = |web: &Service<'_>, _: &Proxy| web.put(&web.znodes.policy(), ONE_AT_A_TIME);
    check_that_it_rests(garbage, good);
}

/// There is nobody to ask, and the host would look for that again and again.
#[test]
fn a_host_far_behind_rests_without_zookeeper() {
    let away = |_: &Service<'_>, proxy: &Proxy| proxy.set_mode(Mode::BlackHole);
    let back = |_: &Service<'_>, proxy: &Proxy| proxy.set_mode(Mode::Forward);
    check_that_it_rests(away, back);
}

/// Asserts that a host far behind rests after `begin`, and goes on after `end`.
#[track_caller]
fn check_that_it_rests(begin: impl Fn(&Service<'_>, &Proxy), end: impl Fn(&Service<'_>, &Proxy)) {
    let Some(server) = zookeeper() else { return };
    let proxy = Proxy::start(server.port());
    let agent = Agent::prepare(server, |settings| {
        settings.zookeeper = proxy.address();
    });
    let web = agent.web();
    web.put(&web.znodes.policy(), ONE_AT_A_TIME);
    let ghosts: Vec<String> = (0..20)
        .map(|number| claim(&agent, "ghost", number))
        .collect();
    agent.run();
    web.deploy("r1", 1);
    eventually("it has a place in the queue", LIMIT, || {
        match web.leases().len() {
            length if length > ghosts.len() => Ok(()),
            length => Err(length),
        }
    });
    // It knows its place, too.
    web.looks_again();
    begin(&web, &proxy);
    rests(&agent);
    end(&web, &proxy);
    ghosts.iter().for_each(|lease| web.delete(lease));
    web.serves("r1");
}

/// It waits for its lease for as long as that takes, and the time in which it should have found ZooKeeper is over.
#[test]
fn a_run_until_nothing_is_left_to_do_rests_while_it_waits_for_its_lease() {
    let Some(server) = zookeeper() else { return };
    let agent = Agent::prepare(server, |_| {});
    let web = agent.web();
    web.put(&web.znodes.policy(), ONE_AT_A_TIME);
    let ghost = claim(&agent, "ghost", 0);
    web.deploy("r1", 1);
    let mut command = agent.command(&["run", "--once"]);
    agent.log_to(&mut command);
    agent.adopt(command);
    rests(&agent);
    web.delete(&ghost);
    assert_eq!(agent.wait(), Some(0));
    web.is_at("r1");
}

/// Asserts that an agent does nothing, once it has waited for longer than it does between two looks.
#[track_caller]
fn rests(agent: &Agent) {
    std::thread::sleep(LOOK_TIME);
    let before = Usage::of(agent.pid()).processor;
    std::thread::sleep(QUIET);
    let spent = Usage::of(agent.pid()).processor - before;
    assert!(spent < QUIET / 10, "{spent:?} of processor in {QUIET:?}");
}

/// Else a large fleet that restarts would be read whole by each of its hosts.
#[test]
fn nobody_asks_for_each_host_that_is_alive() {
    // With one lease before it, the agent has its turn where four are alive; itself it has a mark.
    for (marked, asked) in [(Marked::Yes, 0), (Marked::No, 3)] {
        let Some(server) = zookeeper() else { return };
        let proxy = Proxy::start(server.port());
        let agent = Agent::prepare(server, |settings| {
            settings.zookeeper = proxy.address();
        });
        let web = agent.web();
        let policy = r#"{"v":1,"restart_concurrency":"50%"}"#;
        web.put(&web.znodes.policy(), policy);
        for number in 0..40 {
            let host = HostName::parse(&format!("a{number}")).expect("it is a name");
            web.put(&web.znodes.alive(&host), "{}");
            if marked == Marked::Yes {
                web.put(&web.znodes.mark(&host), "{}");
            }
        }
        claim(&agent, "first", 0);
        agent.run();
        web.deploy("r1", 1);
        web.serves("r1");
        let each = proxy.requests(&format!("{}/a", web.znodes.hosts()));
        assert_eq!(each, asked, "of 40 that are alive, marked: {marked:?}");
    }
}

/// Whether hosts have a mark among those of all: agents of other makes may have none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Marked {
    Yes,
    No,
}

/// Puts a lease into the queue, as a host has it that is not there.
fn claim(agent: &Agent, host: &str, number: usize) -> String {
    let path = format!("{}/{host}-{number:010}", agent.web().znodes.leases());
    agent
        .web()
        .put(&path, format!(r#"{{"v":1,"host":"{host}"}}"#));
    path
}

fn server_port(agent: &Agent) -> u16 {
    let address = agent.settings.zookeeper.rsplit(':').next();
    let port = address.and_then(|port| port.parse().ok());
    port.expect("an address has a port")
}

/// Waits until nobody asks anything any more, and returns how much each has asked.
fn when_quiet(all: &[&Counted]) -> Vec<u64> {
    let count = || -> Vec<u64> {
        let queue = |(agent, proxy): &&Counted| proxy.requests(&agent.web().znodes.leases());
        all.iter().map(queue).collect()
    };
    eventually("nobody asks anything", LIMIT, || {
        let before = count();
        std::thread::sleep(QUIET);
        let now = count();
        if now == before { Ok(now) } else { Err(now) }
    })
}
