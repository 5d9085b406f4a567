//! The mistakes that operators make most, each with its exit code and its words, all of them.
//!
//! They are numbered as they were collected. Not here, and why:
//!
//! * 4, a build signed by an unknown key: which keys are trusted is known on the hosts alone, which
//!   refuse it and say so; `ctl_signatures` and `agent_signatures` test both sides.
//! * 9, the burn-in is not over: a canary host is `probing` until then, which is 9 here; no flag
//!   skips it but `--force`.
//! * 15, everything at once without a canary and without a terminal: `deploy` is that verb, and says
//!   so by its name. What asks, as `host forget`, is 15 here.
//! * 19, an agent that is down on a canary host is not waited for, and named; `promote` refuses then.
//! * 5, ZooKeeper that is away, takes five seconds: `ctl_mistakes` has it.
//! * 22 and 23, `deployd check` and a second deployd, are deployd's: `agent_commands` tests them.

mod ctl_rig;

use ctl_rig::{Agent, Ran, Rig, bare_command, run};
use deploy_core::wire::report::{ErrorReport, Phase};
use deploy_core::wire::role::Role;
use deploy_zk::acl::{Grant, Rights};

/// Makes what differs from run to run the same: where, who, when, and how long ago.
fn settled(text: &str, at: &str) -> String {
    let user = nix::unistd::User::from_uid(nix::unistd::getuid());
    let user = user.ok().flatten().map_or("0".to_owned(), |user| user.name);
    let word = |word: &str| -> String {
        let bare = word.trim_matches(|c: char| "(),;:".contains(c));
        let span = bare.strip_suffix('s').unwrap_or_default();
        let is_span = span.len() <= 2 && span.parse::<u8>().is_ok();
        let is_time = bare.ends_with('Z') && bare.matches(':').count() == 2;
        match bare {
            _ if is_span => word.replace(bare, "0s"),
            _ if is_time => word.replace(bare, "TIME"),
            _ if bare == user => word.replace(bare, "USER"),
            _ => word.to_owned(),
        }
    };
    let line = |line: &str| line.split(' ').map(word).collect::<Vec<_>>().join(" ");
    let text = text.replace(at, "AT");
    text.lines().map(line).collect::<Vec<_>>().join("\n")
}

/// Types a line, and checks the exit code and all of stderr.
async fn mistake(rig: &Rig, line: &str, (code, expected): (i32, &str)) -> Ran {
    let ran = rig.ctl(line).await.is(code);
    let at = format!("{}{}", rig.server.address(), rig.root.path());
    assert_eq!(settled(&ran.stderr, &at), expected, "{ran}");
    ran
}

async fn typed(line: &str, (code, expected): (i32, &str)) {
    let ran = run(bare_command(line), line).await.is(code);
    let usage = ran.stderr.find("\n\nUsage:").unwrap_or(ran.stderr.len());
    let more = ran.stderr.find("For more information, try '--help'.\n");
    let tips = more.map_or("", |at| {
        &ran.stderr[at + "For more information, try '--help'.\n".len()..]
    });
    let said = format!("{}\n{tips}", ran.stderr[..usage].trim_end());
    assert_eq!(said.trim_end(), expected, "{ran}");
}

/// A canary of r2 on web-01, over r1 everywhere; two hosts.
async fn canary(name: &str) -> Option<(Rig, Vec<Agent>)> {
    let hosts = [("web-01", Role::Canary), ("web-02", Role::Fleet)];
    let (rig, agents) = Rig::with_agents(name, &hosts).await?;
    rig.ctl("deploy web r1 --detach").await.is(0);
    for agent in &agents {
        agent.serves(1).await;
    }
    rig.ctl("watch web").await.is(0);
    rig.ctl("canary web r2 --detach").await.is(0);
    Some((rig, agents))
}

