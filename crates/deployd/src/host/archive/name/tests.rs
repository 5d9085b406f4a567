use super::EntryPath;

#[track_caller]
fn check_directory(raw: &[u8], expected: &str) {
    assert_eq!(text(EntryPath::of_directory(raw)), expected);
}

#[track_caller]
fn check_file(raw: &[u8], expected: &str) {
    assert_eq!(text(EntryPath::of_file(raw)), expected);
}

fn text(path: Result<EntryPath, super::Rule>) -> String {
    match path {
        Ok(path) => String::from_utf8_lossy(path.as_bytes()).into_owned(),
        Err(rule) => format!("refused: {}", rule.0),
    }
}

#[test]
fn dots_and_double_slashes_are_normalised() {
    check_file(b"./a//b/./c", "a/b/c");
    check_file(b"././/a", "a");
    check_directory(b"a/./", "a");
    check_directory(b"./", "");
    check_directory(b".", "");
    check_file(b"...", "...");
    check_file(b"..a/a..", "..a/a..");
    check_file(b"a\\b", "a\\b");
    check_file(b"\x01\x7f\n", "\x01\x7f\n");
}

#[test]
fn what_leads_elsewhere_is_refused() {
    for raw in [
        &b".."[..],
        b"../a",
        b"a/..",
        b"a/../b",
        b"./..",
        b"a/b/../../..",
    ] {
        check_directory(raw, "refused: the name contains ..");
        check_file(raw, "refused: the name contains ..");
    }
    check_file(b"/etc/passwd", "refused: the name is absolute");
    check_file(b"//a", "refused: the name is absolute");
    check_directory(b"/", "refused: the name is absolute");
    check_file(b"", "refused: the name is empty");
    check_file(b"a\0b", "refused: the name contains a NUL byte");
}

#[test]
fn what_names_a_directory_is_no_file() {
    for raw in [&b"a/"[..], b"a//"] {
        check_file(
            raw,
            "refused: its name ends in /, but it is not a directory",
        );
    }
    for raw in [&b"."[..], b"a/.", b"./."] {
        check_file(
            raw,
            "refused: its name ends in /., but it is not a directory",
        );
    }
    check_file(
        b"./",
        "refused: its name ends in /, but it is not a directory",
    );
}

#[test]
fn limits_are_exact() {
    check_file(&[b'a'; 255], &"a".repeat(255));
    check_file(
        &[b'a'; 256],
        "refused: a part of the name is longer than 255 bytes",
    );
    let deep = vec!["d"; 256].join("/");
    check_file(deep.as_bytes(), &deep);
    let deeper = vec!["d"; 257].join("/");
    check_file(
        deeper.as_bytes(),
        "refused: the name is deeper than 256 directories",
    );
    let long = vec!["a".repeat(240); 18].join("/");
    check_file(&long.as_bytes()[..4096], &long[..4096]);
    check_file(
        &long.as_bytes()[..4097],
        "refused: the name is longer than 4096 bytes",
    );
}
