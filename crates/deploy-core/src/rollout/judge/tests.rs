//! Tables: hosts and targets in, verdict and standings out.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{Goal, Judgement, judge};
use crate::name::{BuildName, HostName, ServiceName};
use crate::percent::Percent;
use crate::rollout::phase::{Held, service_phase};
use crate::rollout::{Host, State, Targets};
use crate::wire::report::{ErrorReport, Phase, Report};
use crate::wire::role::Role;
use crate::wire::target::Target;

/// Builds a state: targets as `r2#7` or `r2#7@0`, hosts as `name role phase build#rollout`, where a
/// leading `-` of the name means offline, a phase `none` no report, and `phase:kind` a report with an error of that kind.
fn state(enabled: &str, canary: &str, hosts: &[&str]) -> State {
    State {
        service: ServiceName::parse("web").unwrap(),
        targets: Targets {
            enabled: target(enabled),
            canary: target(canary),
        },
        hosts: hosts.iter().map(|text| host(text)).collect(),
    }
}

fn target(text: &str) -> Option<Target> {
    let (text, percent) = text.split_once('@').unwrap_or((text, "100"));
    let (build, rollout) = text.split_once('#')?;
    Some(Target {
        rollout: rollout.parse().ok(),
        percent: Percent::new(percent.parse().unwrap()).unwrap(),
        ..Target::of_build(BuildName::parse(build).unwrap())
    })
}

fn host(text: &str) -> (HostName, Host) {
    let words: Vec<&str> = text.split(' ').collect();
    let [name, role, phase, of] = words[..] else {
        panic!("{text}")
    };
    let role = if role == "canary" {
        Role::Canary
    } else {
        Role::Fleet
    };
    let alive = !name.starts_with('-');
    let name = HostName::parse(name.trim_start_matches('-')).unwrap();
    let report = target(of)
        .filter(|_| phase != "none")
        .map(|of| report(&name, phase, &of));
    (
        name,
        Host {
            role,
            alive,
            report: report.map(Arc::new),
            unreadable: None,
            report_mzxid: 10,
        },
    )
}

fn report(name: &HostName, phase: &str, of: &Target) -> Report {
    let (phase, kind) = phase.split_once(':').unwrap_or((phase, ""));
    let error = ErrorReport {
        step: "probe".to_owned(),
        kind: kind.to_owned(),
        message: String::new(),
        log: vec![],
    };
    Report {
        host: name.clone(),
        service: ServiceName::parse("web").unwrap(),
        role: None,
        agent: String::new(),
        phase: Phase::of_word(phase),
        rollout: of.rollout,
        target: Some(of.build.clone()),
        current: Some(of.build.clone()),
        serving: (phase == "serving").then(|| of.build.clone()),
        previous: None,
        step: None,
        instances: vec![],
        lease: false,
        trust: None,
        releases: vec![],
        error: (!kind.is_empty()).then_some(error),
        disk_free: None,
        at: None,
    }
}

fn goal(text: &str) -> Goal {
    let of = target(text).unwrap();
    Goal::Target {
        rollout: of.rollout,
        build: of.build,
    }
}

fn shown(judgement: &Judgement) -> String {
    let hosts: Vec<String> = judgement
        .hosts
        .iter()
        .map(|(name, it)| format!("{name} {}", it.as_str()))
        .collect();
    format!("{:?}: {}", judgement.verdict, hosts.join(", "))
}

#[track_caller]
fn check(wanted: (&str, &str), hosts: &[&str], expected: &str) {
    let (enabled, canary) = wanted;
    let followed = if canary.is_empty() { enabled } else { canary };
    let judgement = judge(&state(enabled, canary, hosts), &goal(followed));
    assert_eq!(shown(&judgement), expected, "{wanted:?} {hosts:?}");
}

#[test]
fn a_blocked_host_is_blocked_though_no_target_can_be_read() {
    let state = state("", "", &["a fleet blocked r2#7", "b fleet serving r2#7"]);
    let standings: Vec<&str> = state.standings().values().map(|it| it.as_str()).collect();
    assert_eq!(standings, ["blocked", "idle"]);
    assert_eq!(service_phase(&state, Held::No).as_str(), "blocked");
}

