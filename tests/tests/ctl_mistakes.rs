//! The mistakes that people make, and what they are told: exit code and text of each.

mod ctl_rig;

use std::time::{Duration, Instant};

use ctl_rig::{Rig, bare_command, run};
use deploy_core::wire::role::Role;
use tests::ports;

async fn check(line: &str, code: i32, parts: &[&str]) {
    run(bare_command(line), line).await.is(code).says(parts);
}

#[tokio::test]
async fn words_of_other_tools_are_answered_with_ours() {
    check(
        "promot web",
        2,
        &[
            "error: unrecognized subcommand 'promot'",
            "tip:",
            "'promote'",
        ],
    )
    .await;
    check(
        "cancel web",
        2,
        &[
            "unrecognized subcommand 'cancel'",
            "tip: to stop a rollout and go back: deployctl rollback web\n",
            "tip: to freeze it where it is: deployctl hold web -m \"why\"\n",
        ],
    )
    .await;
    check(
        "pause web",
        2,
        &["tip: to let nothing new start: deployctl hold"],
    )
    .await;
    check("resume web", 2, &["tip: to end a hold: deployctl unhold"]).await;
    check("nodes", 2, &["tip: deployctl host list"]).await;
    check(
        "push web r1",
        2,
        &["tip: to test a build: deployctl canary web r1\n"],
    )
    .await;
    // What is to be pasted is for the same ZooKeeper.
    check(
        "--context staging undo web",
        2,
        &[
            "go back: deployctl rollback web --context staging\n",
            "deployctl hold web -m \"why\" --context staging\n",
        ],
    )
    .await;
    check(
        "rollback web r1 --zk=zk1/x",
        2,
        &["deployctl rollback web --to r1 --zk zk1/x\n"],
    )
    .await;
}

#[tokio::test]
async fn what_is_wrong_with_a_value_is_told_without_zookeeper() {
    check(
        "hold web -m x --for 90",
        2,
        &["invalid value '90' for '--for <D>': a unit is missing; write 90s, 90m or 1h30m"],
    )
    .await;
    check(
        "--zk a:1 hold web",
        2,
        &["error: a hold needs a reason", "tip: deployctl hold web -m"],
    )
    .await;
    check(
        "--zk a:1 policy web restart_concurency=2",
        2,
        &[
            "`restart_concurency` is not a key",
            "did you mean `restart_concurrency`?",
        ],
    )
    .await;
    check(
        "--zk a:1 policy web restart_concurrency=0",
        2,
        &["`0` is not a restart concurrency"],
    )
    .await;
    check(
        "--zk a:1 build add web r1 --url https://x/y",
        2,
        &["its digest and its size", "tip: --file PATH"],
    )
    .await;
    check(
        "--zk a:1 build add web r1 --url ftp://x/y --size 1",
        2,
        &["an http or https URL is wanted"],
    )
    .await;
    check(
        "--zk a:1 build add web r1 --url https://x/y --sha256 12",
        2,
        &["is not a SHA-256"],
    )
    .await;
}

#[tokio::test]
async fn what_is_no_name_or_number_is_told_without_zookeeper() {
    check(
        "deploy web r1 --percent 101",
        2,
        &["percent is 101; it must be from 0 to 100"],
    )
    .await;
    check(
        "deploy web r1 --percent 10%%",
        2,
        &["a number from 0 to 100"],
    )
    .await;
    check(
        "--zk a:1 policy web lease_reclaim_s=1 lease_reclaim_s=2",
        2,
        &["`lease_reclaim_s` is set twice"],
    )
    .await;
    check(
        "--zk a:1 policy web -m hurry",
        2,
        &["a reason for nothing: no KEY=VALUE is to be set"],
    )
    .await;
    check("canary Web r1", 2, &["`Web` is not a service name"]).await;
    check(
        "status",
        2,
        &["error: no ZooKeeper is named", "tip: --zk", "DEPLOYCTL_ZK"],
    )
    .await;
    check(
        "status --zk zk1:x",
        2,
        &["invalid value 'zk1:x'", "is not host:port"],
    )
    .await;
    check("promote web -m '  '", 2, &["say why"]).await;
    check("status --quiet --verbose", 2, &["cannot be used with"]).await;
}

