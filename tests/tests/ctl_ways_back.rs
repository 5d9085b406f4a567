//! Where a rollback goes, and where it does not go.

mod ctl_rig;

use ctl_rig::Rig;
use deploy_core::wire::report::Phase;
use deploy_core::wire::role::Role;

const HOSTS: [(&str, Role); 2] = [("web-01", Role::Fleet), ("web-02", Role::Fleet)];

#[tokio::test]
async fn a_first_build_that_failed_everywhere_is_not_gone_back_to() {
    let Some((rig, agents)) = Rig::with_agents("never-good", &HOSTS).await else {
        return;
    };
    rig.ctl("deploy web r2 --detach").await.is(0);
    for agent in &agents {
        agent.fails(1).await;
    }
    rig.ctl("deploy web r1 --detach").await.is(0);
    for agent in &agents {
        agent.serves(2).await;
    }
    let target = rig.json(&rig.tree("web").enabled()).await;
    assert!(target["previous"].is_null(), "{target}");
    rig.ctl("rollback web --detach")
        .await
        .is(5)
        .says(&["web has no build to go back to", "nothing was changed"]);
}

#[tokio::test]
async fn a_trial_on_a_share_of_the_hosts_is_not_gone_back_to() {
    let Some((rig, agents)) = Rig::with_agents("trial", &HOSTS).await else {
        return;
    };
    agents.into_iter().for_each(ctl_rig::Agent::serves_always);
    for build in ["r3", "r4"] {
        rig.add_build("web", build).await;
    }
    rig.ctl("deploy web r1").await.is(0);
    rig.ctl("deploy web r2 --percent 1").await.is(0);
    rig.ctl("deploy web r3").await.is(0);
    rig.ctl("deploy web r4").await.is(0);
    rig.ctl("history web")
        .await
        .is(0)
        .prints(&["r1 -> r2", "deploy 1%", "done"]);
    let history = rig.ctl("history web -o json").await.is(0).json();
    let shares = history["rollouts"].as_array().expect("a list").iter();
    let shares: Vec<_> = shares
        .map(|rollout| rollout["percent"].to_string())
        .collect();
    assert_eq!(shares, ["100", "100", "1", "100"]);
    // Not the build before, so that the history decides.
    rig.ctl("build bad web r3 -m slow").await.is(0);
    rig.ctl("rollback web")
        .await
        .is(0)
        .says(&["r4 -> r1", "r1 is served by 2 of 2 hosts"]);
}

/// One of the fleet, and one that tests canaries.
const WITH_CANARIES: [(&str, Role); 2] = [("web-01", Role::Fleet), ("web-02", Role::Canary)];

#[tokio::test]
async fn a_fleet_that_failed_goes_back_though_there_is_an_older_canary() {
    let Some((rig, agents)) = Rig::with_agents("fails-under-canary", &WITH_CANARIES).await else {
        return;
    };
    for build in ["r3", "r4"] {
        rig.add_build("web", build).await;
    }
    let [fleet, canary] = agents.as_slice() else {
        panic!("there are two")
    };
    rig.ctl("deploy web r1 --detach").await.is(0);
    fleet.serves(1).await;
    canary.serves(1).await;
    rig.ctl("canary web r2 --detach").await.is(0);
    canary.serves(2).await;
    rig.ctl("deploy web r3 --detach").await.is(0);
    fleet.fails(3).await;
    let healthy = "the canary r2 is taken away as well; nothing is said against the build";
    rig.ctl("rollback web --detach")
        .await
        .is(0)
        .says(&[healthy, "r3 is marked bad", "r3 -> r1"]);
    fleet.serves(4).await;
    canary.serves(4).await;
    // A newer canary is what is left first, whatever the fleet is at.
    rig.ctl("deploy web r4 --detach").await.is(0);
    fleet.fails(5).await;
    rig.ctl("canary web r2 --detach").await.is(0);
    rig.ctl("rollback web --detach")
        .await
        .is(0)
        .says(&["r2 -> r4"]);
    // And what the canary hosts were sent to is not what the fleet goes back to.
    rig.ctl("rollback web --detach")
        .await
        .is(0)
        .says(&["r4 -> r1"]);
}

