//! Builds that don't work: undone on the host, and told with what the service said.

use serde_json::Value;
use tests::fleet::{Fleet, PORTS};

const FAILED: i32 = 3;
const UNITS: [&str; 2] = ["hello@8001.service", "hello@8002.service"];

#[test]
fn a_build_that_does_not_work_is_undone_and_told_with_its_log() {
    let Some(fleet) = Fleet::start("bad-builds", 1) else {
        return;
    };
    fleet.builds(&["v1", "dead:dies", "sick:sick", "mad:loops", "v2"]);
    fleet.deploy("v1").well();
    let other = fleet.property("h1", UNITS[1], "MainPID");

    for (build, step, log) in [
        ("dead", "restart", "PAYMENTS_URL is not set"),
        ("sick", "probe", "hello sick on 8001"),
        ("mad", "", "the payments server is gone"),
    ] {
        fleet.deploy(build).is(FAILED);
        let report = fleet.report("h1");
        is_undone(&fleet, &report);
        let error = &report["error"];
        let lines = error["log"].to_string();
        assert!(lines.contains(log), "{build}: {report:#}");
        assert!(
            step.is_empty() || error["step"] == step,
            "{build}: {report:#}"
        );
        // It was not the turn of the other instance: nobody touched it.
        assert_eq!(fleet.property("h1", UNITS[1], "MainPID"), other, "{build}");
    }

    // The next good one goes through, and the lease is given back at last.
    fleet.deploy("v2").well();
    fleet.serves("h1", "v2");
    assert_eq!(fleet.leases(), Vec::<String>::new());
}

#[track_caller]
fn is_undone(fleet: &Fleet, report: &Value) {
    assert_eq!(report["phase"], "failed", "{report:#}");
    assert_eq!(report["serving"], "v1", "{report:#}");
    assert_eq!(report["current"], "v1", "{report:#}");
    assert_eq!(report["lease"], true, "{report:#}");
    assert_eq!(fleet.leases(), ["h1"]);
    for port in PORTS {
        let answer = fleet.get("hub", ("h1", port), "/");
        assert_eq!(answer, Ok(format!("v1 {port} h1")));
    }
}
