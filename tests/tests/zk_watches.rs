//! What is left in ZooKeeper of znodes that were followed and are gone.

use std::time::Duration;

use deploy_zk::bell::Bell;
use deploy_zk::config::Config;
use deploy_zk::link::Link;
use deploy_zk::seen::View;
use deploy_zk::zk::Zk;
use deploy_zk::znode::{Expect, Mode};
use tests::eventually::{eventually_async, eventually_in};
use tests::proxy::Proxy;
use tests::zookeeper::Server;

/// How long anything may take on a loaded machine before it counts as hung.
const HANG: Duration = Duration::from_secs(30);
/// Enough to tell them from chance.
const ROUNDS: usize = 20;

/// Each lease has a name of its own: with a watch for each that ever was, an agent would grow with
/// the years, and ZooKeeper with it.
#[tokio::test]
async fn leases_that_are_gone_leave_no_watches() {
    let Some(server) = Server::start() else {
        return;
    };
    let zk = Zk::start(Config::new(&[&server.address()]));
    eventually_in("up", HANG, &mut zk.link(), Link::is_up).await;
    zk.create("/leases", b"", Mode::Persistent).await.unwrap();
    for round in 0..ROUNDS {
        let nonce = round.to_string();
        let path = zk.create_sequential("/leases/h1-", nonce.as_bytes());
        let path = path.await.unwrap();
        let mut lease = zk.watch_until_gone(&path);
        eventually_in("followed", HANG, &mut lease, |seen| {
            seen.view.present().is_some()
        })
        .await;
        // A change is not the end.
        zk.set(&path, b"changed", Expect::Any).await.unwrap();
        eventually_in("changed", HANG, &mut lease, |seen| {
            seen.view
                .present()
                .is_some_and(|znode| znode.data == b"changed")
        })
        .await;
        zk.delete(&path, Expect::Any).await.unwrap();
        eventually_in("gone", HANG, &mut lease, |seen| {
            matches!(seen.view, View::Absent)
        })
        .await;
        let mut late = zk.watch_until_gone(&path);
        eventually_in("gone before it was followed", HANG, &mut late, |seen| {
            matches!(seen.view, View::Absent)
        })
        .await;
    }
    eventually_async("no watch is left", HANG, || async {
        let left = server.ask("wchs").unwrap_or_default();
        if left.contains("Total watches:0") {
            Ok(())
        } else {
            Err(left)
        }
    })
    .await;
}

/// A target that changes is read by every host at the same moment: ZooKeeper bears each request as often as there are hosts.
#[tokio::test]
async fn a_change_of_a_followed_znode_costs_one_request() {
    let Some((_server, proxy, writer)) = counted().await else {
        return;
    };
    let zk = Zk::start(Config::new(&[&proxy.address()]));
    let mut data = zk.watch("/w");
    let mut children = zk.watch_children("/w");
    for round in 0..ROUNDS {
        let text = round.to_string();
        let before = proxy.requests("/w");
        let path = format!("/w/{round}");
        writer
            .set("/w", text.as_bytes(), Expect::Any)
            .await
            .unwrap();
        writer.create(&path, b"", Mode::Persistent).await.unwrap();
        eventually_in("the new data", HANG, &mut data, |seen| {
            let now = seen.view.present();
            now.is_some_and(|now| now.data == text.as_bytes())
        })
        .await;
        eventually_in("the new child", HANG, &mut children, |seen| {
            let now = seen.view.present();
            now.is_some_and(|now| now.len() == round + 1)
        })
        .await;
        // What is there for the first time is looked for and then read.
        if round > 0 {
            assert_eq!(
                proxy.requests("/w") - before,
                2,
                "one each, in round {round}"
            );
        }
    }
}

/// Who begins to follow a fleet begins with as many znodes as it has hosts.
#[tokio::test]
async fn what_most_likely_is_there_costs_one_request() {
    let Some((_server, proxy, writer)) = counted().await else {
        return;
    };
    let zk = Zk::start(Config::new(&[&proxy.address()]));
    let mut there = zk.watch_present("/w");
    eventually_in("seen", HANG, &mut there, |seen| {
        seen.view.present().is_some()
    })
    .await;
    assert_eq!(proxy.requests("/w"), 1);

    let mut missing = zk.watch_present("/missing");
    eventually_in("not there", HANG, &mut missing, |seen| {
        matches!(seen.view, View::Absent)
    })
    .await;
    writer
        .create("/missing", b"", Mode::Persistent)
        .await
        .unwrap();
    eventually_in("there after all", HANG, &mut missing, |seen| {
        seen.view.present().is_some()
    })
    .await;
}

#[tokio::test]
async fn a_bell_rings_for_whatever_comes_until_it_is_silenced() {
    let Some(server) = Server::start() else {
        return;
    };
    let zk = Zk::start(Config::new(&[&server.address()]));
    let mut bell = zk.bell();
    zk.create("/b", b"0", Mode::Persistent).await.unwrap();
    let mut data = zk.watch("/b");
    let mut children = zk.watch_children("/b");
    ring_until("both are read", &mut bell, || {
        data.borrow().view.present().is_some() && children.borrow().view.present().is_some()
    })
    .await;

    zk.set("/b", b"1", Expect::Any).await.unwrap();
    ring_until("the new data", &mut bell, || {
        let seen = data.borrow_and_update();
        seen.view.present().is_some_and(|now| now.data == b"1")
    })
    .await;
    zk.create("/b/c", b"", Mode::Persistent).await.unwrap();
    ring_until("the new child", &mut bell, || {
        let seen = children.borrow_and_update();
        seen.view.present().is_some_and(|now| !now.is_empty())
    })
    .await;
    zk.set("/b", b"2", Expect::Any).await.unwrap();
    bell.rings().await;
    bell.rings().await;

    let link = zk.link();
    bell.silence();
    zk.close(HANG).await;
    ring_until("the end", &mut bell, || *link.borrow() == Link::Closed).await;
}

/// A server with the znode `/w`, a way to it on which requests are counted, and who writes past that.
async fn counted() -> Option<(Server, Proxy, Zk)> {
    let server = Server::start()?;
    let proxy = Proxy::start(server.port());
    let writer = Zk::start(Config::new(&[&server.address()]));
    let made = writer.create("/w", b"0", Mode::Persistent).await;
    made.expect("a znode can be made");
    Some((server, proxy, writer))
}

/// Looks only when the bell rings, as those do who have one.
async fn ring_until(what: &str, bell: &mut Bell, mut is_seen: impl FnMut() -> bool) {
    let ringing = async {
        loop {
            bell.rings().await;
            bell.silence();
            if is_seen() {
                return;
            }
        }
    };
    let rang = tokio::time::timeout(HANG, ringing).await;
    rang.unwrap_or_else(|_| panic!("{what}: no bell within {HANG:?}"));
}
