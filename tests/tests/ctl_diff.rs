//! `diff`: what it promises, and that the command it gives does that and no more.

mod ctl_rig;

use ctl_rig::{Agent, Ran, Rig};
use deploy_core::wire::role::Role;

fn without_times(text: &str) -> String {
    let cut = |line: &str| match line.find(" ago by ") {
        Some(at) => line[..line[..at].rfind(' ').unwrap_or(at)].to_owned() + " …",
        None => line.to_owned(),
    };
    text.lines().map(cut).collect::<Vec<_>>().join("\n")
}

const HOSTS: [(&str, Role); 4] = [
    ("web-01", Role::Canary),
    ("web-02", Role::Fleet),
    ("web-03", Role::Fleet),
    ("web-04", Role::Fleet),
];

/// Four hosts that serve r1, of which the last has died since.
async fn on_r1(name: &str) -> Option<(Rig, Vec<Agent>)> {
    let (rig, mut agents) = Rig::with_agents(name, &HOSTS).await?;
    rig.ctl("deploy web r1 --detach --if-rollout 0").await.is(0);
    for agent in &agents {
        agent.serves(1).await;
    }
    agents[3].go().await;
    Some((rig, agents))
}

#[track_caller]
fn prints(ran: &Ran, rig: &Rig, expected: &str) {
    let at = format!("{}{}", rig.server.address(), rig.root.path());
    assert_eq!(
        without_times(&ran.stdout),
        expected.replace("AT", &at),
        "{ran}"
    );
}

#[tokio::test]
async fn what_would_change_is_told_with_the_number_to_bind_it_to() {
    let Some((rig, _agents)) = on_r1("diff").await else {
        return;
    };
    let ran = rig.ctl("diff web r2").await.is(0);
    prints(
        &ran,
        &rig,
        "web r1 -> r2, canary in AT, at #1
  changes    1 host: web-01
  others     3 hosts stay on r1 until promote
  downloads  1000 B by 1 host
  restarts   1 instance, 1 host at a time
  build      added …",
    );
    assert_eq!(
        ran.stderr,
        "nothing was changed
tip: deployctl canary web r2 --if-rollout 1
tip: without a canary, every host: deployctl diff web r2 --percent 100\n"
    );
    let ran = rig.ctl("diff web r2 --percent 100").await.is(0);
    prints(
        &ran,
        &rig,
        "web r1 -> r2, deploy in AT, at #1
  changes    3 hosts: web-01, web-02, web-03
  offline    1 host: web-04
  downloads  1000 B by each of 3 hosts, 2.9 KiB together
  restarts   3 instances, 1 host at a time
  build      added …",
    );
    let staged = rig.ctl("diff web r2 --percent 0 -o json").await.is(0);
    let staged = staged.json();
    assert_eq!(staged["schema"], "deployctl/diff/1");
    assert_eq!(staged["rollout"], 1);
    assert_eq!(staged["stages"].as_array().map(Vec::len), Some(3));
    assert_eq!(
        staged["command"],
        "deployctl deploy web r2 --percent 0 --if-rollout 1"
    );
}

#[tokio::test]
async fn its_command_does_that_and_no_more() {
    let Some((rig, agents)) = on_r1("diff-do").await else {
        return;
    };
    rig.ctl("canary web r2 --if-rollout 1 --detach").await.is(0);
    rig.ctl("canary web r2 --if-rollout 1 --detach")
        .await
        .is(5)
        .says(&[
            "web has moved on: you looked at #1, it is now #2",
            "tip: deployctl diff web",
        ]);
    for line in ["diff web", "diff web r2"] {
        rig.ctl(line).await.is(0).prints(&[
            "CANARY     the canary r2 of web is not there yet: web-01 is not seen; it would be refused\n",
        ]);
    }
    agents[0].serves(2).await;
    for line in ["diff web", "diff web r2"] {
        let ran = rig.ctl(line).await.is(0);
        prints(
            &ran,
            &rig,
            "web r1 -> r2, promote in AT, at #2
  changes    2 hosts: web-02, web-03
  stays      1 host: web-01
  offline    1 host: web-04
  downloads  1000 B by each of 2 hosts, 2.0 KiB together
  restarts   2 instances, 1 host at a time
  build      added …",
        );
        ran.says(&["tip: deployctl promote web --if-rollout 2\n"]);
    }
    rig.ctl("promote web --if-rollout 2 --detach").await.is(0);
    rig.ctl("diff web")
        .await
        .is(0)
        .prints(&["web r2, watch in ", "changes    2 hosts: web-02, web-03\n"]);
}

