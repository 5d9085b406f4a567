use super::{Package, Rights, Sign, apt_line, is_there};

#[track_caller]
fn check(rights: Rights, expected: &str) {
    assert_eq!(apt_line(&["update"], rights).join(" "), expected);
}

#[test]
fn sudo_only_where_needed_and_asking_only_where_somebody_can_answer() {
    check(
        Rights::Root,
        "env DEBIAN_FRONTEND=noninteractive apt-get -q update",
    );
    check(
        Rights::SudoMayAsk,
        "sudo env DEBIAN_FRONTEND=noninteractive apt-get -q update",
    );
    check(
        Rights::SudoMayNotAsk,
        "sudo -n env DEBIAN_FRONTEND=noninteractive apt-get -q update",
    );
}

#[test]
fn what_is_there_is_seen() {
    assert!(is_there(Package {
        name: "dash",
        shown_by: Sign::Program("sh")
    }));
    assert!(is_there(Package {
        name: "base-files",
        shown_by: Sign::File("/etc/os-release")
    }));
    assert!(!is_there(Package {
        name: "none",
        shown_by: Sign::Program("no-such-program-here")
    }));
}
