//! Units that are not as they should be: a clear outcome, in bounded time, and a way back.

use std::time::{Duration, Instant};

use serde_json::Value;
use tests::eventually::eventually;
use tests::fleet::{Fleet, PORTS};

const UNIT: &str = "/etc/systemd/system/hello@.service";
/// Far below the time that deployctl would wait.
const OUTCOME_MAX: Duration = Duration::from_secs(30);

#[test]
fn bad_units_end_a_deployment_soon_and_clearly() {
    let Some(fleet) = Fleet::start("bad-units", 1) else {
        return;
    };
    fleet.builds(&["v1:deaf", "v2", "v3", "v4", "v5"]);
    fleet.deploy("v1").well();
    // Each instance is killed by systemd after its TimeoutStopSec.
    soon(&fleet, "v2");
    serves(&fleet, "v2");

    let (mask, unmask) = (
        "systemctl mask --runtime hello@8002.service",
        "systemctl unmask --runtime hello@8002.service",
    );
    fleet.on("h1", mask).well();
    is_not_begun(&fleet, "v3", "v2", "`systemctl unmask hello@8002.service`");
    fleet.on("h1", unmask).well();
    fleet.serves("h1", "v3");
    serves(&fleet, "v3");

    let (remove, restore) = (
        format!("mv {UNIT} /run/ && systemctl daemon-reload"),
        format!("mv /run/hello@.service {UNIT} && systemctl daemon-reload"),
    );
    fleet.on("h1", &remove).well();
    is_not_begun(&fleet, "v4", "v3", "`systemctl cat hello@8001.service`");
    fleet.on("h1", &restore).well();
    fleet.serves("h1", "v4");
    serves(&fleet, "v4");

    // It goes away when the host has left service already.
    let held = fleet.hold("hub", ("h1", PORTS[0]));
    fleet.begin("v5");
    reports(&fleet, "is draining", |report| {
        report["instances"][0]["state"] == "draining"
    });
    fleet.on("h1", &remove).well();
    assert_eq!(held.finish(), Ok("v4 8001 h1".to_owned()));
    let report = reports(&fleet, "has gone back", |report| {
        report["phase"] == "failed"
    });
    is_undone(&fleet, &report, "not found");
    fleet.on("h1", &restore).well();
    fleet.ctl("host retry h1 hello").well();
    fleet.serves("h1", "v5");
    serves(&fleet, "v5");
}

/// Wants a build on a host that can't restart its instances: all is made ready, nothing is touched.
#[track_caller]
fn is_not_begun(fleet: &Fleet, build: &str, before: &str, next_step: &str) {
    fleet.begin(build);
    let report = reports(fleet, "is blocked", |report| {
        report["phase"] == "blocked" && report["target"] == build && report["lease"] == false
    });
    assert!(
        report["error"]["message"].to_string().contains(next_step),
        "{report:#}"
    );
    assert_eq!(report["current"], before, "{report:#}");
    assert!(report["releases"].to_string().contains(build), "{report:#}");
    for instance in report["instances"].as_array().into_iter().flatten() {
        assert_eq!(instance["state"], "serving", "{report:#}");
    }
    assert_eq!(fleet.leases(), Vec::<String>::new());
    serves(fleet, before);
}

/// Waits for a report.
#[track_caller]
fn reports(fleet: &Fleet, what: &str, is_it: impl Fn(&Value) -> bool) -> Value {
    eventually(&format!("the host {what}"), OUTCOME_MAX, || {
        let report = fleet.report("h1");
        if is_it(&report) {
            Ok(report)
        } else {
            Err(report.to_string())
        }
    })
}

/// Deploys a build.
#[track_caller]
fn soon(fleet: &Fleet, build: &str) {
    let began = Instant::now();
    fleet.deploy(build).well();
    assert!(
        began.elapsed() < OUTCOME_MAX,
        "{build} took {:?}",
        began.elapsed()
    );
}

#[track_caller]
fn is_undone(fleet: &Fleet, report: &Value, why: &str) {
    assert_eq!(report["phase"], "failed", "{report:#}");
    let error = report["error"].to_string();
    assert!(error.contains(why), "{report:#}");
    assert_eq!(report["lease"], true, "{report:#}");
    let previous = report["current"]
        .as_str()
        .expect("it serves something")
        .to_owned();
    assert_ne!(report["target"], *previous, "{report:#}");
    serves(fleet, &previous);
}

#[track_caller]
fn serves(fleet: &Fleet, build: &str) {
    for port in PORTS {
        let answer = fleet.get("hub", ("h1", port), "/");
        assert_eq!(answer, Ok(format!("{build} {port} h1")));
    }
}