#[tokio::test]
async fn words_that_are_none_of_ours_01_18_24() {
    typed(
        "promot web",
        (
            2,
            "error: unrecognized subcommand 'promot'\n\n  tip: a similar subcommand exists: 'promote'",
        ),
    )
    .await;
    typed(
        "hold web -m x --for 90",
        (
            2,
            "error: invalid value '90' for '--for <D>': a unit is missing; write 90s, 90m or 1h30m\n\nFor more information, try '--help'.",
        ),
    )
    .await;
    for (line, said) in [
        (
            "rollback web r1",
            "error: unexpected argument 'r1' found\n  tip: without a build it goes back to the last good one; to this: deployctl rollback web --to r1",
        ),
        (
            "status --json",
            "error: unexpected argument '--json' found\n  tip: the form of the data: --output json",
        ),
    ] {
        typed(line, (2, said)).await;
    }
    let back = "to stop a rollout and go back: deployctl rollback web";
    let freeze = "to freeze it where it is: deployctl hold web -m \"why\"";
    let hold = "to let nothing new start: deployctl hold web -m \"why\"";
    let unhold = "to end a hold: deployctl unhold web";
    for (word, tips) in [
        ("cancel", vec![back, freeze]),
        ("abort", vec![back, freeze]),
        ("undo", vec![back, freeze]),
        ("revert", vec![back, freeze]),
        ("pause", vec![hold]),
        ("suspend", vec![hold]),
        ("lock", vec![hold]),
        ("stop", vec![hold]),
        ("resume", vec![unhold]),
        ("continue", vec![unhold]),
        ("unlock", vec![unhold]),
        ("start", vec![unhold]),
        ("nodes", vec!["deployctl host list", "deployctl status"]),
        ("builds", vec!["deployctl build list web"]),
    ] {
        let line = format!("{word} web");
        let ran = run(bare_command(&line), &line).await.is(2);
        let said = ran.stderr.lines().next().unwrap_or_default();
        assert_eq!(said, format!("error: unrecognized subcommand '{word}'"));
        let told: Vec<&str> = ran.stderr.lines().skip(1).collect();
        let tips: Vec<String> = tips.iter().map(|tip| format!("  tip: {tip}")).collect();
        // And nothing that only looks alike: `undo` is not `unhold`.
        assert_eq!(told, tips, "{ran}");
    }
}

#[tokio::test]
async fn things_that_there_are_not_02_03_06_14() {
    let Some(rig) = Rig::start("matrix-none").await else {
        return;
    };
    rig.add_build("web", "r2431").await;
    rig.add_build("api", "r1").await;
    mistake(
        &rig,
        "canary wbe r2431",
        (
            6,
            "error: no service `wbe` in AT\n  tip: did you mean `web`?  all: api, web",
        ),
    )
    .await;
    mistake(
        &rig,
        "canary web r2413",
        (
            6,
            "error: no build `r2413` of web is registered
  newest: r2431 (0s ago)
  tip: did you mean `r2431`?  all: deployctl build list web
  tip: deployctl build add web r2413 --url URL --file PATH",
        ),
    )
    .await;
    let elsewhere = format!("status --zk {}/elsewhere", rig.server.address());
    let ran = rig.ctl(&elsewhere).await.is(6);
    let server = rig.server.address();
    assert_eq!(
        ran.stderr.replace(&server, "AT"),
        "error: this ZooKeeper has no deploy tree at /elsewhere
  AT/elsewhere answers, so probably it is the wrong cluster or root
  tip: to create one here: deployctl init --zk AT/elsewhere\n"
    );
    rig.ctl("deploy web r2431 --detach").await.is(0);
    mistake(
        &rig,
        "rollback web --to r2200",
        (
            6,
            "error: no build `r2200` of web is registered
  newest: r2431 (0s ago, fleet)
  tip: all: deployctl build list web
  tip: deployctl build add web r2200 --url URL --file PATH",
        ),
    )
    .await;
}

#[tokio::test]
async fn a_tree_that_is_protected_07() {
    let Some(rig) = Rig::start("matrix-acl").await else {
        return;
    };
    rig.add_build("web", "r1").await;
    // Everybody may read, nobody may create below it.
    rig.zk
        .set_acl(rig.tree("web").path(), &[Grant::anyone(Rights::READ)])
        .await
        .expect("the tree is open");
    mistake(
        &rig,
        "hold web -m x",
        (
            7,
            "error: not allowed to create /matrix-acl/deploy/web/history/0000000001 (ZooKeeper: NoAuth)
  it is protected, and you connected without the right credentials
  tip: --auth-file FILE names a file that holds user:password; so does `auth_file` of a context",
        ),
    )
    .await;
}