#[test]
fn a_rollout_of_the_fleet() {
    let fleet = ("r2#7", "");
    check(
        fleet,
        &["a fleet serving r2#7", "b fleet serving r2#7"],
        "Done: a serving, b serving",
    );
    check(
        fleet,
        &["a fleet serving r2#7", "b fleet probing r2#7"],
        "Going: a serving, b working",
    );
    check(
        fleet,
        &["a fleet serving r2#7", "b fleet waiting r2#7"],
        "Going: a serving, b waiting",
    );
    check(
        fleet,
        &["a fleet serving r2#7", "b fleet blocked r2#7"],
        "Going: a serving, b blocked",
    );
    check(
        fleet,
        &["a fleet serving r2#7", "b fleet failed r2#7"],
        "Failed: a serving, b failed",
    );
    check(
        fleet,
        &["a fleet serving r2#7", "b fleet rolling_back r2#7"],
        "Going: a serving, b working",
    );
    check(
        fleet,
        &["a fleet serving r2#7", "b fleet novel r2#7"],
        "Going: a serving, b working",
    );
    check(
        fleet,
        &["a fleet serving r2#7", "b fleet none r2#7"],
        "Going: a serving, b not seen",
    );
    check(
        fleet,
        &["a fleet serving r2#7", "-b fleet failed r2#7"],
        "Done: a serving, b offline",
    );
    check(fleet, &["-a fleet serving r2#7"], "NobodyLive: a offline");
    check(fleet, &[], "NobodyLive: ");
    // A canary host without a canary follows the fleet.
    check(fleet, &["a canary serving r2#7"], "Done: a serving");
}

#[test]
fn a_service_of_which_nobody_is_live_is_not_done() {
    let phase = |hosts: &[&str]| service_phase(&state("r2#7", "", hosts), Held::No).as_str();
    let (live, gone) = ("a fleet serving r2#7", "-b fleet restarting r2#7");
    assert_eq!(phase(&[gone]), "offline");
    assert_eq!(phase(&[live, gone]), "done");
}

#[test]
fn a_host_whose_way_back_fails_has_failed() {
    let fleet = ("r2#7", "");
    // Why it left the build, and nothing since: it is on its way.
    check(
        fleet,
        &["a fleet rolling_back:rejected r2#7"],
        "Going: a working",
    );
    check(
        fleet,
        &["a fleet rolling_back:blocked r2#7"],
        "Failed: a failed",
    );
    check(
        fleet,
        &["-a fleet rolling_back:blocked r2#7"],
        "NobodyLive: a offline",
    );
    // On its way back from the build before: it has not seen this one.
    check(
        fleet,
        &["a fleet rolling_back:blocked r2#6"],
        "Going: a not seen",
    );
}

#[test]
fn who_may_try_again_need_not_be_back() {
    let may = |host: &str| {
        let state = state("r2#7", "", &[host]);
        state.hosts.keys().all(|name| state.has_failed(name))
    };
    assert!(may("a fleet failed:rejected r2#7"));
    assert!(may("a fleet rolling_back:rejected r2#7"));
    assert!(may("a fleet rolling_back:blocked r2#7"));
    // A build before it may have failed, and this one was not tried.
    assert!(!may("a fleet rolling_back r2#7"));
    assert!(!may("a fleet rolling_back:rejected r2#6"));
    assert!(!may("a fleet blocked:blocked r2#7"));
    assert!(!may("-a fleet failed:rejected r2#7"));
    let nobody = HostName::parse("b").unwrap();
    assert!(!state("r2#7", "", &[]).has_failed(&nobody));
}

#[test]
fn a_report_of_another_rollout_or_build_is_no_answer() {
    let fleet = ("r2#7", "");
    check(fleet, &["a fleet serving r2#6"], "Going: a not seen");
    check(fleet, &["a fleet failed r2#6"], "Going: a not seen");
    check(fleet, &["a fleet serving r1#7"], "Going: a not seen");
    // What blocks it is told whatever it is about.
    check(fleet, &["a fleet blocked r1#6"], "Going: a blocked");
}

