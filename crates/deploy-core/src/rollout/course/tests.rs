//! What is recorded counts; else what can be seen.

use std::sync::Arc;

use super::course;
use crate::name::{BuildName, ServiceName};
use crate::rollout::{State, Targets};
use crate::wire;
use crate::wire::history::Entry;
use crate::wire::role::Role;
use crate::wire::target::Target;

/// Hosts as `role phase rollout build`.
fn state(enabled: Option<(&str, u64)>, canary: Option<(&str, u64)>, hosts: &[&str]) -> State {
    let target = |(build, rollout): (&str, u64)| Target {
        rollout: Some(rollout),
        ..Target::of_build(BuildName::parse(build).unwrap())
    };
    let host = |(index, text): (usize, &&str)| {
        let words: Vec<&str> = text.split(' ').collect();
        let name = format!("h{index}");
        let report = format!(
            r#"{{"v":1,"host":"{name}","service":"web","agent":"0","phase":"{}","rollout":{},"target":"{2}","serving":"{2}"}}"#,
            words[1], words[2], words[3]
        );
        let host = crate::rollout::Host {
            role: match words[0] {
                "canary" => Role::Canary,
                _ => Role::Fleet,
            },
            alive: true,
            report: Some(Arc::new(wire::decode(report.as_bytes()).unwrap())),
            unreadable: None,
            report_mzxid: 0,
        };
        (crate::name::HostName::parse(&name).unwrap(), host)
    };
    State {
        service: ServiceName::parse("web").unwrap(),
        targets: Targets {
            enabled: enabled.map(target),
            canary: canary.map(target),
        },
        hosts: hosts.iter().enumerate().map(host).collect(),
    }
}

#[track_caller]
fn check(state: &State, (newest, number): (u64, u64), entry: &str, expected: &str) {
    let entry: Entry = wire::decode(format!(r#"{{"v":1,{entry}}}"#).as_bytes()).unwrap();
    let shown = match course(state, Some(newest), (number, &entry)) {
        Some(course) => format!(
            "{} {}/{} {}",
            course.result,
            course
                .there
                .map_or_else(|| "-".to_owned(), |n| n.to_string()),
            course
                .total
                .map_or_else(|| "-".to_owned(), |n| n.to_string()),
            course
                .seconds
                .map_or_else(|| "-".to_owned(), |n| n.to_string()),
        ),
        None => "nothing".to_owned(),
    };
    assert_eq!(shown, expected);
}

const DEPLOY: &str = r#""kind":"deploy","from":"r1","to":"r2""#;

#[test]
fn what_was_recorded_counts() {
    let state = state(Some(("r2", 7)), None, &["fleet serving 7 r2"]);
    let outcome = r#","outcome":{"result":"failed","hosts":3,"total":5,"seconds":9}"#;
    check(
        &state,
        (7, 7),
        &format!("{DEPLOY}{outcome}"),
        "failed 3/5 9",
    );
    let older = outcome.replace(r#""total":5,"#, "");
    check(&state, (7, 3), &format!("{DEPLOY}{older}"), "failed 3/- 9");
}

#[test]
fn what_nobody_recorded_is_looked_up() {
    let hosts = ["fleet serving 7 r2", "fleet restarting 7 r2"];
    let rolling = state(Some(("r2", 7)), None, &hosts);
    check(&rolling, (7, 7), DEPLOY, "running 1/2 -");
    check(&rolling, (7, 6), DEPLOY, "superseded -/- -");
    let arrived = state(Some(("r2", 7)), None, &hosts[..1]);
    check(&arrived, (7, 7), DEPLOY, "done 1/1 -");
    let failed = state(Some(("r2", 7)), None, &["fleet failed 7 r2"]);
    check(&failed, (7, 7), DEPLOY, "failed 0/1 -");
    check(
        &state(Some(("r2", 7)), None, &[]),
        (7, 7),
        DEPLOY,
        "nobody live 0/0 -",
    );
    check(&arrived, (7, 8), r#""kind":"hold""#, "nothing");
}

#[test]
fn a_canary_that_was_taken_away_is_back_when_its_hosts_are() {
    let rollback = r#""kind":"rollback","from":"r3","to":"r2""#;
    let hosts = ["canary restarting 7 r2", "fleet serving 7 r2"];
    let going = state(Some(("r2", 7)), None, &hosts);
    check(&going, (9, 9), rollback, "running 0/1 -");
    let back = state(Some(("r2", 7)), None, &["canary serving 7 r2"]);
    check(&back, (9, 9), rollback, "done 1/1 -");
    // One of the fleet has a target.
    check(&back, (7, 7), &rollback.replace("r3", "r1"), "done 1/1 -");
}
