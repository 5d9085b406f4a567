//! The screens that only look, word for word: `status`, `host list`, `host show`, `history`.

mod ctl_rig;

use ctl_rig::{Agent, Ran, Rig};
use deploy_core::wire::report::{ErrorReport, InstanceReport, Phase, StepReport};
use deploy_core::wire::role::Role;
use deploy_core::wire::time;
use deploy_zk::znode::Mode;
use futures_util::future::join_all;
use jiff::{SignedDuration, Timestamp};
use tests::proxy::Proxy;

const HOSTS: [(&str, Role); 4] = [
    ("web-01", Role::Canary),
    ("web-02", Role::Fleet),
    ("web-03", Role::Fleet),
    ("web-04", Role::Fleet),
];

/// Makes what differs from run to run the same: who, when and how long ago.
fn settled(ran: &Ran) -> String {
    let word = |word: &str| -> String {
        let is_time = word.ends_with('Z') && word.matches(':').count() == 2;
        let is_span =
            word.ends_with('s') && word.len() <= 3 && word[..word.len() - 1].parse::<u8>().is_ok();
        match (is_time, is_span) {
            (true, _) => "TIME".to_owned(),
            (_, true) => "0s".to_owned(),
            _ => word.to_owned(),
        }
    };
    let user = nix::unistd::User::from_uid(nix::unistd::getuid());
    let user = user.ok().flatten().map_or("0".to_owned(), |user| user.name);
    let line = |line: &str| {
        let words: Vec<String> = line.split_whitespace().map(word).collect();
        words
            .iter()
            .map(|word| if *word == user { "USER" } else { word })
            .collect::<Vec<_>>()
            .join(" ")
    };
    ran.stdout.lines().map(line).collect::<Vec<_>>().join("\n")
}

#[track_caller]
fn shows(ran: &Ran, expected: &str) {
    assert_eq!(settled(ran), expected, "{ran}");
}

/// A canary that failed on one host, on a fleet of which another is gone.
async fn in_trouble(name: &str) -> Option<(Rig, Vec<Agent>)> {
    let (rig, mut agents) = Rig::with_agents(name, &HOSTS).await?;
    rig.ctl("deploy web r1 --detach -m first").await.is(0);
    for agent in &agents {
        agent.serves(1).await;
    }
    rig.ctl("watch web").await.is(0);
    rig.ctl("canary web r2 --detach -m 'checkout fix'")
        .await
        .is(0);
    agents[0].fails(2).await;
    agents[3].go().await;
    Some((rig, agents))
}

