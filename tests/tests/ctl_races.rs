//! Two people at once, and a network that fails: nothing is half done.

mod ctl_rig;

use std::time::{Duration, Instant};

use ctl_rig::{Rig, Running};
use deploy_core::wire::role::Role;
use deploy_zk::acl::{Grant, Rights};
use nix::sys::signal::Signal;
use tests::proxy::{Cut, Proxy};

/// Who is told to end must not wait for a request, which may take 10 s; this leaves room for a machine that does much else.
const REQUEST_TIME: Duration = Duration::from_secs(7);

/// What a network adds to the way of somebody who is to be slower: more than a loaded machine adds to that of others.
const SLOW: Duration = Duration::from_millis(250);

#[tokio::test]
async fn of_two_at_once_one_wins_and_nothing_is_left_of_the_other() {
    let hosts = [("web-01", Role::Canary)];
    let Some((rig, _agents)) = Rig::with_agents("race", &hosts).await else {
        return;
    };
    rig.add_build("web", "r0").await;
    rig.ctl("deploy web r0 --detach").await.is(0);
    for round in 0..5 {
        let before = rig.history("web").await.len();
        let builds = if round % 2 == 0 {
            ["r1", "r2"]
        } else {
            ["r2", "r1"]
        };
        let lines = builds.map(|build| format!("canary web {build} --detach -m {build}"));
        let (one, two) = tokio::join!(rig.ctl(&lines[0]), rig.ctl(&lines[1]));
        let target = rig.json(&rig.tree("web").canary()).await;
        let history = rig.history("web").await;
        let won: Vec<_> = [&one, &two]
            .into_iter()
            .filter(|ran| ran.code == 0)
            .collect();
        for ran in [&one, &two] {
            assert!([0, 5].contains(&ran.code), "{ran}");
            if ran.code == 5 {
                assert!(ran.stderr.contains("was faster: web now wants"), "{ran}");
            }
        }
        // One after the other is no race: then both are in the history. A build that is wanted
        // already is not written again.
        let written = history.len() - before;
        assert!(
            written >= 1 && written <= won.len(),
            "{written}\n{one}{two}"
        );
        let (number, entry) = history.last().expect("somebody won");
        assert_eq!(target["rollout"], *number, "{one}{two}");
        assert_eq!(
            target["build"],
            entry.to.as_ref().expect("a build").as_str()
        );
    }
}

/// A deploy that waits, and has lost its connection.
async fn cut_off(rig: &Rig) -> (Proxy, Running) {
    let proxy = Proxy::start(rig.server.port());
    let zk = format!("--zk {}{}", proxy.address(), rig.root.path());
    let mut running = rig.spawn(&format!("deploy web r1 -o jsonl {zk}"));
    running.sees("rollout.start").await;
    proxy.close_listener();
    proxy.cut(Cut::Rst);
    running.sees("link.lost").await;
    (proxy, running)
}

#[tokio::test]
async fn a_wait_outlives_a_lost_connection() {
    let hosts = [("web-01", Role::Fleet)];
    let Some((rig, agents)) = Rig::with_agents("lost-link", &hosts).await else {
        return;
    };
    let (proxy, running) = cut_off(&rig).await;
    proxy.open_listener();
    agents[0].serves(1).await;
    let ran = running.end().await.is(0);
    assert!(ran.stdout.contains("link.back"), "{ran}");
}

#[tokio::test]
async fn who_interrupts_a_wait_without_zookeeper_does_not_wait_for_it() {
    let hosts = [("web-01", Role::Fleet)];
    let Some((rig, _agents)) = Rig::with_agents("lost-interrupt", &hosts).await else {
        return;
    };
    let (_proxy, running) = cut_off(&rig).await;
    let signalled = Instant::now();
    running.signal(Signal::SIGINT);
    running
        .end()
        .await
        .is(130)
        .says(&["detached: deploy #1 of web goes on"]);
    let took = signalled.elapsed();
    assert!(took < REQUEST_TIME, "it took {took:?}");
}