#[tokio::test]
async fn a_service_without_a_target_is_at_0() {
    let Some((rig, _agents)) = Rig::with_agents("diff-new", &HOSTS[1..2]).await else {
        return;
    };
    rig.ctl("diff web").await.is(5).says(&["web has no target"]);
    rig.ctl("diff web r9").await.is(6).says(&["no build `r9`"]);
    rig.ctl("diff web r1")
        .await
        .is(0)
        .prints(&["web r1, deploy in "])
        .says(&["tip: deployctl deploy web r1 --if-rollout 0\n"]);
}

#[tokio::test]
async fn what_would_be_refused_is_told() {
    let Some((rig, agents)) = Rig::with_agents("diff-no", &[("web-01", Role::Fleet)]).await else {
        return;
    };
    rig.ctl("deploy web r1 --detach").await.is(0);
    agents[0].serves(1).await;
    rig.ctl("build bad web r2 -m leaks").await.is(0);
    rig.ctl("hold web -m migration").await.is(0);
    rig.ctl("diff web r2").await.is(0).prints(&[
        "web r1 -> r2, deploy in ",
        "BAD        marked by ",
        ": \"leaks\"; it would be refused\n",
        "HELD       by ",
        ": \"migration\"; it would be refused\n",
    ]);
    rig.ctl("diff web r1").await.is(0).prints(&[
        "web r1, watch in",
        "changes    no live host\n",
        "stays      1 host: web-01\n",
        "downloads  nothing: every live host has it on disk\n",
    ]);
}

#[tokio::test]
async fn a_share_that_takes_hosts_back_is_told_and_refused() {
    let Some((rig, mut agents)) = Rig::with_agents("diff-back", &HOSTS[1..3]).await else {
        return;
    };
    rig.add_build("web", "r3").await;
    rig.ctl("deploy web r1 --detach").await.is(0);
    for agent in &agents {
        agent.serves(1).await;
    }
    rig.ctl("deploy web r2 --detach").await.is(0);
    for agent in &agents {
        agent.serves(2).await;
    }
    rig.ctl("build bad web r1 -m leaks").await.is(0);
    rig.ctl("diff web r2 --percent 0").await.is(0).prints(&[
        "changes    no live host\n",
        "returns    2 hosts: web-02, web-03 to r1; it would be refused\n",
        "restarts   2 instances, 1 host at a time\n",
    ]);
    for line in ["stage web r2", "deploy web r2 --percent 0.001"] {
        rig.ctl(line).await.is(5).says(&[
            "error: 2 hosts of web would go from r2 back to r1: web-02, web-03",
            "r1 is marked bad",
            "nothing was changed",
            "tip: back on all hosts: deployctl rollback web; as you said: --force",
        ]);
    }
    assert_eq!(rig.json(&rig.tree("web").enabled()).await["rollout"], 2);
    rig.ctl("stage web r2 --force --detach")
        .await
        .is(0)
        .says(&["overridden with --force: 2 hosts of web would go"]);
    // A share of r2: who serves it is on another build than the one before r3.
    rig.ctl("deploy web r2 --detach").await.is(0);
    for agent in &agents {
        agent.serves(4).await;
    }
    rig.ctl("deploy web r2 --percent 99.99 --detach")
        .await
        .is(0);
    let ran = rig.ctl("diff web r3 --percent 0").await.is(0);
    ran.prints(&["returns    2 hosts: web-02, web-03 to r1\n"]);
    // Who is gone is taken nowhere now.
    for agent in &mut agents {
        agent.go().await;
    }
    rig.ctl("stage web r2 --detach").await.is(0);
}

