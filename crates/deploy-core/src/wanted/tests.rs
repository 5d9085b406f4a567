use super::{Gate, Reader, Share, View, Wanted, WantedTarget, Znodes, builds_needed, wanted};
use crate::name::{BuildName, HostName, ServiceName};
use crate::wire::role::Role;

mod properties;

const ARTIFACT: &str = r#"{"url":"https://b/x","sha256":"9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08","size":1}"#;

fn present(text: &str) -> View {
    View::Present {
        data: text.as_bytes().to_vec(),
        mzxid: 77,
    }
}

fn znodes(role: &str, enabled: &str, canary: &str) -> Znodes {
    let view = |text: &str| match text {
        "absent" => View::Absent,
        "unread" => View::Unknown,
        text => present(text),
    };
    Znodes {
        role: view(role),
        enabled: view(enabled),
        canary: view(canary),
        hold: View::Absent,
        retry: View::Absent,
        builds: Vec::new(),
        refused: Vec::new(),
    }
}

fn read(znodes: &Znodes) -> Wanted {
    let service = ServiceName::parse("web").unwrap();
    let host = HostName::parse("web-01").unwrap();
    let now = "2026-11-20T12:00:00Z".parse().unwrap();
    wanted(
        znodes,
        &Reader {
            service: &service,
            host: &host,
            now,
        },
    )
}

/// `build` or `nothing`, `unknown`, `unreadable: object`.
#[track_caller]
fn check(role: &str, enabled: &str, canary: &str, expected: &str) {
    let text = match read(&znodes(role, enabled, canary)).target {
        WantedTarget::Unknown => "unknown".to_owned(),
        WantedTarget::Nothing => "nothing".to_owned(),
        WantedTarget::Unreadable(problem) => format!("unreadable: {}", problem.object),
        WantedTarget::Build(goal) => goal.build.to_string(),
    };
    assert_eq!(
        text, expected,
        "role {role}, enabled {enabled}, canary {canary}"
    );
}

const CANARY: &str = r#"{"v":1,"role":"canary"}"#;
const FLEET: &str = r#"{"v":1,"role":"fleet"}"#;

#[test]
fn which_target_a_host_follows() {
    check("absent", "r1", "r2", "r1");
    check(FLEET, "r1", "r2", "r1");
    check(CANARY, "r1", "r2", "r2");
    check(CANARY, "r1", "absent", "r1");
    check(CANARY, "r1", "", "r1");
    check(CANARY, "", "r2", "r2");
    check(FLEET, "", "r2", "nothing");
    check(FLEET, "absent", "r2", "nothing");
}

#[test]
fn what_was_not_read_is_never_taken_for_absent() {
    check("unread", "r1", "r2", "unknown");
    check("absent", "unread", "r2", "unknown");
    check(CANARY, "r1", "unread", "unknown");
    check(CANARY, "unread", "r2", "r2");
}

#[test]
fn garbage_starts_nothing() {
    check("nonsense", "r1", "r2", "unreadable: role");
    check(r#"{"v":1,"role":"king"}"#, "r1", "r2", "unreadable: role");
    check(r#"{"v":2,"role":"canary"}"#, "r1", "r2", "unreadable: role");
    check("", "r1", "r2", "unreadable: role");
    check(FLEET, "{not json", "r2", "unreadable: enabled");
    check(CANARY, "r1", "{not json", "unreadable: enabled/canary");
    assert_eq!(read(&znodes("nonsense", "r1", "r2")).role, None);
    assert_eq!(read(&znodes(CANARY, "r1", "r2")).role, Some(Role::Canary));
}

fn goal(znodes: &Znodes) -> super::Goal {
    match read(znodes).target {
        WantedTarget::Build(goal) => goal,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_bare_word_means_the_registered_build() {
    let mut znodes = znodes("absent", "r1\n", "absent");
    let build = BuildName::parse("r1").unwrap();
    assert_eq!(builds_needed(&znodes), std::slice::from_ref(&build));
    assert!(goal(&znodes).artifact.is_err());
    znodes.builds = vec![(build.clone(), View::Absent)];
    let problem = goal(&znodes).artifact.unwrap_err();
    assert!(problem.message.contains("not registered"), "{problem:?}");
    znodes.builds = vec![(
        build,
        present(&format!(r#"{{"v":1,"artifact":{ARTIFACT}}}"#)),
    )];
    assert_eq!(goal(&znodes).artifact.unwrap().url, "https://b/x");
}

#[test]
fn a_target_with_its_artifact_needs_no_build_znode() {
    let target = format!(
        r#"{{"v":1,"build":"r2","artifact":{ARTIFACT},"previous":{{"build":"r1"}},"percent":0}}"#
    );
    let znodes = znodes("absent", &target, "absent");
    assert_eq!(builds_needed(&znodes), [BuildName::parse("r1").unwrap()]);
    let goal = goal(&znodes);
    assert_eq!(goal.share, Share::Outside);
    assert!(goal.artifact.is_ok());
    assert!(goal.previous.unwrap().1.is_err());
}

#[test]
fn a_retry_counts_for_its_rollout_only() {
    let mut znodes = znodes("absent", r#"{"v":1,"build":"r1","rollout":7}"#, "absent");
    for (retry, expected) in [
        (r#"{"v":1,"rollout":7}"#, 77),
        (r#"{"v":1,"rollout":6}"#, 0),
        (r#"{"v":1}"#, 0),
        ("garbage", 0),
    ] {
        znodes.retry = present(retry);
        assert_eq!(goal(&znodes).retry, expected, "{retry}");
    }
}

#[test]
fn a_hold_closes_the_gate_until_its_end() {
    let mut znodes = znodes("absent", "r1", "absent");
    assert_eq!(read(&znodes).gate, Gate::Open);
    znodes.hold = present("garbage");
    assert!(matches!(read(&znodes).gate, Gate::Held(_)));
    znodes.hold = present(r#"{"v":1,"until":"2026-11-20T11:59:59Z"}"#);
    assert_eq!(read(&znodes).gate, Gate::Open);
    znodes.hold = View::Unknown;
    assert_eq!(read(&znodes).gate, Gate::Cut);
}

#[test]
fn a_target_without_a_number_is_a_new_wish_each_time_it_is_written() {
    let by_hand = znodes("absent", r#"{"v":1,"build":"r1"}"#, "absent");
    assert_eq!(goal(&by_hand).retry, 77);
    let numbered = znodes("absent", r#"{"v":1,"build":"r1","rollout":7}"#, "absent");
    assert_eq!(goal(&numbered).retry, 0);
}
