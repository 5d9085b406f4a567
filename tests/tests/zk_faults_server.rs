//! What deploy-zk keeps its word on while servers fail. The numbers are those of the table of faults
//! in `docs/zookeeper.md`.

mod zk_rig;

use std::time::{Duration, Instant};

use deploy_zk::error::Error;
use deploy_zk::link::{Link, Reason};
use deploy_zk::seen::View;
use deploy_zk::zk::Zk;
use deploy_zk::znode::{Expect, Mode};
use tests::eventually::{eventually, eventually_async, eventually_in};
use tests::proxy::{Proxy, SynHole};
use tests::zookeeper::{Ensemble, Server};
use tokio::task::JoinSet;
use tokio::time::sleep;

use zk_rig::{HANG, OP, Rig, SLACK, config, measured};

/// F7: the server is killed and comes back.
#[tokio::test(flavor = "multi_thread")]
async fn f07_a_killed_server_comes_back() {
    let mut cases = JoinSet::new();
    for down_ms in [500, 3000, 7000] {
        let Some(mut server) = Server::start() else {
            return;
        };
        cases.spawn(async move {
            let mut rig = Rig::start(&server, "/killed").await;
            server.kill();
            rig.down().await;
            sleep(Duration::from_millis(down_ms)).await;
            tokio::task::block_in_place(|| server.start_again());
            let ready = Instant::now();
            change_when_possible(&rig, "1").await;
            rig.sees("1").await;
            let case = format!("F7 server killed for {down_ms} ms");
            measured(&case, "change seen after it was ready", ready.elapsed());
            rig.is_alive().await;
            measured(&case, "ephemeral back", ready.elapsed());
            assert_eq!(rig.zk.stats().missed_events, 0);
        });
    }
    while let Some(case) = cases.join_next().await {
        case.unwrap();
    }
}

/// The administrator's link was down as well, and its write must not be lost.
async fn change_when_possible(rig: &Rig, value: &str) {
    eventually_async("the administrator can write", HANG, || rig.admin_set(value)).await;
}

/// F8: the server is paused, and goes on.
#[tokio::test(flavor = "multi_thread")]
async fn f08_a_paused_server_goes_on() {
    let mut cases = JoinSet::new();
    for pause_ms in [2000, 3500, 6000] {
        let Some(server) = Server::start() else {
            return;
        };
        cases.spawn(async move {
            let mut rig = Rig::start(&server, "/paused").await;
            server.pause();
            let start = Instant::now();
            let write = rig.zk.set(&rig.path("v"), b"mine", Expect::Any).await;
            let took = start.elapsed();
            assert!(took < OP + SLACK, "a write took {took:?}");
            sleep(Duration::from_millis(pause_ms).saturating_sub(start.elapsed())).await;
            server.resume();
            let resumed = Instant::now();
            change_when_possible(&rig, "1").await;
            rig.sees("1").await;
            let case = format!("F8 server paused for {pause_ms} ms");
            measured(&case, "change seen after it went on", resumed.elapsed());
            rig.is_alive().await;
            measured(&case, "ephemeral back", resumed.elapsed());
            assert!(
                !matches!(write, Err(Error::Closed(_) | Error::NoNode(_))),
                "{write:?}"
            );
        });
    }
    while let Some(case) = cases.join_next().await {
        case.unwrap();
    }
}

/// F9: servers of an ensemble die and come back, the leader among them.
#[tokio::test(flavor = "multi_thread")]
async fn f09_an_ensemble_survives_the_loss_of_any_server() {
    let Some(mut ensemble) = Ensemble::start() else {
        return;
    };
    let mut everywhere = config("127.0.0.1:1");
    everywhere.hosts = ensemble.addresses();
    let admin = Zk::start(everywhere.clone());
    admin
        .create("/v", b"start", Mode::Persistent)
        .await
        .unwrap();
    let watchers: Vec<Zk> = (0..12).map(|_| Zk::start(everywhere.clone())).collect();
    let mut views: Vec<_> = watchers.iter().map(|zk| zk.watch("/v")).collect();
    let mut kept = Vec::new();
    for (n, zk) in watchers.iter().enumerate() {
        kept.push(zk.ephemeral(&format!("/alive/{n}"), b""));
    }
    let leader = ensemble.leader();
    for (round, index) in [leader, (leader + 1) % 3, (leader + 2) % 3]
        .into_iter()
        .enumerate()
    {
        let case = format!("F9 server {} of 3 killed", round + 1);
        tokio::task::block_in_place(|| ensemble.servers[index].kill());
        let killed = Instant::now();
        let value = format!("without {round}");
        set_when_possible(&admin, &value).await;
        for view in &mut views {
            eventually_in("all see the change", HANG, view, |seen| {
                seen.view
                    .present()
                    .is_some_and(|znode| znode.data == value.as_bytes())
            })
            .await;
        }
        measured(
            &case,
            "all 12 have seen a change made without it",
            killed.elapsed(),
        );
        for ephemeral in &kept {
            eventually_in("it is kept", HANG, &mut ephemeral.status(), |kept| *kept).await;
        }
        measured(&case, "all 12 ephemerals there", killed.elapsed());
        tokio::task::block_in_place(|| ensemble.servers[index].start_again());
    }
    assert_eq!(admin.children("/alive").await.unwrap().unwrap().len(), 12);
    let servers: Vec<usize> = ensemble.servers.iter().map(connections).collect();
    println!("measured: F9: connections of the three servers: {servers:?}");
    for zk in &watchers {
        assert_eq!(zk.stats().missed_events, 0);
    }
}

