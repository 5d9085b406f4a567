use super::hidden;
use crate::wire::tests::properties::check as check_all;

#[track_caller]
fn check(text: &str, expected: &str) {
    assert_eq!(hidden(text), expected);
}

#[test]
fn what_may_be_secret_is_hidden() {
    check("https://b/r1.tar.gz", "https://b/r1.tar.gz");
    check("https://me:pw@b:1/r1?token=x", "https://…@b:1/r1?…");
    check("https://me@b#x", "https://…@b?…");
    check("https://b/p@1?a=b", "https://b/p@1?…");
    check("https://me:p@w@b/", "https://…@b/");
    check(
        "\"https://b/?s=1\", expected a map",
        "\"https://b/?…\", expected a map",
    );
    check(
        "a `ftp://u:p@c/?x` and http://d?e f",
        "a `ftp://…@c/?…` and http://d?… f",
    );
    check("no URL: a@b?c", "no URL: a@b?c");
    check("://", "://");
}

#[test]
fn a_secret_is_hidden_in_any_text() {
    let around = proptest::prelude::any::<(String, String)>();
    check_all(500, &around, |(before, after)| {
        let text = format!("{before}https://u:hunter2@b/?token=hunter2 {after}");
        let shown = hidden(&text);
        assert!(!shown.contains("hunter2"), "{shown}");
        assert_eq!(hidden(&shown), shown);
    });
}