#[test]
fn a_percent_puts_hosts_on_either_side() {
    let state = |percent: &str, phase: &str| {
        let hosts: Vec<String> = (0..20)
            .map(|n| format!("h{n} fleet {phase} r2#7"))
            .collect();
        let hosts: Vec<&str> = hosts.iter().map(String::as_str).collect();
        judge(
            &state(&format!("r2#7@{percent}"), "", &hosts),
            &goal("r2#7"),
        )
    };
    assert_eq!(state("0", "staged").verdict, super::Verdict::Done);
    assert_eq!(state("100", "staged").verdict, super::Verdict::Going);
    // Who serves it already is no worse for being outside the percent.
    assert_eq!(state("0", "serving").verdict, super::Verdict::Done);
    let half = state("50", "staged").hosts;
    let staged = half.values().filter(|it| it.is_there()).count();
    assert!((1..20).contains(&staged), "{half:?}");
}

#[test]
fn a_canary_is_about_the_canary_hosts_only() {
    let both = ("r1#6", "r2#7");
    check(
        both,
        &["a canary serving r2#7", "b fleet failed r1#6"],
        "Done: a serving",
    );
    check(
        both,
        &["a canary probing r2#7", "b fleet serving r1#6"],
        "Going: a working",
    );
    check(both, &["b fleet serving r1#6"], "NobodyLive: ");
    let restarted = state(
        "r1#8",
        "r2#8",
        &["a canary serving r2#8", "b fleet restarting r1#8"],
    );
    assert_eq!(
        shown(&judge(&restarted, &goal("r1#8"))),
        "Going: a serving, b working"
    );
}

#[test]
fn what_nobody_wants_any_more_is_superseded() {
    let now = state("r3#8", "", &["a fleet serving r3#8"]);
    assert_eq!(shown(&judge(&now, &goal("r2#7"))), "Superseded: ");
    assert_eq!(
        shown(&judge(&state("", "", &[]), &goal("r2#7"))),
        "Superseded: "
    );
    // Written by hand: no number, so the build tells.
    let by_hand = state("r3#", "", &["a fleet serving r3#"]);
    assert_eq!(shown(&judge(&by_hand, &goal("r3#"))), "Done: a serving");
    assert_eq!(shown(&judge(&by_hand, &goal("r2#"))), "Superseded: ");
}

#[test]
fn a_canary_taken_away_is_about_who_had_it() {
    let goal = Goal::Returned {
        to: Some(BuildName::parse("r1").unwrap()),
    };
    let check = |enabled: &str, canary: &str, hosts: &[&str], expected: &str| {
        assert_eq!(
            shown(&judge(&state(enabled, canary, hosts), &goal)),
            expected
        );
    };
    let hosts = &["a canary serving r2#7", "b fleet serving r1#6"];
    check("r1#6", "", hosts, "Going: a not seen");
    check(
        "r1#6",
        "",
        &["a canary serving r1#6", "b fleet probing r1#6"],
        "Done: a serving",
    );
    check("r1#6", "r3#9", hosts, "Superseded: ");
    check("r3#9", "", hosts, "Superseded: ");
    let nothing = Goal::Returned { to: None };
    let idle = judge(&state("", "", &["a canary serving r2#7"]), &nothing);
    assert_eq!(shown(&idle), "Done: a idle");
}

#[test]
fn a_retry_is_not_judged_by_the_failure_before() {
    let goal = |since_mzxid| Goal::Retried {
        host: HostName::parse("a").unwrap(),
        rollout: Some(7),
        since_mzxid,
    };
    let failed = state("r2#7", "", &["a fleet failed r2#7", "b fleet failed r2#7"]);
    assert_eq!(shown(&judge(&failed, &goal(10))), "Going: a not seen");
    assert_eq!(shown(&judge(&failed, &goal(9))), "Failed: a failed");
    let serving = state("r2#7", "", &["a fleet serving r2#7", "b fleet failed r2#7"]);
    assert_eq!(shown(&judge(&serving, &goal(10))), "Done: a serving");
    let moved = state("r2#8", "", &["a fleet serving r2#8"]);
    assert_eq!(shown(&judge(&moved, &goal(10))), "Superseded: ");
    assert_eq!(BTreeMap::new(), judge(&moved, &goal(10)).hosts);
}
