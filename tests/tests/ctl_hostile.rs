//! What others put in the way: protected znodes, hostile text, closed pipes.

mod ctl_rig;

use ctl_rig::{HANG, Rig};
use deploy_core::wire::report::Phase;
use deploy_core::wire::role::Role;
use deploy_core::wire::target::Target;
use deploy_zk::acl::{Grant, Rights};

#[tokio::test]
async fn a_znode_that_nobody_may_read_is_said_to_be_protected() {
    let Some(rig) = Rig::start("no-auth").await else {
        return;
    };
    let mut config = deploy_zk::config::Config::new(&[&rig.server.address()]);
    let auth = deploy_zk::config::DigestAuth {
        user: "deploy".into(),
        password: "secret".into(),
    };
    let own = [Grant::digest(&auth, Rights::ALL)];
    config.auth = vec![auth];
    let owner = deploy_zk::zk::Zk::start(config);
    let path = format!("{}/secret", rig.root.path());
    owner
        .create(&path, b"", deploy_zk::znode::Mode::Persistent)
        .await
        .unwrap();
    owner.set_acl(&path, &own).await.unwrap();
    rig.ctl("status secret").await.is(7).says(&[
        "error: not allowed to read",
        "(ZooKeeper: NoAuth)",
        "without the right credentials",
        "tip: --auth-file FILE",
    ]);
    let file = rig.file("auth", b"deploy:secret\n");
    rig.ctl(&format!("status secret --auth-file {file}"))
        .await
        .is(2)
        .says(&["can be read by others", "chmod 600"]);
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
    rig.ctl(&format!("status secret --auth-file {file}"))
        .await
        .is(0);
}

