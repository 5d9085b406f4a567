//! What deploy-zk keeps its word on while the network fails. The numbers are those of the table of
//! faults in `docs/zookeeper.md`.

mod zk_rig;

use std::sync::Arc;
use std::time::{Duration, Instant};

use deploy_zk::acl::{Grant, Rights};
use deploy_zk::config::{Config, DigestAuth};
use deploy_zk::error::Error;
use deploy_zk::seen::View;
use deploy_zk::zk::Zk;
use deploy_zk::znode::{Change, Expect, Mode, Updated, Znode};
use tests::eventually::{eventually_async, eventually_in};
use tests::proxy::{Cut, Mode as Net};
use tests::zookeeper::Server;
use tokio::task::JoinSet;
use tokio::time::sleep;

use zk_rig::{HANG, OP, Rig, SLACK, T, config, measured};

/// In each direction: time enough to cut before an answer is there, and less than a heartbeat waits.
const ANSWER_DELAY: Duration = Duration::from_millis(500);
const HEALTHY: &str = "the administrator's network is healthy";

/// F1, F2: the connection breaks, and what changes afterwards is seen.
#[tokio::test]
async fn f01_f02_changes_after_a_broken_connection_are_seen() {
    let Some(server) = Server::start() else {
        return;
    };
    for (how, prefix) in [(Cut::Rst, "/rst"), (Cut::Fin, "/fin")] {
        let mut rig = Rig::start(&server, prefix).await;
        let (mut again, mut seen) = (Duration::ZERO, Duration::ZERO);
        for round in 1..=40 {
            let (epoch, generation) = rig.up().await;
            let start = Instant::now();
            rig.proxy.cut(how);
            let (_, generation_now) = rig.up_after(epoch).await;
            again = again.max(start.elapsed());
            assert_eq!(generation, generation_now, "the session was lost");
            let start = Instant::now();
            rig.change(&round.to_string()).await;
            rig.sees(&round.to_string()).await;
            seen = seen.max(start.elapsed());
        }
        measured(
            &format!("F1-2 40 x {how:?}"),
            "link up again, at worst",
            again,
        );
        measured(
            &format!("F1-2 40 x {how:?}"),
            "change after it seen, at worst",
            seen,
        );
        rig.admin
            .create(&rig.path("x"), b"", Mode::Persistent)
            .await
            .unwrap();
        rig.sees_x().await;
        rig.is_alive().await;
        assert_eq!(rig.zk.stats().missed_events, 0);
    }
}

/// F3: what changes while there is no connection is seen after it.
#[tokio::test]
async fn f03_changes_while_disconnected_are_seen() {
    let Some(server) = Server::start() else {
        return;
    };
    let mut rig = Rig::start(&server, "/f3").await;
    rig.proxy.close_listener();
    rig.proxy.cut(Cut::Rst);
    rig.down().await;
    rig.change("1").await;
    rig.admin
        .create(&rig.path("x"), b"", Mode::Persistent)
        .await
        .unwrap();
    sleep(Duration::from_millis(500)).await;
    assert!(
        rig.v.borrow().view.present().is_some(),
        "a lost link is not an absent znode"
    );
    assert!(
        !rig.v.borrow().is_current(&rig.link.borrow()),
        "an old view is not a current one"
    );
    rig.proxy.open_listener();
    let start = Instant::now();
    rig.sees("1").await;
    rig.sees_x().await;
    measured(
        "F3",
        "both changes seen after the port opened",
        start.elapsed(),
    );
    rig.is_alive().await;
}

async fn black_hole(mut rig: Rig, net: Net, lasts: Duration) {
    let case = format!("{net:?} {:.2} T", lasts.as_secs_f64() / T.as_secs_f64());
    rig.admin
        .create(&rig.path("w"), b"before", Mode::Persistent)
        .await
        .expect(HEALTHY);
    let start = Instant::now();
    rig.proxy.set_mode(net);
    let (zk, paths) = (rig.zk.clone(), (rig.path("v"), rig.path("w")));
    let calls = tokio::spawn(async move {
        let write = zk.set(&paths.1, b"after", Expect::Any).await;
        let took = start.elapsed();
        (zk.get(&paths.0).await, write, took)
    });
    sleep(Duration::from_millis(50)).await;
    rig.change("1").await;
    if lasts >= T {
        measured(
            &case,
            "link down",
            rig.down().await + Duration::from_millis(50),
        );
        assert!(start.elapsed() < lasts, "{case}: nobody noticed");
    }
    sleep(lasts.saturating_sub(start.elapsed())).await;
    rig.proxy.set_mode(Net::Forward);
    let healed = Instant::now();
    rig.sees("1").await;
    measured(&case, "change seen after the end", healed.elapsed());
    let (read, write, took) = calls.await.expect("calls do not panic");
    assert!(took < OP + SLACK, "{case}: a write took {took:?}");
    assert!(
        matches!(read, Ok(Some(_)) | Err(Error::Unavailable(_))),
        "{case}: {read:?}"
    );
    rig.is_alive().await;
    measured(&case, "ephemeral back after the end", healed.elapsed());
    rig.stays_alive().await;
    let data = rig
        .admin
        .get(&rig.path("w"))
        .await
        .expect(HEALTHY)
        .expect(HEALTHY)
        .data;
    match write {
        Ok(_) => assert_eq!(data, b"after", "{case}: a write is lost"),
        Err(Error::Unavailable(_)) => assert_eq!(data, b"before", "{case}: not surely undone"),
        Err(Error::Unknown(_)) => {}
        Err(other) => panic!("{case}: {other}"),
    }
}