#[tokio::test]
async fn help_leads_with_examples_and_ends_well() {
    let help = run(bare_command("help"), "help").await.is(0);
    help.prints(&["deployctl canary web r2431", "Usage:", "Exit codes: 0 done"]);
    let help = run(bare_command("rollback --help"), "rollback --help")
        .await
        .is(0);
    help.prints(&[
        "Go back to the last good build",
        "deployctl rollback web",
        "Usage:",
        "--to",
    ]);
    for line in ["", "host", "lease", "build"] {
        let ran = run(bare_command(line), line).await.is(2);
        ran.says(&["  deployctl ", "Usage: deployctl"]);
    }
    let version = run(bare_command("--version"), "--version").await.is(0);
    version.prints(&["deployctl 0."]);
    run(bare_command("completions bash"), "completions bash")
        .await
        .is(0)
        .prints(&["_deployctl"]);
}

#[tokio::test]
async fn an_unreachable_zookeeper_is_told_per_server() {
    let closed = ports::free();
    let began = Instant::now();
    let base = tempfile::tempdir().expect("a directory can be made");
    let config = base.path().join("deployctl/config.toml");
    std::fs::create_dir(base.path().join("deployctl")).expect("a directory can be made");
    let zk = format!("127.0.0.1:{closed},no-such-host.invalid:2181");
    std::fs::write(&config, format!("[context.prod]\nzk = \"{zk}\"\n")).expect("it is ours");
    let mut command = bare_command("status");
    command.env("XDG_CONFIG_HOME", base.path());
    run(command, "status").await.is(7).says(&[
        "error: cannot reach ZooKeeper at 127.0.0.1",
        "connection refused",
        "no-such-host.invalid:2181 has no address",
        "running services are not affected; this says nothing about any rollout",
        &format!("context prod = {zk}/deploy   ({}:2)", config.display()),
    ]);
    assert!(
        began.elapsed() < Duration::from_secs(20),
        "{:?}",
        began.elapsed()
    );
}

#[tokio::test]
async fn unknown_things_are_not_found() {
    let Some(rig) = Rig::start("unknown").await else {
        return;
    };
    let line = "status";
    rig.ctl("status --zk 127.0.0.1:1/x").await.is(7);
    let elsewhere = format!("status --zk {}/elsewhere", rig.server.address());
    rig.ctl(&elsewhere).await.is(6).says(&[
        "error: this ZooKeeper has no deploy tree at /elsewhere",
        "probably it is the wrong cluster",
        "tip: to create one here: deployctl init",
    ]);
    rig.ctl(line).await.is(0).says(&["has no service yet"]);
    rig.ctl("canary web r1").await.is(6).says(&[
        "no service `web`",
        "there is no service yet",
        "build add web",
    ]);
    rig.add_build("web", "r2431").await;
    rig.add_build("api", "r1").await;
    for verb in [
        "canary wbe r1",
        "promote wbe",
        "deploy wbe r1",
        "stage wbe r1",
        "rollback wbe",
        "restart wbe",
        "hold wbe -m x",
        "unhold wbe",
        "host list wbe",
        "host role h wbe canary",
        "lease list wbe",
        "policy wbe",
        "history wbe",
        "watch wbe",
        "status wbe",
        "build list wbe",
    ] {
        rig.ctl(verb).await.is(6).says(&[
            "error: no service `wbe` in",
            "did you mean `web`?  all: api, web",
        ]);
    }
}

