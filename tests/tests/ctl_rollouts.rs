//! Rollouts from the side of deployctl: what is written, what is waited for, how it ends.

mod ctl_rig;

use ctl_rig::Rig;
use deploy_core::wire::role::Role;

#[tokio::test]
async fn a_build_goes_over_the_canary_to_the_fleet() {
    let hosts = [
        ("web-01", Role::Canary),
        ("web-02", Role::Fleet),
        ("web-03", Role::Fleet),
    ];
    let Some((rig, agents)) = Rig::with_agents("over-the-canary", &hosts).await else {
        return;
    };
    agents.into_iter().for_each(ctl_rig::Agent::serves_always);
    rig.ctl("deploy web r1 -m first").await.is(0).says(&[
        "#1 web  deploy",
        "\"first\" (3 hosts)",
        "web #1: deploy done, r1 is served by 3 of 3 hosts",
    ]);
    let canary = rig.ctl("canary web r2 -m 'checkout fix'").await.is(0);
    canary
        .says(&[
            "#2 web  canary",
            "r1 -> r2",
            "(1 host)",
            "web-01",
            "r2 is served by 1 of 1 host",
        ])
        .says(&["tip: deployctl promote web"]);
    let target = rig.json(&rig.tree("web").canary()).await;
    assert_eq!(target["rollout"], 2);
    assert_eq!(target["previous"]["build"], "r1");
    assert_eq!(target["artifact"]["url"], "https://builds/r2.tar.gz");

    rig.ctl("promote web")
        .await
        .is(0)
        .says(&["#3 web  promote", "r2 is served by 3 of 3 hosts"]);
    assert!(!rig.exists(&rig.tree("web").canary()).await);
    let target = rig.json(&rig.tree("web").enabled()).await;
    assert_eq!(target["build"], "r2");
    assert_eq!(target["why"], "checkout fix");
    let history = rig.history("web").await;
    let shown: Vec<String> = history
        .iter()
        .map(|(number, entry)| {
            let outcome = entry.outcome.as_ref().expect("deployctl saw the end");
            format!(
                "{number} {} {} {}",
                entry.kind, outcome.result, outcome.hosts
            )
        })
        .collect();
    assert_eq!(
        shown,
        ["1 deploy done 3", "2 canary done 1", "3 promote done 3"]
    );
    rig.ctl("status")
        .await
        .is(0)
        .prints(&["web", "done", "#3", "r2", "-", "3/3", "0/1"]);
}

#[tokio::test]
async fn the_first_failure_ends_the_wait_with_its_log() {
    let hosts = [("web-01", Role::Fleet), ("web-02", Role::Fleet)];
    let Some((rig, agents)) = Rig::with_agents("failure", &hosts).await else {
        return;
    };
    rig.ctl("deploy web r1 --detach").await.is(0);
    agents[0].serves(1).await;
    agents[1].serves(1).await;
    let running = rig.spawn("deploy web r2 -o jsonl");
    agents[0].serves(2).await;
    agents[1].fails(2).await;
    let ran = running.end().await.is(3).says(&[
        "error: rollout #2 of web failed on web-02",
        "web-02: probe: 127.0.0.1:8001/healthz -> 500",
        "| 19:41:44 ERROR KeyError: 'PAYMENTS_URL'",
        "web-02 serves r1",
        "1 of 2 hosts are at r2",
        "tip: back to the last good build: deployctl rollback web",
    ]);
    let events = ran.events();
    let failed = events
        .iter()
        .find(|event| event["type"] == "host.failed")
        .expect("it is told");
    assert_eq!(failed["schema"], "deployctl/event/1");
    assert_eq!(failed["host"], "web-02");
    assert_eq!(failed["log"][0], "19:41:44 ERROR KeyError: 'PAYMENTS_URL'");
    let end = events.last().expect("there is an end");
    assert_eq!(
        (&end["type"], &end["result"]),
        (&"rollout.end".into(), &"failed".into())
    );
    assert_eq!((&end["exit_code"], &end["rollout"]), (&3.into(), &2.into()));
    let (_, entry) = rig.history("web").await.remove(1);
    assert_eq!(entry.outcome.expect("it is recorded").result, "failed");
    rig.ctl("status")
        .await
        .is(0)
        .prints(&["web", "failed", "1/2", "1 failed"])
        .says(&["host show web-02 web"]);
    rig.ctl("host show web-02")
        .await
        .is(0)
        .prints(&["state", "failed", "serves", "r1", "| 19:41:44"])
        .says(&["host retry web-02 web"]);

    // The build that failed is left, and marked.
    agents.into_iter().for_each(ctl_rig::Agent::serves_always);
    rig.ctl("rollback web -m 'healthz 500'").await.is(0).says(&[
        "r2 is marked bad",
        "r2 -> r1",
        "web #3: rollback done, r1 is served by 2 of 2 hosts",
    ]);
    let build = rig
        .json(&rig.tree("web").build(&ctl_rig::build("r2")))
        .await;
    assert_eq!(build["bad"]["why"], "rolled back: healthz 500");
    rig.ctl("deploy web r2")
        .await
        .is(5)
        .says(&["build r2 was marked bad"]);
    rig.ctl("history web").await.is(0).prints(&[
        "3", "r2 -> r1", "rollback", "done", "2", "r1 -> r2", "deploy", "failed",
    ]);
}

