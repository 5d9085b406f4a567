//! People change something in the middle.

use tests::eventually::eventually;

use crate::config::{HELLO, UNIT_FILE};
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
    let Some(mut rig) = Rig::start("operator", concurrency) else {
        return;
    };
    rig.fault("iptables flushed while drained", Moment::Drained, flushed);
    rig.fault(
        "iptables flushed while restarting",
        Moment::Restarting,
        |rollout| flush(rollout),
    );
    let third = rig.new_build();
    rig.fault(
        "the target changed while drained",
        Moment::Drained,
        |rollout| {
            HELLO.begin(rollout.fleet, &third);
            rollout.wanted = third;
        },
    );
    rig.fault("hold set while drained", Moment::Drained, held);
    rig.fault("the unit file removed", Moment::Drained, without_unit);
    rig.ends();
}

fn flush(rollout: &Rollout<'_>) {
    let line = "iptables -F && ip6tables -F";
    rollout.fleet.on(&rollout.host, line).well();
}

fn flushed(rollout: &mut Rollout<'_>) {
    flush(rollout);
    rollout.gate().is_refused(rollout.fleet, &rollout.host);
}

/// Who is half restarted finishes, and nobody else begins.
fn held(rollout: &mut Rollout<'_>) {
    let holders = HELLO.leases(rollout.fleet);
    let holders = &holders[..rollout.concurrency];
    rollout.fleet.ctl("hold hello -m lunch").well();
    rollout.go_on();
    for host in rollout.fleet.hosts() {
        if holders.contains(&host) {
            rollout.fleet.serves(&host, &rollout.wanted);
            continue;
        }
        eventually(&format!("{host} waits"), SOON, || {
            let report = HELLO.report(rollout.fleet, &host);
            if report["phase"] == "waiting" {
                Ok(())
            } else {
                Err(report.to_string())
            }
        });
        let stays = HELLO.answers(rollout.fleet, &host, &rollout.before);
        assert_eq!(stays, Ok(()), "{host}");
    }
    rollout.fleet.ctl("unhold hello").well();
}

/// The host fails, and says why; the others are none the worse for it.
fn without_unit(rollout: &mut Rollout<'_>) {
    let host = rollout.host.clone();
    let away = format!("mv {UNIT_FILE} /run/ && systemctl daemon-reload");
    rollout.fleet.on(&host, &away).well();
    rollout.go_on();
    let report = eventually(&format!("{host} has failed"), SOON, || {
        let report = HELLO.report(rollout.fleet, &host);
        if report["phase"] == "failed" {
            Ok(report)
        } else {
            Err(report.to_string())
        }
    });
    let error = report["error"].to_string();
    assert!(error.contains("not found"), "{report:#}");
    let stays = HELLO.answers(rollout.fleet, &host, &rollout.before);
    assert_eq!(stays, Ok(()), "{report:#}");
    rollout.others_do_without(&host);
    let back = format!("mv /run/hello@.service {UNIT_FILE} && systemctl daemon-reload");
    rollout.fleet.on(&host, &back).well();
    rollout
        .fleet
        .ctl(&format!("host retry {host} hello --detach"))
        .well();
}