#[tokio::test]
async fn unknown_parts_of_a_service_are_not_found() {
    let Some(rig) = Rig::start("unknown-parts").await else {
        return;
    };
    rig.add_build("web", "r2431").await;
    rig.ctl("canary web r2413").await.is(6).says(&[
        "error: no build `r2413` of web is registered",
        "newest: r2431 (",
        "did you mean `r2431`?",
        "tip: deployctl build add web r2413",
    ]);
    rig.ctl("rollback web --to r9")
        .await
        .is(6)
        .says(&["no build `r9`"]);
    rig.ctl("build show web r9").await.is(6);
    rig.ctl("watch web --rollout 7")
        .await
        .is(6)
        .says(&["web has no rollout #7", "deployctl history web"]);
    rig.ctl("host show web-01")
        .await
        .is(6)
        .says(&["no host `web-01`"]);
    rig.ctl("lease break web web-01")
        .await
        .is(6)
        .says(&["web-01 has no lease of web", "nobody"]);
    rig.ctl("inspect web/enablet")
        .await
        .is(6)
        .says(&["no znode", "web has: builds"]);
    rig.ctl("inspect /zookeeper")
        .await
        .is(2)
        .says(&["outside of"]);
}

#[tokio::test]
async fn what_makes_no_sense_now_is_refused() {
    let hosts = [("web-01", Role::Canary), ("web-02", Role::Fleet)];
    let Some((rig, agents)) = Rig::with_agents("refused", &hosts).await else {
        return;
    };
    rig.ctl("promote web").await.is(5).says(&[
        "web has no canary to promote",
        "tip: deployctl canary web BUILD",
    ]);
    rig.ctl("rollback web")
        .await
        .is(5)
        .says(&["web has no target", "tip: deployctl deploy web"]);
    rig.ctl("restart web")
        .await
        .is(5)
        .says(&["web has no target"]);
    rig.ctl("watch web")
        .await
        .is(5)
        .says(&["web has no target"]);
    rig.ctl("deploy web r1 --detach")
        .await
        .is(0)
        .says(&["web r1  deploy #1", "tip: deployctl watch web --rollout 1"]);
    for agent in &agents {
        agent.serves(1).await;
    }
    rig.ctl("promote web")
        .await
        .is(5)
        .says(&["no canary to promote; the fleet is on r1 (#1, "]);
    rig.ctl("rollback web")
        .await
        .is(5)
        .says(&["web has no build to go back to", "nothing was changed"]);

    rig.ctl("canary web r2 --if-rollout 9").await.is(5).says(&[
        "web has moved on: you looked at #9, it is now #1",
        "deploy r1",
        "nothing was changed",
    ]);
    rig.ctl("canary web r2 --detach --if-rollout 1").await.is(0);
    // Not everybody serves it yet.
    rig.ctl("promote web").await.is(5).says(&[
        "the canary r2 of web is not there yet: web-01 is not seen",
        "0 of 1 canary host serve it; nothing was changed",
        "tip: wait for it: deployctl watch web",
    ]);
    agents[0].fails(2).await;
    rig.ctl("promote web").await.is(5).says(&[
        "web-01 failed `probe`",
        "| 19:41:44 ERROR KeyError: 'PAYMENTS_URL'",
        "tip: deployctl rollback web",
    ]);
    rig.ctl("promote web --detach --force")
        .await
        .is(0)
        .says(&["warning: overridden with --force: the canary r2"]);
    assert_eq!(rig.json(&rig.tree("web").enabled()).await["rollout"], 3);
}

#[tokio::test]
async fn a_dead_canary_host_is_not_a_tested_canary() {
    let hosts = [("web-01", Role::Canary), ("web-02", Role::Canary)];
    let Some((rig, mut agents)) = Rig::with_agents("dead-canary", &hosts).await else {
        return;
    };
    rig.ctl("canary web r1 --detach").await.is(0);
    agents[0].serves(1).await;
    agents[1].serves(1).await;
    agents[1].go().await;
    rig.ctl("promote web")
        .await
        .is(5)
        .says(&["web-02 is offline", "1 of 2 canary hosts serve it"]);
    rig.ctl("watch web")
        .await
        .is(0)
        .says(&["tip: when every canary host serves it: deployctl promote web  "]);
    agents[1].come().await;
    rig.ctl("promote web --detach").await.is(0);
}

