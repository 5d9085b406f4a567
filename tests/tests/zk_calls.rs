//! What the calls of deploy-zk do on a healthy network.

use std::time::Duration;

use deploy_zk::config::Config;
use deploy_zk::error::Error;
use deploy_zk::link::Link;
use deploy_zk::seen::View;
use deploy_zk::zk::Zk;
use deploy_zk::znode::{Change, Expect, Mode, Updated};
use tests::eventually::eventually_in;
use tests::zookeeper::Server;

/// How long anything may take on a loaded machine before it counts as hung.
const HANG: Duration = Duration::from_secs(20);

fn start(server: &Server) -> Zk {
    let mut config = Config::new(&[&server.address()]);
    config.session_timeout = Duration::from_secs(4);
    Zk::start(config)
}

#[tokio::test]
async fn znodes_are_created_read_written_and_deleted() {
    let Some(server) = Server::start() else {
        return;
    };
    let zk = start(&server);
    assert_eq!(zk.get("/a").await, Ok(None));
    assert_eq!(zk.children("/a").await, Ok(None));
    zk.create("/a", b"one", Mode::Persistent).await.unwrap();
    assert!(matches!(
        zk.create("/a", b"", Mode::Persistent).await,
        Err(Error::NodeExists(_))
    ));
    let read = zk.get("/a").await.unwrap().unwrap();
    assert_eq!((read.data.as_slice(), read.stat.version), (&b"one"[..], 0));
    let stat = zk.set("/a", b"two", Expect::Version(0)).await.unwrap();
    assert_eq!(stat.version, 1);
    assert!(matches!(
        zk.set("/a", b"3", Expect::Version(0)).await,
        Err(Error::BadVersion(_))
    ));
    assert!(matches!(
        zk.set("/b", b"3", Expect::Any).await,
        Err(Error::NoNode(_))
    ));
    zk.create_parents("/a/b/c/d").await.unwrap();
    zk.create_parents("/a/b/c/d").await.unwrap();
    assert_eq!(zk.children("/a/b").await, Ok(Some(vec!["c".to_owned()])));
    assert!(matches!(
        zk.delete("/a/b", Expect::Any).await,
        Err(Error::NotEmpty(_))
    ));
    zk.delete("/a/b/c", Expect::Any).await.unwrap();
    assert!(matches!(
        zk.delete("/a/b/c", Expect::Any).await,
        Err(Error::NoNode(_))
    ));
    zk.barrier().await.unwrap();
    let first = zk.create_sequential("/a/n-", b"x1").await.unwrap();
    let second = zk.create_sequential("/a/n-", b"x2").await.unwrap();
    assert_eq!(
        (first.as_str(), second.as_str()),
        ("/a/n-0000000001", "/a/n-0000000002")
    );
    assert!(zk.close(HANG).await);
}

#[tokio::test]
async fn watches_tell_of_changes() {
    let Some(server) = Server::start() else {
        return;
    };
    let (zk, admin) = (start(&server), start(&server));
    let mut link = zk.link();
    let (mut value, mut names) = (zk.watch("/w"), zk.watch_children("/w"));
    eventually_in("/w is absent", HANG, &mut value, |seen| {
        seen.view == View::Absent
    })
    .await;
    eventually_in("/w has no children", HANG, &mut names, |seen| {
        seen.view == View::Absent
    })
    .await;
    admin.create("/w", b"0", Mode::Persistent).await.unwrap();
    eventually_in("0", HANG, &mut value, |seen| seen.view.present().is_some()).await;
    for n in 1..20 {
        let text = n.to_string();
        admin.set("/w", text.as_bytes(), Expect::Any).await.unwrap();
        admin
            .create(&format!("/w/{n}"), b"", Mode::Persistent)
            .await
            .unwrap();
        let seen = eventually_in(&text, HANG, &mut value, |seen| {
            seen.view
                .present()
                .is_some_and(|znode| znode.data == text.as_bytes())
        })
        .await;
        assert!(seen.is_current(&link.borrow_and_update()));
        eventually_in("a child more", HANG, &mut names, |seen| {
            seen.view.present().is_some_and(|names| names.len() == n)
        })
        .await;
    }
    for n in 1..20 {
        admin.delete(&format!("/w/{n}"), Expect::Any).await.unwrap();
    }
    admin.delete("/w", Expect::Any).await.unwrap();
    eventually_in("/w is gone", HANG, &mut value, |seen| {
        seen.view == View::Absent
    })
    .await;
    eventually_in("its children too", HANG, &mut names, |seen| {
        seen.view == View::Absent
    })
    .await;
    assert_eq!(zk.stats().missed_events, 0);
    let open = link.clone();
    drop(zk);
    eventually_in("closed", HANG, &mut link, |link| *link == Link::Closed).await;
    assert_eq!(*open.borrow(), Link::Closed);
}

#[tokio::test]
async fn ephemerals_are_kept_replaced_and_dropped() {
    let Some(server) = Server::start() else {
        return;
    };
    let (zk, admin) = (start(&server), start(&server));
    let alive = zk.ephemeral("/p/q/alive", b"1");
    let mut status = alive.status();
    let mut seen = admin.watch("/p/q/alive");
    eventually_in("alive", HANG, &mut status, |status| *status).await;
    alive.replace(b"2");
    eventually_in("2", HANG, &mut seen, |s| {
        s.view.present().is_some_and(|z| z.data == b"2")
    })
    .await;
    admin.delete("/p/q/alive", Expect::Any).await.unwrap();
    let back = eventually_in("it is back", HANG, &mut seen, |seen| {
        seen.view
            .present()
            .is_some_and(|z| z.data == b"2" && z.stat.version == 0)
    })
    .await;
    assert_ne!(back.view.present().unwrap().stat.ephemeral_owner, 0);
    drop(alive);
    eventually_in("it is gone", HANG, &mut seen, |seen| {
        seen.view == View::Absent
    })
    .await;
    assert!(!*status.borrow());
}

#[tokio::test]
async fn updates_of_many_lose_nothing() {
    let Some(server) = Server::start() else {
        return;
    };
    let add_one = |znode: Option<&deploy_zk::znode::Znode>| {
        let before: u32 = znode.map_or(0, |znode| {
            String::from_utf8_lossy(&znode.data).parse().unwrap()
        });
        Change::Write((before + 1).to_string().into_bytes())
    };
    let mut writers = tokio::task::JoinSet::new();
    for _ in 0..5 {
        let zk = start(&server);
        writers.spawn(async move {
            for _ in 0..20 {
                let updated = zk.update("/count", add_one).await.unwrap();
                assert!(matches!(updated, Updated::Written(_)));
            }
        });
    }
    writers.join_all().await;
    let zk = start(&server);
    assert_eq!(zk.get("/count").await.unwrap().unwrap().data, b"100");
    assert_eq!(
        zk.update("/count", |_| Change::Leave).await,
        Ok(Updated::Left)
    );
    assert_eq!(
        zk.update("/count", |_| Change::Delete).await,
        Ok(Updated::Deleted)
    );
    assert_eq!(zk.get("/count").await, Ok(None));
}
