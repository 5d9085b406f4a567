//! Garbage of every kind in every znode that deployctl reads: no command hangs, dies or lets it
//! steer the terminal, and what is good beside it is still shown.

mod ctl_rig;

use ctl_rig::Rig;
use deploy_core::wire::report::Phase;
use deploy_core::wire::role::Role;
use tests::garbage::garbage;

/// What a command may print, in bytes: a megabyte of garbage is not shown in full.
const PRINTED_BYTES_MAX: usize = 400_000;

/// Runs a command, and returns what it printed. It may refuse, and never for a bug of ours.
async fn survives(rig: &Rig, line: &str) -> String {
    let ran = rig.ctl(line).await;
    let all = format!("{}{}", ran.stdout, ran.stderr);
    assert!(
        [0, 3, 4, 5, 6].contains(&ran.code),
        "{line}: exit {}\n{}",
        ran.code,
        &all[..all.len().min(3000)]
    );
    assert!(
        all.len() < PRINTED_BYTES_MAX,
        "{line} printed {} bytes",
        all.len()
    );
    let bad = |c: char| c.is_control() && c != '\n' && c != '\t';
    assert!(
        !all.contains(bad),
        "{line}: {:?}",
        all.chars().find(|c| bad(*c))
    );
    assert!(!all.contains("panicked"), "{line}: {all}");
    ran.stdout
}

#[tokio::test]
async fn in_reports_and_leases() {
    let hosts = [("web-01", Role::Fleet)];
    let Some((rig, agents)) = Rig::with_agents("garbage-hosts", &hosts).await else {
        return;
    };
    rig.ctl("deploy web r1 --detach").await.is(0);
    agents[0].reports(Phase::Serving).await;
    let tree = rig.tree("web");
    for (number, (_, data)) in garbage().into_iter().enumerate() {
        rig.write(&format!("{}/g{number:02}", tree.hosts()), &data)
            .await;
        rig.write(
            &format!("{}/g{number:02}-{number:010}", tree.leases()),
            &data,
        )
        .await;
    }
    // Names that are none of a host.
    for (name, (_, data)) in ["..x", "a b", "é", "-"].iter().zip(garbage()) {
        rig.write(&format!("{}/{name}", tree.hosts()), &data).await;
        rig.write(&format!("{}/{name}", tree.leases()), &data).await;
    }
    for line in ["status --hosts", "host list", "status web --hosts -o json"] {
        let shown = survives(&rig, line).await;
        assert!(
            shown.contains("web-01") && shown.contains("r1"),
            "{line}: {shown}"
        );
    }
    for line in [
        "status",
        "lease list web",
        "lease list web -o json",
        "inspect web",
        "host list -o json",
    ] {
        survives(&rig, line).await;
    }
    for number in 0..garbage().len() {
        survives(&rig, &format!("host show g{number:02}")).await;
    }
    // A live one is waited for, and the reason is told wherever it is shown.
    let live = rig.agent("web", "web-02", Role::Fleet).await;
    rig.write(&tree.host(&live.host), br#"{"v":2,"host":"web-02"}"#)
        .await;
    let why = "the report has version 2";
    for line in ["status web --hosts", "host list web", "host show web-02"] {
        rig.ctl(line)
            .await
            .is(0)
            .prints(&["web-02", "not seen", why]);
    }
    rig.ctl("host show web-02 -o json")
        .await
        .is(0)
        .prints(&["\"report_error\"", why]);
    rig.ctl("watch web --timeout 1s")
        .await
        .is(4)
        .prints(&["web-02", "not seen", why])
        .says(&["web-02 is not seen: the report has version 2"]);
    rig.ctl("watch web --timeout 1s -o jsonl")
        .await
        .is(4)
        .prints(&["host.unseen", why]);
    live.reports(Phase::Serving).await;
    // Garbage is no live host: nobody waits for it.
    rig.ctl("watch web --timeout 30s").await.is(0);
    rig.ctl("lease break web g00 --yes -m gone").await;
    survives(&rig, "lease list web").await;
}

#[tokio::test]
async fn in_what_operators_write() {
    let Some((rig, _)) = Rig::with_agents("garbage-rest", &[]).await else {
        return;
    };
    rig.ctl("deploy web r1 --detach --force").await;
    rig.write(
        &format!("{}/newer", rig.tree("web").builds()),
        br#"{"v":2}"#,
    )
    .await;
    rig.ctl("build list web")
        .await
        .is(0)
        .prints(&["newer", "?", "the build has version 2"]);
    let builds = rig.ctl("build list web -o json").await.is(0).json();
    let newer = &builds["builds"][0];
    assert_eq!(newer["build"], "newer");
    assert!(newer["error"].is_string(), "{builds}");
    let tree = rig.tree("web");
    for (number, (kind, data)) in garbage().into_iter().enumerate() {
        let build = format!("b{number:02}");
        rig.write(&format!("{}/{build}", tree.builds()), &data)
            .await;
        rig.write(&tree.rollout(500 + number as u64), &data).await;
        rig.write(&format!("{}/g{number:02}", tree.roles()), &data)
            .await;
        rig.write(&format!("{}/g{number:02}", tree.retries()), &data)
            .await;
        // One at a time: each hides what comes after it.
        for path in [tree.policy(), tree.hold()] {
            rig.write(&path, &data).await;
        }
        for line in ["status".to_owned(), format!("build show web {build}")] {
            survives(&rig, &line).await;
        }
        // It is there, whatever it is.
        let listed = rig.ctl("build list web -n 100").await.is(0);
        assert!(listed.stdout.contains(&build), "{kind}: {listed}");
        // What can't be read is not written over by mistake, and never taken for good.
        let ran = rig.ctl(&format!("deploy web {build} --detach")).await;
        assert_ne!(ran.code, 0, "{kind}: {ran}");
        assert_ne!(ran.code, 1, "{kind}: {ran}");
    }
    for line in [
        "build list web",
        "history web",
        "history web -o json",
        "inspect web",
        "policy web",
        "host list",
        "unhold web -m x",
    ] {
        survives(&rig, line).await;
    }
}

#[tokio::test]
async fn what_a_newer_version_wrote_is_not_written_over() {
    let Some((rig, _)) = Rig::with_agents("garbage-newer", &[]).await else {
        return;
    };
    let web = rig.tree("web");
    for (path, line, says) in [
        (
            web.policy(),
            "policy web restart_concurrency=3",
            "the policy of web: the policy has version 2",
        ),
        (
            web.hold(),
            "hold web -m why",
            "the hold of web: the hold has version 2",
        ),
    ] {
        rig.write(&path, br#"{"v":2}"#).await;
        let unchanged = ["nothing was changed", "use a newer deployctl"];
        rig.ctl(line).await.is(5).says(&[says]).says(&unchanged);
        assert_eq!(rig.json(&path).await, serde_json::json!({ "v": 2 }));
    }
    // Whoever only asks, or lets go, may.
    rig.ctl("policy web")
        .await
        .is(0)
        .says(&["has version 2", "no host is granted one", "newer deployctl"])
        .prints(&["restart_concurrency=?", "lease_reclaim_s=?"]);
    let policy = rig.ctl("policy web -o json").await.is(0).json();
    assert!(policy["restart_concurrency"].is_null(), "{policy}");
    rig.ctl("unhold web").await.is(0);
}