#[tokio::test]
async fn only_reports_of_this_rollout_count() {
    let hosts = [("web-01", Role::Fleet), ("web-02", Role::Fleet)];
    let Some((rig, agents)) = Rig::with_agents("observed", &hosts).await else {
        return;
    };
    rig.ctl("deploy web r1 --detach").await.is(0);
    agents[0].serves(1).await;
    agents[1].serves(1).await;
    rig.ctl("watch web")
        .await
        .is(0)
        .prints(&["web-01", "serving", "r1, 1/1 instances"]);
    // The same build under a new number: what they served before is not yet an answer.
    let ran = rig.ctl("restart web --timeout 1s").await.is(4).says(&[
        "gave up waiting after 1s; rollout #2 of web is still running (0 of 2 hosts there; 2 working)",
        "tip: deployctl watch web --rollout 2 --timeout 30m",
    ]);
    drop(ran);
    assert_eq!(rig.json(&rig.tree("web").enabled()).await["restart"], 2);
    let running = rig.spawn("watch web --rollout 2");
    agents[0].serves(2).await;
    agents[1].serves(2).await;
    running.end().await.is(0);
    rig.ctl("watch web --rollout 1")
        .await
        .is(8)
        .says(&["rollout #1 of web was superseded by #2: restart r1"]);
}

#[tokio::test]
async fn a_newer_rollout_supersedes_and_a_rollback_is_a_failure() {
    let hosts = [("web-01", Role::Fleet)];
    let Some((rig, agents)) = Rig::with_agents("superseded", &hosts).await else {
        return;
    };
    rig.add_build("web", "r3").await;
    rig.ctl("deploy web r1 --detach").await.is(0);
    agents[0].serves(1).await;
    let mut running = rig.spawn("deploy web r2 -o jsonl");
    running.sees("rollout.start").await;
    rig.ctl("deploy web r3 --detach -m hotfix").await.is(0);
    let ran = running.end().await.is(8).says(&[
        "rollout #2 of web was superseded by #3: deploy r3",
        "\"hotfix\"",
    ]);
    assert_eq!(ran.events().last().expect("an end")["result"], "superseded");
    let mut running = rig.spawn("watch web -o jsonl");
    running.sees("rollout.start").await;
    rig.ctl("rollback web --detach -m oops").await.is(0);
    running
        .end()
        .await
        .is(3)
        .says(&["rollout #3 of web was rolled back with #4", "\"oops\""]);
    let outcomes: Vec<_> = rig
        .history("web")
        .await
        .into_iter()
        .map(|(_, entry)| entry.outcome.map(|outcome| outcome.result))
        .collect();
    assert_eq!(
        outcomes,
        [
            // Nobody had watched it; #2 found it over.
            Some("done".into()),
            Some("superseded".into()),
            Some("rolled back".into()),
            None
        ]
    );
    // The build before r3 was never served by the whole fleet: it is nothing to go back to.
    assert_eq!(rig.json(&rig.tree("web").enabled()).await["build"], "r1");
}

#[tokio::test]
async fn ctrl_c_only_detaches() {
    let hosts = [("web-01", Role::Fleet)];
    let Some((rig, _agents)) = Rig::with_agents("ctrl-c", &hosts).await else {
        return;
    };
    let mut running = rig.spawn("deploy web r1 -o jsonl");
    running.sees("rollout.start").await;
    running.signal(nix::sys::signal::Signal::SIGINT);
    running.end().await.is(130).says(&[
        "detached: deploy #1 of web goes on",
        "tip: deployctl watch web --rollout 1",
    ]);
    assert_eq!(rig.json(&rig.tree("web").enabled()).await["rollout"], 1);
}

