use super::{host_of, of_host, standing};
use crate::name::HostName;
use crate::observed::Lease;

fn children(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

#[test]
fn the_lowest_ranks_hold() {
    let queue = children(&["b-0000000007", "a-0000000003", "c-1-0000000005"]);
    let stands = |own, limit| standing(Some(own), &queue, limit);
    assert_eq!(stands("a-0000000003", 1), Lease::Held);
    assert_eq!(stands("c-1-0000000005", 1), Lease::Queued);
    assert_eq!(stands("c-1-0000000005", 2), Lease::Held);
    assert_eq!(stands("b-0000000007", 2), Lease::Queued);
    assert_eq!(stands("b-0000000007", 3), Lease::Held);
}

#[test]
fn a_lease_that_somebody_broke_is_none() {
    assert_eq!(
        standing(Some("a-0000000003"), &children(&["b-0000000001"]), 9),
        Lease::None
    );
    assert_eq!(standing(None, &[], 9), Lease::None);
}

#[test]
fn names() {
    assert_eq!(host_of("web-01-0000000012"), Some("web-01"));
    assert_eq!(host_of("web-01"), None);
    assert_eq!(host_of("0000000012"), None);
    let host = HostName::parse("web-1").unwrap();
    let all = children(&[
        "web-1-0000000009",
        "web-1-0000000002",
        "web-11-0000000001",
        "junk",
    ]);
    assert_eq!(
        of_host(&host, &all),
        ["web-1-0000000002", "web-1-0000000009"]
    );
}