#[tokio::test]
async fn without_canary_hosts_there_is_no_canary() {
    let Some((rig, _agents)) =
        Rig::with_agents("no-canary-hosts", &[("web-01", Role::Fleet)]).await
    else {
        return;
    };
    rig.ctl("canary web r1").await.is(5).says(&[
        "web has no canary hosts (0 of 1 host have the role canary), nothing would be tested",
        "tip: deployctl host role web-01 web canary",
        "tip: without a canary: deployctl deploy web r1",
    ]);
    assert!(rig.history("web").await.is_empty());
}

#[tokio::test]
async fn a_hold_says_who_and_why_and_stops_changes() {
    let hosts = [("web-01", Role::Canary)];
    let Some((rig, _agents)) = Rig::with_agents("held", &hosts).await else {
        return;
    };
    rig.ctl("hold web -m 'queue migration' --for 4h")
        .await
        .is(0)
        .says(&[
            "web is held until",
            ": \"queue migration\" (#1)",
            "tip: deployctl unhold web",
        ]);
    for verb in ["canary web r1", "deploy web r1", "stage web r1"] {
        rig.ctl(verb).await.is(5).says(&[
            "error: web is held by",
            "\"queue migration\"",
            "nothing was changed",
            "; then deployctl unhold web",
        ]);
    }
    rig.ctl("status web")
        .await
        .is(0)
        .prints(&["web", "held", "\"queue migration\", until"]);
    rig.ctl("deploy web r1 --force --detach")
        .await
        .is(0)
        .says(&["overridden with --force: web is held"]);
    rig.ctl("promote web").await.is(5);
    rig.ctl("restart web").await.is(5).says(&["web is held"]);
    rig.ctl("unhold web -m done")
        .await
        .is(0)
        .says(&["web is held no more", "it was by"]);
    rig.ctl("unhold web").await.is(0).says(&["web is not held"]);
    let kinds: Vec<String> = rig
        .history("web")
        .await
        .into_iter()
        .map(|(_, e)| e.kind)
        .collect();
    assert_eq!(kinds, ["hold", "deploy", "unhold"]);
}

#[tokio::test]
async fn a_bad_build_is_refused_until_forced() {
    let hosts = [("web-01", Role::Canary)];
    let Some((rig, agents)) = Rig::with_agents("bad-build", &hosts).await else {
        return;
    };
    let before = rig
        .json(&rig.tree("web").build(&ctl_rig::build("r1")))
        .await;
    rig.ctl("build bad web r1 -m 'leaks memory'")
        .await
        .is(0)
        .says(&["build r1 of web is marked bad"]);
    for verb in ["canary web r1", "deploy web r1", "stage web r1"] {
        rig.ctl(verb).await.is(5).says(&[
            "build r1 was marked bad by",
            ": \"leaks memory\"",
            "--force",
        ]);
    }
    rig.ctl("build list web")
        .await
        .is(0)
        .prints(&["r1", "BAD", "leaks memory"]);
    // Whoever marked it first; in the shape that it is shown in.
    let again = rig.ctl("build bad web r1 -m again -o json").await.is(0);
    let shown = rig.ctl("build show web r1 -o json").await.is(0);
    assert_eq!(again.json()["bad"], shown.json()["bad"], "{again}");
    assert_eq!(again.json()["bad"]["why"], "leaks memory");
    rig.ctl("deploy web r1 --force --detach")
        .await
        .is(0)
        .says(&["overridden with --force: build r1 was marked bad"]);
    // Marked while it is the canary, it is not promoted either.
    rig.ctl("canary web r2 --detach").await.is(0);
    agents[0].serves(2).await;
    rig.ctl("build bad web r2 -m slow").await.is(0);
    rig.ctl("promote web").await.is(5).says(&[
        "build r2 was marked bad by",
        ": \"slow\"",
        "nothing was changed",
        "--force",
    ]);
    rig.ctl("promote web --force --detach")
        .await
        .is(0)
        .says(&["overridden with --force: build r2 was marked bad"]);
    rig.ctl("build bad web r1 --undo")
        .await
        .is(0)
        .says(&["marked bad no more"]);
    assert_eq!(
        rig.json(&rig.tree("web").build(&ctl_rig::build("r1")))
            .await,
        before
    );
}