#[tokio::test]
async fn the_command_for_a_build_that_is_marked_bad_is_not_refused() {
    let Some((rig, _agents)) = on_r1("diff-bad").await else {
        return;
    };
    rig.ctl("build bad web r2 -m leaks").await.is(0);
    let what = "tip: r2 is marked bad; to do it nevertheless: ";
    let command = "deploy web r2 --percent 1e-300 --if-rollout 1 --force";
    rig.ctl("diff web r2 --percent 1e-300")
        .await
        .is(0)
        .says(&[&format!("{what}deployctl {command}\n")]);
    let json = rig.ctl("diff web r2 -o json").await.is(0).json();
    let canary = "deployctl canary web r2 --if-rollout 1 --force";
    assert_eq!(
        (&json["command"], &json["bad"]),
        (&canary.into(), &true.into())
    );
    // What else is in the way is not overridden by pasting.
    rig.ctl("hold web -m migration").await.is(0);
    let held = rig.ctl("diff web r2").await.is(0);
    assert!(!held.stderr.contains("--force"), "{held}");
    rig.ctl("unhold web").await.is(0);
    rig.ctl(&format!("{command} --detach")).await.is(0);
    // Next to nothing needs no column of 300 characters.
    let history = rig.ctl("history web").await.is(0);
    let history = history.prints(&["deploy <0.0001%"]);
    assert!(
        history.stdout.lines().all(|line| line.len() < 150),
        "{history}"
    );
    rig.ctl("status").await.is(0).prints(&["r2 <0.0001%"]);
}

#[tokio::test]
async fn what_was_made_by_hand_is_no_rollout() {
    let Some((rig, _agents)) = on_r1("by-hand").await else {
        return;
    };
    let enabled = rig.tree("web").enabled();
    let written = rig.json(&enabled).await.to_string();
    for by_hand in ["r2\n".to_owned(), written.replace("r1", "r2")] {
        rig.write(&enabled, by_hand.as_bytes()).await;
        for verb in [
            "deploy web r1",
            "canary web r1",
            "rollback web",
            "restart web",
        ] {
            rig.ctl(&format!("{verb} --if-rollout 1 --detach"))
                .await
                .is(5)
                .says(&[
                    "web has moved on: you looked at #1, it was changed by hand since",
                    "nothing was changed",
                    "tip: deployctl diff web",
                ]);
        }
        let status = rig.ctl("status").await.is(0);
        let line = status.stdout.lines().nth(1).expect("a service");
        assert!(line.contains("by hand") && !line.contains('#'), "{status}");
        let service = &rig.ctl("status -o json").await.is(0).json()["services"][0];
        assert_eq!(
            (service["rollout"].is_null(), &service["by_hand"]),
            (true, &true.into())
        );
    }
    rig.ctl("diff web r1 --percent 100")
        .await
        .is(0)
        .prints(&["web r2 -> r1, deploy in ", ", changed by hand\n"])
        .says(&["tip: deployctl deploy web r1\n"]);
    // Who has looked at that says what is wanted without a number.
    rig.ctl("deploy web r1 --detach").await.is(0);
    rig.ctl("restart web --if-rollout 2 --detach").await.is(0);
    rig.ctl("canary web r2 --if-rollout 3 --detach").await.is(0);
    rig.ctl("restart web --if-rollout 4 --detach").await.is(0);
    rig.ctl("rollback web --if-rollout 5 --detach").await.is(0);
    rig.ctl("restart web --if-rollout 6 --detach").await.is(0);
}
