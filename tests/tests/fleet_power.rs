//! Hosts that lose their power, or the network, in the middle of a rollout.

use tests::eventually::eventually;
use tests::fleet::{Fleet, PORTS, ROLLOUT_MAX};

#[test]
fn a_host_that_loses_power_finds_its_lease_again() {
    let Some(fleet) = Fleet::start("power", 2) else {
        return;
    };
    fleet.builds(&["v1", "v2"]);
    fleet.deploy("v1").well();
    // Requests that do not end keep whoever is first in its drain.
    let held = ["h1", "h2"].map(|host| fleet.hold("hub", (host, 8001)));
    fleet.begin("v2");
    let first = eventually("a host drains, and holds the lease", ROLLOUT_MAX, || {
        let leases = fleet.leases();
        let first = leases.first().cloned().unwrap_or_default();
        let report = fleet.report(&first);
        let drains = report["step"]["name"] == "drain" && report["lease"] == true;
        if drains && leases.len() == 2 {
            Ok(first)
        } else {
            Err(report.to_string())
        }
    });
    let second = if first == "h1" { "h2" } else { "h1" };

    fleet.ask(&["poweroff", &first]).well();
    eventually("deployctl sees that it is gone", ROLLOUT_MAX, || {
        let said = fleet.ctl("host list hello --output json");
        let found: serde_json::Value = serde_json::from_str(&said.stdout).unwrap_or_default();
        if has_dead(&found, &first) {
            Ok(())
        } else {
            Err(said)
        }
    });
    assert_eq!(
        fleet.leases(),
        [first.as_str(), second],
        "the lease outlives the host"
    );
    let report = fleet.report(second);
    assert_eq!(report["phase"], "waiting", "{report:#}");
    drop(held);

    fleet.ask(&["boot", &first]).well();
    for host in [first.as_str(), second] {
        fleet.serves(host, "v2");
        for port in PORTS {
            let answer = fleet.get("hub", (host, port), "/");
            assert_eq!(answer, Ok(format!("v2 {port} {host}")));
        }
    }
    eventually("all leases are given back", ROLLOUT_MAX, || {
        match fleet.leases() {
            leases if leases.is_empty() => Ok(()),
            leases => Err(leases),
        }
    });
}

#[test]
fn a_host_that_is_cut_off_follows_when_it_is_back() {
    let Some(fleet) = Fleet::start("cut-off", 2) else {
        return;
    };
    fleet.builds(&["v1", "v2"]);
    fleet.deploy("v1").well();
    fleet.ask(&["partition", "h2"]).well();
    fleet.begin("v2");
    fleet.serves("h1", "v2");
    // It can't be told, and what runs there is left alone.
    let local = "python3 -c 'import socket; s = socket.create_connection((\"127.0.0.1\", 8001), 2); \
                 s.send(b\"GET / HTTP/1.1\\r\\n\\r\\n\"); print(s.recv(999).decode())'";
    let answer = fleet.on("h2", local).well();
    assert!(answer.stdout.contains("v1 8001 h2"), "{answer}");
    assert!(
        fleet.get("hub", ("h2", 8001), "/").is_err(),
        "the cut leaks"
    );

    fleet.ask(&["heal", "h2"]).well();
    fleet.serves("h2", "v2");
}

/// Tells whether some host of this name is shown as not alive, wherever in the answer.
fn has_dead(value: &serde_json::Value, host: &str) -> bool {
    let here = value["host"] == host && value["alive"] == false;
    let mut parts: Vec<&serde_json::Value> = value.as_array().into_iter().flatten().collect();
    parts.extend(
        value
            .as_object()
            .into_iter()
            .flatten()
            .map(|(_, part)| part),
    );
    here || parts.into_iter().any(|part| has_dead(part, host))
}
