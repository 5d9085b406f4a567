//! deployd as a user has it: installed, started by systemd, and followed in its status and journal.

use std::time::Duration;

use serde_json::Value;
use tests::eventually::eventually;
use tests::fleet::{Fleet, PORTS};

const SOON: Duration = Duration::from_secs(10);

#[test]
fn a_fresh_host_takes_its_first_builds() {
    let Some(fleet) = Fleet::boot_all("install", 1) else {
        return;
    };
    fleet.on("h1", "systemctl start deployd").well();
    assert_eq!(fleet.property("h1", "deployd", "ActiveState"), "active");
    eventually("systemctl status tells of ZooKeeper", SOON, || {
        let said = fleet.on("h1", "systemctl status --no-pager deployd");
        let told = said
            .stdout
            .contains("Status: \"hello: no build, idle; zk ok\"");
        if told { Ok(()) } else { Err(said.stdout) }
    });

    fleet.builds(&["v1", "v2"]);
    for build in ["v1", "v2"] {
        fleet.deploy(build).well();
        runs(&fleet, build);
    }
    reloads(&fleet);
    let status = fleet.on("h1", "deployd status").well();
    assert!(status.stdout.contains("v2"), "{status}");
    journal_has_fields(&fleet);
    assert_eq!(fleet.leases(), Vec::<String>::new());
}

/// systemd tells the verdict; inside the sandbox, too, the agent finds its file.
fn reloads(fleet: &Fleet) {
    fleet.configure(&[("settle_s = 1", "setle_s = 1")]);
    let said = fleet.on("h1", "systemctl reload deployd").is(1);
    assert!(said.stderr.contains("failed"), "{said}");
    let journal = fleet.on("h1", "journalctl -u deployd -n 20 -o cat").well();
    assert!(
        journal.stdout.contains("did you mean `settle_s`?"),
        "{journal}"
    );
    fleet.configure(&[("setle_s = 1", "settle_s = 0")]);
    fleet.on("h1", "systemctl reload deployd").well();
    let changed = "the configuration is reloaded: changed hello";
    eventually("the reload is in the journal", SOON, || {
        let said = fleet.on("h1", "journalctl -u deployd -n 50 -o cat");
        let told = said.stdout.contains(changed);
        if told { Ok(()) } else { Err(said.stdout) }
    });
    fleet.on("h1", "deployd log-level debug --for 1s").well();
}

/// What the report says is what the processes are: their directory is the release's.
#[track_caller]
fn runs(fleet: &Fleet, build: &str) {
    fleet.serves("h1", build);
    let report = fleet.report("h1");
    assert_eq!(report["current"], build, "{report:#}");
    for (index, port) in PORTS.into_iter().enumerate() {
        let unit = format!("hello@{port}.service");
        let process = fleet.property("h1", &unit, "MainPID");
        let directory = fleet
            .on("h1", &format!("readlink /proc/{process}/cwd"))
            .well();
        assert_eq!(
            directory.stdout.trim(),
            format!("/srv/hello/releases/{build}")
        );
        let instance = &report["instances"][index];
        assert_eq!(instance["unit"], *unit, "{report:#}");
        assert_eq!(instance["build"], build, "{report:#}");
        assert_eq!(instance["state"], "serving", "{report:#}");
        let answer = fleet.get("hub", ("h1", port), "/");
        assert_eq!(answer, Ok(format!("{build} {port} h1")));
    }
}

#[track_caller]
fn journal_has_fields(fleet: &Fleet) {
    let said = fleet
        .on("h1", "journalctl -u deployd -o json DEPLOYD_SERVICE=hello")
        .well();
    let lines: Vec<Value> = said
        .stdout
        .lines()
        .map(|line| serde_json::from_str(line).expect("journalctl writes JSON"))
        .collect();
    let undrained = lines
        .iter()
        .filter(|line| line["MESSAGE"] == "undrained")
        .count();
    // Two instances, two builds.
    assert_eq!(undrained, 4, "{said}");
    let restarted = |line: &&Value| line["DEPLOYD_UNIT"] == "hello@8001.service";
    assert!(lines.iter().any(|line| restarted(&line)), "{said}");
}