#[tokio::test]
async fn who_is_offline_is_not_waited_for() {
    let hosts = [("web-01", Role::Fleet), ("web-02", Role::Fleet)];
    let Some((rig, mut agents)) = Rig::with_agents("offline", &hosts).await else {
        return;
    };
    rig.ctl("deploy web r1 --detach").await.is(0);
    agents[0].serves(1).await;
    agents[1].serves(1).await;
    agents[1].go().await;
    let running = rig.spawn("deploy web r2");
    agents[0].serves(2).await;
    running.end().await.is(0).says(&[
        "(2 hosts, 1 offline (web-02))",
        "r2 is served by 1 of 2 hosts",
        "1 offline (web-02)",
    ]);
    agents[0].go().await;
    rig.ctl("deploy web r1").await.is(0).says(&[
        "warning: none of 2 hosts is live: #3 of web is written",
        "watch web",
    ]);
}

#[tokio::test]
async fn a_blocked_host_is_waited_for_and_told_once() {
    let hosts = [("web-01", Role::Fleet)];
    let Some((rig, agents)) = Rig::with_agents("blocked", &hosts).await else {
        return;
    };
    let mut running = rig.spawn("deploy web r1 -o jsonl");
    let target = agents[0].target(1).await;
    let mut report = agents[0].report(deploy_core::wire::report::Phase::Blocked, &target);
    for free in [1, 2] {
        report.disk_free = Some(free);
        report.error = Some(deploy_core::wire::report::ErrorReport {
            step: "fetch".to_owned(),
            kind: "blocked".to_owned(),
            message: "no space left on /srv".to_owned(),
            log: vec![],
        });
        agents[0].writes(&report).await;
        if free == 1 {
            running.sees("host.blocked").await;
        }
    }
    agents[0].serves(1).await;
    let ran = running.end().await.is(0);
    let blocked = ran
        .events()
        .iter()
        .filter(|event| event["type"] == "host.blocked")
        .count();
    assert_eq!(blocked, 1, "{ran}");
}

#[tokio::test]
async fn a_share_serves_and_the_others_have_it_staged() {
    let hosts: Vec<String> = (1..=8).map(|number| format!("web-{number:02}")).collect();
    let hosts: Vec<(&str, Role)> = hosts
        .iter()
        .map(|host| (host.as_str(), Role::Fleet))
        .collect();
    let Some((rig, agents)) = Rig::with_agents("percent", &hosts).await else {
        return;
    };
    agents.into_iter().for_each(ctl_rig::Agent::serves_always);
    rig.ctl("deploy web r1").await.is(0);
    rig.ctl("stage web r2").await.is(0).says(&[
        "web #2: stage done, r2 is served by 0 of 8 hosts, 8 have it staged",
        "tip: for every host: deployctl deploy web r2",
    ]);
    rig.ctl("status")
        .await
        .is(0)
        .prints(&["web", "staged", "r2 0%", "8/8"]);
    rig.ctl("deploy web r2 --percent 50")
        .await
        .is(0)
        .says(&["web #3", "have it staged"]);
    let status = rig.ctl("status -o json --hosts").await.is(0).json();
    let service = &status["services"][0];
    assert_eq!(status["schema"], "deployctl/status/1");
    assert_eq!(
        (&service["phase"], &service["previous_build"]),
        (&"partial".into(), &"r1".into())
    );
    assert_eq!(service["hosts"]["there"], 8);
    rig.ctl("deploy web r2")
        .await
        .is(0)
        .says(&["r2 is served by 8 of 8 hosts"]);
    let target = rig.json(&rig.tree("web").enabled()).await;
    assert_eq!(
        (&target["percent"], &target["previous"]["build"]),
        (&100.into(), &"r1".into())
    );
    // Already so.
    rig.ctl("deploy web r2 --detach").await.is(0).says(&[
        "web r2 is already wanted as #4 by",
        "; nothing was changed\n",
    ]);
    rig.ctl("deploy web r2").await.is(0).says(&[
        "web r2 is already wanted as #4 by",
        "watching it",
        "done",
    ]);
    assert_eq!(rig.history("web").await.len(), 4);
}

