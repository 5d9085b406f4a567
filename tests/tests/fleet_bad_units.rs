//! Units that are not as they should be: a clear outcome, in bounded time, and a way back.

use std::time::{Duration, Instant};

use serde_json::Value;
use tests::fleet::{Fleet, PORTS};

const FAILED: i32 = 3;
/// Far below the time that deployctl would wait.
const OUTCOME_MAX: Duration = Duration::from_secs(30);

#[test]
fn bad_units_end_a_deployment_soon_and_clearly() {
    let Some(fleet) = Fleet::start("bad-units", 1) else {
        return;
    };
    fleet.builds(&["v1:deaf", "v2", "v3", "v4"]);
    fleet.deploy("v1").well();
    // Each instance is killed by systemd after its TimeoutStopSec.
    soon(&fleet, "v2", 0);
    serves(&fleet, "v2");

    fleet
        .on("h1", "systemctl mask --runtime hello@8002.service")
        .well();
    let report = soon(&fleet, "v3", FAILED);
    is_undone(&fleet, &report, "masked");
    fleet
        .on("h1", "systemctl unmask --runtime hello@8002.service")
        .well();
    fleet.ctl("host retry h1 hello").well();
    fleet.serves("h1", "v3");
    serves(&fleet, "v3");

    let unit = "/etc/systemd/system/hello@.service";
    fleet
        .on("h1", &format!("mv {unit} /run/ && systemctl daemon-reload"))
        .well();
    let report = soon(&fleet, "v4", FAILED);
    is_undone(&fleet, &report, "not found");
    fleet
        .on(
            "h1",
            &format!("mv /run/hello@.service {unit} && systemctl daemon-reload"),
        )
        .well();
    fleet.ctl("host retry h1 hello").well();
    fleet.serves("h1", "v4");
    serves(&fleet, "v4");
}

/// Deploys a build, and returns the report at the end.
#[track_caller]
fn soon(fleet: &Fleet, build: &str, code: i32) -> Value {
    let began = Instant::now();
    fleet.deploy(build).is(code);
    assert!(
        began.elapsed() < OUTCOME_MAX,
        "{build} took {:?}",
        began.elapsed()
    );
    fleet.report("h1")
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