#[tokio::test]
async fn a_canary_that_nobody_is_left_to_test_is_no_success() {
    let Some((rig, agents)) = Rig::with_agents("no-tester", &WITH_CANARIES).await else {
        return;
    };
    let [fleet, canary] = agents.as_slice() else {
        panic!("there are two")
    };
    rig.ctl("deploy web r1 --detach").await.is(0);
    fleet.serves(1).await;
    canary.serves(1).await;
    let mut running = rig.spawn("canary web r2 --timeout 4s -o jsonl");
    running.sees("rollout.start").await;
    rig.ctl("host role web-02 web fleet").await.is(0);
    let nobody = "rollout #2 of web has no host any more that follows it";
    running.end().await.is(4).says(&[nobody]);
}

#[tokio::test]
async fn a_target_that_is_garbage_or_gone_can_be_left() {
    let Some((rig, agents)) = Rig::with_agents("from-garbage", &HOSTS).await else {
        return;
    };
    agents.into_iter().for_each(ctl_rig::Agent::serves_always);
    rig.ctl("rollback web")
        .await
        .is(5)
        .says(&["web has no target: no build was deployed yet"]);
    rig.ctl("deploy web r1").await.is(0);
    rig.ctl("deploy web r2").await.is(0);
    let enabled = rig.tree("web").enabled();
    for (garbage, told) in [
        (
            &b"{"[..],
            "warning: enabled of web is written over: the target can't be read",
        ),
        (
            br#"{"v":2,"builds":[]}"#,
            "warning: enabled of web is written over: the target has version 2",
        ),
    ] {
        rig.write(&enabled, garbage).await;
        rig.ctl("rollback web")
            .await
            .is(0)
            .says(&[told, "r2 is served by 2 of 2 hosts"]);
    }
    rig.write(&enabled, b"").await;
    rig.ctl("restart web").await.is(5).says(&[
        "web has no target: `enabled` was emptied by hand",
        "tip: to the last good build of the history: deployctl rollback web",
    ]);
    ctl_rig::delete(&rig.zk, &enabled).await;
    rig.ctl("rollback web")
        .await
        .is(0)
        .says(&["r2 is served by 2 of 2 hosts"]);
    // Nobody complained of a build: none is marked.
    let builds = rig.ctl("build list web").await.is(0);
    assert!(!builds.stdout.contains("BAD"), "{builds}");
}

/// A canary host and one of the fleet, on r1.
async fn with_canary(name: &str) -> Option<(Rig, Vec<ctl_rig::Agent>)> {
    let hosts = [("web-01", Role::Canary), ("web-02", Role::Fleet)];
    let (rig, agents) = Rig::with_agents(name, &hosts).await?;
    rig.add_build("web", "r3").await;
    rig.ctl("deploy web r1 --detach").await.is(0);
    for agent in &agents {
        agent.serves(1).await;
    }
    Some((rig, agents))
}

#[tokio::test]
async fn the_build_of_the_fleet_is_no_canary() {
    let Some((rig, agents)) = with_canary("own-canary").await else {
        return;
    };
    let refused = rig.ctl("canary web r1").await.is(5).says(&[
        "r1 is what the fleet of web has (#1): it is no canary",
        "nothing was changed",
        "tip: how far it is: deployctl status web\n",
    ]);
    assert!(!refused.stderr.contains("promote"), "{refused}");
    rig.ctl("canary web r2 --detach").await.is(0);
    agents[0].serves(2).await;
    rig.ctl("canary web r1").await.is(5).says(&[
        "r1 is what the fleet of web has (#1): it is no canary",
        "nothing was changed",
        "tip: to end the canary: deployctl rollback web",
    ]);
    rig.ctl("canary web r1 --force --detach")
        .await
        .is(0)
        .says(&["overridden with --force: r1 is what the fleet"]);
    // It is a canary: taking it away leaves the fleet alone, and its build as good as it is.
    let enabled = rig.json(&rig.tree("web").enabled()).await;
    rig.ctl("rollback web --detach").await.is(0);
    assert!(!rig.exists(&rig.tree("web").canary()).await);
    assert_eq!(rig.json(&rig.tree("web").enabled()).await, enabled);
    let build = rig
        .json(&rig.tree("web").build(&ctl_rig::build("r1")))
        .await;
    assert!(build["bad"].is_null(), "{build}");
}