#[tokio::test]
async fn a_rollback_of_a_canary_leaves_the_fleet_alone() {
    let hosts = [("web-01", Role::Canary), ("web-02", Role::Fleet)];
    let Some((rig, agents)) = Rig::with_agents("canary-back", &hosts).await else {
        return;
    };
    agents.into_iter().for_each(ctl_rig::Agent::serves_always);
    rig.ctl("deploy web r1").await.is(0);
    rig.ctl("canary web r2").await.is(0);
    rig.ctl("canary web r2")
        .await
        .is(0)
        .says(&["web r2 is already wanted as #2"]);
    let enabled = rig.json(&rig.tree("web").enabled()).await;
    rig.ctl("rollback web").await.is(0).says(&[
        "#3 web  rollback",
        "r2 -> r1",
        "(1 host)",
        "r1 is served by 1 of 1 host",
    ]);
    assert_eq!(rig.json(&rig.tree("web").enabled()).await, enabled);
    assert!(!rig.exists(&rig.tree("web").canary()).await);
    rig.ctl("watch web")
        .await
        .is(0)
        .prints(&["#3 web", "rollback"]);
    rig.ctl("canary web r1")
        .await
        .is(5)
        .says(&["r1 is what the fleet of web has (#1): it is no canary"]);
    rig.ctl("deploy web r1 --if-rollout 2")
        .await
        .is(5)
        .says(&["it is now #3", "rollback r1"]);
}

