//! What may be in the file, and what is said of what may not.

use std::path::Path;

use super::parse;

#[track_caller]
fn refused(text: &str, expected: &[&str]) {
    let facts = parse(text, Path::new("/c")).expect_err("it is not valid");
    assert_eq!(facts, expected);
}

#[test]
fn contexts_are_read_with_their_line() {
    let text = "default = \"prod\"\n\n[context.prod]\nzk = \"zk1,zk2:2182/deploy\"\nauth_file = \"prod.auth\"\n\n\
                [context.test]\nzk = \"localhost\"\nauth_file = \"/etc/x\"\n";
    let config = parse(text, Path::new("/c")).unwrap();
    assert_eq!(config.default.as_deref(), Some("prod"));
    let prod = &config.contexts["prod"];
    assert_eq!(prod.address.shown(), "zk1:2181,zk2:2182/deploy");
    assert_eq!(prod.auth_file.as_deref(), Some(Path::new("/c/prod.auth")));
    assert_eq!(prod.line, 4);
    let test = &config.contexts["test"];
    assert_eq!(test.address.shown(), "localhost:2181/deploy");
    assert_eq!(test.auth_file.as_deref(), Some(Path::new("/etc/x")));
    assert!(parse("", Path::new("/c")).unwrap().contexts.is_empty());
}

#[test]
fn what_is_wrong_is_told_with_its_place() {
    refused(
        "[context.prod]\nzkk = \"zk1\"\n",
        &[
            "TOML parse error at line 2, column 1",
            "  |",
            "2 | zkk = \"zk1\"",
            "  | ^^^",
            "unknown field `zkk`, expected `zk` or `auth_file`",
        ],
    );
    refused(
        "[context.prod]\n\nzk = \"zk1:x\"\n[context.test]\nzk = \"zk1/..\"",
        &[
            "line 3: zk of `prod`: \"zk1:x\" is not host:port",
            "line 5: zk of `test`: `/..` is not a root znode: an absolute path like `/deploy` is wanted",
        ],
    );
    refused(
        "default = \"prot\"\n[context.prod]\nzk = \"zk1\"",
        &["`default` names `prot`, and there is no such context"],
    );
}
