//! deployd is killed.

use crate::gate::Moment;
use crate::rig::{Rig, Rollout};

#[test]
fn one_host_at_a_time() {
    faults(1);
}

#[test]
fn two_hosts_at_a_time() {
    faults(2);
}

fn faults(concurrency: usize) {
    let Some(mut rig) = Rig::start("agent", concurrency) else {
        return;
    };
    let kill = |rollout: &mut Rollout<'_>| {
        rollout.fleet.ask(&["kill9", &rollout.host]).well();
    };
    rig.fault("kill -9 while holding a lease", Moment::Leased, kill);
    rig.fault("kill -9 while drained", Moment::Drained, kill);
    rig.fault("kill -9 while restarting", Moment::Restarting, kill);
    rig.ends();
}
