//! A rollout over three hosts behind a load balancer: at most one is out of service at a time, and
//! no request fails.

use std::collections::BTreeSet;
use std::fs;
use std::net::SocketAddr;
use std::process::{Child, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use tests::fleet::{Fleet, PORTS, get};
use tests::spawn_tied;

const SAMPLE_EVERY: Duration = Duration::from_millis(100);
/// Clients that ask one request after the other.
const CLIENTS: usize = 4;
const BALANCER: &str = "127.0.0.1:8000";

#[test]
fn one_host_at_a_time_and_no_request_fails() {
    let Some(fleet) = Fleet::start("rollout", 3) else {
        return;
    };
    fleet.builds(&["v1", "v2:slow"]);
    fleet.deploy("v1").well();

    let over = Arc::new(AtomicBool::new(false));
    let samples = sample(&fleet, &over);
    let mut balancer = balance(&fleet);
    let (clients, asked) = load(&fleet, &over);
    fleet.deploy("v2").well();
    over.store(true, Ordering::SeqCst);

    let worst = samples.join().expect("sampling does not panic");
    for client in clients {
        let failed = client.join().expect("asking does not panic");
        assert_eq!(failed, Vec::<String>::new());
    }
    balancer.kill().expect("it is our child");
    balancer.wait().expect("it is our child");
    // Else nothing was seen at all, and nothing asked.
    assert_eq!(
        worst.len(),
        1,
        "these were out of service at a time: {worst:?}"
    );
    let asked = asked.load(Ordering::SeqCst);
    assert!(asked > 100, "only {asked} requests");
}

/// Connects to every instance ten times a second, and returns the most hosts that were out of
/// service at a time.
fn sample(fleet: &Fleet, over: &Arc<AtomicBool>) -> JoinHandle<BTreeSet<String>> {
    let mut instances: Vec<(String, SocketAddr)> = Vec::new();
    for host in fleet.hosts() {
        instances.extend(PORTS.map(|port| (host.clone(), fleet.address((&host, port)))));
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

/// Starts haproxy in the hub: checks every 200 ms, and another server at once for who is refused.
fn balance(fleet: &Fleet) -> Child {
    let mut config = format!(
        "defaults\n mode http\n timeout connect 2s\n timeout client 30s\n timeout server 30s\n \
         retries 3\n option redispatch 1\n option httpchk GET /healthz\n\
         listen hello\n bind {BALANCER}\n"
    );
    for host in fleet.hosts() {
        for port in PORTS {
            let address = fleet.address((&host, port));
            config += &format!(" server {host}-{port} {address} check inter 200 fall 2 rise 2\n");
        }
    }
    let file = fleet.dir().join("haproxy.cfg");
    fs::write(&file, config).expect("the fleet has a directory");
    let file = file.to_str().expect("it is text");
    let mut command = fleet.command(&["exec", "hub", "haproxy", "-db", "-f", file]);
    command.stdout(Stdio::null());
    let balancer = spawn_tied(command);
    let address = BALANCER.parse().expect("it is an address");
    let up = fleet.within("hub", move || {
        (0..100).any(|_| {
            thread::sleep(SAMPLE_EVERY);
            get(address, "/").is_ok()
        })
    });
    assert!(
        up.join().expect("asking does not panic"),
        "haproxy does not answer"
    );
    balancer
}

/// A client, which returns what went wrong.
type Client = JoinHandle<Vec<String>>;

/// Starts clients, which return the requests that failed, and counts requests.
fn load(fleet: &Fleet, over: &Arc<AtomicBool>) -> (Vec<Client>, Arc<AtomicUsize>) {
    let asked = Arc::new(AtomicUsize::new(0));
    let address = BALANCER.parse().expect("it is an address");
    let client = |_| {
        let (over, asked) = (Arc::clone(over), Arc::clone(&asked));
        fleet.within("hub", move || {
            let mut failed = Vec::new();
            while !over.load(Ordering::SeqCst) {
                failed.extend(get(address, "/").err());
                asked.fetch_add(1, Ordering::SeqCst);
                thread::sleep(SAMPLE_EVERY / 10);
            }
            failed
        })
    };
    ((0..CLIENTS).map(client).collect(), asked)
}
