use std::time::Duration;

use deploy_core::wire;
use deploy_core::wire::report::Report;
use deploy_zk::config::Config;
use deploy_zk::zk::Zk;
use tokio::sync::watch;
use tokio::time::{Instant, timeout};

use super::{AGAIN_TIME, Places, is_due, publish};

/// How long an answer may take that never comes: more than anybody waits for a test.
const NO_ANSWER: Duration = Duration::from_secs(3600);

/// The znode gets the same, which nobody would read otherwise.
#[tokio::test]
async fn a_report_that_is_too_large_is_shortened() {
    let dir = tempfile::tempdir().unwrap();
    let zk = Zk::start(Config::new(&["127.0.0.1:1"]));
    let places = Places {
        znode: "/deploy/web/hosts/h1".to_owned(),
        file: dir.path().join("web.json"),
    };
    let instance = |number: u16| {
        let unit = format!("{}@{number}.service", "web".repeat(60));
        format!(r#"{{"unit":"{unit}","port":{number},"build":"r1","state":"serving"}}"#)
    };
    let instances: Vec<_> = (1..=400).map(instance).collect();
    let text = format!(
        r#"{{"v":1,"host":"h1","service":"web","agent":"0.1.0","phase":"serving","instances":[{}]}}"#,
        instances.join(",")
    );
    let report: Report = serde_json::from_str(&text).unwrap();
    let (sender, reported) = watch::channel(Some(report));
    drop(sender);
    publish(zk.clone(), places.clone(), reported).await;
    let written = std::fs::read(&places.file).unwrap();
    let report = wire::decode::<Report>(&written).unwrap();
    assert!(report.instances.len() > 200);
    zk.close(Duration::ZERO).await;
}

#[tokio::test]
async fn who_ends_does_not_wait_for_a_zookeeper_that_does_not_answer() {
    let dir = tempfile::tempdir().unwrap();
    let mut config = Config::new(&["127.0.0.1:1"]);
    config.op_timeout = NO_ANSWER;
    let zk = Zk::start(config);
    let places = Places {
        znode: "/deploy/web/hosts/h1".to_owned(),
        file: dir.path().join("web.json"),
    };
    let report = |phase: &str| -> Option<Report> {
        let text =
            format!(r#"{{"v":1,"host":"h1","service":"web","agent":"0.1.0","phase":"{phase}"}}"#);
        Some(wire::decode(text.as_bytes()).unwrap())
    };
    let (reports, reported) = watch::channel(report("fetching"));
    let publishing = tokio::spawn(publish(zk.clone(), places.clone(), reported));
    while !places.file.exists() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    // One more, and the end, while the first is under way.
    reports.send_replace(report("serving"));
    drop(reports);
    let ended = timeout(NO_ANSWER / 60, publishing).await;
    ended.expect("it ends").unwrap();
    let last = std::fs::read_to_string(&places.file).unwrap();
    assert!(last.contains("serving"), "{last}");
    zk.close(Duration::ZERO).await;
}

#[test]
fn a_look_that_finds_the_same_is_written_down_each_five_minutes_and_any_other_at_once() {
    let report = |phase: &str, at: &str| -> Report {
        let text = format!(
            r#"{{"v":1,"host":"h1","service":"web","agent":"0.1.0","phase":"{phase}","at":"2026-01-01T{at}Z"}}"#
        );
        wire::decode(text.as_bytes()).unwrap()
    };
    let (first, same) = (report("serving", "00:00:00"), report("serving", "00:00:30"));
    let now = Instant::now();
    assert!(!is_due(Some(&(first.clone(), now)), &same));
    assert!(is_due(Some(&(first.clone(), now - AGAIN_TIME)), &same));
    assert!(is_due(Some(&(first, now)), &report("failed", "00:00:30")));
    assert!(is_due(None, &same));
}
