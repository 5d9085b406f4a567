//! Targets and history in, the change that they come from out.

use jiff::Timestamp;

use super::{Version, version};
use crate::name::BuildName;
use crate::rollout::Targets;
use crate::wire;
use crate::wire::history::Entry;
use crate::wire::target::Target;

/// `r2#7`, `r2` without a number, or `-`.
fn target(text: &str) -> Option<Target> {
    let (build, rollout) = text.split_once('#').unwrap_or((text, ""));
    let build = BuildName::parse(build).ok()?;
    Some(Target {
        rollout: rollout.parse().ok(),
        ..Target::of_build(build)
    })
}

/// `7 deploy r2`.
fn entry(text: &str) -> (u64, Entry) {
    let words: Vec<&str> = text.split(' ').collect();
    let to = words
        .get(2)
        .map_or_else(String::new, |to| format!(r#","to":"{to}""#));
    let data = format!(
        r#"{{"v":1,"kind":"{}","at":"2026-11-20T19:38:02Z"{to}}}"#,
        words[1]
    );
    (
        words[0].parse().unwrap(),
        wire::decode(data.as_bytes()).unwrap(),
    )
}

#[track_caller]
fn check((enabled, canary): (&str, &str), history: &[&str], expected: Version) {
    check_at("2026-11-20T20:00:00Z", (enabled, canary), history, expected);
}

#[track_caller]
fn check_at(now: &str, (enabled, canary): (&str, &str), history: &[&str], expected: Version) {
    let targets = Targets {
        enabled: target(enabled),
        canary: target(canary),
    };
    let history: Vec<_> = history.iter().map(|text| entry(text)).collect();
    let now: Timestamp = now.parse().unwrap();
    assert_eq!(version(&targets, &history, now), expected);
}

#[test]
fn what_deployctl_wrote_has_the_number_of_its_newest_change() {
    check(("-", "-"), &[], Version::Nothing);
    check(("-", "-"), &["1 hold"], Version::Nothing);
    check(
        ("r1#1", "-"),
        &["2 hold", "1 deploy r1"],
        Version::Rollout(1),
    );
    check(
        ("r1#1", "r2#2"),
        &["2 canary r2", "1 deploy r1"],
        Version::Rollout(2),
    );
    check(
        ("r3#3", "r2#2"),
        &["3 deploy r3", "2 canary r2"],
        Version::Rollout(3),
    );
    // A canary that was taken away.
    check(
        ("r1#1", "-"),
        &["3 rollback r1", "2 canary r2", "1 deploy r1"],
        Version::Rollout(3),
    );
    check(
        ("-", "-"),
        &["2 rollback", "1 canary r2"],
        Version::Rollout(2),
    );
    // A history that somebody has tidied, and one that is longer than what was read.
    check(("r1#9", "-"), &[], Version::Rollout(9));
    check(("r1#9", "r2#12"), &["12 canary r2"], Version::Rollout(12));
}

#[test]
fn what_somebody_else_wrote_has_none() {
    let history = &["2 deploy r2", "1 deploy r1"];
    for enabled in ["r2", "r1", "r3#2", "r3#3", "r1#1", "r1#2", "-"] {
        check((enabled, "-"), history, Version::ByHand);
    }
    check(("r2#2", "r3"), history, Version::ByHand);
    check(("r1", "-"), &[], Version::ByHand);
}

#[test]
fn a_change_that_is_just_being_made_is_one() {
    let history = &["2 deploy r2", "1 deploy r1"];
    let now = "2026-11-20T19:38:05Z";
    check_at(now, ("r1#1", "-"), history, Version::Rollout(2));
    check_at(now, ("r1", "-"), history, Version::ByHand);
}

#[test]
fn a_restart_has_one_number_for_both_targets() {
    let targets = Targets {
        enabled: target("r1#3"),
        canary: target("r2#3").map(|target| Target {
            restart: Some(3),
            ..target
        }),
    };
    let history = [entry("3 restart r1"), entry("2 canary r2")];
    let now = "2026-11-20T20:00:00Z".parse().unwrap();
    assert_eq!(version(&targets, &history, now), Version::Rollout(3));
}
