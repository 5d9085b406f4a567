//! A host loses its power.

use tests::eventually::eventually;
use tests::fleet::ROLLOUT_MAX;

use crate::config::HELLO;
use crate::gate::Moment;
use crate::rig::{Rig, Rollout, SOON};

#[test]
fn one_host_at_a_time() {
    faults(1);
}

#[test]
fn two_hosts_at_a_time() {
    faults(2);
}

fn faults(concurrency: usize) {
    let Some(mut rig) = Rig::start("power", concurrency) else {
        return;
    };
    rig.fault("power-off while holding a lease", Moment::Leased, outage);
    rig.fault("power-off while drained", Moment::Drained, outage);
    rig.fault("power-off while restarting", Moment::Restarting, outage);
    let waiting = "power-off while waiting for a lease";
    rig.fault(waiting, Moment::Drained, outage_of_one_that_waits);
    let (sick, good) = (rig.new_build_of("sick"), rig.new_build());
    let unproven = "power-off before a build that does not work is probed";
    rig.fault_with(&sick, (unproven, Moment::Leased), |rollout| {
        outage_with_sick_build(rollout, &good);
    });
    rig.ends();
}

/// Boots a host whose `current` points to a build that nobody has probed, and that does not work:
/// systemd has started it.
fn outage_with_sick_build(rollout: &mut Rollout<'_>, good: &str) {
    let host = rollout.host.clone();
    rollout.fleet.ask(&["poweroff", &host]).well();
    rollout.fleet.ask(&["boot", &host]).well();
    rollout.go_on();
    let report = eventually(&format!("{host} has failed"), ROLLOUT_MAX, || {
        let report = HELLO.report(rollout.fleet, &host);
        match report["phase"].as_str() {
            Some("failed" | "serving") => Ok(report),
            _ => Err(report.to_string()),
        }
    });
    assert_eq!(report["phase"], "failed", "{report:#}");
    assert_eq!(report["serving"], rollout.before, "{report:#}");
    assert_eq!(report["lease"], true, "{report:#}");
    HELLO.begin(rollout.fleet, good);
    good.clone_into(&mut rollout.wanted);
}

/// The host is out of service, and its lease says so: it counts.
fn outage(rollout: &mut Rollout<'_>) {
    let host = rollout.host.clone();
    rollout.fleet.ask(&["poweroff", &host]).well();
    rollout.go_on();
    rollout.is_gone(&host);
    rollout.others_do_without(&host);
    rollout.fleet.ask(&["boot", &host]).well();
}

/// That host is out of service besides those that may be.
fn outage_of_one_that_waits(rollout: &mut Rollout<'_>) {
    let last = eventually("all others wait", SOON, || {
        let leases = HELLO.leases(rollout.fleet);
        match leases.last() {
            Some(last) if leases.len() == rollout.fleet.hosts().len() => Ok(last.clone()),
            _ => Err(leases),
        }
    });
    rollout.sampler.excuse(&last);
    rollout.fleet.ask(&["poweroff", &last]).well();
    rollout.go_on();
    // It is the last in the queue, and its turn comes: nobody else is kept.
    for other in rollout.others(&last) {
        rollout.fleet.serves(&other, &rollout.wanted);
    }
    rollout.leases_are(&[&last]);
    rollout.fleet.ask(&["boot", &last]).well();
    rollout.answers(&last, &rollout.before);
    rollout.sampler.count(&last);
}
