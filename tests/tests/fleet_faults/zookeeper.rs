//! ZooKeeper is away, or a host is away from it.

use std::time::{Duration, Instant};

use tests::eventually::eventually;
use tests::fleet::{Fleet, ROLLOUT_MAX};

use crate::config::HELLO;
use crate::gate::Moment;
use crate::rig::{Rig, Rollout};

const AWAY: Duration = Duration::from_secs(60);

#[test]
fn one_host_at_a_time() {
    faults(1);
}

#[test]
fn two_hosts_at_a_time() {
    faults(2);
}

fn faults(concurrency: usize) {
    let Some(mut rig) = Rig::start("zookeeper", concurrency) else {
        return;
    };
    rig.fault("ZooKeeper away for 60 s", Moment::Drained, away);
    rig.fault("a session expired", Moment::Drained, expired);
    let cut_off = "a host cut off from ZooKeeper while it holds a lease";
    rig.fault(cut_off, Moment::Leased, cut_off_before);
    let cut_off = "a host cut off from ZooKeeper while it is drained";
    rig.fault(cut_off, Moment::Drained, cut_off_halfway);
    rig.ends();
}

/// What is out of service comes back; nothing new starts.
fn away(rollout: &mut Rollout<'_>) {
    let holders = HELLO.leases(rollout.fleet);
    let holders = &holders[..rollout.concurrency];
    rollout.fleet.ask(&["zookeeper", "stop"]).well();
    let stopped = Instant::now();
    rollout.go_on();
    for host in holders {
        rollout.answers(host, &rollout.wanted);
    }
    eventually("all are in service, for a minute", ROLLOUT_MAX, || {
        let out = rollout.sampler.newest();
        let nobody = out.as_ref().is_some_and(|sample| sample.out.is_empty());
        if nobody && stopped.elapsed() > AWAY {
            Ok(())
        } else {
            Err(out.map(|sample| sample.to_string()))
        }
    });
    for host in rollout.fleet.hosts() {
        let began = holders.contains(&host);
        let build = if began {
            &rollout.wanted
        } else {
            &rollout.before
        };
        assert_eq!(HELLO.answers(rollout.fleet, &host, build), Ok(()), "{host}");
    }
    rollout.fleet.ask(&["zookeeper", "start"]).well();
}

/// The host hangs for longer than its session lasts.
fn expired(rollout: &mut Rollout<'_>) {
    let host = rollout.host.clone();
    rollout.fleet.ask(&["freeze", &host]).well();
    rollout.is_gone(&host);
    assert!(HELLO.leases(rollout.fleet).contains(&host));
    rollout.fleet.ask(&["thaw", &host]).well();
}

/// Clients still reach the host, and ZooKeeper does not: what it has not begun it does not begin.
fn cut_off_before(rollout: &mut Rollout<'_>) {
    let host = rollout.host.clone();
    cut(rollout.fleet, "-I", &host);
    rollout.is_gone(&host);
    eventually(&format!("{host} knows it"), ROLLOUT_MAX, || {
        let told = rollout.fleet.property(&host, "deployd", "StatusText");
        if told.contains("zk ok") {
            Err(told)
        } else {
            Ok(())
        }
    });
    rollout.go_on();
    eventually(&format!("{host} waits"), ROLLOUT_MAX, || {
        let said = rollout.fleet.on(&host, "deployd status --json");
        if said.stdout.contains("waits for ZooKeeper") {
            Ok(())
        } else {
            Err(said.stdout)
        }
    });
    rollout.others_do_without(&host);
    let stays = HELLO.answers(rollout.fleet, &host, &rollout.before);
    assert_eq!(stays, Ok(()), "{host}");
    cut(rollout.fleet, "-D", &host);
}

/// It finishes what it has begun, and its lease stays.
fn cut_off_halfway(rollout: &mut Rollout<'_>) {
    let host = rollout.host.clone();
    cut(rollout.fleet, "-I", &host);
    rollout.go_on();
    rollout.is_gone(&host);
    rollout.answers(&host, &rollout.wanted);
    rollout.others_do_without(&host);
    cut(rollout.fleet, "-D", &host);
}

/// Adds or deletes a rule at the door of ZooKeeper; the host's own packet filter has none of it.
fn cut(fleet: &Fleet, verb: &str, host: &str) {
    let address = fleet.address((host, 0)).ip().to_string();
    let rule = [
        "exec", "hub", "iptables", "-w", verb, "INPUT", "-s", &address, "-p", "tcp", "--dport",
        "2181", "-j", "DROP",
    ];
    fleet.ask(&rule).well();
}
