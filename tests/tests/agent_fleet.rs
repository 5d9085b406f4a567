//! What many hosts cost together: each no more than one of few. Counts only; times are for `cargo xtask simulate`.

use std::path::Path;
use std::time::Duration;

use serde_json::json;
use tests::simulation::acts::Rollout;
use tests::simulation::{Farm, Shape};

/// Hosts. Where each asks for each of the others, that is far above what is allowed here.
const HOSTS: usize = 40;
/// Requests of a host for a rollout: 8 reports, each written and seen, and the target.
const REQUESTS: f64 = 40.0;
/// What a lease costs besides: a place in the queue, some looks at it, and its end.
const LEASE_REQUESTS: f64 = 30.0;
/// More hosts than a restart queue has room for, and what the lease of one may cost besides, in bytes from ZooKeeper: some lists of
/// as many names as there is room for. Where each host read all that wait whenever one of them goes, it would be three times that.
const MANY: usize = 200;
const LEASE_BYTES: f64 = 13_000.0;
/// Watches of a host: its inputs, its report, its mark, and what it waits for.
const WATCHES: f64 = 12.0;

fn farm(hosts: usize) -> Option<Farm> {
    let shape = Shape {
        restart: Duration::from_millis(50),
        session_timeout: Duration::from_secs(15),
    };
    let mut farm = Farm::start(hosts)?;
    farm.populate(Path::new(env!("CARGO_BIN_EXE_simulate")), shape);
    Some(farm)
}

#[test]
fn what_a_host_costs_does_not_depend_on_how_many_there_are() {
    let Some(mut farm) = farm(HOSTS) else {
        return;
    };
    let held_to = |what: &str, rollout: &Rollout, requests: f64| {
        let cost = &rollout.cost;
        // The slow re-reads of watches, which depend on the time that it took.
        let requests = requests + cost.watches * cost.seconds / 30.0;
        println!("figure: {what}: {cost:?}");
        assert!(cost.requests <= requests, "{what}: {requests}, {cost:?}");
        assert!(cost.watches <= WATCHES, "{what}: {cost:?}");
    };
    held_to("a rollout", &farm.roll_out(json!(HOSTS)), REQUESTS);
    // As many as there are: who counted the others one by one would do so at each look.
    let all = farm.roll_out(json!("100%"));
    held_to("with leases", &all, REQUESTS + LEASE_REQUESTS);
    let few = farm.roll_out(json!("10%"));
    held_to("with few leases", &few, REQUESTS + LEASE_REQUESTS);
    // Most of the targets are never looked at: a step that is dropped is not reported.
    let burst = farm.burst(20);
    held_to("twenty targets", &burst, 3.0 * REQUESTS);

    let comeback = farm.restart_zookeeper();
    println!("figure: {comeback:?}");
    assert!(comeback.connects <= 3.0, "{comeback:?}");
    let after = farm.roll_out(json!("100%"));
    held_to("afterwards", &after, REQUESTS + LEASE_REQUESTS);
}

#[test]
fn nobody_reads_the_names_of_all_who_wait() {
    if std::env::var_os("DEPLOY_TEST_LONG").is_none() {
        println!("two hundred hosts take the whole machine: only with DEPLOY_TEST_LONG=1");
        return;
    }
    let Some(mut farm) = farm(MANY) else {
        return;
    };
    let free = farm.roll_out(json!(MANY)).cost;
    // Some wait in the queue; then nobody does, since as many as there are in it may go.
    let few = farm.roll_out(json!("4%")).cost;
    let many = farm.roll_out(json!("40%")).cost;
    println!("figure: {free:?} {few:?} {many:?}");
    for (leased, bytes) in [(few, LEASE_BYTES), (many, LEASE_BYTES / 2.0)] {
        // What the slow re-reads of watches bring depends on the time.
        let rereads = leased.watches * leased.seconds / 30.0;
        let allowed = REQUESTS + LEASE_REQUESTS + rereads;
        assert!(leased.requests <= allowed, "{allowed}: {leased:?}");
        let allowed = free.bytes_from + bytes + 300.0 * rereads;
        assert!(leased.bytes_from <= allowed, "{allowed}: {leased:?}");
    }
}
