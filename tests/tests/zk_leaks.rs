//! F20: sessions that end leave nothing behind. A binary of its own, since it counts the threads and
//! files of the whole process.

mod zk_rig;

use std::time::{Duration, Instant};

use deploy_zk::link::Link;
use deploy_zk::zk::Zk;
use tests::eventually::{eventually_async, eventually_in};
use tests::proxy::{Cut, Mode as Net, Proxy};
use tests::zookeeper::Server;
use tokio::time::sleep;

use zk_rig::{HANG, SLACK, T, config, measured};

/// What the network is like when a session ends.
#[derive(Clone, Copy, Debug)]
enum Network {
    Healthy,
    Refusing,
    BlackHole,
}

/// How it ends.
#[derive(Clone, Copy, Debug)]
enum End {
    Close,
    Drop,
}

#[tokio::test]
async fn f20_closed_and_dropped_sessions_leave_nothing_behind() {
    let Some(server) = Server::start() else {
        return;
    };
    let proxy = Proxy::start(server.port());
    // What is made once and stays, as the resolver's threads.
    cycle(&proxy, Network::Healthy, End::Close).await;
    let settled = settle(None).await;
    // Fewer where each takes long.
    for (network, cycles) in [
        (Network::Healthy, 13),
        (Network::Refusing, 13),
        (Network::BlackHole, 4),
    ] {
        for end in [End::Close, End::Drop] {
            for _ in 0..cycles {
                cycle(&proxy, network, end).await;
            }
        }
    }
    settle(Some(settled)).await;
    let before = proxy.accepted();
    sleep(Duration::from_secs(6)).await;
    assert_eq!(
        proxy.accepted(),
        before,
        "a session that was ended came back"
    );
    eventually_async("all sessions are gone", HANG, || async {
        let dump = server.ask("cons").unwrap_or_default();
        if dump.contains("sid=") {
            Err(dump)
        } else {
            Ok(())
        }
    })
    .await;
}

async fn cycle(proxy: &Proxy, network: Network, end: End) {
    let zk = Zk::start(config(&proxy.address()));
    let mut link = zk.link();
    eventually_in("up", HANG, &mut link, Link::is_up).await;
    let _watch = zk.watch("/zookeeper");
    let kept = zk.ephemeral("/e", b"");
    eventually_in("alive", HANG, &mut kept.status(), |kept| *kept).await;
    match network {
        Network::Healthy => {}
        Network::Refusing => {
            proxy.close_listener();
            proxy.cut(Cut::Rst);
        }
        Network::BlackHole => proxy.set_mode(Net::BlackHole),
    }
    let start = Instant::now();
    match end {
        End::Close => {
            let told = zk.close(T / 3).await;
            assert!(
                told || !matches!(network, Network::Healthy),
                "a healthy session was not closed"
            );
        }
        End::Drop => drop(zk),
    }
    eventually_in("closed", HANG, &mut link, |link| *link == Link::Closed).await;
    assert!(
        start.elapsed() < T / 3 + SLACK,
        "{network:?} {end:?} took {:?}",
        start.elapsed()
    );
    measured(
        &format!("F20 {network:?} {end:?}"),
        "closed",
        start.elapsed(),
    );
    proxy.cut(Cut::Rst);
    match network {
        Network::Healthy => {}
        Network::Refusing => proxy.open_listener(),
        Network::BlackHole => proxy.set_mode(Net::Forward),
    }
}

/// Waits until there are no more threads and files than `before`, or until their number stays.
async fn settle(before: Option<(usize, usize)>) -> (usize, usize) {
    let mut last = (0, 0);
    let mut stays = 0;
    eventually_async("threads and files are back to what they were", HANG, || {
        let now = (count("/proc/self/task"), count("/proc/self/fd"));
        stays = if now == last { stays + 1 } else { 0 };
        last = now;
        let is_settled = match before {
            Some(before) => now.0 <= before.0 && now.1 <= before.1,
            None => stays > 50,
        };
        async move {
            if is_settled {
                Ok(now)
            } else {
                Err((before, now))
            }
        }
    })
    .await
}

fn count(directory: &str) -> usize {
    std::fs::read_dir(directory)
        .expect("proc is mounted")
        .count()
}
