//! What an instance runs is told by all processes of its unit.

use std::time::Duration;

use tests::eventually::eventually;
use tests::fleet::{Fleet, PORTS};

const FAILED: i32 = 3;
const SOON: Duration = Duration::from_secs(60);

/// The unit's program is elsewhere, and starts the service; build v2 leaves a helper behind.
const WRAPPER: &str = "#!/bin/sh
cd /srv/hello/current
[ $(cat build) = v2 ] && { setsid sleep 7001 & echo $! >/run/helper.$1; }
python3 -S bin/hello $1 &
service=$!
cd /
trap 'kill $service; wait $service; exit 0' TERM
wait $service";
const DROP_IN: &str = "[Service]
User=root
NotifyAccess=all
KillMode=process
WorkingDirectory=/
ExecStart=
ExecStart=/srv/wrapper %i";

#[test]
fn a_wrapper_is_told_by_its_children_and_an_old_one_counts() {
    let Some(fleet) = Fleet::boot_all("units", 1) else {
        return;
    };
    let line = format!(
        "cat >/srv/wrapper <<'END'\n{WRAPPER}\nEND\nchmod 755 /srv/wrapper\n\
         mkdir -p /etc/systemd/system/hello@.service.d\n\
         cat >/etc/systemd/system/hello@.service.d/wrapper.conf <<'END'\n{DROP_IN}\nEND\n\
         systemctl daemon-reload && systemctl enable --quiet --now deployd"
    );
    fleet.on("h1", &line).well();
    fleet.builds(&["v1", "v2", "v3"]);
    fleet.deploy("v1").well();
    fleet.deploy("v2").well();

    // Who remembers nothing sees the same.
    let forget = "systemctl stop deployd && rm /var/lib/deployd/journal/hello.json";
    fleet.on("h1", forget).well();
    assert_eq!(fleet.report("h1")["previous"], "v1");
    fleet.on("h1", "systemctl start deployd").well();
    eventually("the build is told from what runs", SOON, || {
        let report = fleet.report("h1");
        let serves = report["phase"] == "serving" && report["serving"] == "v2";
        if serves && report["previous"].is_null() {
            Ok(())
        } else {
            Err(report.to_string())
        }
    });

    // What v2 has left behind is not v3, whatever the main process runs.
    fleet.deploy("v3").is(FAILED);
    let report = fleet.report("h1");
    let error = report["error"]["message"].to_string();
    assert!(
        error.contains("hello@8001.service still has processes of build v2"),
        "{report:#}"
    );
    assert_eq!(report["serving"], "v2", "{report:#}");
    for port in PORTS {
        let answer = fleet.get("hub", ("h1", port), "/");
        assert_eq!(answer, Ok(format!("v2 {port} h1")));
    }
}