/// F4, F5: nothing gets through for a while, in neither direction or in one.
#[tokio::test]
async fn f04_f05_black_holes_of_any_length() {
    let Some(server) = Server::start() else {
        return;
    };
    let mut cases = JoinSet::new();
    for quarters in [1, 2, 4, 8, 12] {
        let rig = Rig::start(&server, &format!("/hole-{quarters}")).await;
        cases.spawn(black_hole(rig, Net::BlackHole, T * quarters / 4));
    }
    for (net, prefix) in [
        (Net::HoldToClient, "/to-client"),
        (Net::HoldToServer, "/to-server"),
    ] {
        let rig = Rig::start(&server, prefix).await;
        cases.spawn(black_hole(rig, net, T * 2));
    }
    cases.join_all().await;
}

/// F6: a slow network is not a broken one.
#[tokio::test]
async fn f06_a_slow_network_stays_up() {
    let Some(server) = Server::start() else {
        return;
    };
    // A heartbeat has a third of it, in which a busy machine must find the time for six threads.
    let session_timeout = Duration::from_secs(10);
    let patient = |config: &mut Config| config.session_timeout = session_timeout;
    let mut rig = Rig::start_with(&server, "/slow", patient).await;
    let before = rig.up().await;
    rig.proxy.set_delay(Duration::from_millis(200));
    let start = Instant::now();
    for value in ["1", "2", "3"] {
        let changed = Instant::now();
        rig.change(value).await;
        rig.sees(value).await;
        measured("F6", "change seen over 200 ms each way", changed.elapsed());
    }
    sleep((session_timeout * 3 / 2).saturating_sub(start.elapsed())).await;
    assert_eq!(rig.up().await, before, "the link went down");
    assert_eq!(rig.zk.stats().missed_events, 0);
}

fn user(password: &str) -> DigestAuth {
    DigestAuth {
        user: "u".to_owned(),
        password: password.to_owned(),
    }
}

/// F14: authentication is there before any request of ours, on each new connection.
#[tokio::test]
async fn f14_no_reconnect_loses_authentication() {
    let Some(server) = Server::start() else {
        return;
    };
    let mut rig = Rig::start_with(&server, "/auth", |config| {
        config.auth = vec![user("p")];
    })
    .await;
    let own = [Grant::digest(&user("p"), Rights::ALL)];
    rig.zk.set_acl(&rig.path("v"), &own).await.unwrap();
    let start = Instant::now();
    for _ in 0..25 {
        let mut readers = JoinSet::new();
        for _ in 0..40 {
            let (zk, path) = (rig.zk.clone(), rig.path("v"));
            readers.spawn(async move {
                for _ in 0..10 {
                    zk.get(&path).await.unwrap().unwrap();
                }
            });
        }
        readers.join_next().await.unwrap().unwrap();
        rig.proxy.cut(Cut::Rst);
        readers.join_all().await;
    }
    measured(
        "F14",
        "10000 reads over 25 resets, none refused",
        start.elapsed(),
    );
    rig.change("1").await;
    rig.sees("1").await;
}

