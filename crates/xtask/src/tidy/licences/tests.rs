use super::permits;

#[track_caller]
fn check(expression: &str, expected: &str) {
    let allowed = ["MIT".to_owned(), "ISC".to_owned()];
    let found = if permits(expression, &allowed) {
        "fine"
    } else {
        "refused"
    };
    assert_eq!(found, expected, "{expression}");
}

#[test]
fn expressions_are_understood() {
    check("MIT", "fine");
    check("GPL-3.0", "refused");
    check("MIT OR GPL-3.0", "fine");
    check("GPL-3.0 OR MIT", "fine");
    check("MIT/GPL-3.0", "fine");
    check("MIT AND GPL-3.0", "refused");
    check("MIT AND ISC", "fine");
    check("GPL-3.0 OR MIT AND ISC", "fine");
    check("(MIT OR GPL-3.0) AND ISC", "fine");
    check("(GPL-3.0 AND MIT) OR GPL-2.0", "refused");
    check("MIT WITH some-exception OR GPL-3.0", "fine");
    check("ISC AND (GPL-3.0 OR ISC OR MIT) AND MIT", "fine");
}

#[test]
fn what_is_not_understood_is_not_permitted() {
    check("", "refused");
    check("MIT ISC", "refused");
    check("MIT AND", "refused");
}