#[tokio::test]
async fn text_from_znodes_can_not_steer_a_terminal() {
    let hosts = [("web-01", Role::Fleet)];
    let Some((rig, agents)) = Rig::with_agents("escapes", &hosts).await else {
        return;
    };
    rig.ctl("deploy web r1 --detach").await.is(0);
    agents[0].fails(1).await;
    rig.write(
        &rig.tree("web").hold(),
        b"{\"v\":1,\"by\":\"x\\u001b[2J\",\"why\":\"y\\u0007\"}",
    )
    .await;
    rig.write(
        &format!("{}/odd", rig.tree("web").path()),
        b"\x1b]0;title\x07\xff",
    )
    .await;
    for line in [
        "status",
        "host show web-01",
        "host list",
        "inspect web",
        "history",
        "watch web",
    ] {
        let ran = rig.ctl(line).await;
        let all = format!("{}{}", ran.stdout, ran.stderr);
        assert!(!all.contains(['\u{1b}', '\u{7}']), "{ran}");
    }
    let role = format!("{}/roles/web-01", rig.tree("web").path());
    rig.write(&role, br#"{"v":1,"role":"x\u001b[2J\u202e"}"#)
        .await;
    let ran = rig.ctl("host role web-01 web fleet").await.is(0);
    let ran = ran.says(&["web-01 has the role fleet of web; it was of no use: "]);
    assert!(!ran.stderr.contains(['\u{1b}', '\u{202e}']), "{ran}");
    // Whatever a rollout calls itself.
    let path = rig.tree("web").rollout(1);
    let entry = br#"{"v":1,"kind":"de\u001b[2Jploy","to":"r1","by":"z\u001b[3J"}"#;
    rig.write(&path, entry).await;
    agents[0].serves(1).await;
    for line in ["watch web", "watch web --quiet", "history web"] {
        let ran = rig.ctl(line).await.is(0);
        let all = format!("{}{}", ran.stdout, ran.stderr);
        assert!(!all.contains('\u{1b}'), "{ran}");
    }
    agents[0].fails(1).await;
    rig.ctl("inspect web")
        .await
        .is(0)
        .prints(&["odd", "\"\\x1b]0;title\\x07\\xff\""]);
    rig.ctl("host show web-01").await.is(0).prints(&[
        "failed",
        "probe: 127.0.0.1:8001/healthz -> 500",
        "| exit\\u{1b}[31m 3",
    ]);
}

#[tokio::test]
async fn a_closed_pipe_is_success() {
    let Some(rig) = Rig::start("closed-pipe").await else {
        return;
    };
    rig.add_build("web", "r1").await;
    let mut running = rig.spawn("completions bash");
    running.sees("_deployctl").await;
    // The rest does not fit into the pipe, and nobody reads it.
    let (mut child, stdout) = running.into_child();
    drop(stdout);
    let status = tokio::time::timeout(HANG, child.wait())
        .await
        .unwrap()
        .unwrap();
    assert_eq!(status.code(), Some(0));
}

#[tokio::test]
async fn targets_that_can_not_be_read_are_told_and_can_be_left() {
    let hosts = [("web-01", Role::Canary)];
    let Some((rig, agents)) = Rig::with_agents("junk", &hosts).await else {
        return;
    };
    rig.write(&rig.tree("web").enabled(), b"{\"v\":1,\"build\":7}")
        .await;
    rig.ctl("status")
        .await
        .is(0)
        .prints(&["web", "?", "the target can't be read: `build`"]);
    let garbage = Target::of_build(ctl_rig::build("r1"));
    let mut report = agents[0].report(Phase::Blocked, &garbage);
    (report.target, report.rollout) = (None, None);
    agents[0].writes(&report).await;
    rig.ctl("status --hosts").await.is(0).prints(&[
        "web",
        "blocked",
        "?",
        "1 blocked, the target",
        "web-01",
        "blocked",
    ]);
    let status = rig.ctl("status -o json --hosts").await.is(0).json();
    let service = &status["services"][0];
    assert_eq!(service["phase"], "blocked");
    assert_eq!(service["by_host"][0]["standing"], "blocked");
    let error = service["fleet_error"].as_str().expect("it is told");
    assert!(error.starts_with("the target can't be read"), "{error}");
    assert!(service["canary_error"].is_null(), "{service}");
    rig.ctl("restart web")
        .await
        .is(5)
        .says(&["the target of web is of no use", "deployctl inspect"]);
    rig.ctl("deploy web r1 --detach").await.is(0);
    rig.write(&rig.tree("web").canary(), b"!!").await;
    rig.ctl("promote web")
        .await
        .is(5)
        .says(&["the canary of web is of no use", "rollback web"]);
    rig.ctl("rollback web --detach").await.is(0);
    assert!(!rig.exists(&rig.tree("web").canary()).await);
    // A bare word, as somebody writes it with zkCli.
    rig.write(&rig.tree("web").enabled(), b"r2\n").await;
    agents[0].reports(Phase::Serving).await;
    rig.ctl("watch web --timeout 30s").await.is(0);
    rig.ctl("status")
        .await
        .is(0)
        .prints(&["web", "done", "r2", "1/1"]);
}

#[tokio::test]
async fn a_closed_pipe_does_not_hide_how_a_rollout_ended() {
    let hosts = [("web-01", Role::Fleet)];
    let Some((rig, agents)) = Rig::with_agents("closed-pipe-wait", &hosts).await else {
        return;
    };
    let mut running = rig.spawn("deploy web r1 -o jsonl");
    running.sees("rollout.start").await;
    let (mut child, stdout) = running.into_child();
    drop(stdout);
    agents[0].fails(1).await;
    let status = tokio::time::timeout(HANG, child.wait())
        .await
        .unwrap()
        .unwrap();
    assert_eq!(status.code(), Some(3));
}

#[tokio::test]
async fn a_canary_that_can_not_be_taken_away_stops_nothing_that_is_under_way() {
    let hosts = [("web-01", Role::Canary), ("web-02", Role::Fleet)];
    let Some((rig, agents)) = Rig::with_agents("canary-stays", &hosts).await else {
        return;
    };
    agents.into_iter().for_each(ctl_rig::Agent::serves_always);
    rig.ctl("deploy web r1").await.is(0);
    rig.ctl("canary web r2").await.is(0);
    let canary = rig.tree("web").canary();
    rig.write(&format!("{canary}/note"), b"keep").await;
    // Nothing was written yet, and the number goes back.
    let refused =
        format!("{canary} can't be deleted: something that is not ours is below it (note)");
    let delete = format!("tip: to delete it, in zkCli: deleteall {canary}/note\n");
    let rollback = rig.ctl("rollback web").await.is(5);
    let rollback = rollback.says(&[&refused, &delete]);
    assert!(
        !rollback.stderr.contains("nothing was changed"),
        "{rollback}"
    );
    assert_eq!(rig.history("web").await.len(), 2);
    rig.ctl("promote web").await.is(0).says(&[
        "warning: #3 of web is written and goes on, but the canary stays, and its hosts on r2: ",
        &refused,
        &format!("tip: to see what: deployctl inspect {canary}\n"),
        &delete,
        "tip: to take it away when that is mended: deployctl promote web\n",
        "web #3: promote done, r2 is served by",
    ]);
    rig.ctl("rollback web").await.is(0).says(&[
        "#4 of web is written and goes on, but the canary stays, and its hosts on r2: ",
        "tip: to take it away when that is mended: deployctl rollback web\n",
        "r1 is served by",
    ]);
    ctl_rig::delete(&rig.zk, &format!("{canary}/note")).await;
    rig.ctl("rollback web").await.is(0);
    assert!(!rig.exists(&canary).await);
    assert_eq!(
        rig.json(&rig.tree("web").enabled()).await["rollout"],
        4,
        "what was typed takes the canary away, and nothing else"
    );
}

#[tokio::test]
async fn who_may_not_delete_is_told_what_is_under_way() {
    let hosts = [("web-01", Role::Canary), ("web-02", Role::Fleet)];
    let Some((rig, agents)) = Rig::with_agents("may-not-delete", &hosts).await else {
        return;
    };
    agents.into_iter().for_each(ctl_rig::Agent::serves_always);
    rig.ctl("deploy web r1").await.is(0);
    rig.ctl("canary web r2").await.is(0);
    let (enabled, canary) = (rig.tree("web").enabled(), rig.tree("web").canary());
    let but_delete = Rights::READ.and(Rights::WRITE).and(Rights::CREATE);
    let list = [Grant::anyone(but_delete.and(Rights::ADMIN))];
    rig.zk.set_acl(&enabled, &list).await.expect("it is open");
    let not_allowed = format!("not allowed to delete {canary} (ZooKeeper: NoAuth)");
    // Nothing was written, and nobody is told of a rollout that never was.
    rig.ctl("rollback web").await.is(7).says(&[&not_allowed]);
    let numbers: Vec<u64> = rig.history("web").await.iter().map(|it| it.0).collect();
    assert_eq!(numbers, [1, 2]);
    rig.ctl("promote web").await.is(0).says(&[
        "warning: #3 of web is written and goes on, but the canary stays, and its hosts on r2: ",
        &not_allowed,
        "tip: --auth-file FILE",
        "tip: to take it away when that is mended: deployctl promote web\n",
        "web #3: promote done, r2 is served by",
    ]);
    assert!(rig.exists(&canary).await);
    let open = [Grant::anyone(Rights::ALL)];
    rig.zk.set_acl(&enabled, &open).await.expect("we may");
    rig.ctl("promote web").await.is(0);
    assert!(!rig.exists(&canary).await);
    assert_eq!(rig.json(&enabled).await["build"], "r2");
}

#[tokio::test]
async fn a_disk_that_is_full_hides_no_outcome() {
    let Some((rig, agents)) = Rig::with_agents("full-disk", &[("web-01", Role::Fleet)]).await
    else {
        return;
    };
    agents.into_iter().for_each(ctl_rig::Agent::serves_always);
    for (line, code) in [
        ("deploy web r1 -o jsonl", 0),
        ("watch web", 0),
        ("status", 1),
        ("help", 1),
        ("--version", 1),
    ] {
        let full = std::fs::File::options().write(true).open("/dev/full");
        let mut command = rig.command(line);
        command.stdout(full.expect("Linux has it"));
        let running = command.spawn().expect("deployctl can be started");
        let output = running.wait_with_output().await.expect("it has an end");
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{line}: {said}");
        let why = "error: failed to write to stdout: No space left on device";
        assert_eq!(said.matches(why).count(), 1, "{line}: {said}");
    }
}

#[tokio::test]
async fn only_a_rollout_can_be_watched() {
    let Some((rig, _)) = Rig::with_agents("no-rollout", &[]).await else {
        return;
    };
    rig.ctl("deploy web r1 --detach").await.is(0);
    rig.ctl("hold web -m why").await.is(0);
    rig.ctl("unhold web").await.is(0);
    for (number, kind) in [(2, "hold"), (3, "unhold")] {
        let what = format!("#{number} of web is `{kind}`, which is no rollout");
        rig.ctl(&format!("watch web --rollout {number}"))
            .await
            .is(6)
            .says(&[&what, "deployctl history web"]);
    }
    for (number, entry) in rig.history("web").await {
        assert_eq!(entry.outcome, None, "#{number}");
    }
}

#[tokio::test]
async fn a_target_of_a_newer_format_is_not_written_over() {
    let hosts = [("web-01", Role::Fleet)];
    let Some((rig, _agents)) = Rig::with_agents("newer", &hosts).await else {
        return;
    };
    let enabled = rig.tree("web").enabled();
    rig.write(&enabled, br#"{"v":2,"builds":["r1"]}"#).await;
    rig.ctl("deploy web r1 --detach").await.is(5).says(&[
        "enabled of web: the target has version 2",
        "nothing was changed",
    ]);
    assert_eq!(rig.json(&enabled).await["v"], 2);
    rig.ctl("deploy web r1 --detach --force").await.is(0);
    assert_eq!(rig.json(&enabled).await["v"], 1);
}