#[tokio::test]
async fn what_failed_is_told_first_and_with_its_log() {
    let Some((rig, _agents)) = in_trouble("looks").await else {
        return;
    };
    let ran = rig.ctl("status web --hosts").await.is(0);
    shows(
        &ran,
        "\
SERVICE PHASE ROLLOUT FLEET CANARY THERE LEASES BY SINCE NOTE
web failed #2 r1 r2 2/4 0/1 USER 0s 1 failed, 1 offline

HOST SERVICE ROLE STATE SERVES WANTS INSTANCES SEEN NOTE
web-01 web canary failed r1 r2 1/1 - 127.0.0.1:8001/healthz -> 500
web-02 web fleet serving r1 r1 1/1 -
web-03 web fleet serving r1 r1 1/1 -
web-04 web fleet offline r1 r1 1/1 -",
    );
    ran.says(&["tip: web-01 failed; see deployctl host show web-01 web"]);
    let ran = rig.ctl("host show web-01").await.is(0);
    shows(
        &ran,
        "\
host web-01
service web
role canary
state failed
wants r2 (#2)
serves r1
current r2
previous -
instance web@8001.service r1 serving
releases r2
lease -
disk free 12.0 GiB
agent 0.1.0
reported -
probe: 127.0.0.1:8001/healthz -> 500
| 19:41:44 ERROR KeyError: 'PAYMENTS_URL'
| exit\\u{1b}[31m 3",
    );
    ran.says(&[
        "tip: deployctl host retry web-01 web",
        "tip: deployctl rollback web",
    ]);
    let json = rig.ctl("status web --hosts -o json").await.is(0).json();
    let web = &json["services"][0];
    assert_eq!(web["phase"], "failed");
    assert_eq!(web["hosts"]["failed"], 1);
    let host = &web["by_host"][0];
    assert_eq!(host["standing"], "failed");
    assert_eq!(host["report"]["error"]["step"], "probe");
}

#[tokio::test]
async fn a_policy_that_cant_be_read_is_told_and_is_no_number() {
    let Some((rig, agents)) = Rig::with_agents("looks-policy", &HOSTS).await else {
        return;
    };
    rig.ctl("deploy web r1 --detach").await.is(0);
    for agent in &agents {
        agent.serves(1).await;
    }
    let web = rig.tree("web");
    let lease = format!("{}/web-02-0000000007", web.leases());
    rig.write(&lease, br#"{"v":1,"host":"web-02","rollout":1}"#)
        .await;
    rig.ctl("lease list web")
        .await
        .is(0)
        .prints(&["1/1", "web-02"]);
    rig.write(&web.policy(), br#"{"v":1,"restart_concurrency":"many"}"#)
        .await;
    let why = "the policy can't be read: `restart_concurrency`: `many` is not";
    let status = rig.ctl("status web").await.is(0);
    status.prints(&["4/4", " ? ", why]);
    let json = rig.ctl("status web -o json").await.is(0).json();
    let leases = &json["services"][0]["leases"];
    assert_eq!(leases["limit"], serde_json::Value::Null, "{json}");
    assert_eq!(leases["held_by"], serde_json::Value::Null, "{json}");
    let list = rig.ctl("lease list web").await.is(0);
    list.says(&["warning:", why, "no host is granted a lease"])
        .prints(&["?", "web-02"]);
    let json = rig.ctl("lease list web -o json").await.is(0).json();
    assert_eq!(json["limit"], serde_json::Value::Null, "{json}");
    assert_eq!(json["leases"][0]["held"], serde_json::Value::Null, "{json}");
    rig.ctl("diff web r2")
        .await
        .is(0)
        .prints(&["? at a time", why]);
    let pty = rig.spawn_on_terminal("monitor web", (160, 30));
    pty.sees(&["100% ? ", "the policy can't be read"], ctl_rig::HANG);
}

#[tokio::test]
async fn history_tells_how_each_ended_and_what_is_still_going() {
    let Some((rig, agents)) = in_trouble("looks-history").await else {
        return;
    };
    let ran = rig.ctl("history web").await.is(0);
    shows(
        &ran,
        "\
# BUILD KIND RESULT HOSTS TOOK BY WHEN WHY
2 r1 -> r2 canary failed 0/1 - USER TIME checkout fix
1 r1 deploy done 4/4 0s USER TIME first",
    );
    rig.ctl("rollback web --detach -m 'healthz 500'")
        .await
        .is(0);
    rig.ctl("hold web -m 'look first'").await.is(0);
    let going = "\
# BUILD KIND RESULT HOSTS TOOK BY WHEN WHY
4 - hold - - - USER TIME look first
3 r2 -> r1 rollback running 0/1 - USER TIME healthz 500
2 r1 -> r2 canary rolled back 0/1 0s USER TIME checkout fix
1 r1 deploy done 4/4 0s USER TIME first";
    shows(&rig.ctl("history web").await.is(0), going);
    agents[0].serves(1).await;
    let json = rig.ctl("history web -o json").await.is(0).json();
    let back = &json["rollouts"][1];
    assert_eq!(back["now"]["result"], "done", "{json}");
    assert!(back["outcome"].is_null());
    assert_eq!(json["rollouts"][3]["outcome"]["total"], 4);
    rig.ctl("watch web").await.is(0);
    let recorded = going.replace("running 0/1 -", "done 1/1 0s");
    shows(&rig.ctl("history web").await.is(0), &recorded);
    let ran = rig.ctl("history -n 1").await.is(0);
    shows(
        &ran,
        "\
# SERVICE BUILD KIND RESULT HOSTS TOOK BY WHEN WHY
4 web - hold - - - USER TIME look first",
    );
}

#[tokio::test]
async fn who_looks_reads_no_more_of_the_history_than_is_shown() {
    let Some(rig) = Rig::start("looks-few").await else {
        return;
    };
    rig.add_build("web", "r1").await;
    let web = rig.tree("web");
    for number in 1..=30 {
        let entry = br#"{"v":1,"kind":"hold","by":"alice"}"#;
        rig.write(&web.rollout(number), entry).await;
    }
    let proxy = Proxy::start(rig.server.port());
    let mut before = 0;
    for (line, most) in [
        ("status", 10),
        ("host list", 10),
        ("lease list web", 10),
        ("history web -n 3", 10),
        ("history web -n 25", 25),
        ("rollback web", 30),
    ] {
        let line = format!("--zk {}{} {line}", proxy.address(), rig.root.path());
        rig.ctl(&line).await;
        let all = proxy.requests(&format!("{}/", web.history()));
        assert_eq!(all - before, most, "{line}");
        before = all;
    }
}

#[tokio::test]
async fn a_host_at_work_tells_its_step_and_a_blocked_one_what_is_wrong() {
    let Some((rig, agents)) = Rig::with_agents("looks-work", &HOSTS[1..3]).await else {
        return;
    };
    rig.ctl("deploy web r1 --detach").await.is(0);
    let target = agents[0].target(1).await;
    let ago = |seconds| {
        let at = Timestamp::now() - SignedDuration::from_secs(seconds);
        Some(time::render(at))
    };
    let mut report = agents[0].report(Phase::Restarting, &target);
    report.at = ago(3);
    report.lease = true;
    report.trust = Some("signed".to_owned());
    report.step = Some(StepReport {
        name: "restart".to_owned(),
        attempt: 2,
        done: Some(1),
        total: Some(4),
        since: ago(12),
        detail: Some("draining".to_owned()),
    });
    report.instances = vec![
        InstanceReport {
            connections: Some(41),
            state: "draining".to_owned(),
            ..report.instances[0].clone()
        };
        2
    ];
    agents[0].writes(&report).await;
    let ran = rig.ctl("host show web-02 web").await.is(0);
    shows(
        &ran,
        "\
host web-02
service web
role fleet
state restarting
step restart 1 of 4, attempt 2: draining, for 0s
wants r1 (#1)
serves -
current r1
previous -
instance web@8001.service - draining, 41 connections
instance web@8001.service - draining, 41 connections
releases r1
lease held
trust signed
disk free 12.0 GiB
agent 0.1.0
reported 0s ago",
    );
    let target = agents[1].target(1).await;
    let mut report = agents[1].report(Phase::Blocked, &target);
    report.error = Some(ErrorReport {
        step: "fetch".to_owned(),
        kind: "blocked".to_owned(),
        message: "1.6 GB are needed, 0.9 GB are free on /srv".to_owned(),
        log: Vec::new(),
    });
    agents[1].writes(&report).await;
    rig.ctl("host show web-03")
        .await
        .is(0)
        .prints(&[
            "state      blocked\n",
            "fetch: 1.6 GB are needed, 0.9 GB are free on /srv\n",
        ])
        .says(&["tip: it is tried again by itself; look at the host: journalctl -u deployd\n"]);
    rig.ctl("history api").await.is(6);
}

#[tokio::test]
async fn inspect_follows_what_comes_changes_and_goes() {
    let Some((rig, agents)) = Rig::with_agents("looks-follow", &HOSTS[1..2]).await else {
        return;
    };
    let mut watching = rig.spawn("inspect web --watch");
    // The tree first, down to its end.
    watching.sees("/looks-follow/deploy/web ").await;
    watching.sees("alive").await;
    rig.ctl("deploy web r1 --detach").await.is(0);
    let web = rig.tree("web");
    let created = watching
        .sees(&format!("created  {}  v0  {{", web.enabled()))
        .await;
    assert!(created.contains(r#""build":"r1""#), "{created}");
    agents[0].serves(1).await;
    watching
        .sees(&format!("{}  v", web.host(&agents[0].host)))
        .await;
    rig.ctl("hold web -m x").await.is(0);
    watching.sees(&format!("created  {}  v0", web.hold())).await;
    rig.ctl("unhold web").await.is(0);
    watching.sees(&format!("deleted  {}", web.hold())).await;
    watching.signal(nix::sys::signal::Signal::SIGINT);
    watching.end().await.is(130);

    let mut lines = rig.spawn("inspect web/policy --watch -o jsonl");
    // It does not exist yet.
    lines.end().await.is(6);
    rig.ctl("policy web restart_concurrency=2").await.is(0);
    lines = rig.spawn("inspect web/policy --watch -o jsonl");
    lines.sees(r#""restart_concurrency":2"#).await;
    rig.ctl("policy web restart_concurrency=3").await.is(0);
    let changed = lines.sees(r#""restart_concurrency":3"#).await;
    assert!(changed.contains(r#""type":"znode.changed""#), "{changed}");
    // A terminal shows what others wrote, and does nothing else.
    let why = r#"{"v":1,"restart_concurrency":"5","why":"\u009b31m \u202e"}"#;
    rig.write(&web.policy(), why.as_bytes()).await;
    let changed = lines.sees(r#""restart_concurrency":"5""#).await;
    assert!(changed.contains(r"\u009b31m \u202e"), "{changed}");
    // Who closes the pipe has seen enough, at the next change.
    let (mut child, stdout) = lines.into_child();
    drop(stdout);
    rig.ctl("policy web restart_concurrency=4").await.is(0);
    let ended = tokio::time::timeout(ctl_rig::HANG, child.wait()).await;
    let status = ended.expect("it ends").expect("it is our child");
    assert_eq!(status.code(), Some(0));
    rig.ctl("inspect web --watch -o json").await.is(2);
}

#[tokio::test]
async fn inspect_says_once_that_it_follows_no_more() {
    /// What `inspect --watch` follows.
    const ZNODES_MAX: usize = 2000;
    let Some(rig) = Rig::start("looks-full").await else {
        return;
    };
    rig.add_build("web", "r1").await;
    let builds = rig.tree("web").builds();
    let create = async |name: &str| {
        let path = format!("{builds}/{name}");
        let created = rig.zk.create(&path, b"", Mode::Persistent).await;
        created.expect("ZooKeeper is healthy");
    };
    // With builds itself and r1 there is room for one more.
    let names: Vec<String> = (3..ZNODES_MAX).map(|number| format!("b{number}")).collect();
    join_all(names.iter().map(|name| create(name))).await;
    let mut watching = rig.spawn("inspect web/builds --watch");
    watching.sees("  r1 ").await;
    create("c1").await;
    watching.sees(&format!("created  {builds}/c1")).await;
    // That a child has come and that data have changed is read apart: a later change tells that an earlier one was seen.
    for (name, version) in [("c2", "v1"), ("c3", "v2"), ("c4", "v3")] {
        create(name).await;
        rig.write(&format!("{builds}/r1"), b"{}").await;
        let changed = format!("changed  {builds}/r1  {version}");
        watching.sees(&changed).await;
    }
    watching.signal(nix::sys::signal::Signal::SIGINT);
    let ran = watching.end().await.is(130);
    let told = "warning: 2000 znodes are followed, and no more can be: what comes now is not";
    assert_eq!(ran.stderr.matches(told).count(), 1, "{}", ran.stderr);
    assert_eq!(ran.stderr.matches("warning").count(), 1, "{}", ran.stderr);
}

#[tokio::test]
async fn a_rollout_that_is_over_took_what_it_took() {
    let Some((rig, agents)) = Rig::with_agents("looks-took", &HOSTS[1..2]).await else {
        return;
    };
    rig.ctl("deploy web r1 --detach").await.is(0);
    agents[0].serves(1).await;
    rig.ctl("watch web").await.is(0);
    let path = rig.tree("web").rollout(1);
    let mut entry = rig.json(&path).await;
    assert_eq!(entry["outcome"]["result"], "done");
    entry["outcome"]["seconds"] = 754.into();
    rig.write(&path, entry.to_string().as_bytes()).await;
    // Not the time until somebody looks again.
    rig.ctl("watch web")
        .await
        .is(0)
        .says(&["r1 is served by 1 of 1 host after 12m34s"]);
}

#[tokio::test]
async fn a_rollout_that_nobody_watched_is_still_done_when_the_next_one_comes() {
    let Some((rig, agents)) = Rig::with_agents("looks-unwatched", &HOSTS[1..2]).await else {
        return;
    };
    rig.ctl("deploy web r1 --detach").await.is(0);
    agents[0].serves(1).await;
    rig.ctl("deploy web r2 --detach").await.is(0);
    // #2 was under way when it was replaced.
    rig.ctl("deploy web r1 --detach").await.is(0);
    let outcome = |number: u64| {
        let path = rig.tree("web").rollout(number);
        let rig = &rig;
        async move { rig.json(&path).await["outcome"].clone() }
    };
    let done = outcome(1).await;
    assert_eq!(
        (&done["result"], &done["hosts"]),
        (&"done".into(), &1.into())
    );
    assert!(done["seconds"].is_null(), "nobody saw when: {done}");
    assert!(outcome(2).await.is_null());
    rig.ctl("history web")
        .await
        .is(0)
        .prints(&["superseded", "done", "1/1"]);
}
