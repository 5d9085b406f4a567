use super::Lease;

#[track_caller]
fn check(name: &str, expected: Option<(u64, &str)>) {
    let lease = Lease::of_name(name.to_owned());
    let place = lease
        .as_ref()
        .map(|lease| (lease.number, lease.host.as_str()));
    assert_eq!(place, expected, "{name}");
}

#[test]
fn a_lease_is_of_the_host_that_its_agent_takes_it_for() {
    check("web-01-0000000012", Some((12, "web-01")));
    check("web--0000000012", Some((12, "web-")));
    check("web-01", None);
    // Of nobody, and in the queue all the same.
    check("0000000012", Some((12, "0000000012")));
    check("web0000000012", Some((12, "web0000000012")));
}
