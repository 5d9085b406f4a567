//! Texts as people read them.

use deploy_core::percent::Percent;

use super::{bytes, clean, clean_json, list, nearest, person, seconds, share, when};

#[test]
fn text_from_znodes_is_harmless() {
    assert_eq!(clean("plain ü 日本"), "plain ü 日本");
    assert_eq!(clean("a\x1b[31mb\r\n\t"), "a\\u{1b}[31mb\\r\\n\\t");
    assert_eq!(
        clean("\u{9b}31m\u{202e}x\u{2066}"),
        "\\u{9b}31m\\u{202e}x\\u{2066}"
    );
    assert_eq!(person(Some("al\x07ice@laptop")), "al\\u{7}ice");
    assert_eq!(person(None), "-");
}

#[test]
fn json_is_harmless_and_the_same() {
    let value = serde_json::json!({"why": "\u{9b}31m \u{202e}x\u{7f}\u{61c} \u{1b}ü", "v": 1});
    for text in [value.to_string(), format!("{value:#}")] {
        let shown = clean_json(&text);
        assert!(
            shown.contains("\\u009b31m \\u202ex\\u007f\\u061c \\u001bü"),
            "{shown}"
        );
        assert_eq!(
            serde_json::from_str::<serde_json::Value>(&shown).unwrap(),
            value
        );
    }
    assert_eq!(clean_json("{\n  \"a\": 1\n}"), "{\n  \"a\": 1\n}");
}

#[test]
fn shares_are_short_and_never_more_than_they_are() {
    for (value, shown) in [
        (100.0, "100"),
        (0.0, "0"),
        (12.5, "12.5"),
        (0.001, "0.001"),
        (0.0003, "0.0003"),
        (100.0 / 3.0, "33.3333"),
        (99.999_999, "99.9999"),
        (0.000_01, "<0.0001"),
        (1e-300, "<0.0001"),
    ] {
        assert_eq!(share(Percent::new(value).unwrap()), shown);
    }
}

#[test]
fn durations_are_in_their_two_largest_units() {
    for (given, shown) in [
        (0, "0s"),
        (59, "59s"),
        (60, "1m"),
        (299, "4m59s"),
        (3600, "1h"),
        (9060, "2h31m"),
        (86400, "1d"),
        (273_600, "3d4h"),
    ] {
        assert_eq!(seconds(given), shown);
    }
}

#[test]
fn bytes_are_in_a_readable_unit() {
    assert_eq!(bytes(1023), "1023 B");
    assert_eq!(bytes(209_715_200), "200.0 MiB");
    assert_eq!(bytes(u64::MAX), "16384.0 PiB");
}

#[test]
fn a_near_name_is_found_and_a_far_one_is_not() {
    assert_eq!(nearest("wbe", ["api", "web", "worker"]), Some("web"));
    assert_eq!(nearest("r2413", ["r2431", "r2430"]), Some("r2431"));
    assert_eq!(nearest("database", ["api", "web"]), None);
    assert_eq!(nearest("x", []), None);
}

#[test]
fn long_lists_are_cut() {
    assert_eq!(list(["a", "b"], 2), "a, b");
    assert_eq!(list(["a", "b", "c", "d"], 2), "a, b and 2 more");
}

#[test]
fn another_day_is_named() {
    let now = "2026-11-20T19:42:07Z".parse().unwrap();
    assert_eq!(when(Some("2026-11-20T19:38:02Z"), now), "19:38:02Z");
    assert_eq!(when(Some("2026-11-19T19:38:02Z"), now), "19 Nov 19:38:02Z");
    assert_eq!(when(Some("yester\x1bday"), now), "yester\\u{1b}day");
}
