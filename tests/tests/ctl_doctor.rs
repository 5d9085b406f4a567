//! `doctor` on a real ZooKeeper: what is well, what is not, and that it only looks.

mod ctl_rig;

use std::os::unix::fs::PermissionsExt;

use ctl_rig::{Agent, Rig, bare_command, build, run};
use deploy_core::wire::report::{Phase, Report};
use deploy_core::wire::role::Role;
use deploy_core::wire::time;
use deploy_zk::acl::{Grant, Rights};
use deploy_zk::config::{Config, DigestAuth};
use deploy_zk::zk::Zk;
use deploy_zk::znode::{Expect, Mode};
use jiff::Timestamp;
use serde_json::Value;
use tests::ports;
use tests::zookeeper::Ensemble;

/// Writes a file that others can't read.
fn secret(rig: &Rig, name: &str, lines: &str) -> String {
    let file = rig.file(name, lines.as_bytes());
    std::fs::set_permissions(&file, PermissionsExt::from_mode(0o600)).expect("it is ours");
    file
}

/// Serves a rollout, as an agent does that takes only builds that are signed.
async fn is_well(agent: &Agent, rollout: u64) {
    let target = agent.target(rollout).await;
    let report = Report {
        trust: Some("signed".to_owned()),
        at: Some(time::render(Timestamp::now())),
        ..agent.report(Phase::Serving, &target)
    };
    agent.writes(&report).await;
}

#[tokio::test]
async fn what_is_well_is_said_a_line_each_and_nothing_is_written() {
    let hosts = [("web-01", Role::Canary), ("web-02", Role::Fleet)];
    let Some((rig, agents)) = Rig::with_agents("doctor", &hosts).await else {
        return;
    };
    rig.ctl("deploy web r1 --detach").await.is(0);
    for agent in &agents {
        is_well(agent, 1).await;
    }
    let before = rig.ctl("inspect -o json").await.is(0).stdout;
    let ran = rig.ctl("doctor").await.is(0);
    let words: Vec<&str> = ran
        .stdout
        .lines()
        .filter(|line| !line.starts_with(' '))
        .map(|line| line.get(..16).unwrap_or(line).trim_end())
        .collect();
    assert_eq!(
        words,
        [
            "ok    context",
            "ok    zookeeper",
            "warn  access",
            "ok    znodes",
            "ok    agents",
            "ok    versions",
            "ok    signatures",
            "ok    clocks",
            "ok    disk",
            "ok    leases",
            "ok    holds",
            "1 warning",
        ],
        "{ran}"
    );
    ran.prints(&[
        &format!(
            "{}{}   (DEPLOYCTL_ZK)\n",
            rig.server.address(),
            rig.root.path()
        ),
        "1 of 1 answer, 3.",
        ", standalone\n",
        "anyone who reaches ZooKeeper may change everything below /doctor/deploy\n",
        "        tip: deployctl init --acl --auth-file operators.auth --agents agents.auth",
        "2 of 2 hosts live\n",
        "2 agents 0.1.0, deployctl 0.1.0\n",
        "2 hosts take only builds that are signed\n",
        "2 hosts on ZooKeeper's time; ours is not behind, and at most ",
        "smallest free: web-01 (web) 12.0 GiB\n",
        "0 held, none by a dead host\n",
        "0 in force, none that is old\n",
    ]);
    let after = rig.ctl("inspect -o json").await.is(0).stdout;
    assert_eq!(before, after, "doctor only looks");
}

