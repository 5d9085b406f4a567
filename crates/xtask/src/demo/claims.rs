//! What the demo claims, looked up where it shows: over HTTP, on disk, and in ZooKeeper.

use std::collections::BTreeMap;
use std::fs;

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use super::builds::Build;
use super::farm::Farm;
use super::host::Host;
use super::http;
use super::traffic::Counted;
use crate::{netns, tool};

/// Checks that each host serves its build, and says so: its instances over HTTP, its `current`,
/// its report. Returns the claim.
pub(crate) fn served(farm: &Farm, builds: [Build; 3]) -> Result<String> {
    let znodes = znodes(farm)?;
    for (host, build) in farm.hosts.iter().zip(builds) {
        on_disk(host, build)?;
        over_http(host, build)?;
        reported(&znodes, host, build)?;
    }
    let words: Vec<String> = farm
        .hosts
        .iter()
        .zip(builds)
        .map(|(host, build)| format!("{} {}", host.name, build.name))
        .collect();
    Ok(format!(
        "over HTTP, on disk and in the reports: {}",
        words.join(", ")
    ))
}

fn on_disk(host: &Host, build: Build) -> Result<()> {
    let current = host.service_dir().join("current");
    let release = fs::canonicalize(&current)
        .with_context(|| format!("failed to follow {}", current.display()))?;
    let name = release.file_name().unwrap_or_default().to_string_lossy();
    ensure!(
        name == build.name,
        "{} is at {name}, not {}",
        current.display(),
        build.name
    );
    let prepared = release.join("prepared.txt");
    ensure!(
        prepared.exists(),
        "the post_extract hook did not write {}",
        prepared.display()
    );
    Ok(())
}

fn over_http(host: &Host, build: Build) -> Result<()> {
    for address in host.site.instances() {
        let answer = http::fetch(address, "/")?;
        let greeting = String::from_utf8_lossy(&answer.body);
        ensure!(
            answer.status == 200 && greeting == build.greeting,
            "{address} answers {} {greeting:?}, not {:?}",
            answer.status,
            build.greeting
        );
        let health = http::fetch(address, "/healthz")?.status;
        ensure!(health == 200, "{address} answers {health} at /healthz");
    }
    Ok(())
}

fn reported(znodes: &BTreeMap<String, Value>, host: &Host, build: Build) -> Result<()> {
    let report = report(znodes, host)?;
    for key in ["current", "serving"] {
        let found = &report[key];
        ensure!(
            found == build.name,
            "{} reports {key} {found}, not {}",
            host.name,
            build.name
        );
    }
    Ok(())
}

/// Checks that each host reports this phase. Returns the claim.
pub(crate) fn phases(farm: &Farm, phases: [&str; 3]) -> Result<String> {
    let znodes = znodes(farm)?;
    for (host, phase) in farm.hosts.iter().zip(phases) {
        let found = &report(&znodes, host)?["phase"];
        ensure!(
            found == phase,
            "{} reports the phase {found}, not {phase}",
            host.name
        );
    }
    let words: Vec<String> = farm
        .hosts
        .iter()
        .zip(phases)
        .map(|(host, phase)| format!("{} {phase}", host.name))
        .collect();
    Ok(words.join(", "))
}

/// Checks that the build is unpacked and prepared on every host. Returns the claim.
pub(crate) fn prepared(farm: &Farm, build: Build) -> Result<String> {
    for host in &farm.hosts {
        let prepared = host
            .service_dir()
            .join("releases")
            .join(build.name)
            .join("prepared.txt");
        ensure!(prepared.exists(), "{} is missing", prepared.display());
    }
    Ok(format!(
        "{} is unpacked and prepared on every host",
        build.name
    ))
}

/// Checks why the host's deployment failed. Returns the claim.
pub(crate) fn failed_because(farm: &Farm, host: &Host, word: &str) -> Result<String> {
    let error = report(&znodes(farm)?, host)?["error"].clone();
    let told = error.to_string();
    ensure!(
        told.contains(word),
        "{} does not tell of {word}: {told}",
        host.name
    );
    let step = error["step"].as_str().unwrap_or("?");
    Ok(format!("{} says why: {step}, {word}", host.name))
}

