//! The packet filter of real hosts: who is refused, and that no port stays so.

use std::time::Duration;

use tests::eventually::eventually;
use tests::fleet::{Fleet, Held, PORTS};

/// `ExecStopPost` takes 0.1 s. [`RESTART_LATE`] is later.
const OPEN_MAX: Duration = Duration::from_secs(40);
/// Lets the next start of a killed deployd wait for longer than a busy machine needs for its end.
const RESTART_LATE: &str = "d=/run/systemd/system/deployd.service.d && mkdir -p $d && \
                            printf '[Service]\\nRestartSec=60\\n' > $d/late.conf && \
                            systemctl daemon-reload";
/// Leaves what a killed deployd had drained to the next one, as without its unit.
const NOBODY_OPENS: &str = "d=/run/systemd/system/deployd.service.d && mkdir -p $d && \
                            printf '[Service]\\nRestart=no\\nExecStopPost=\\n' > $d/late.conf && \
                            systemctl daemon-reload";
/// `TimeoutStopSec` is 90 s.
const STOP_MAX: Duration = Duration::from_secs(80);
const SOON: Duration = Duration::from_secs(20);

#[test]
fn a_drained_port_refuses_other_hosts_and_answers_the_probe() {
    let Some(fleet) = Fleet::start("drain", 2) else {
        return;
    };
    let held = begin_to_drain(&fleet, "v2");
    refuses(&fleet);
    // Our own probe, and the other instance, go through.
    let probe = "python3 -c 'import socket; \
                 socket.create_connection((\"127.0.0.1\", 8001), 2, (\"127.0.0.66\", 0))'";
    fleet.on("h1", probe).well();
    assert_eq!(
        fleet.get("h2", ("h1", 8002), "/"),
        Ok("v1 8002 h1".to_owned())
    );

    // Somebody reloads the packet filter.
    fleet.on("h1", "iptables -F").well();
    refuses(&fleet);
    // The request that was there before was not cut.
    assert_eq!(held.finish(), Ok("v1 8001 h1".to_owned()));
    is_deployed(&fleet, "v2");
}

#[test]
fn deployd_is_killed_while_a_port_is_drained() {
    let Some(fleet) = Fleet::start("drain-kill", 2) else {
        return;
    };
    let held = begin_to_drain(&fleet, "v2");
    refuses(&fleet);
    fleet.on("h1", RESTART_LATE).well();
    fleet.ask(&["kill9", "h1"]).well();
    // Before deployd is back: ExecStopPost.
    eventually("the port is open again", OPEN_MAX, || {
        fleet.get("h2", ("h1", 8001), "/")
    });
    // What opened it may be about to end.
    let state = fleet.property("h1", "deployd", "SubState");
    assert!(
        matches!(state.as_str(), "stop-post" | "auto-restart"),
        "{state}"
    );
    fleet.on("h1", "systemctl restart deployd").well();
    assert_eq!(held.finish(), Ok("v1 8001 h1".to_owned()));
    is_deployed(&fleet, "v2");
}

#[test]
fn deployd_is_stopped_while_a_port_is_drained() {
    let Some(fleet) = Fleet::start("drain-stop", 2) else {
        return;
    };
    let held = begin_to_drain(&fleet, "v2");
    refuses(&fleet);
    fleet.on("h1", "systemctl stop deployd --no-block").well();
    // Whether it waits for the end of the request or not is its choice.
    eventually("deployd is stopping", SOON, || {
        match fleet.property("h1", "deployd", "ActiveState").as_str() {
            "active" => Err("it is active"),
            _ => Ok(()),
        }
    });
    assert_eq!(held.finish(), Ok("v1 8001 h1".to_owned()));
    eventually("deployd has ended", STOP_MAX, || {
        match fleet.property("h1", "deployd", "ActiveState").as_str() {
            "inactive" => Ok(()),
            other => Err(other.to_owned()),
        }
    });
    no_rules(&fleet);
    for port in PORTS {
        fleet
            .get("h2", ("h1", port), "/")
            .expect("the service is up");
    }
    // The last report of a deployd that is gone is all that people see of the host.
    let report = fleet.report("h1");
    for instance in [0, 1] {
        let state = &report["instances"][instance]["state"];
        assert_eq!(state, "serving", "{report:#}");
    }
    assert_eq!(fleet.property("h1", "deployd", "Result"), "success");
    fleet.on("h1", "systemctl start deployd").well();
    is_deployed(&fleet, "v2");
}

#[test]
fn what_is_left_drained_is_opened_by_a_deployd_that_can_not_take_it_over() {
    let Some(fleet) = Fleet::start("drain-left", 2) else {
        return;
    };
    let held = begin_to_drain(&fleet, "v2");
    refuses(&fleet);
    fleet.on("h1", NOBODY_OPENS).well();
    fleet.ask(&["kill9", "h1"]).well();
    refuses(&fleet);
    fleet
        .on(
            "h1",
            "iptables-save -t filter > /run/left; ip6tables-save -t filter > /run/left6",
        )
        .well();
    let journal = "/var/lib/deployd/journal/hello.json";
    let start = format!("cp {journal} /run/ && echo no > {journal} && systemctl start deployd");
    fleet.on("h1", &start).well();
    opens(&fleet);
    assert_eq!(fleet.report("h1")["error"]["step"], "journal");
    assert_eq!(held.finish(), Ok("v1 8001 h1".to_owned()));

    // Another method, at the next start.
    let left = "iptables-restore < /run/left && ip6tables-restore < /run/left6";
    fleet
        .on("h1", &format!("systemctl stop deployd && {left}"))
        .well();
    refuses(&fleet);
    fleet.configure(&[(r#"method = "iptables""#, r#"method = "none""#)]);
    let start = format!("mv /run/hello.json {journal} && systemctl start deployd");
    fleet.on("h1", &start).well();
    opens(&fleet);
    is_deployed(&fleet, "v2");
}

#[track_caller]
fn opens(fleet: &Fleet) {
    eventually("the port is open again", OPEN_MAX, || {
        fleet.get("h2", ("h1", 8001), "/")
    });
    no_rules(fleet);
}

/// Deploys v1 everywhere, and another build as far as the first drain of h1, which waits for the
/// end of a request.
fn begin_to_drain(fleet: &Fleet, build: &str) -> Held {
    fleet.builds(&["v1", build]);
    fleet.deploy("v1").well();
    let held = fleet.hold("h2", ("h1", 8001));
    fleet.on("h2", "systemctl stop deployd").well();
    fleet.begin(build);
    held
}

#[track_caller]
fn refuses(fleet: &Fleet) {
    eventually("h1 refuses h2 on 8001", SOON, || {
        match fleet.get("h2", ("h1", 8001), "/") {
            Err(error) if error.contains("refused") => Ok(()),
            other => Err(other),
        }
    });
}

#[track_caller]
fn is_deployed(fleet: &Fleet, build: &str) {
    fleet.serves("h1", build);
    for port in PORTS {
        let answer = fleet.get("h2", ("h1", port), "/");
        assert_eq!(answer, Ok(format!("{build} {port} h1")));
    }
    no_rules(fleet);
    eventually("the lease is given back", SOON, || match fleet.leases() {
        leases if leases.is_empty() => Ok(()),
        leases => Err(leases),
    });
}

#[track_caller]
fn no_rules(fleet: &Fleet) {
    let rules = fleet.on("h1", "iptables -S; ip6tables -S").well().stdout;
    assert!(!rules.contains("--dport"), "{rules}");
}