#[tokio::test]
async fn what_is_wrong_is_told_with_what_to_do() {
    let hosts = [("web-01", Role::Fleet), ("web-02", Role::Fleet)];
    let Some((rig, mut agents)) = Rig::with_agents("doctor-ill", &hosts).await else {
        return;
    };
    rig.ctl("deploy web r1 --detach").await.is(0);
    is_well(&agents[0], 1).await;
    let target = agents[1].target(1).await;
    let mut report = agents[1].report(Phase::Serving, &target);
    report.at = Some("2020-01-01T00:00:00Z".to_owned());
    agents[1].writes(&report).await;
    agents[1].go().await;
    let tree = rig.tree("web");
    let lease = format!("{}0000000003", tree.lease_prefix(&agents[1].host));
    rig.write(&lease, br#"{"v":1,"host":"web-02","nonce":"n"}"#)
        .await;
    rig.write(
        &tree.hold(),
        br#"{"v":1,"by":"dana@x","at":"2026-01-01T00:00:00Z","why":"migration"}"#,
    )
    .await;
    // Nothing failed: it works, for most.
    rig.ctl("doctor").await.is(0).prints(&[
        "warn  agents     1 of 2 hosts have no agent\n",
        "web-02 (web): no session, last report ",
        "tip: where the machine is gone: deployctl host forget HOST\n",
        "warn  leases     1 lease of dead hosts\n",
        "web-02 (web) has no agent, and holds a lease, so that others wait\n",
        "lease break web web-02\n",
        "warn  holds      1 hold old\n",
        "web is held for ",
        "by dana: \"migration\", without an end\n",
        "tip: deployctl unhold web\n",
        "4 warnings\n",
    ]);
    rig.write(&tree.build(&build("r2")), b"{").await;
    report.at = Some(time::render(Timestamp::now()));
    report.disk_free = Some(5_000_000);
    agents[1].come().await;
    agents[1].writes(&report).await;
    let ran = rig.ctl("doctor -o json").await.is(3);
    let checks = ran.json();
    assert_eq!(checks["schema"], "deployctl/doctor/1");
    assert_eq!(checks["result"], "fail");
    let failed: Vec<&Value> = checks["checks"]
        .as_array()
        .expect("a list")
        .iter()
        .filter(|check| check["level"] == "fail")
        .collect();
    let names: Vec<&Value> = failed.iter().map(|check| &check["check"]).collect();
    assert_eq!(names, ["znodes", "disk"], "{ran}");
    let fact = failed[0]["facts"][0].as_str().expect("a text");
    assert!(
        fact.starts_with("/doctor-ill/deploy/web/builds/r2: the build can't be read"),
        "{ran}"
    );
    assert_eq!(failed[1]["facts"][0], "web-02 (web): 4.8 MiB free");
    let lines = rig.ctl("doctor -o jsonl").await.is(3).events();
    assert!(lines.iter().all(|line| line["schema"] == checks["schema"]));
}

#[tokio::test]
async fn access_is_compared_with_what_init_sets() {
    let Some(rig) = Rig::start("doctor-acl").await else {
        return;
    };
    let operators = secret(&rig, "operators", "ops:one\n");
    let agents = secret(&rig, "agents", "agents:two\n");
    let close = format!("init --acl --auth-file {operators} --agents {agents}");
    rig.ctl(&close).await.is(0);
    let digest = "ab".repeat(32);
    rig.ctl(&format!(
        "build add web r1 --url https://b/r1 --sha256 {digest} --size 1 --auth-file {operators}"
    ))
    .await
    .is(0);
    let good = "ok    access     ops may change /doctor-acl/deploy, agents hosts and leases, others read\n";
    let doctor = format!("doctor --auth-file {operators}");
    rig.ctl(&doctor).await.is(0).prints(&[good]);
    // Without credentials ZooKeeper shows no hashes, and the names tell as much.
    rig.ctl("doctor").await.is(0).prints(&[good]);

    let mut config = Config::new(&[&rig.server.address()]);
    config.auth = DigestAuth::parse("ops:one").into_iter().collect();
    let ops = Zk::start(config);
    let web = rig.tree("web");
    let (open, none) = ([Grant::anyone(Rights::ALL)], [Grant::anyone(Rights::READ)]);
    let path = web.builds();
    ops.set_acl(&path, &open).await.expect("operators may");
    let hosts = web.hosts();
    ops.set_acl(&hosts, &none).await.expect("operators may");
    rig.ctl(&doctor).await.is(3).prints(&[
        "FAIL  access     anyone may change 1 znode\n",
        &format!("{path}: anyone may cdrwa\n"),
        "FAIL  access     4 grants missing\n",
        &format!("{hosts}: ops may nothing, and needs cdrwa\n"),
        &format!("{hosts}: agents may nothing, and needs cdrw\n"),
        "tip: deployctl init --acl",
    ]);
    // The tip is worth something where an operator still may: not on what nobody may change.
    ops.set_acl(&path, &none).await.expect("anybody may");
}

#[tokio::test]
async fn where_it_can_not_look_it_says_so() {
    let closed = ports::free();
    let Some(rig) = Rig::start("doctor-blind").await else {
        return;
    };
    let elsewhere = format!("doctor --zk {}/elsewhere", rig.server.address());
    rig.ctl(&elsewhere)
        .await
        .is(6)
        .says(&["no deploy tree at /elsewhere"]);
    let half = format!(
        "doctor --zk {},127.0.0.1:{closed}{}",
        rig.server.address(),
        rig.root.path()
    );
    rig.ctl(&half).await.is(3).prints(&[
        "FAIL  zookeeper  not one ensemble; each has a tree of its own: 127.0.0.1:",
        &format!("127.0.0.1:{closed}: connection refused"),
    ]);
    let operators = secret(&rig, "operators", "ops:one\n");
    let agents = secret(&rig, "agents", "agents:two\n");
    rig.ctl(&format!(
        "init --acl --auth-file {operators} --agents {agents} --world none"
    ))
    .await
    .is(0);
    rig.ctl("doctor")
        .await
        .is(7)
        .says(&["not allowed to read", "--auth-file FILE"]);
    rig.ctl(&format!("doctor --auth-file {operators}"))
        .await
        .is(0)
        .prints(&["others nothing\n"]);
}

#[tokio::test]
async fn what_agents_have_made_may_be_hidden_from_operators() {
    let Some(rig) = Rig::start("doctor-hidden").await else {
        return;
    };
    let operators = secret(&rig, "operators", "ops:one\n");
    let agents = secret(&rig, "agents", "agents:two\n");
    rig.ctl(&format!(
        "init --acl --auth-file {operators} --agents {agents} --world none"
    ))
    .await
    .is(0);
    // What agents make is theirs: operators need both identities to see it.
    let digest = "ab".repeat(32);
    rig.ctl(&format!(
        "build add web r1 --url https://b/r1 --sha256 {digest} --size 1 --auth-file {operators}"
    ))
    .await
    .is(0);
    let mut config = Config::new(&[&rig.server.address()]);
    config.auth = DigestAuth::parse("agents:two").into_iter().collect();
    let agent = Zk::start(config);
    let web = rig.tree("web");
    let host = deploy_core::name::HostName::parse("web-01").expect("it is a name");
    let report = br#"{"v":1,"host":"web-01","service":"web","agent":"0.1.0","phase":"idle"}"#;
    for (path, data) in [
        (web.host(&host), &report[..]),
        (web.alive(&host), &br#"{"v":1,"agent":"0.1.0"}"#[..]),
    ] {
        let made = agent.create(&path, data, Mode::Persistent).await;
        made.expect("agents may");
    }
    rig.ctl(&format!("doctor --auth-file {operators}"))
        .await
        .is(0)
        .prints(&[
            "warn  access     1 znode can't be read with these credentials\n",
            "web/hosts/web-01\n",
            "tip: --auth-file FILE with both identities",
            "warn  agents     1 host can't be looked at\n",
            "ok    leases     0 held, none by a dead host\n",
        ]);
    let both = secret(&rig, "both", "ops:one\nagents:two\n");
    rig.ctl(&format!("doctor --auth-file {both}"))
        .await
        .is(0)
        .prints(&[
            "ok    access     ops may change",
            "ok    agents     1 of 1 host live\n",
            "ok    versions   1 agent 0.1.0",
        ]);
}

/// A fleet of the size that the environment asks for: 200 hosts, or 2000 with `DEPLOY_TEST_LONG=1`
/// (`DEPLOY_TEST_LONG=1 cargo test -p tests --test ctl_doctor -- --nocapture large`).
#[tokio::test]
async fn a_large_fleet_is_looked_at_in_seconds() {
    let Some(rig) = Rig::start("doctor-large").await else {
        return;
    };
    rig.add_build("web", "r1").await;
    rig.ctl("deploy web r1 --detach").await.is(0);
    let hosts = match std::env::var_os("DEPLOY_TEST_LONG") {
        Some(_) => 2000,
        None => 200,
    };
    let web = rig.tree("web");
    let at = time::render(Timestamp::now());
    let made = (0..hosts).map(|number| {
        let name = format!("web-{number:04}");
        let host = deploy_core::name::HostName::parse(&name).expect("it is a name");
        let report = format!(
            r#"{{"v":1,"host":"{name}","service":"web","agent":"0.1.0","phase":"serving","rollout":1,"target":"r1","serving":"r1","releases":["r1"],"trust":"signed","disk_free":99000000000,"at":"{at}"}}"#
        );
        let (zk, report_path, alive) = (&rig.zk, web.host(&host), web.alive(&host));
        async move {
            zk.create_parents(&alive).await?;
            zk.set(&report_path, report.as_bytes(), Expect::Any).await?;
            zk.create(&alive, br#"{"v":1,"agent":"0.1.0"}"#, Mode::Persistent)
                .await
        }
    });
    for each in made {
        each.await.expect("ZooKeeper is healthy");
    }
    for line in ["doctor", "status", "diff web r1", "history web"] {
        let began = std::time::Instant::now();
        let ran = rig.ctl(line).await.is(0);
        println!("{hosts} hosts: deployctl {line}: {:?}", began.elapsed());
        if line == "doctor" {
            ran.prints(&[&format!("{hosts} of {hosts} hosts live\n")]);
        }
    }
}

#[tokio::test]
async fn each_server_of_an_ensemble_is_asked() {
    let Some(mut ensemble) = Ensemble::start() else {
        return;
    };
    let all = ensemble.addresses();
    let at = format!("{}/deploy", all.join(","));
    let line = format!("init --zk {at}");
    run(bare_command(&line), &line).await.is(0);
    let line = format!("doctor --zk {at}");
    let ran = run(bare_command(&line), &line).await.is(0);
    ran.prints(&[
        "ok    zookeeper  3 of 3 answer, 3.",
        ", 127.0.0.1:",
        " leads\n",
    ]);
    // Not the leader: without one there is no session until another is elected.
    let gone = (ensemble.leader() + 1) % 3;
    ensemble.servers[gone].kill();
    let ran = run(bare_command(&line), &line).await.is(0);
    ran.prints(&[
        "warn  zookeeper  2 of 3 answer, 3.",
        &format!("        {}: connection refused\n", all[gone]),
        "tip: without most of them nothing can be changed",
    ]);
}