#[tokio::test]
async fn what_is_wanted_already_is_the_rollout_that_it_is() {
    let Some((rig, _agents)) = with_canary("already").await else {
        return;
    };
    rig.ctl("deploy web r2 --detach").await.is(0);
    for (change, kind, from) in [
        ("", "deploy", "r1"),
        ("restart web --detach", "restart", "r2"),
        ("rollback web --to r1 --detach", "rollback", "r2"),
    ] {
        if !change.is_empty() {
            rig.ctl(change).await.is(0);
        }
        let enabled = rig.json(&rig.tree("web").enabled()).await;
        let build = enabled["build"].as_str().expect("it has one");
        let again = format!("deploy web {build} --detach -o json");
        let rollout = rig.ctl(&again).await.is(0).json();
        assert_eq!(rollout["rollout"], enabled["rollout"], "{rollout}");
        assert_eq!(rollout["kind"], kind, "{rollout}");
        assert_eq!(rollout["from"], from, "{rollout}");
    }
}

#[tokio::test]
async fn who_was_only_touched_was_not_there_when_it_was_rolled_back() {
    let Some((rig, agents)) = with_canary("touched").await else {
        return;
    };
    rig.ctl("deploy web r2 --detach").await.is(0);
    agents[0].serves(2).await;
    // It runs the build, and has not said that it is well.
    let target = agents[1].target(2).await;
    let mut report = agents[1].report(Phase::Probing, &target);
    report.serving = Some(target.build.clone());
    agents[1].writes(&report).await;
    rig.ctl("rollback web --detach").await.is(0);
    let history = rig.history("web").await;
    let (_, entry) = history
        .iter()
        .find(|(number, _)| *number == 2)
        .expect("it is there");
    let outcome = entry.outcome.as_ref().expect("it is told");
    assert_eq!(outcome.result, "rolled back");
    assert_eq!((outcome.hosts, outcome.total), (1, Some(2)));
}

#[tokio::test]
async fn the_fleet_that_failed_beside_a_canary_goes_back_without_it() {
    let Some((rig, agents)) = with_canary("beside-canary").await else {
        return;
    };
    rig.ctl("canary web r2 --detach").await.is(0);
    agents[0].serves(2).await;
    let running = rig.spawn("deploy web r3");
    agents[1].fails(3).await;
    running.end().await.is(3).says(&[
        "rollout #3 of web failed on web-02",
        "tip: back to the build before, the canary r2 stays: deployctl deploy web r1\n",
    ]);
    // All of it, by name: only what the fleet leaves is marked.
    rig.ctl("rollback web --to r1 --detach").await.is(0).says(&[
        "the canary r2 is taken away as well; nothing is said against the build",
        "r3 is marked bad",
    ]);
    for (name, is_bad) in [("r2", false), ("r3", true)] {
        let build = rig
            .json(&rig.tree("web").build(&ctl_rig::build(name)))
            .await;
        assert_eq!(!build["bad"].is_null(), is_bad, "{build}");
    }
    // The canary itself goes back by a rollback.
    rig.ctl("canary web r2 --detach").await.is(0);
    let watching = rig.spawn("watch web");
    agents[0].fails(5).await;
    watching
        .end()
        .await
        .is(3)
        .says(&["tip: back to the last good build: deployctl rollback web\n"]);
}
