//! Whom a change is for, and what it would do there.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{Audience, Preview, Wish, preview};
use crate::name::{BuildName, HostName, ServiceName};
use crate::percent::Percent;
use crate::rollout::{Host, State, Targets};
use crate::wire;
use crate::wire::role::Role;
use crate::wire::target::{Previous, Target};

/// Hosts as `name serving releases`; `*` is a canary host, `-` an offline one, `_` no build.
fn state(hosts: &[&str], canary: Option<&str>) -> State {
    let target = |build: &str| Target::of_build(BuildName::parse(build).unwrap());
    state_of(hosts, target("r1"), canary.map(target))
}

/// The same with `enabled` as `build@percent after previous`.
fn on(enabled: (&str, f64, &str), hosts: &[&str]) -> State {
    let (build, percent, before) = enabled;
    let name = |build| BuildName::parse(build).unwrap();
    let enabled = Target {
        percent: Percent::new(percent).unwrap(),
        previous: Some(Previous {
            build: name(before),
            artifact: None,
        }),
        ..Target::of_build(name(build))
    };
    state_of(hosts, enabled, None)
}

fn state_of(hosts: &[&str], enabled: Target, canary: Option<Target>) -> State {
    State {
        service: ServiceName::parse("web").unwrap(),
        targets: Targets {
            enabled: Some(enabled),
            canary,
        },
        hosts: hosts.iter().map(|text| host(text)).collect(),
    }
}

fn host(text: &str) -> (HostName, Host) {
    let words: Vec<&str> = text.split(' ').collect();
    let name = words[0].trim_start_matches(['*', '-']);
    let serving = match words[1] {
        "_" => "null".to_owned(),
        build => format!("\"{build}\""),
    };
    let releases: Vec<&str> = words[2..].to_vec();
    let report = format!(
        r#"{{"v":1,"host":"{name}","service":"web","agent":"0","phase":"serving","serving":{serving},
            "releases":{releases:?},"instances":[{{"unit":"a","state":"serving"}},{{"unit":"b","state":"serving"}}]}}"#
    );
    let host = Host {
        role: match words[0].contains('*') {
            true => Role::Canary,
            false => Role::Fleet,
        },
        alive: !words[0].contains('-'),
        report: Some(Arc::new(wire::decode(report.as_bytes()).unwrap())),
        unreadable: None,
        report_mzxid: 0,
    };
    (HostName::parse(name).unwrap(), host)
}

fn text(preview: &Preview) -> String {
    let names = |hosts: &[HostName]| {
        let names: Vec<&str> = hosts.iter().map(HostName::as_str).collect();
        names.join(" ")
    };
    let going = |hosts: &BTreeMap<HostName, Option<BuildName>>| {
        let hosts = hosts.iter().map(|(host, from)| match from {
            Some(from) => format!("{host}:{from}"),
            None => host.to_string(),
        });
        hosts.collect::<Vec<_>>().join(" ")
    };
    let returns = match &preview.previous {
        Some(previous) if !preview.returns.is_empty() => {
            format!(" to {previous} [{}]", going(&preview.returns))
        }
        _ => String::new(),
    };
    format!(
        "moves [{}]{returns} stays [{}] stages [{}] offline [{}] fetches [{}] instances {}",
        going(&preview.moves),
        names(&preview.stays),
        names(&preview.stages),
        names(&preview.offline),
        names(&preview.fetches),
        preview.instances
    )
}

#[track_caller]
fn check(state: &State, (audience, percent): (Audience, f64), expected: &str) {
    let wish = Wish {
        build: BuildName::parse("r2").unwrap(),
        percent: Percent::new(percent).unwrap(),
        audience,
    };
    assert_eq!(text(&preview(state, &wish)), expected);
}

#[test]
fn each_audience_is_told_apart() {
    let hosts = ["*h1 r2 r2 r1", "h2 r1 r1", "h3 r1 r2 r1", "-h4 r1", "h5 _"];
    let under_way = state(&hosts, Some("r2"));
    check(
        &under_way,
        (Audience::Canary, 100.0),
        "moves [] stays [h1] stages [] offline [] fetches [] instances 0",
    );
    check(
        &under_way,
        (Audience::Fleet, 100.0),
        "moves [h2:r1 h3:r1 h5] stays [] stages [] offline [h4] fetches [h2 h5] instances 6",
    );
    check(
        &under_way,
        (Audience::Everybody, 100.0),
        "moves [h2:r1 h3:r1 h5] stays [h1] stages [] offline [h4] fetches [h2 h5] instances 6",
    );
    // Without a canary its hosts follow the fleet's target.
    check(
        &state(&hosts, None),
        (Audience::Fleet, 100.0),
        "moves [h2:r1 h3:r1 h5] stays [h1] stages [] offline [h4] fetches [h2 h5] instances 6",
    );
}

#[test]
fn who_is_outside_of_the_percent_only_makes_it_ready() {
    check(
        &on(("r2", 100.0, "r1"), &["h1 r1 r1", "h2 _"]),
        (Audience::Fleet, 0.0),
        "moves [] stays [] stages [h1 h2] offline [] fetches [h1 h2] instances 0",
    );
}

#[test]
fn who_is_outside_of_the_percent_goes_to_the_build_before() {
    // The served build, for fewer hosts than now.
    check(
        &on(
            ("r2", 100.0, "r1"),
            &["h1 r2 r2 r1", "h2 r1 r2 r1", "-h3 r2"],
        ),
        (Audience::Fleet, 0.0),
        "moves [] to r1 [h1:r2] stays [] stages [h2] offline [h3] fetches [] instances 2",
    );
    // Another build, while the fleet is on a share: what that share serves is not the build before.
    check(
        &on(("r3", 50.0, "r1"), &["h1 r3 r3", "h2 r1 r1"]),
        (Audience::Fleet, 0.0),
        "moves [] to r1 [h1:r3] stays [] stages [h2] offline [] fetches [h1 h2] instances 2",
    );
    // Without a build before everybody stays as it is.
    check(
        &state_of(
            &["h1 r2 r2"],
            Target::of_build(BuildName::parse("r2").unwrap()),
            None,
        ),
        (Audience::Fleet, 0.0),
        "moves [] stays [h1] stages [] offline [] fetches [] instances 0",
    );
}
