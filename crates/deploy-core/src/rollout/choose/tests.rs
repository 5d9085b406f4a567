//! What is written, from what was.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{last_good, previous_of};
use crate::artifact::{Artifact, Digest};
use crate::name::{BuildName, HostName, ServiceName};
use crate::percent::Percent;
use crate::rollout::{Host, State, Targets};
use crate::wire;
use crate::wire::build::{Bad, Build};
use crate::wire::history::{Entry, Outcome};
use crate::wire::report::Phase;
use crate::wire::role::Role;
use crate::wire::target::{Previous, Target};

fn name(text: &str) -> BuildName {
    BuildName::parse(text).unwrap()
}

/// `r2@50 after r1`.
fn target(text: &str) -> Target {
    let (text, before) = text
        .split_once(" after ")
        .map_or((text, None), |(a, b)| (a, Some(b)));
    let (build, percent) = text.split_once('@').unwrap_or((text, "100"));
    Target {
        percent: Percent::new(percent.parse().unwrap()).unwrap(),
        previous: before.map(|build| Previous {
            build: name(build),
            artifact: None,
        }),
        ..Target::of_build(name(build))
    }
}

#[test]
fn the_build_before_is_what_the_whole_fleet_is_on() {
    let check = |enabled: Option<&str>, build: &str, expected: Option<&str>| {
        check_previous(enabled, &[], build, expected);
    };
    check(None, "r1", None);
    check(Some("r1"), "r2", Some("r1"));
    check(Some("r2 after r1"), "r3", Some("r2"));
    check(Some("r2@50 after r1"), "r3", Some("r1"));
    check(Some("r2@50 after r1"), "r2", Some("r1"));
    check(Some("r2 after r1"), "r2", Some("r1"));
    check(Some("r2@0 after r1"), "r1", None);
    check(Some("r2@0"), "r3", None);
}

#[test]
fn what_has_not_arrived_everywhere_is_no_build_to_go_back_to() {
    let there = (Phase::Serving, "r2");
    let check = |hosts: &[(Phase, &str)], expected| {
        check_previous(Some("r2 after r1"), hosts, "r3", Some(expected));
    };
    check(&[there.clone(), there.clone()], "r2");
    check(&[there.clone(), (Phase::Restarting, "r1")], "r1");
    check(&[there.clone(), (Phase::Failed, "r1")], "r1");
    // There may be none: what failed from the first on is not what anybody goes back to.
    check_previous(Some("r2"), &[(Phase::Failed, "r1")], "r3", None);
    // What is on its way has failed nowhere, and there is nothing else.
    check_previous(Some("r2"), &[(Phase::Restarting, "r1")], "r3", Some("r2"));
    check_previous(Some("r2"), std::slice::from_ref(&there), "r3", Some("r2"));
}

#[track_caller]
fn check_previous(
    enabled: Option<&str>,
    hosts: &[(Phase, &str)],
    build: &str,
    expected: Option<&str>,
) {
    let hosts = hosts.iter().enumerate().map(|(index, (phase, serving))| {
        let text = format!(
            r#"{{"v":1,"host":"h{index}","service":"web","agent":"1","phase":"{phase}","target":"r2","current":"{serving}","serving":"{serving}"}}"#
        );
        let report = wire::decode(text.as_bytes()).unwrap();
        let host = Host { role: Role::Fleet, alive: true, report: Some(Arc::new(report)), unreadable: None, report_mzxid: 1 };
        (HostName::parse(&format!("h{index}")).unwrap(), host)
    });
    let state = State {
        service: ServiceName::parse("web").unwrap(),
        targets: Targets {
            enabled: enabled.map(target),
            canary: None,
        },
        hosts: hosts.collect(),
    };
    let previous = previous_of(&state, &name(build));
    let previous = previous.as_ref().map(|previous| previous.build.as_str());
    assert_eq!(previous, expected, "{enabled:?} {build}");
}

#[track_caller]
fn check_last_good(
    enabled: impl Into<Option<&'static str>>,
    history: &[&str],
    builds: &[&str],
    expected: Option<&str>,
) {
    let entries: Vec<Entry> = history.iter().map(|text| entry(text)).collect();
    let enabled = enabled.into();
    let builds: BTreeMap<BuildName, Build> = builds.iter().map(|text| build(text)).collect();
    let found = last_good(enabled.map(target).as_ref(), &entries, &builds);
    assert_eq!(found.as_ref().map(|build| build.as_str()), expected);
}

