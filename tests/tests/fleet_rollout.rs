//! A rollout over three hosts behind a load balancer: at most one is out of service at a time, and
//! no request fails.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use tests::fleet::balancer::Balancer;
use tests::fleet::load::Load;
use tests::fleet::{Fleet, get};

const SAMPLE_EVERY: Duration = Duration::from_millis(100);
/// How often the balancer looks at an instance.
const CHECK_EVERY: Duration = Duration::from_millis(200);

#[test]
fn one_host_at_a_time_and_no_request_fails() {
    let Some(fleet) = Fleet::start("rollout", 3) else {
        return;
    };
    fleet.builds(&["v1", "v2:slow"]);
    fleet.deploy("v1").well();

    let over = Arc::new(AtomicBool::new(false));
    let samples = sample(&fleet, &over);
    let balancer = Balancer::start(&fleet, CHECK_EVERY);
    let load = Load::start(&fleet);
    fleet.deploy("v2").well();
    let taken = load.stop();
    over.store(true, Ordering::SeqCst);

    let worst = samples.join().expect("sampling does not panic");
    assert_eq!(taken.failed, 0, "{}", taken.said);
    let counted = balancer.count(&fleet);
    assert_eq!(counted.failed, 0, "{}", counted.said);
    // Else nothing was seen at all, and nothing asked.
    assert_eq!(
        worst.len(),
        1,
        "these were out of service at a time: {worst:?}"
    );
    assert!(taken.requests > 100, "{}", taken.said);
}

/// Connects to every instance ten times a second, and returns the most hosts that were out of
/// service at a time.
fn sample(fleet: &Fleet, over: &Arc<AtomicBool>) -> JoinHandle<BTreeSet<String>> {
    let mut instances: Vec<(String, SocketAddr)> = Vec::new();
    for (host, port) in fleet.instances() {
        let address = fleet.address((&host, port));
        instances.push((host, address));
    }
    let over = Arc::clone(over);
    fleet.within("hub", move || {
        let mut worst = BTreeSet::new();
        while !over.load(Ordering::SeqCst) {
            let refuses = |address: SocketAddr| {
                get(address, "/").is_err_and(|error| error.contains("refused"))
            };
            let out: BTreeSet<String> = instances
                .iter()
                .filter(|(_, address)| refuses(*address))
                .map(|(host, _)| host.clone())
                .collect();
            if out.len() > worst.len() {
                worst = out;
            }
            thread::sleep(SAMPLE_EVERY);
        }
        worst
    })
}
