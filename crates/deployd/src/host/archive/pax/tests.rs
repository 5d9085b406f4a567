use super::{Extended, check_global, parse_member};

#[track_caller]
fn check_refused(body: &[u8], expected: &str) {
    match parse_member(body) {
        Ok(extended) => panic!("{} gave {extended:?}", body.escape_ascii()),
        Err(rule) => assert_eq!(rule.0, expected, "{}", body.escape_ascii()),
    }
}

#[test]
fn records_of_a_member() {
    let body = [
        record(b"path=a/b"),
        record(b"linkpath=../c"),
        record(b"size=7"),
        record(b"mtime=1500000000.25"),
    ]
    .concat();
    let extended = parse_member(&body).expect("the records are well-formed");
    assert_eq!(
        extended,
        Extended {
            path: Some(b"a/b".to_vec()),
            link: Some(b"../c".to_vec()),
            size: Some(7),
            modified: Some((1_500_000_000, 250_000_000)),
        }
    );
}

fn record(text: &[u8]) -> Vec<u8> {
    let mut length = text.len() + 3;
    while length.to_string().len() + text.len() + 2 != length {
        length += 1;
    }
    [length.to_string().as_bytes(), b" ", text, b"\n"].concat()
}

#[test]
fn values_may_be_binary_where_they_are_ignored() {
    let body = [
        record(b"SCHILY.xattr.security.capability=\x01\0\0\x02\n\n\0="),
        record(b"comment="),
        record(b"path=a"),
    ]
    .concat();
    let extended = parse_member(&body).expect("well-formed");
    assert_eq!(extended.path.as_deref(), Some(&b"a"[..]));
}

#[test]
fn malformed_records_are_refused() {
    for body in [
        &b"path=a\n"[..],
        b"10 path=a\n\0",
        b"11 path=a\n",
        b"8 path=a\n",
        b"10 path=a ",
        b"-10 path=a\n",
        b"+10 path=a\n",
        b"010 path=a\n",
        b" 11 path=a\n",
        b"11  path=a\n",
        b"0 \n",
        b"1 ",
        b"3 \n",
        b"4 =\n",
        b"5 =a\n",
        b"7 path\n",
        b"99999999999999999999 path=a\n",
        b"18446744073709551616 path=a\n",
        b"\0\0\0\0",
    ] {
        check_refused(body, "a PAX record is malformed");
    }
}

#[test]
fn what_readers_disagree_on_is_refused() {
    let twice = [record(b"path=a"), record(b"path=b")].concat();
    check_refused(&twice, "a PAX header says the same twice");
    check_refused(&record(b"path="), "a PAX header has an empty name");
    check_refused(&record(b"path=a\0b"), "a PAX name contains a NUL byte");
    check_refused(&record(b"linkpath=a\0"), "a PAX name contains a NUL byte");
    for size in [
        "",
        "-1",
        "+1",
        "0x1",
        "1_0",
        "1 ",
        "1e3",
        "18446744073709551616",
    ] {
        let body = record(format!("size={size}").as_bytes());
        check_refused(&body, "a PAX size is not a number");
    }
    for key in [
        "GNU.sparse.major=1",
        "GNU.sparse.map=0,1",
        "SCHILY.realsize=9",
    ] {
        check_refused(
            &record(key.as_bytes()),
            "it is a sparse file (PAX); pack it without --sparse",
        );
    }
}

#[test]
fn times_that_make_no_sense_are_none() {
    for time in ["", "-5", "x", "1.x", "99999999999999999999"] {
        let extended = parse_member(&record(format!("mtime={time}").as_bytes()));
        assert_eq!(extended.expect("well-formed").modified, None, "{time}");
    }
}

#[test]
fn global_headers_set_no_names() {
    check_global(&record(b"comment=0123456789")).expect("git writes that");
    for key in ["path=a", "linkpath=a", "size=1", "GNU.sparse.name=a"] {
        assert!(check_global(&record(key.as_bytes())).is_err(), "{key}");
    }
    assert!(check_global(b"9 comment=a\n").is_err());
}
