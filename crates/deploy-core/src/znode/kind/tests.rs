//! Every path that is made is known again, and nothing else is.

use super::Kind;
use crate::name::{BuildName, HostName, ServiceName};
use crate::znode::Root;

#[track_caller]
fn check(path: &str, kind: Kind) {
    let names: Vec<&str> = path.split('/').filter(|name| !name.is_empty()).collect();
    assert_eq!(Kind::of(&names), kind, "{path}");
}

#[test]
fn every_path_that_is_made_is_known_again() {
    let tree = Root::parse("/r")
        .unwrap()
        .service(&ServiceName::parse("web").unwrap());
    let host = HostName::parse("web-01").unwrap();
    let made = [
        (tree.path().to_owned(), Kind::Folder),
        (tree.enabled(), Kind::Target),
        (tree.canary(), Kind::Target),
        (tree.roles(), Kind::Folder),
        (tree.role(&host), Kind::Role),
        (tree.policy(), Kind::Policy),
        (tree.hold(), Kind::Hold),
        (tree.builds(), Kind::Folder),
        (tree.build(&BuildName::parse("r1").unwrap()), Kind::Build),
        (tree.history(), Kind::Folder),
        (tree.rollout(142), Kind::Rollout),
        (tree.retries(), Kind::Folder),
        (tree.retry(&host), Kind::Retry),
        (tree.leases(), Kind::Folder),
        (
            format!("{}0000000007", tree.lease_prefix(&host)),
            Kind::Lease,
        ),
        (tree.hosts(), Kind::Folder),
        (tree.host(&host), Kind::Report),
        (tree.alive(&host), Kind::Alive),
        (tree.marks(), Kind::Folder),
        (tree.mark(&host), Kind::Alive),
    ];
    for (path, kind) in made {
        check(path.strip_prefix("/r").unwrap(), kind);
    }
    check("", Kind::Folder);
}

#[test]
fn what_is_nothing_of_ours_is_unknown() {
    for path in [
        "Web",
        "Web/enabled",
        "web/enabeld",
        "web/enabled/canary/x",
        "web/leases/x",
        "web/history/7",
        "web/hosts/web-01/dead",
        "web/alive/web-01/x",
        "web/builds/ ",
    ] {
        check(path, Kind::Unknown);
    }
}

#[test]
fn data_is_read_as_what_it_should_be() {
    assert!(Kind::Target.check(b"r1").is_ok());
    assert!(Kind::Target.check(b"").is_ok());
    assert!(Kind::Target.check(b"{").is_err());
    assert!(Kind::Role.check(b"").is_err());
    assert!(Kind::Role.check(br#"{"v":1,"role":"canary"}"#).is_ok());
    assert!(Kind::Hold.check(br#"{"v":2}"#).is_err());
    assert!(Kind::Report.check(b"").is_ok());
    assert!(Kind::Folder.check(b"\xff").is_ok());
}