#[tokio::test]
async fn a_promotion_that_makes_no_sense_08_09_10_12_13() {
    let Some((rig, agents)) = canary("matrix-promote").await else {
        return;
    };
    let target = agents[0].target(2).await;
    agents[0]
        .writes(&agents[0].report(Phase::Probing, &target))
        .await;
    mistake(
        &rig,
        "promote web",
        (
            5,
            "error: the canary r2 of web is not there yet: web-01 is probing
  0 of 1 canary host serve it; nothing was changed
  tip: wait for it: deployctl watch web",
        ),
    )
    .await;
    agents[0].fails(2).await;
    mistake(
        &rig,
        "promote web",
        (
            5,
            r"error: the canary r2 of web is not healthy: web-01 failed `probe`
  web-01: probe: 127.0.0.1:8001/healthz -> 500
    | 19:41:44 ERROR KeyError: 'PAYMENTS_URL'
    | exit\u{1b}[31m 3
  web-01 serves r1
  0 of 1 canary host serve it; nothing was changed
  tip: deployctl rollback web
  tip: deployctl host show web-01 web",
        ),
    )
    .await;
    mistake(
        &rig,
        "deploy web r2 --if-rollout 1",
        (
            5,
            "error: web has moved on: you looked at #1, it is now #2 (USER, 0s ago, canary r2)
  nothing was changed
  tip: deployctl diff web",
        ),
    )
    .await;
    agents[0].serves(2).await;
    let ran = rig.ctl("canary web r2").await.is(0);
    ran.says(&["web r2 is already wanted as #2 by ", "; watching it\n"]);
    rig.ctl("rollback web --detach").await.is(0);
    agents[0].serves(1).await;
    mistake(
        &rig,
        "promote web",
        (
            5,
            "error: web has no canary to promote; the fleet is on r1 (#1, 0s ago)
  tip: deployctl canary web BUILD",
        ),
    )
    .await;
}

#[tokio::test]
async fn what_others_keep_from_happening_11_15_16_17() {
    let Some((rig, mut agents)) = Rig::with_agents("matrix-wait", &[("web-01", Role::Fleet)]).await
    else {
        return;
    };
    mistake(
        &rig,
        "canary web r1",
        (
            5,
            "error: web has no canary hosts (0 of 1 host have the role canary), nothing would be tested
  tip: deployctl host role web-01 web canary
  tip: without a canary: deployctl deploy web r1",
        ),
    )
    .await;
    rig.ctl("deploy web r1 --detach").await.is(0);
    let ran = rig.ctl("watch web --timeout 1s").await.is(4);
    assert_eq!(
        ran.stderr,
        "error: gave up waiting after 1s; rollout #1 of web is still running (0 of 1 host there; 1 working)
  tip: deployctl watch web --rollout 1 --timeout 30m\n"
    );
    rig.ctl("hold web -m 'queue migration'").await.is(0);
    mistake(
        &rig,
        "deploy web r2",
        (
            5,
            "error: web is held by USER: \"queue migration\"
  nothing was changed
  tip: ask USER; then deployctl unhold web",
        ),
    )
    .await;
    agents[0].serves(1).await;
    agents[0].go().await;
    mistake(
        &rig,
        "host forget web-01",
        (
            5,
            "error: this removes the report, the role and the leases of web-01 (web), and nobody can be asked (this is not a terminal)
  tip: if you mean it: --yes",
        ),
    )
    .await;
}

#[tokio::test]
async fn hosts_that_fail_or_are_gone_19_20_21() {
    let Some((rig, mut agents)) = canary("matrix-hosts").await else {
        return;
    };
    let target = agents[0].target(2).await;
    let mut report = agents[0].report(Phase::Failed, &target);
    report.error = Some(ErrorReport {
        step: "post_install".to_owned(),
        kind: "rejected".to_owned(),
        message: "exit status 1".to_owned(),
        log: vec!["ERROR: no version satisfies stripe==9.9".to_owned()],
    });
    agents[0].writes(&report).await;
    let ran = rig.ctl("watch web").await.is(3);
    assert_eq!(
        settled(&ran.stderr, "no address"),
        "error: rollout #2 of web failed on web-01
  web-01: post_install: exit status 1
    | ERROR: no version satisfies stripe==9.9
  web-01 serves r1
  0 of 1 host are at r2
  tip: back to the last good build: deployctl rollback web
  tip: look, and try again: deployctl host show web-01 web; deployctl host retry web-01 web"
    );
    report.phase = Phase::Blocked;
    report.error = Some(ErrorReport {
        step: "fetch".to_owned(),
        kind: "blocked".to_owned(),
        message: "1.6 GB are needed, 0.9 GB are free on /srv".to_owned(),
        log: Vec::new(),
    });
    agents[0].writes(&report).await;
    rig.ctl("host show web-01 web")
        .await
        .is(0)
        .prints(&[
            "state      blocked\n",
            "fetch: 1.6 GB are needed, 0.9 GB are free on /srv\n",
        ])
        .says(&["tip: it is tried again by itself; look at the host: journalctl -u deployd\n"]);
    agents[0].go().await;
    mistake(
        &rig,
        "watch web",
        (
            0,
            "warning: none of 1 host is live: #2 of web is written, and nothing runs it yet
tip: hosts follow it as soon as they are live: deployctl watch web",
        ),
    )
    .await;
    mistake(
        &rig,
        "promote web",
        (
            5,
            "error: the canary r2 of web is not healthy: web-01 is offline
  0 of 1 canary host serve it; nothing was changed
  tip: deployctl rollback web
  tip: deployctl host show web-01 web",
        ),
    )
    .await;
}
