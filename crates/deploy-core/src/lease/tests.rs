use super::{Follow, NEAR, ahead, before, follow, host_of, of_host, strangers};
use crate::name::HostName;

mod crowd;
mod fleet;

fn children(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

fn count(own: &str, queue: &[String]) -> Option<usize> {
    before(own, queue).map(|before| before.len())
}

#[test]
fn first_come_first_served_whatever_the_names() {
    let queue = children(&["b-0000000007", "a-0000000003", "c-1-0000000005", "junk"]);
    assert_eq!(count("a-0000000003", &queue), Some(0));
    assert_eq!(count("c-1-0000000005", &queue), Some(1));
    assert_eq!(count("b-0000000007", &queue), Some(2));
}

#[test]
fn a_lease_that_somebody_broke_is_none() {
    assert_eq!(count("a-0000000003", &children(&["b-0000000001"])), None);
    assert_eq!(count("junk", &children(&["junk"])), None);
}

#[test]
fn one_release_wakes_few_of_a_thousand() {
    let names: Vec<String> = (0..1000)
        .map(|number| format!("h{number}-{number:010}"))
        .collect();
    for limit in [1, 3, 100] {
        let gone = &names[0];
        let woken = names[1..].iter().filter(|own| {
            let before = before(own, &names).unwrap();
            match follow(&before, limit) {
                Follow::Own => false,
                Follow::Queue => true,
                Follow::Ahead(name) => name == *gone,
            }
        });
        assert!(woken.count() <= NEAR + 1, "limit {limit}");
    }
}

#[test]
fn whose_turn_is_next_follows_the_queue_and_who_holds_only_its_own() {
    let names: Vec<String> = (0..30).map(|number| format!("h-{number:010}")).collect();
    let follows = |index: usize, limit| follow(&before(&names[index], &names).unwrap(), limit);
    assert_eq!(follows(1, 2), Follow::Own);
    assert_eq!(follows(2, 2), Follow::Queue);
    assert_eq!(follows(3, 2), Follow::Queue);
    assert_eq!(follows(4, 2), Follow::Ahead(names[0].clone()));
}

#[test]
fn many_that_may_hold_at_a_time_wake_as_many() {
    let names: Vec<String> = (0..300).map(|number| format!("h-{number:010}")).collect();
    let limit = 100;
    // All who held a lease give it back; who followed one of them is near, or holds.
    let (gone, left) = names.split_at(100);
    for own in left {
        let before_then = before(own, &names).unwrap();
        let now = follow(&before(own, left).unwrap(), limit);
        if let Follow::Ahead(name) = follow(&before_then, limit) {
            assert_eq!(
                gone.contains(&name),
                !matches!(now, Follow::Ahead(_)),
                "{own}"
            );
        }
    }
}

#[test]
fn who_is_far_reads_no_queue() {
    let near = 10 + NEAR;
    assert_eq!(ahead(near - 1, 0, 10), 0);
    assert_eq!(ahead(near, 0, 10), 1);
    assert_eq!(ahead(100, 0, 10), 101 - near as u64);
    assert_eq!(ahead(100, 60, 10), 41 - near as u64);
    assert_eq!(ahead(5, 9, 10), 0);
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
    assert_eq!(strangers(&all), 1);
}