#[tokio::test]
async fn a_signal_ends_the_recording_of_an_outcome_that_is_known() {
    let hosts = [("web-01", Role::Fleet)];
    let Some((rig, agents)) = Rig::with_agents("slow-record", &hosts).await else {
        return;
    };
    let proxy = Proxy::start(rig.server.port());
    let zk = format!("--zk {}{}", proxy.address(), rig.root.path());
    let mut running = rig.spawn(&format!("deploy web r1 -o jsonl {zk}"));
    running.sees("rollout.start").await;
    // Each request takes twice as long, and to record it takes three.
    proxy.set_delay(Duration::from_secs(2));
    agents[0].serves(1).await;
    running.sees("host.serving").await;
    let signalled = Instant::now();
    running.signal(Signal::SIGTERM);
    // The outcome was seen, and is no other for that.
    let ran = running.end().await.is(0);
    let took = signalled.elapsed();
    assert!(took < REQUEST_TIME, "it took {took:?}");
    let end = ran.events().pop().expect("there is an end");
    assert_eq!(end["result"], "done", "{ran}");
}

#[tokio::test]
async fn who_loses_the_race_says_who_won_and_leaves_nothing() {
    let hosts = [("web-01", Role::Canary)];
    let Some((rig, _agents)) = Rig::with_agents("lost-race", &hosts).await else {
        return;
    };
    rig.ctl("deploy web r1 --detach").await.is(0);
    let proxy = Proxy::start(rig.server.port());
    let slow = format!("--zk {}{}", proxy.address(), rig.root.path());
    for (line, path) in [
        ("canary web r2", rig.tree("web").canary()),
        ("deploy web r2", rig.tree("web").enabled()),
        ("restart web", rig.tree("web").enabled()),
    ] {
        proxy.set_delay(SLOW);
        let running = rig.spawn(&format!("{line} {slow}"));
        // It has read the targets and taken its number: whoever writes now is faster.
        tests::eventually::eventually_async("it has a number", ctl_rig::HANG, || async {
            let history = rig.history("web").await;
            if history.len() == 2 {
                Ok(())
            } else {
                Err(history)
            }
        })
        .await;
        let target = br#"{"v":1,"build":"r1","rollout":99,"by":"bob@ci"}"#;
        rig.write(&path, target).await;
        proxy.set_delay(Duration::ZERO);
        running.end().await.is(5).says(&[
            "error: bob was faster: web now wants r1 with #99",
            "nothing was changed",
        ]);
        assert_eq!(rig.history("web").await.len(), 1, "{line}");
        assert_eq!(rig.json(&path).await["rollout"], 99);
        if path.ends_with("canary") {
            ctl_rig::delete(&rig.zk, &path).await;
        }
    }
}

#[tokio::test]
async fn what_is_rolled_back_is_not_promoted_at_the_same_moment() {
    let hosts = [("web-01", Role::Canary)];
    let Some((rig, agents)) = Rig::with_agents("promote-or-back", &hosts).await else {
        return;
    };
    agents.into_iter().for_each(ctl_rig::Agent::serves_always);
    rig.add_build("web", "r0").await;
    rig.ctl("deploy web r0").await.is(0);
    rig.ctl("deploy web r1").await.is(0);
    for _ in 0..6 {
        rig.ctl("canary web r2 --force").await.is(0);
        let (promote, back) = tokio::join!(
            rig.ctl("promote web --force --timeout 20s"),
            rig.ctl("rollback web --timeout 20s")
        );
        // Whoever was first: r2 is left, and r1 is not.
        assert_eq!(back.code, 0, "{promote}{back}");
        let enabled = rig.json(&rig.tree("web").enabled()).await;
        assert_eq!(enabled["build"], "r1", "{promote}{back}");
        assert!(
            !rig.exists(&rig.tree("web").canary()).await,
            "{promote}{back}"
        );
    }
}

#[tokio::test]
async fn who_can_not_take_back_a_promote_says_what_the_fleet_is_told() {
    let hosts = [("web-01", Role::Canary)];
    let Some((rig, agents)) = Rig::with_agents("promote-stays", &hosts).await else {
        return;
    };
    agents.into_iter().for_each(ctl_rig::Agent::serves_always);
    rig.ctl("deploy web r1").await.is(0);
    rig.ctl("canary web r2").await.is(0);
    let proxy = Proxy::start(rig.server.port());
    proxy.set_delay(SLOW);
    let zk = format!("--zk {}{}", proxy.address(), rig.root.path());
    let running = rig.spawn(&format!("promote web {zk}"));
    let enabled = rig.tree("web").enabled();
    tests::eventually::eventually_async("it is written", ctl_rig::HANG, || async {
        let target = rig.json(&enabled).await;
        match target["build"] == "r2" {
            true => Ok(()),
            false => Err(target),
        }
    })
    .await;
    ctl_rig::delete(&rig.zk, &rig.tree("web").canary()).await;
    let all_but_write = Rights::READ.and(Rights::CREATE).and(Rights::DELETE);
    let grants = [Grant::anyone(all_but_write)];
    let granted = rig.zk.set_acl(&enabled, &grants);
    granted.await.expect("the rights are set");
    proxy.set_delay(Duration::ZERO);
    running.end().await.is(7).says(&[
        "the canary of web was taken away at the same moment, and #3, which gives r2 to the fleet, was not taken back",
        "tip: deployctl rollback web",
    ]);
}