#[tokio::test]
async fn questions_that_nobody_can_answer_are_refused() {
    let hosts = [("web-01", Role::Fleet)];
    let Some((rig, mut agents)) = Rig::with_agents("questions", &hosts).await else {
        return;
    };
    rig.ctl("deploy web r1 --detach").await.is(0);
    agents[0].serves(1).await;
    rig.ctl("host forget web-01 --yes")
        .await
        .is(5)
        .says(&["web-01 is live"]);
    agents[0].go().await;
    rig.write(
        &format!(
            "{}0000000003",
            rig.tree("web").lease_prefix(&agents[0].host)
        ),
        br#"{"v":1,"host":"web-01","nonce":"n","rollout":1}"#,
    )
    .await;
    rig.ctl("lease list web").await.is(0).prints(&[
        "1/1",
        "web-01",
        "offline",
        "#1",
        "lease break web web-01",
    ]);
    rig.ctl("lease break web web-01")
        .await
        .is(5)
        .says(&["nobody can be asked", "--yes"]);
    rig.ctl("lease break web web-01 --yes -m burnt").await.is(0);
    rig.ctl("lease break web web-01 --yes").await.is(6);
    rig.ctl("host forget web-01")
        .await
        .is(5)
        .says(&["nobody can be asked", "tip: if you mean it: --yes"]);
    rig.ctl("host forget web-01 --yes -m sold")
        .await
        .is(0)
        .says(&["web-01 is forgotten (web)"]);
    assert!(!rig.exists(&rig.tree("web").host(&agents[0].host)).await);
    rig.ctl("host show web-01").await.is(6);
    // What is deleted has its reason in the history, which moves no target.
    rig.ctl("history web").await.is(0).prints(&[
        "3",
        "forget web-01",
        "sold",
        "2",
        "break web-01",
        "burnt",
        "1",
        "deploy",
    ]);
    rig.ctl("restart web --if-rollout 1 --detach").await.is(0);
}

#[tokio::test]
async fn who_only_waits_for_a_lease_keeps_nobody_in_service() {
    let Some((rig, _agents)) = Rig::with_agents("queue", &[("web-01", Role::Fleet)]).await else {
        return;
    };
    for number in 1..=3 {
        let leases = rig.tree("web").leases();
        let lease = format!(r#"{{"v":1,"host":"web-0{number}","nonce":"n","rollout":1}}"#);
        rig.write(
            &format!("{leases}/web-0{number}-{number:010}"),
            lease.as_bytes(),
        )
        .await;
    }
    rig.ctl("lease break web web-02").await.is(5).says(&[
        "only waits for a lease of web; it would lose its place in the queue",
        "nobody can be asked",
    ]);
    rig.ctl("lease break web web-03 --yes")
        .await
        .is(0)
        .says(&["web-03 has lost its place in the queue; no other host goes out"]);
    rig.ctl("lease break web web-01")
        .await
        .is(5)
        .says(&["another host of web may go out", "nobody can be asked"]);
    rig.ctl("lease break web web-01 --yes")
        .await
        .is(0)
        .says(&["the lease of web-01 is taken away; web-02 is the next"]);
    rig.ctl("lease break web web-02 --yes")
        .await
        .is(0)
        .says(&["the lease of web-02 is taken away; nobody waits for it"]);
}
