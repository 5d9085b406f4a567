//! What is a duration, and what is said of what is none.

use super::parse;

#[track_caller]
fn check(text: &str, expected: Result<i64, &str>) {
    let parsed = parse(text).map(|duration| duration.as_secs());
    assert_eq!(parsed, expected.map_err(str::to_owned), "{text}");
}

#[test]
fn durations_need_a_unit() {
    check("90s", Ok(90));
    check("10m", Ok(600));
    check("2h30m", Ok(9000));
    check("1h 30m", Ok(5400));
    check("90", Err("a unit is missing; write 90s, 90m or 1h30m"));
    check("", Err("write a duration like 90s, 10m or 2h30m"));
    check("soon", Err("write a duration like 90s, 10m or 2h30m"));
    check("0s", Err("it must be longer than nothing"));
    check("-5m", Err("it must be longer than nothing"));
    check("99999999h", Err("it must be at most ten years"));
}