/// `deploy r2`, `deploy r2@10` or `deploy r2 rolled back`.
fn entry(text: &str) -> Entry {
    let words: Vec<&str> = text.splitn(3, ' ').collect();
    let result = words.get(2).map(|result| (*result).to_owned());
    let wanted = words.get(1).map(|wanted| target(wanted));
    let percent = wanted.as_ref().map(|wanted| wanted.percent);
    Entry {
        kind: words[0].to_owned(),
        from: None,
        to: wanted.map(|wanted| wanted.build),
        percent: percent.filter(|percent| *percent < Percent::ALL),
        host: None,
        by: None,
        at: None,
        why: None,
        nonce: None,
        outcome: result.map(|result| Outcome {
            total: None,
            result,
            hosts: 0,
            seconds: Some(0),
        }),
    }
}

/// `r2` or `r2!` for one that is bad.
fn build(text: &str) -> (BuildName, Build) {
    let artifact = Artifact {
        url: "https://b/x".to_owned(),
        sha256: Digest::parse(&"0".repeat(64)).unwrap(),
        size: 1,
    };
    let bad = text.ends_with('!').then_some(Bad {
        by: None,
        at: None,
        why: None,
    });
    (
        name(text.trim_end_matches('!')),
        Build {
            artifact,
            signed_by: None,
            bad,
            by: None,
            at: None,
            why: None,
        },
    )
}

#[test]
fn a_rollback_goes_to_the_last_good_build() {
    check_last_good("r3 after r2", &[], &["r2", "r3"], Some("r2"));
    // It need not be registered: the target has its artifact.
    check_last_good("r3 after r2", &[], &[], Some("r2"));
    let history = &[
        "deploy r3",
        "canary r9",
        "deploy r2 failed",
        "promote r1",
        "deploy r0",
    ];
    check_last_good(
        "r3 after r2",
        history,
        &["r0", "r1", "r2!", "r3"],
        Some("r1"),
    );
    check_last_good("r3", history, &["r0", "r1!", "r2", "r3"], Some("r0"));
    check_last_good("r3", history, &["r1!", "r2", "r3", "r9"], None);
    check_last_good("r3 after r3", &["stage r2", "hold"], &["r2", "r3"], None);
    check_last_good("r3", &["rollback r2"], &["r2", "r3"], Some("r2"));
}

#[test]
fn a_trial_on_a_share_is_no_build_of_the_fleet() {
    let builds = &["r1", "r2", "r3"];
    let check = |history: &[&str], expected| check_last_good("r3", history, builds, expected);
    check(&["deploy r2@1", "deploy r1"], Some("r1"));
    check(&["deploy r2@1 done", "stage r2@0", "deploy r1"], Some("r1"));
    check(&["deploy r2@99.5"], None);
}

#[test]
fn what_was_left_counts_after_what_arrived() {
    let builds = &["r1", "r2", "r3"];
    let check = |history: &[&str], expected| check_last_good("r3", history, builds, expected);
    check(&["deploy r2 superseded", "deploy r1 done"], Some("r1"));
    check(&["deploy r2 superseded", "deploy r1 failed"], Some("r2"));
    check(&["deploy r2 rolled back", "deploy r1"], Some("r1"));
    check(&["deploy r2 rolled back"], None);
    // Somebody who did not wait did not write how it ended.
    check(&["deploy r2", "deploy r1 done"], Some("r2"));
}

#[test]
fn where_a_canary_was_taken_away_the_fleet_got_nothing() {
    let builds = &["r1", "r2", "r3", "r9"];
    let check = |history: &[&str], expected| check_last_good("r3", history, builds, expected);
    // r2 is what the canary hosts went back to, and had failed.
    let history = &["rollback r2", "deploy r2 failed", "canary r9", "deploy r1"];
    check(history, Some("r1"));
    let history = &["rollback r2 done", "stage r2@0", "canary r9", "deploy r1"];
    check(history, Some("r1"));
    check(
        &["rollback r1", "deploy r2 failed", "deploy r1"],
        Some("r1"),
    );
}

#[test]
fn what_failed_and_was_not_watched_another_time_is_the_last_resort() {
    let builds = &["r1", "r2", "r3"];
    let check = |history: &[&str], expected| check_last_good("r3", history, builds, expected);
    let failed = ["deploy r2", "deploy r1", "deploy r2 failed"];
    check(&failed, Some("r1"));
    check(&[failed[0], failed[2]], Some("r2"));
    check(
        &["deploy r2 done", "deploy r1", "deploy r2 failed"],
        Some("r2"),
    );
}

#[test]
fn without_a_target_the_history_decides() {
    let history = &["stage r3@0", "deploy r2", "deploy r1 done"];
    check_last_good(None, history, &["r1", "r2", "r3"], Some("r2"));
    check_last_good(None, history, &["r1", "r2!", "r3"], Some("r1"));
    check_last_good(None, &["canary r2"], &["r2"], None);
}
