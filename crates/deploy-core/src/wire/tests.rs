use super::build::Build;
use super::hold::Hold;
use super::policy::{Concurrency, Policy};
use super::record::{Record, Rejection};
use super::report::{ErrorReport, Phase, Report};
use super::role::{Assignment, Role};
use super::target::{ROLLOUT_MAX, Target};
use super::{WireError, ZNODE_BYTES_MAX, decode, encode, encode_over};
use crate::name::BuildName;

pub(crate) mod properties;

const DIGEST: &str = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";

fn target_json() -> String {
    format!(
        r#"{{"v":1,"build":"r2431","rollout":142,"artifact":{{"url":"https://b/r2431.tar.gz","sha256":"{DIGEST}","size":209715200}},"percent":100,"previous":{{"build":"r2417"}},"by":"alice@laptop","at":"2026-11-20T19:38:02Z","why":"fix"}}"#
    )
}

#[test]
fn a_target_is_written_as_it_was_read() {
    let target = Target::read(target_json().as_bytes()).unwrap().unwrap();
    assert_eq!(target.rollout, Some(142));
    assert_eq!(String::from_utf8(encode(&target)).unwrap(), target_json());
}

#[test]
fn a_bare_word_is_a_build() {
    for word in ["r2431", "r2431\n", "  r2431  ", "1234", "true"] {
        let target = Target::read(word.as_bytes()).unwrap().unwrap();
        assert_eq!(target, Target::of_build(target.build.clone()));
        assert_eq!(target.build.as_str(), word.trim());
    }
}

