use super::fitted;
use crate::name::BuildName;
use crate::wire::report::{ErrorReport, InstanceReport, Report};
use crate::wire::{ZNODE_BYTES_MAX, decode, encode};

fn build(name: &str) -> BuildName {
    BuildName::parse(name).unwrap()
}

/// A host of `count` instances that serve `r2`, with an error and some releases.
fn report(count: u16) -> Report {
    let text = r#"{"v":1,"host":"h1","service":"web","agent":"0.1.0","phase":"restarting",
        "target":"r2","current":"r2","previous":"r1"}"#;
    let mut report: Report = decode(text.as_bytes()).unwrap();
    report.releases = ["r2", "r1", "r0", "a", "b"].map(build).to_vec();
    report.error = Some(ErrorReport {
        step: "probe".to_owned(),
        kind: "blocked".to_owned(),
        message: "why".to_owned(),
        log: (1..=20)
            .map(|number| format!("line {number} {}", "x".repeat(150)))
            .collect(),
    });
    report.instances = (1..=count)
        .map(|number| InstanceReport {
            unit: format!("{}@{number}.service", "web".repeat(40)),
            port: Some(number),
            build: Some(build("r2")),
            state: "serving".to_owned(),
            connections: None,
        })
        .collect();
    report
}

/// Shortens a report, and checks that it is as large as may be, but for what is left out whole.
#[track_caller]
fn fit(report: &Report) -> Report {
    let fitted = fitted(report);
    let bytes = encode(&fitted).len();
    assert!(bytes <= ZNODE_BYTES_MAX, "{bytes}");
    assert!(bytes > ZNODE_BYTES_MAX - 300, "{bytes}");
    assert_eq!(decode::<Report>(&encode(&fitted)).unwrap(), fitted);
    fitted
}

#[test]
fn what_is_small_enough_stays_as_it_is() {
    let report = report(100);
    assert_eq!(fitted(&report), report);
}

#[test]
fn the_first_lines_of_the_log_go_first() {
    let is_too_large = |report: &Report| encode(report).len() > ZNODE_BYTES_MAX;
    let report = (200..).map(report).find(is_too_large).unwrap();
    let fitted = fit(&report);
    let (before, after) = (report.error.unwrap().log, fitted.error.unwrap().log);
    assert!(!after.is_empty() && before.ends_with(&after), "{after:?}");
    assert_eq!(fitted.instances, report.instances);
    assert_eq!(fitted.releases, report.releases);
}

#[test]
fn then_releases_that_nobody_wants_and_instances_at_rest() {
    let mut report = report(400);
    for (index, state) in [(3, "down"), (200, "draining"), (399, "restarting")] {
        report.instances[index].state = state.to_owned();
    }
    // It is up, and not what it should be.
    report.instances[300].build = Some(build("r0"));
    report.instances[301].build = None;
    let fitted = fit(&report);
    assert_eq!(fitted.releases, ["r2", "r1", "r0"].map(build));
    let error = fitted.error.unwrap();
    assert_eq!((error.message.as_str(), error.log.len()), ("why", 0));
    for odd in [3, 200, 300, 301, 399] {
        assert!(fitted.instances.contains(&report.instances[odd]), "{odd}");
    }
    let begin = fitted.instances.iter().zip(&report.instances);
    assert!(begin.take(100).all(|(fitted, before)| fitted == before));
}

#[test]
fn then_instances_however_odd_they_are() {
    let mut report = report(2000);
    let odd = |instance: &mut InstanceReport| instance.state = "down".to_owned();
    report.instances.iter_mut().for_each(odd);
    let fitted = fit(&report);
    assert!(report.instances.starts_with(&fitted.instances));
    assert!(fitted.instances.len() > 200);
}

#[test]
fn at_last_the_message() {
    let mut report = report(10);
    let error = report.error.as_mut().unwrap();
    error.message = "\"é\n".repeat(ZNODE_BYTES_MAX);
    let fitted = fit(&report);
    assert!(fitted.instances.is_empty());
    let message = fitted.error.unwrap().message;
    assert!(message.starts_with("\"é\n") && message.ends_with('…'));
}