/// F15: a wrong password is refused, and nothing else is.
#[tokio::test]
async fn f15_a_wrong_password_is_told_and_does_no_harm() {
    let Some(server) = Server::start() else {
        return;
    };
    let mut right = config(&server.address());
    right.auth = vec![user("p")];
    let owner = Zk::start(right.clone());
    owner
        .create("/secret", b"1", Mode::Persistent)
        .await
        .unwrap();
    let own = [Grant::digest(&user("p"), Rights::ALL)];
    owner.set_acl("/secret", &own).await.unwrap();
    right.auth = vec![user("wrong")];
    assert!(
        !format!("{right:?}").contains("wrong"),
        "the password is in the debug text"
    );
    let zk = Zk::start(right);
    let mut seen = zk.watch("/secret");
    assert!(matches!(zk.get("/secret").await, Err(Error::NoAuth(_))));
    eventually_in("the watch says why", HANG, &mut seen, |seen| {
        seen.view == View::Unknown && matches!(seen.refused, Some(Error::NoAuth(_)))
    })
    .await;
    zk.create("/open", b"1", Mode::Persistent).await.unwrap();
    assert!(zk.link().borrow().is_up());
}

/// F19: connections that break in the middle of an answer.
#[tokio::test]
async fn f19_connections_cut_anywhere() {
    let Some(server) = Server::start() else {
        return;
    };
    let mut rig = Rig::start(&server, "/cut").await;
    let start = Instant::now();
    for n in (1..=50).step_by(2).chain((0..20).map(|_| up_to(2000))) {
        let (epoch, _) = rig.up().await;
        rig.proxy.cut_after(n);
        rig.proxy.cut(Cut::Rst);
        rig.up_after(epoch).await;
    }
    measured(
        "F19",
        "45 connections cut after 1 to 2000 bytes",
        start.elapsed(),
    );
    rig.change("1").await;
    rig.sees("1").await;
    rig.is_alive().await;
}

/// Returns something from 1 to `limit`, different in each run.
fn up_to(limit: usize) -> usize {
    let nanos = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .expect("it is after 1970");
    1 + nanos.subsec_nanos() as usize % limit
}

/// F23: the answer to a write gets lost.
#[tokio::test]
async fn f23_writes_whose_answer_is_lost() {
    let Some(server) = Server::start() else {
        return;
    };
    let rig = Rig::start(&server, "/lost").await;
    let (zk, w, queue) = (rig.zk.clone(), rig.path("w"), rig.path("q"));
    rig.admin.create(&w, b"0", Mode::Persistent).await.unwrap();
    rig.admin
        .create(&queue, b"", Mode::Persistent)
        .await
        .unwrap();

    rig.proxy.set_mode(Net::HoldToClient);
    let (setting, path) = (zk.clone(), w.clone());
    let set = tokio::spawn(async move { setting.set(&path, b"1", Expect::Any).await });
    cut_when_written(&rig, &w, b"1").await;
    let set = set.await.unwrap();
    assert!(matches!(set, Err(Error::Unknown(_))), "{set:?}");

    let (updating, path, proxy) = (zk.clone(), w.clone(), Arc::clone(&rig.proxy));
    let mut asked = 0;
    let update = tokio::spawn(async move {
        let decide = |znode: Option<&Znode>| {
            asked += 1;
            if asked == 1 {
                proxy.set_mode(Net::HoldToClient);
            }
            let before: u32 = String::from_utf8_lossy(&znode.unwrap().data)
                .parse()
                .unwrap();
            Change::Write((before + 1).to_string().into_bytes())
        };
        updating.update(&path, decide).await
    });
    cut_when_written(&rig, &w, b"2").await;
    let update = update.await.unwrap();
    assert!(matches!(update, Ok(Updated::Written(_))), "{update:?}");
    assert_eq!(
        rig.admin.get(&w).await.unwrap().unwrap().data,
        b"2",
        "it was done twice"
    );

    // The list of the znode above is asked for first: that answer must come.
    rig.proxy.set_delay(ANSWER_DELAY);
    let (numbering, prefix) = (zk.clone(), format!("{queue}/n-"));
    let number = tokio::spawn(async move { numbering.create_sequential(&prefix, b"nonce").await });
    let path = format!("{queue}/n-0000000000");
    cut_when_written(&rig, &path, b"nonce").await;
    rig.proxy.set_delay(Duration::ZERO);
    assert_eq!(number.await.unwrap(), Ok(path));
    assert_eq!(
        rig.admin.children(&queue).await.unwrap().unwrap().len(),
        1,
        "it was done twice"
    );
}

/// Waits until the server has `data`, while answers are held back; then they are lost for good.
async fn cut_when_written(rig: &Rig, path: &str, data: &[u8]) {
    eventually_async("the write is done", HANG, || async {
        match rig.admin.get(path).await.expect(HEALTHY) {
            Some(znode) if znode.data == data => Ok(()),
            other => Err(other),
        }
    })
    .await;
    rig.proxy.cut(Cut::Rst);
    rig.proxy.set_mode(Net::Forward);
}