/// Checks what an instance of the host logged before it was stopped. Returns the claim.
pub(crate) fn logged(host: &Host, word: &str) -> Result<String> {
    for path in host.instance_logs() {
        let text = fs::read_to_string(&path)
            .with_context(|| format!("failed to read {}", path.display()))?;
        if let Some(line) = text.lines().find(|line| line.contains(word)) {
            return Ok(format!("its log has the cause: {line}"));
        }
    }
    bail!("no instance of {} logged {word}", host.name)
}

/// What ZooKeeper has of the service: the targets, and who holds a lease.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Stored<'a> {
    pub(crate) fleet: Build,
    pub(crate) canary: Option<Build>,
    pub(crate) leases: &'a [&'a str],
}

/// Checks the znodes. Returns the claim.
pub(crate) fn stored(farm: &Farm, expected: Stored) -> Result<String> {
    let znodes = znodes(farm)?;
    let target = |name: &str| znodes.get(name).and_then(|data| data["build"].as_str());
    let (fleet, canary) = (target("enabled"), target("enabled/canary"));
    ensure!(fleet == Some(expected.fleet.name), "enabled is {fleet:?}");
    ensure!(
        canary == expected.canary.map(|build| build.name),
        "enabled/canary is {canary:?}"
    );
    let leases: Vec<&str> = znodes
        .iter()
        .filter(|(path, _)| path.starts_with("leases/"))
        .map(|(_, data)| data["host"].as_str().unwrap_or("?"))
        .collect();
    ensure!(
        leases == expected.leases,
        "{leases:?} hold leases, not {:?}",
        expected.leases
    );
    let canary = canary.map_or_else(String::new, |build| format!(", enabled/canary {build}"));
    let leases = if leases.is_empty() {
        "none".to_owned()
    } else {
        leases.join(", ")
    };
    Ok(format!(
        "in ZooKeeper: enabled {}{canary}, leases: {leases}",
        expected.fleet.name
    ))
}

/// Checks that each host had its packet filter drain, and that nothing is drained any more.
/// Returns the claim.
pub(crate) fn undrained(farm: &Farm) -> Result<String> {
    for host in &farm.hosts {
        for program in netns::packet_filters() {
            let rules = host
                .site
                .within(|| tool::output(netns::tool(program).args(["-w", "5", "-S"])))?;
            ensure!(
                rules.lines().any(|line| line == "-N DEPLOYD-DRAIN"),
                "{program} on {} has no chain of deployd",
                host.name
            );
            let left = rules
                .lines()
                .find(|line| line.starts_with("-A DEPLOYD-DRAIN "));
            ensure!(left.is_none(), "{} still has {left:?}", host.name);
        }
    }
    Ok("in the packet filters: every host has drained, and nothing is drained any more".to_owned())
}

/// Checks that no request failed, and that instances were drained under way: they refused what
/// others then took. Returns the claim.
pub(crate) fn none_failed(counted: &Counted) -> Result<String> {
    ensure!(counted.failed == 0, "{}", counted.describe());
    ensure!(
        counted.refused > 0,
        "{} requests, and none met a drained instance",
        counted.requests
    );
    Ok(format!(
        "{} requests, 0 failed; {} met a drained instance, and the balancer asked the next",
        counted.requests, counted.refused
    ))
}

/// Checks that requests failed. Returns the claim.
pub(crate) fn some_failed(counted: &Counted) -> Result<String> {
    ensure!(
        counted.failed > 0,
        "{} requests, and none failed: the count shows nothing",
        counted.requests
    );
    Ok(format!(
        "{}\n            this is what draining is for: without --no-drain it is 0",
        counted.describe()
    ))
}

/// Returns the data of the service's znodes, by their paths below it. All at once: the demo looks at
/// them after each command.
fn znodes(farm: &Farm) -> Result<BTreeMap<String, Value>> {
    let found = farm.terminal.ask(&["inspect", "hello"])?;
    let znodes = found["znodes"]
        .as_array()
        .context("inspect shows no znodes")?;
    let below = |znode: &Value| {
        let (_, below) = znode["path"].as_str()?.split_once("/hello/")?;
        Some((below.to_owned(), znode["data"].clone()))
    };
    Ok(znodes.iter().filter_map(below).collect())
}

fn report<'a>(znodes: &'a BTreeMap<String, Value>, host: &Host) -> Result<&'a Value> {
    let path = format!("hosts/{}", host.name);
    ensure!(
        znodes.contains_key(&format!("{path}/alive")),
        "{} has no agent that is alive",
        host.name
    );
    let report = znodes.get(&path);
    report.with_context(|| format!("{} has no report", host.name))
}