#[tokio::test]
async fn two_rollbacks_at_once_go_back_once() {
    let hosts = [("web-01", Role::Canary)];
    let Some((rig, agents)) = Rig::with_agents("two-rollbacks", &hosts).await else {
        return;
    };
    agents.into_iter().for_each(ctl_rig::Agent::serves_always);
    rig.add_build("web", "r0").await;
    rig.ctl("deploy web r0").await.is(0);
    rig.ctl("deploy web r1").await.is(0);
    rig.ctl("canary web r2").await.is(0);
    let tree = rig.tree("web");
    let proxy = Proxy::start(rig.server.port());
    proxy.set_delay(SLOW);
    let slow = rig.spawn(&format!(
        "rollback web --zk {}{}",
        proxy.address(),
        rig.root.path()
    ));
    tests::eventually::eventually_async("it has a number", ctl_rig::HANG, || async {
        let history = rig.history("web").await;
        if history.len() == 4 {
            Ok(())
        } else {
            Err(history)
        }
    })
    .await;
    // The other one is faster.
    ctl_rig::delete(&rig.zk, &tree.canary()).await;
    proxy.set_delay(Duration::ZERO);
    slow.end().await.is(0).says(&[
        "somebody else took the canary away",
        "r1 is served by 1 of 1 host",
    ]);
    assert_eq!(rig.json(&tree.enabled()).await["build"], "r1");
}

#[tokio::test]
async fn who_rolls_back_twice_in_a_moment_means_the_same() {
    let hosts = [("web-01", Role::Fleet)];
    let Some((rig, agents)) = Rig::with_agents("rollback-twice", &hosts).await else {
        return;
    };
    agents.into_iter().for_each(ctl_rig::Agent::serves_always);
    rig.add_build("web", "r3").await;
    for build in ["r1", "r2", "r3"] {
        rig.ctl(&format!("deploy web {build}")).await.is(0);
    }
    rig.ctl("rollback web --detach").await.is(0);
    rig.ctl("rollback web --detach")
        .await
        .is(0)
        .says(&["web r2 is already wanted as #4"]);
    assert_eq!(rig.json(&rig.tree("web").enabled()).await["build"], "r2");
}

#[tokio::test]
async fn many_hosts_are_read_from_far_away() {
    let Some((rig, _)) = Rig::with_agents("far-away", &[]).await else {
        return;
    };
    let tree = rig.tree("web");
    let hosts = (0..240).map(|number| format!("{}/web-{number}", tree.hosts()));
    let hosts: Vec<_> = hosts.collect();
    rig.write(&hosts[0], b"{}").await;
    futures_util::future::join_all(hosts.iter().skip(1).map(|host| rig.write(host, b"{}"))).await;
    let proxy = Proxy::start(rig.server.port());
    proxy.set_delay(SLOW);
    let place = format!("{}{}", proxy.address(), rig.root.path());
    // All together take longer than one request may.
    let began = Instant::now();
    rig.ctl(&format!("status web --hosts --zk {place} -o json"))
        .await
        .is(0)
        .prints(&["web-239"]);
    assert!(began.elapsed() > Duration::from_secs(10));
}

#[tokio::test]
async fn who_was_at_work_is_waited_for_though_all_have_lost_their_sessions() {
    let hosts = [("web-01", Role::Fleet), ("web-02", Role::Fleet)];
    let Some((rig, mut agents)) = Rig::with_agents("vanished", &hosts).await else {
        return;
    };
    let mut running = rig.spawn("deploy web r1 -o jsonl");
    running.sees("rollout.start").await;
    for agent in &agents {
        agent
            .reports(deploy_core::wire::report::Phase::Probing)
            .await;
    }
    running.sees("web-02").await;
    for agent in &mut agents {
        agent.go().await;
    }
    running.sees("host.offline").await;
    for agent in &mut agents {
        agent.come().await;
    }
    agents[0].serves(1).await;
    running.sees("host.serving").await;
    agents[1].serves(1).await;
    let ended = running.end().await.is(0);
    let end = ended.stdout.lines().last().expect("it has an end");
    assert!(end.contains(r#""there":2"#), "{end}");
}
