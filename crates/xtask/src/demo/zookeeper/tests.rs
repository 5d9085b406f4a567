use super::version_if_serving;

#[track_caller]
fn check(answer: &str, expected: Option<&str>) {
    assert_eq!(version_if_serving(answer), expected);
}

#[test]
fn a_server_without_a_mode_does_not_serve_yet() {
    let version = "Zookeeper version: 3.8.0--1, built on 2024-06-16 10:00 UTC\n";
    check(version, None);
    check("", None);
    check(
        "This ZooKeeper instance is not currently serving requests\n",
        None,
    );
    check(
        &format!("{version}Latency min/avg/max: 0/0.0/0\nMode: standalone\n"),
        Some("3.8.0"),
    );
}
