use std::time::Duration;

use super::parse;

#[track_caller]
fn check(text: &str, expected: Option<u64>) {
    let now = "2026-11-20T19:38:02Z".parse().expect("a time");
    assert_eq!(
        parse(text, now),
        expected.map(Duration::from_secs),
        "{text}"
    );
}

#[test]
fn seconds_and_dates() {
    check("0", Some(0));
    check(" 120 ", Some(120));
    check("99999999999999999999999", Some(u64::MAX));
    check("Fri, 20 Nov 2026 19:38:12 GMT", Some(10));
    check("Fri, 20 Nov 2026 19:00:00 GMT", Some(0));
}

#[test]
fn nonsense_is_no_wait() {
    for text in [
        "",
        "-1",
        "+5",
        "1.5",
        "soon",
        "Fri, 99 Nov 2026 19:38:12 GMT",
    ] {
        check(text, None);
    }
}