fn connections(server: &Server) -> usize {
    server
        .ask("cons")
        .unwrap_or_default()
        .matches("sid=")
        .count()
}

async fn set_when_possible(zk: &Zk, value: &str) {
    eventually_async("a write succeeds", HANG, || {
        zk.set("/v", value.as_bytes(), Expect::Any)
    })
    .await;
}

impl Rig {
    async fn admin_set(&self, value: &str) -> Result<(), Error> {
        self.admin
            .set(&self.path("v"), value.as_bytes(), Expect::Any)
            .await
            .map(|_| ())
    }
}

/// Reads after a barrier see what was acknowledged to others, though a follower may lag behind.
#[tokio::test]
async fn a_barrier_sees_acknowledged_writes_of_others() {
    let Some(ensemble) = Ensemble::start() else {
        return;
    };
    let leader = ensemble.leader();
    let writer = Zk::start(config(&ensemble.servers[leader].address()));
    writer.create("/b", b"", Mode::Persistent).await.unwrap();
    let followers = (1..3).map(|n| ensemble.servers[(leader + n) % 3].address());
    let readers: Vec<Zk> = followers
        .map(|address| Zk::start(config(&address)))
        .collect();
    let mut stale = 0;
    for n in 0..150 {
        let value = n.to_string().into_bytes();
        writer.set("/b", &value, Expect::Any).await.unwrap();
        for reader in &readers {
            if reader
                .get("/b")
                .await
                .unwrap()
                .is_none_or(|znode| znode.data != value)
            {
                stale += 1;
            }
            reader.barrier().await.unwrap();
            assert_eq!(reader.get("/b").await.unwrap().unwrap().data, value);
        }
    }
    println!("measured: barrier: {stale} of 300 reads without it were out of date, none with it");
}

/// F10: the server ends the session.
#[tokio::test(flavor = "multi_thread")]
async fn f10_a_lost_session_is_replaced() {
    let Some(server) = Server::start() else {
        return;
    };
    let mut rig = Rig::start(&server, "/expired").await;
    for round in 1..=3 {
        let (epoch, generation) = rig.up().await;
        let owner = owner(&rig).await;
        let start = Instant::now();
        assert_eq!(rig.expire(&server), owner);
        let (_, generation_now) = rig.up_after(epoch).await;
        assert!(generation_now > generation, "a new session was not noticed");
        measured(
            "F10 session ended by the server",
            "link up again",
            start.elapsed(),
        );
        rig.change(&round.to_string()).await;
        rig.sees(&round.to_string()).await;
        rig.is_alive().await;
        measured(
            "F10 session ended by the server",
            "ephemeral back",
            start.elapsed(),
        );
    }
    rig.stays_alive().await;
}

async fn owner(rig: &Rig) -> i64 {
    let found = rig
        .admin
        .get(&rig.path("e"))
        .await
        .expect("the administrator can read");
    found.expect("the ephemeral exists").stat.ephemeral_owner
}

/// F13: a firewall swallows the first packets to one server; another one comes up later.
#[tokio::test(flavor = "multi_thread")]
async fn f13_a_host_that_swallows_connections_is_left() {
    let Some(server) = Server::start() else {
        return;
    };
    let hole = SynHole::start().await;
    let proxy = Proxy::start(server.port());
    proxy.close_listener();
    let mut both = config(&hole.address());
    let zk = Zk::start(both.clone());
    let start = Instant::now();
    let read = zk.get("/").await;
    assert!(matches!(read, Err(Error::Unavailable(_))), "{read:?}");
    assert!(start.elapsed() < OP + SLACK);
    assert!(
        zk.close(HANG).await || start.elapsed() < OP + SLACK * 2,
        "closing hung"
    );
    both.hosts.push(proxy.address());
    let zk = Zk::start(both);
    let mut link = zk.link();
    eventually_in("it is tried", HANG, &mut link, |link| {
        matches!(
            link,
            Link::Down {
                reason: Reason::NoServer
            }
        )
    })
    .await;
    proxy.open_listener();
    let open = Instant::now();
    eventually_in("up in spite of the hole", HANG, &mut link, Link::is_up).await;
    measured(
        "F13 one of two hosts swallows connections",
        "up after the other came",
        open.elapsed(),
    );
}

