//! What the calls of deploy-zk do on a healthy network.

use std::time::Duration;

use deploy_zk::config::{Config, ConfigError};
use deploy_zk::error::Error;
use deploy_zk::link::{Link, Reason};
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

/// F21: what a server would cut the connection for never leaves.
#[tokio::test]
async fn f21_bad_requests_are_refused_here() {
    let Some(server) = Server::start() else {
        return;
    };
    let zk = start(&server);
    zk.create("/é 世界", "ü".as_bytes(), Mode::Persistent)
        .await
        .unwrap();
    assert_eq!(
        zk.get("/é 世界").await.unwrap().unwrap().data,
        "ü".as_bytes()
    );
    assert!(
        zk.children("/")
            .await
            .unwrap()
            .unwrap()
            .contains(&"é 世界".to_owned())
    );
    let link = zk.link().borrow().clone();
    let requests = zk.stats().requests;
    for path in [
        "", "x", "x/y", "/a/", "//", "/a//b", "/.", "/a/..", "/a/./b", "/\0", "/a\u{7f}",
    ] {
        assert!(
            matches!(zk.get(path).await, Err(Error::BadArguments { .. })),
            "{path:?}"
        );
        let seen = zk.watch(path).borrow().clone();
        assert!(
            matches!(seen.refused, Some(Error::BadArguments { .. })),
            "{path:?}"
        );
        assert!(!*zk.ephemeral(path, b"").status().borrow());
    }
    let large = vec![0; 1_000_001];
    let results = [
        zk.create("/large", &large, Mode::Persistent).await,
        zk.set("/é 世界", &large, Expect::Any).await.map(|_| ()),
        zk.update("/é 世界", |_| Change::Write(large.clone()))
            .await
            .map(|_| ()),
        zk.create_sequential("/large-", &large).await.map(|_| ()),
    ];
    for result in results {
        assert!(matches!(result, Err(Error::TooLarge { .. })), "{result:?}");
    }
    // One read of update.
    assert!(
        zk.stats().requests <= requests + 2,
        "a bad request was sent"
    );
    zk.create("/large", &large[..1_000_000], Mode::Persistent)
        .await
        .unwrap();
    assert_eq!(
        zk.get("/large").await.unwrap().unwrap().data.len(),
        1_000_000
    );
    assert_eq!(*zk.link().borrow(), link, "the link was touched");
}

#[tokio::test]
async fn a_bad_config_is_never_tried_and_says_why() {
    let mut config = Config::new(&["127.0.0.1:2181"]);
    config.session_timeout = Duration::from_millis(1900);
    config.op_timeout = Duration::from_millis(50);
    let zk = Zk::start(config.clone());
    let mut link = zk.link();
    let down = eventually_in("it says why", HANG, &mut link, |link| {
        matches!(
            link,
            Link::Down {
                reason: Reason::Config(ConfigError::SessionTimeout(_))
            }
        )
    })
    .await;
    assert_eq!(
        down.to_string(),
        "down: a session timeout of 1900 ms is not between 2 s and 300 s"
    );
    assert!(matches!(zk.get("/").await, Err(Error::Unavailable(_))));
    assert_eq!(zk.stats().clients, 0);
    for host in [
        "a",
        "a:",
        ":1",
        "a:0",
        "a:1/chroot",
        "a:1,b:2",
        "a b:1",
        "a:65536",
    ] {
        config.hosts = vec![host.to_owned()];
        assert_eq!(
            config.check(),
            Err(ConfigError::Host {
                host: host.to_owned()
            })
        );
    }
}

#[tokio::test]
async fn a_barrier_takes_a_transaction_and_changes_nothing() {
    let Some(server) = Server::start() else {
        return;
    };
    let zk = start(&server);
    zk.create("/b", b"", Mode::Persistent).await.unwrap();
    let before = zk.set("/b", b"1", Expect::Any).await.unwrap().mzxid;
    zk.barrier().await.unwrap();
    zk.barrier().await.unwrap();
    let after = zk.set("/b", b"2", Expect::Any).await.unwrap().mzxid;
    assert_eq!(
        after - before,
        3,
        "a refusal that is no transaction is no barrier"
    );
    assert_eq!(
        zk.children("/zookeeper").await.unwrap().unwrap(),
        ["config", "quota"]
    );
}

#[tokio::test]
async fn closing_ends_the_session_at_once() {
    let Some(server) = Server::start() else {
        return;
    };
    // By name, which has an address of a kind that the server does not listen on as well.
    let mut long = Config::new(&[&format!("localhost:{}", server.port())]);
    long.session_timeout = Duration::from_secs(120);
    let (zk, admin) = (Zk::start(long), start(&server));
    let other = zk.clone();
    let kept = zk.ephemeral("/e", b"");
    eventually_in("it is there", HANG, &mut kept.status(), |kept| *kept).await;
    let mut seen = admin.watch("/e");
    eventually_in("it is seen", HANG, &mut seen, |seen| {
        seen.view.present().is_some()
    })
    .await;
    // The server grants 10 s at most, but only after that would it end the session by itself.
    let start = std::time::Instant::now();
    assert!(zk.close(HANG).await);
    eventually_in("it is gone", HANG, &mut seen, |seen| {
        seen.view == View::Absent
    })
    .await;
    assert!(
        start.elapsed() < Duration::from_secs(9),
        "the session was left to expire"
    );
    assert!(!*kept.status().borrow());
    assert!(matches!(other.get("/").await, Err(Error::Closed(_))));
    assert!(!other.close(HANG).await);
}
