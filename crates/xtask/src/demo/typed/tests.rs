use super::quoted;

#[track_caller]
fn check(word: &str, expected: &str) {
    assert_eq!(quoted(word), expected);
}

#[test]
fn what_a_shell_would_change_is_quoted() {
    check("--url", "--url");
    check("http://127.0.0.1:1/a.tar.gz", "http://127.0.0.1:1/a.tar.gz");
    check("new greeting", "'new greeting'");
    check("it's", r"'it'\''s'");
    check("", "''");
    check("$HOME", "'$HOME'");
}