/// A server whose data is gone refuses a client that has seen more than it knows. It is not left alone.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_lost_its_data_is_used_again() {
    let Some(mut server) = Server::start() else {
        return;
    };
    let mut rig = Rig::start(&server, "/gone").await;
    tokio::task::block_in_place(|| {
        server.lose_data();
        server.start_again();
    });
    let ready = Instant::now();
    eventually_in("the loss is seen", HANG, &mut rig.v, |seen| {
        seen.view == View::Absent
    })
    .await;
    measured(
        "server that lost its data",
        "seen after it was ready",
        ready.elapsed(),
    );
    rig.is_alive().await;
}

/// A server that takes connections and hangs up, as one without a quorum does, is not hammered.
#[tokio::test]
async fn a_server_that_hangs_up_is_not_hammered() {
    let proxy = Proxy::start(tests::ports::free());
    let zk = Zk::start(config(&proxy.address()));
    let start = Instant::now();
    let read = zk.get("/").await;
    assert!(matches!(read, Err(Error::Unavailable(_))), "{read:?}");
    let per_second = proxy.accepted() as f64 / start.elapsed().as_secs_f64();
    println!("measured: a server that hangs up: {per_second:.0} connections per second");
    assert!(per_second < 100.0, "{per_second} connections per second");
}

/// F26: many sessions at once, over a restart of the server.
#[tokio::test(flavor = "multi_thread")]
async fn f26_many_sessions_over_a_restart() {
    const SESSIONS: usize = 200;
    let Some(mut server) = Server::start() else {
        return;
    };
    let admin = Zk::start(config(&server.address()));
    admin.create("/v", b"0", Mode::Persistent).await.unwrap();
    let sessions: Vec<Zk> = (0..SESSIONS)
        .map(|_| Zk::start(config(&server.address())))
        .collect();
    let mut views: Vec<_> = sessions.iter().map(|zk| zk.watch("/v")).collect();
    for view in &mut views {
        eventually_in("all have seen 0", HANG, view, |seen| {
            seen.view.present().is_some()
        })
        .await;
    }
    tokio::task::block_in_place(|| {
        server.kill();
        server.start_again();
    });
    let ready = Instant::now();
    set_when_possible(&admin, "1").await;
    for view in &mut views {
        eventually_in("all see 1", HANG, view, |seen| {
            seen.view.present().is_some_and(|znode| znode.data == b"1")
        })
        .await;
    }
    measured(
        "F26 200 sessions over a restart",
        "all have seen the change",
        ready.elapsed(),
    );
}

/// A watch that is taken and dropped again and again is armed once, and ends with its receiver.
#[tokio::test]
async fn dropped_watches_leave_nothing_behind() {
    let Some(server) = Server::start() else {
        return;
    };
    let zk = Zk::start(config(&server.address()));
    for round in 0..300 {
        let mut seen = zk.watch(&format!("/w{}", round % 3));
        eventually_in("seen", HANG, &mut seen, |seen| seen.epoch > 0).await;
    }
    assert_eq!(zk.stats().watches_made, 3, "watches pile up in the client");
    eventually("the server holds three", HANG, || {
        let answer = server.ask("wchs").unwrap_or_default();
        if answer.contains("Total watches:3") {
            Ok(())
        } else {
            Err(answer)
        }
    });
    let before = zk.stats().requests;
    zk.create("/w0", b"", Mode::Persistent).await.unwrap();
    zk.barrier().await.unwrap();
    let requests = zk.stats().requests - before;
    assert!(
        requests <= 4,
        "nobody looks, and {requests} requests were sent"
    );
}

/// Thousands of znodes can be watched at once, and come back after a reconnect.
#[tokio::test(flavor = "multi_thread")]
async fn two_thousand_watches_are_cheap() {
    const WATCHES: usize = 2000;
    let Some(server) = Server::start() else {
        return;
    };
    let mut rig = Rig::start(&server, "/many").await;
    let start = Instant::now();
    let mut views: Vec<_> = (0..WATCHES)
        .map(|n| rig.zk.watch(&rig.path(&format!("n{n}"))))
        .collect();
    let (mut epoch, _) = rig.up().await;
    for (round, what) in ["2000 watches armed", "2000 watches armed anew"]
        .into_iter()
        .enumerate()
    {
        for view in &mut views {
            eventually_in("seen", HANG, view, |seen| seen.epoch >= epoch).await;
        }
        measured("many watches", what, start.elapsed());
        if round == 0 {
            rig.proxy.cut(tests::proxy::Cut::Rst);
            (epoch, _) = rig.up_after(epoch).await;
        }
    }
    rig.admin
        .create(&rig.path("n1999"), b"", Mode::Persistent)
        .await
        .unwrap();
    let last = views.last_mut().unwrap();
    eventually_in("the last one", HANG, last, |seen| {
        seen.view.present().is_some()
    })
    .await;
    assert_eq!(rig.zk.stats().missed_events, 0);
}