#[test]
fn a_rollout_of_more_than_ten_digits_can_not_be_read() {
    let read = |rollout: u64| {
        Target::read(format!(r#"{{"v":1,"build":"r1","rollout":{rollout}}}"#).as_bytes())
    };
    assert_eq!(
        read(ROLLOUT_MAX).unwrap().unwrap().rollout,
        Some(ROLLOUT_MAX)
    );
    for rollout in [ROLLOUT_MAX + 1, u64::MAX] {
        let error = read(rollout).unwrap_err().to_string();
        assert!(error.contains("`rollout`"), "{error}");
    }
}

#[test]
fn what_has_just_failed_is_remembered_however_many_failed_before() {
    let mut record = Record::default();
    let log = vec!["\u{1}".repeat(200); 20];
    let build = |number: u64| BuildName::parse(&format!("r{number}")).unwrap();
    for rollout in 950..1050 {
        let error = ErrorReport {
            step: "post_extract".to_owned(),
            kind: "rejected".to_owned(),
            message: "it failed".to_owned(),
            log: log.clone(),
        };
        let rejection = Rejection {
            rollout: Some(rollout),
            retry: 0,
            error,
        };
        record.reject(&build(rollout), rejection);
        record.forget(&[], &[]);
        let last = &record.rejected[&build(rollout)];
        assert_eq!(last.error.log, log, "{rollout}");
    }
    // The newest are remembered, and the logs of all but the last are not.
    let rollouts = record.rejected.values().filter_map(|it| it.rollout);
    assert_eq!(rollouts.min(), Some(1000));
    let data = encode(&record);
    assert!(data.len() < 40_000, "{}", data.len());
}

#[test]
fn a_journal_of_many_instances_is_read_again() {
    let mut record = Record::default();
    (0..2000).for_each(|number| record.drain(&format!("web@{number}.service")));
    let data = encode(&record);
    assert!(data.len() > ZNODE_BYTES_MAX);
    assert_eq!(decode(&data), Ok(record));
}

#[test]
fn no_data_is_no_target() {
    for empty in ["", "\n", "  "] {
        assert_eq!(Target::read(empty.as_bytes()).unwrap(), None);
    }
}

#[track_caller]
fn refused(data: &str, because: &str) {
    let error = Target::read(data.as_bytes()).unwrap_err().to_string();
    assert!(
        error.contains(because),
        "`{error}` does not say `{because}`"
    );
}

#[test]
fn what_is_not_a_target_is_refused_with_the_reason() {
    refused("two words", "neither a JSON object nor a build name");
    refused("\"r1\"", "neither a JSON object nor a build name");
    refused("[1]", "neither a JSON object nor a build name");
    refused("{", "EOF");
    refused(r#"{"build":"r1"}"#, "`v` is missing");
    refused(r#"{"v":"1","build":"r1"}"#, "`v` is not 1");
    refused(r#"{"v":0,"build":"r1"}"#, "`v` is not 1");
    refused(r#"{"v":1}"#, "missing field `build`");
    refused(r#"{"v":1,"build":".."}"#, "not a build name");
    refused(
        r#"{"v":1,"build":"r1","build":"r2"}"#,
        "duplicate field `build`",
    );
    refused(r#"{"v":1,"build":"r1","percent":101}"#, "percent is 101");
    refused(r#"{"v":1,"build":"r1","rollout":-1}"#, "rollout");
    refused(
        r#"{"v":1,"build":"r1","artifact":{"url":"u","sha256":"xyz","size":1}}"#,
        "not a SHA-256",
    );
    refused(
        &format!(
            r#"{{"v":1,"build":"r1","x":{}1{}}}"#,
            "[".repeat(200),
            "]".repeat(200)
        ),
        "recursion",
    );
    refused(
        &format!("{{\"v\":1{}}}", " ".repeat(ZNODE_BYTES_MAX)),
        "above the limit",
    );
}

#[test]
fn a_newer_version_is_told_apart() {
    let error = Target::read(br#"{"v":2,"build":{"new":"shape"}}"#).unwrap_err();
    assert_eq!(
        error,
        WireError::Newer {
            what: "target",
            found: 2
        }
    );
}

#[test]
fn unknown_fields_are_ignored_and_kept_on_a_rewrite() {
    let old = format!(
        r#"{{"v":1,"artifact":{{"url":"u","sha256":"{DIGEST}","size":1,"mirror":"m"}},"bad":{{"why":"x"}},"new":[1]}}"#
    );
    let mut build: Build = decode(old.as_bytes()).unwrap();
    build.bad = None;
    build.by = Some("bo".to_owned());
    let text = String::from_utf8(encode_over(&build, old.as_bytes())).unwrap();
    assert_eq!(
        text,
        format!(
            r#"{{"v":1,"artifact":{{"url":"u","sha256":"{DIGEST}","size":1,"mirror":"m"}},"by":"bo","new":[1]}}"#
        )
    );
}

#[test]
fn roles() {
    let role = |data: &str| decode::<Assignment>(data.as_bytes()).map(|a| a.role);
    assert_eq!(role(r#"{"v":1,"role":"canary"}"#), Ok(Role::Canary));
    assert_eq!(role(r#"{"v":1,"role":"fleet"}"#), Ok(Role::Fleet));
    for nonsense in ["", "canary", r#"{"v":1,"role":"king"}"#, r#"{"v":1}"#, "{}"] {
        assert!(role(nonsense).is_err(), "{nonsense}");
    }
}

#[test]
fn policies() {
    let hosts = |data: &str, alive| {
        decode::<Policy>(data.as_bytes()).map(|p| p.restart_concurrency.hosts(alive))
    };
    assert_eq!(hosts(r#"{"v":1}"#, 35), Ok(3));
    assert_eq!(hosts(r#"{"v":1,"restart_concurrency":"10%"}"#, 9), Ok(1));
    assert_eq!(hosts(r#"{"v":1,"restart_concurrency":"100%"}"#, 9), Ok(9));
    assert_eq!(hosts(r#"{"v":1,"restart_concurrency":2}"#, 9), Ok(2));
    assert_eq!(hosts(r#"{"v":1,"restart_concurrency":"2"}"#, 9), Ok(2));
    for bad in [
        "0", "\"-1%\"", "\"101%\"", "\"x\"", "-1", "null", "[]", "1.5",
    ] {
        assert!(
            hosts(&format!(r#"{{"v":1,"restart_concurrency":{bad}}}"#), 9).is_err(),
            "{bad}"
        );
    }
    assert_eq!(Concurrency::Share(12.5).to_string(), "12.5%");
}

#[test]
fn a_hold_holds_until_its_end() {
    let now = "2026-11-20T22:00:00Z".parse().unwrap();
    let holds = |data: &str| Hold::read(data.as_bytes()).holds(now);
    assert!(holds(r#"{"v":1,"why":"x"}"#));
    assert!(holds(r#"{"v":1,"until":"2026-11-20T22:00:01Z"}"#));
    assert!(!holds(r#"{"v":1,"until":"2026-11-20T22:00:00Z"}"#));
    for unreadable in ["", "garbage", r#"{"v":1,"until":"tomorrow"}"#, r#"{"v":9}"#] {
        assert!(holds(unreadable), "{unreadable}");
    }
}

#[test]
fn a_report_says_unknown_as_null_and_keeps_unknown_phases() {
    let text = r#"{"v":1,"host":"web-09","service":"web","role":"fleet","agent":"9.0","phase":"levitating"}"#;
    let report: Report = decode(text.as_bytes()).unwrap();
    assert_eq!(report.phase, Phase::Other("levitating".to_owned()));
    let written = String::from_utf8(encode(&report)).unwrap();
    assert!(
        written.starts_with(r#"{"v":1,"host":"web-09""#),
        "{written}"
    );
    assert!(written.contains(r#""phase":"levitating""#), "{written}");
    assert!(written.contains(r#""serving":null"#), "{written}");
}

#[test]
fn every_phase_has_one_word() {
    for (phase, word) in &super::report::PHASES {
        assert_eq!(phase.as_str(), *word);
        assert_eq!(Phase::of_word(word), *phase);
    }
}
