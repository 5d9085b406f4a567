//! F25: many sessions, each with a network that fails again and again, while a znode changes.
//!
//! Nobody may miss the last value, be left without its ephemeral znode, or hold an old value for
//! current for long.

mod zk_rig;

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use deploy_zk::zk::Zk;
use deploy_zk::znode::{Expect, Mode};
use tests::eventually::eventually_in;
use tests::proxy::{Cut, Mode as Net, Proxy};
use tests::sample::Dice;
use tests::zookeeper::Server;
use tokio::task::JoinSet;
use tokio::time::sleep;

use zk_rig::{HANG, Rig, T, config, measured};

const CLIENTS: usize = 10;
const LASTS: Duration = Duration::from_secs(30);

/// When each value was acknowledged; the index is the value.
type Written = Arc<Mutex<Vec<Instant>>>;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f25_soak() {
    let Some(server) = Server::start() else {
        return;
    };
    let admin = Zk::start(config(&server.address()));
    admin.create("/soak", b"0", Mode::Persistent).await.unwrap();
    let written: Written = Arc::new(Mutex::new(vec![Instant::now()]));
    let end = Instant::now() + LASTS;
    let mut clients = JoinSet::new();
    for n in 0..CLIENTS {
        let rig = Rig::start(&server, &format!("/client-{n}")).await;
        clients.spawn(client(rig, Arc::clone(&written), (end, n as u64 + 1)));
    }
    let mut dice = Dice(99);
    let mut last = 0;
    while Instant::now() < end {
        last += 1;
        admin
            .set("/soak", last.to_string().as_bytes(), Expect::Any)
            .await
            .unwrap();
        written.lock().unwrap().push(Instant::now());
        sleep(Duration::from_millis(dice.below(500))).await;
    }
    let mut worst = Duration::ZERO;
    let mut faults = 0;
    for (mut rig, staleness, count) in clients.join_all().await {
        worst = worst.max(staleness);
        faults += count;
        let mut soak = rig.zk.watch("/soak");
        let last = last.to_string();
        eventually_in("the last value", HANG, &mut soak, |seen| {
            seen.view
                .present()
                .is_some_and(|znode| znode.data == last.as_bytes())
        })
        .await;
        rig.change("end").await;
        rig.sees("end").await;
        rig.is_alive().await;
        let stats = rig.zk.stats();
        println!("measured: F25 {}: {stats:?}", rig.prefix);
        assert_eq!(stats.missed_events, 0);
    }
    println!("measured: F25: {last} changes, {faults} faults, {CLIENTS} clients");
    measured(
        "F25 soak",
        "worst staleness of a view said to be current",
        worst,
    );
    let bound = T * 3 / 4 + Duration::from_millis(500);
    assert!(
        worst < bound * 3,
        "an old value was said to be current for {worst:?}"
    );
}

/// Lets its network fail until the end; returns how old a view said to be current was at worst.
async fn client(rig: Rig, written: Written, (end, seed): (Instant, u64)) -> (Rig, Duration, u64) {
    let soak = rig.zk.watch("/soak");
    let (link, mut dice) = (rig.zk.link(), Dice(seed));
    let mut worst = Duration::ZERO;
    let mut count = 0;
    while Instant::now() < end {
        let (proxy, kind) = (Arc::clone(&rig.proxy), dice.below(7));
        let lasts = Duration::from_millis(dice.below(1500));
        let fault = tokio::spawn(fail(proxy, kind, lasts));
        let next = Instant::now() + lasts + Duration::from_millis(dice.below(3000));
        count += 1;
        while Instant::now() < next {
            sleep(Duration::from_millis(20)).await;
            // The link first: it may come up between the two looks, but then the epochs differ.
            let link = link.borrow().clone();
            let seen = soak.borrow().clone();
            let Some(znode) = seen.view.present().filter(|_| seen.is_current(&link)) else {
                continue;
            };
            let value: usize = String::from_utf8_lossy(&znode.data)
                .parse()
                .expect("a number");
            let written = written.lock().expect("nobody panics with it");
            if let Some(overtaken) = written.get(value + 1) {
                worst = worst.max(overtaken.elapsed());
            }
        }
        fault.await.expect("a fault does not panic");
    }
    (rig, worst, count)
}

async fn fail(proxy: Arc<Proxy>, kind: u64, lasts: Duration) {
    match kind {
        0 => proxy.cut(Cut::Rst),
        1 => proxy.cut(Cut::Fin),
        2 => {
            proxy.close_listener();
            proxy.cut(Cut::Rst);
            sleep(lasts).await;
            proxy.open_listener();
        }
        3 => {
            proxy.cut_after(usize::try_from(lasts.as_millis()).expect("it fits") % 200 + 1);
            proxy.cut(Cut::Rst);
        }
        4 => hold(&proxy, Net::BlackHole, lasts * 3).await,
        5 => hold(&proxy, Net::HoldToClient, lasts * 2).await,
        _ => {
            proxy.set_delay(Duration::from_millis(100));
            sleep(lasts).await;
            proxy.set_delay(Duration::ZERO);
        }
    }
}

async fn hold(proxy: &Proxy, net: Net, lasts: Duration) {
    proxy.set_mode(net);
    sleep(lasts).await;
    proxy.set_mode(Net::Forward);
}