#[tokio::test]
async fn a_role_that_comes_and_goes_while_somebody_waits_counts() {
    let hosts = [("web-01", Role::Canary), ("web-02", Role::Fleet)];
    let Some((rig, mut agents)) = Rig::with_agents("roles-change", &hosts).await else {
        return;
    };
    rig.ctl("canary web r1 --detach").await.is(0);
    let mut watching = rig.spawn("watch web --output jsonl");
    watching.sees("web-01").await;
    rig.ctl("host role web-02 web canary").await.is(0);
    watching.sees("web-02").await;
    rig.ctl("host role web-02 web fleet").await.is(0);
    agents.remove(0).serves_always();
    watching.sees(r#""total":1"#).await;
    watching.end().await.is(0);
}

#[tokio::test]
async fn a_host_that_failed_tries_again_when_asked() {
    let hosts = [("web-01", Role::Fleet)];
    let Some((rig, agents)) = Rig::with_agents("retry", &hosts).await else {
        return;
    };
    rig.ctl("deploy web r1 --detach").await.is(0);
    agents[0].serves(1).await;
    rig.ctl("host retry web-01")
        .await
        .is(5)
        .says(&["web has not failed on web-01: it is serving"]);
    rig.ctl("deploy web r2 --detach").await.is(0);
    agents[0].fails(2).await;
    rig.ctl("host retry web-01 --timeout 1s -m 'disk mended'")
        .await
        .is(4)
        .says(&[
            "rollout #2 of web is still running (0 of 1 host there; 1 working)",
            "tip: deployctl host show web-01 web\n",
        ]);
    let retry = rig.tree("web").retry(&agents[0].host);
    let wish = rig.json(&retry).await;
    assert_eq!(wish["why"], "disk mended");
    rig.write(&retry, br#"{"v":2}"#).await;
    rig.ctl("host retry web-01").await.is(5).says(&[
        "the retry of web on web-01: the retry wish has version 2",
        "nothing was changed",
    ]);
    assert_eq!(rig.json(&retry).await, serde_json::json!({ "v": 2 }));
    rig.write(&retry, br#"{"v":1}"#).await;
    let mut running = rig.spawn("host retry web-01 -o jsonl");
    running.sees("rollout.start").await;
    assert_eq!(rig.json(&retry).await["rollout"], 2);
    agents[0]
        .reports(deploy_core::wire::report::Phase::Probing)
        .await;
    agents[0].serves(2).await;
    running.end().await.is(0);
    agents[0].fails(2).await;
    let mut running = rig.spawn("host retry web-01 web -o jsonl");
    running.sees("rollout.start").await;
    agents[0]
        .reports(deploy_core::wire::report::Phase::Probing)
        .await;
    running.sees("host.step").await;
    agents[0].fails(2).await;
    running
        .end()
        .await
        .is(3)
        .says(&["failed on web-01", "probe"]);
}

#[tokio::test]
async fn roles_policies_and_builds_are_written_and_shown() {
    let hosts = [("web-01", Role::Fleet)];
    let Some((rig, agents)) = Rig::with_agents("settings", &hosts).await else {
        return;
    };
    let web = rig.tree("web");
    rig.ctl("host role web-01 web canary -m quiet")
        .await
        .is(0)
        .says(&["web-01 has the role canary of web; it was fleet"]);
    let role = rig.json(&web.role(&agents[0].host)).await;
    assert_eq!(
        (&role["role"], &role["why"]),
        (&"canary".into(), &"quiet".into())
    );
    assert!(role["by"].is_string() && role["at"].is_string(), "{role}");
    rig.ctl("host role web-01 web canary")
        .await
        .is(0)
        .says(&["already; nothing was changed"]);
    rig.ctl("host role web-99 web canary")
        .await
        .is(0)
        .says(&["warning: web-99 never reported for web"]);
    rig.ctl("host list web")
        .await
        .is(0)
        .prints(&["HOST", "web-01", "web", "canary"]);
    rig.write(
        &web.policy(),
        br#"{"v":1,"restart_concurrency":"10%","burn_in_s":9}"#,
    )
    .await;
    rig.ctl("policy web")
        .await
        .is(0)
        .prints(&["restart_concurrency=10%", "lease_reclaim_s=never"]);
    rig.ctl("policy web restart_concurrency=2 lease_reclaim_s=600 -m hurry")
        .await
        .is(0);
    rig.ctl("policy web")
        .await
        .is(0)
        .says(&["set ", " ago by ", ": \"hurry\""]);
    let mut policy = rig.json(&web.policy()).await;
    let fields = policy.as_object_mut().expect("an object");
    assert!(fields.remove("by").is_some() && fields.remove("at").is_some());
    let expected = serde_json::json!({
        "v": 1, "restart_concurrency": 2, "lease_reclaim_s": 600, "burn_in_s": 9, "why": "hurry",
    });
    assert_eq!(policy, expected);
    // A newer format is not written over by mistake.
    let newer = br#"{"v":2,"role":"blue"}"#;
    rig.write(&web.role(&agents[0].host), newer).await;
    rig.ctl("host role web-01 web canary").await.is(5).says(&[
        "the role of web-01 for web: the role has version 2",
        "nothing was changed",
        "--force",
    ]);
    assert_eq!(rig.json(&web.role(&agents[0].host)).await["v"], 2);
    rig.ctl("host role web-01 web canary --force")
        .await
        .is(0)
        .says(&[
            "overridden with --force",
            "it was of no use: the role has version 2",
        ]);
}

#[tokio::test]
async fn a_registered_build_never_changes() {
    let hosts = [("web-01", Role::Fleet)];
    let Some((rig, agents)) = Rig::with_agents("builds", &hosts).await else {
        return;
    };
    let file = rig.file("r3.tar.gz", b"archive");
    rig.ctl(&format!(
        "build add web r3 --url https://b/r3 --file {file}"
    ))
    .await
    .is(0)
    .says(&[
        "build r3 of web is registered: 7 B, sha256 ",
        "tip: deployctl canary web r3",
    ]);
    rig.ctl(&format!(
        "build add web r3 --url https://b/r3 --file {file}"
    ))
    .await
    .is(0)
    .says(&["registered already, with the same archive"]);
    let other = rig.file("other", b"other bytes");
    rig.ctl(&format!(
        "build add web r3 --url https://b/r3 --file {other}"
    ))
    .await
    .is(5)
    .says(&[
        "registered already, with another archive",
        "a build never changes",
    ]);
    rig.ctl("build show web r3")
        .await
        .is(0)
        .prints(&["r3", "https://b/r3", "7 B (7 bytes)"]);
    // Not signed, and so there is no key.
    let shown = rig.ctl("build show web r3 -o json").await.is(0).json();
    assert!(shown["signed_by"].is_null());
    let builds = rig.ctl("build list web -o json").await.is(0).json();
    assert_eq!(builds["builds"].as_array().expect("a list").len(), 3);
    rig.ctl("deploy web r3 --detach").await.is(0);
    agents[0].serves(1).await;
    rig.ctl("inspect web/enabled").await.is(0).prints(&[
        "/builds/deploy/web/enabled",
        "v0",
        "\"build\":\"r3\"",
    ]);
    let tree = rig.ctl("inspect -o json web").await.is(0).json();
    assert!(tree["znodes"].as_array().expect("a list").len() > 8);
    let line = "build add new r1 --url https://b/r1 --file";
    rig.ctl(&format!("{line} {file}"))
        .await
        .is(0)
        .says(&["new service new"]);
}

#[tokio::test]
async fn a_rollback_under_hold_says_why_nothing_moves() {
    let hosts = [("web-01", Role::Fleet)];
    let Some((rig, agents)) = Rig::with_agents("held-rollback", &hosts).await else {
        return;
    };
    rig.ctl("deploy web r1 --detach").await.is(0);
    agents[0].serves(1).await;
    rig.ctl("deploy web r2 --detach").await.is(0);
    agents[0].serves(2).await;
    rig.ctl("hold web -m freeze").await.is(0);
    rig.ctl("rollback web --timeout 1s").await.is(4).says(&[
        "warning: web is held by",
        "no host goes back before it ends",
        "tip: deployctl unhold web",
        "gave up waiting",
        "web is held by",
    ]);
}
