//! Contexts of `config.toml`, completions of live names, and the manual.

mod ctl_rig;

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use ctl_rig::{Ran, Rig, bare_command, run};
use deploy_core::wire::role::Role;
use tempfile::TempDir;
use tests::ports;

/// A home with a `config.toml`.
struct Home(TempDir);

impl Home {
    fn with(config: &str) -> Home {
        let dir = tempfile::tempdir().expect("a directory can be made");
        let below = dir.path().join("deployctl");
        std::fs::create_dir(&below).expect("a directory can be made");
        std::fs::write(below.join("config.toml"), config).expect("a file can be written");
        Home(dir)
    }

    fn file(&self) -> String {
        let file = self.0.path().join("deployctl/config.toml");
        file.display().to_string()
    }

    async fn ctl(&self, line: &str) -> Ran {
        self.ctl_with(line, &[]).await
    }

    async fn ctl_with(&self, line: &str, variables: &[(&str, &str)]) -> Ran {
        let mut command = bare_command(line);
        command
            .env("XDG_CONFIG_HOME", self.0.path())
            .envs(variables.iter().copied());
        run(command, line).await
    }
}

/// Returns what bash is offered for the last word of a line.
async fn offered(line: &str, variables: &[(&str, &str)]) -> Vec<String> {
    let asked = format!("-- deployctl {line}");
    let mut command = bare_command(&asked);
    // Words are split at spaces, and an empty one is none.
    if line.ends_with(' ') {
        command.arg("");
    }
    let words = line.split(' ').count();
    command
        .env("DEPLOYCTL_COMPLETE", "bash")
        .env("_CLAP_COMPLETE_INDEX", words.to_string())
        .envs(variables.iter().copied());
    let ran = run(command, &asked).await.is(0);
    assert_eq!(ran.stderr, "", "who is at a prompt wants no errors");
    ran.stdout.lines().map(str::to_owned).collect()
}

#[tokio::test]
async fn a_context_is_used_and_named_on_every_change() {
    let Some((rig, _agents)) = Rig::with_agents("contexts", &[("web-01", Role::Canary)]).await
    else {
        return;
    };
    let at = format!("{}{}", rig.server.address(), rig.root.path());
    let closed = ports::free();
    let home = Home::with(&format!(
        "default = \"prod\"\n\n[context.prod]\nzk = \"{at}\"\n\n[context.test]\nzk = \"127.0.0.1:{closed}\"\n"
    ));
    let named = format!("on prod: {at}\n");
    for change in [
        "deploy web r1 --detach",
        "canary web r2 --detach",
        "promote web --force --detach",
        "restart web --detach",
        "stage web r1 --detach",
        "rollback web --detach",
        "hold web -m x",
        "unhold web",
        "host role web-01 web fleet",
        "host role web-01 web canary",
        "build add web r3 --url https://b/r3 --sha256 abababababababababababababababababababababababababababababababab --size 1",
        "build bad web r3",
        "policy web restart_concurrency=2",
        "init",
    ] {
        home.ctl(change).await.is(0).says(&[&named]);
    }
    // What is refused says it too: it was about to.
    home.ctl("host forget web-01").await.is(5).says(&[&named]);
    home.ctl("lease break web web-01")
        .await
        .is(6)
        .says(&[&named]);
    for look in [
        "status",
        "history web",
        "diff web",
        "host list",
        "lease list web",
        "build list web",
        "policy web",
        "inspect web/policy",
    ] {
        let ran = home.ctl(look).await.is(0);
        assert!(!ran.stderr.contains("on prod:"), "{ran}");
    }
    let ran = home.ctl("status").await.is(0);
    ran.says(&[&format!("prod  {}  ", rig.server.address()), "Z\n"]);
    home.ctl("status wbe")
        .await
        .is(6)
        .says(&["no service `wbe` in prod"]);
    home.ctl("doctor").await.is(0).prints(&[&format!(
        "ok    context    prod = {at}   ({}:4)\n",
        home.file()
    )]);
    // A flag counts more than the environment, and that more than the file.
    let nowhere = format!("127.0.0.1:{closed}");
    let variable = [("DEPLOYCTL_ZK", nowhere.as_str())];
    home.ctl_with("status --context prod", &variable)
        .await
        .is(0);
}

#[tokio::test]
async fn what_is_to_be_pasted_is_for_the_same_zookeeper() {
    let Some((rig, _agents)) = Rig::with_agents("pasted", &[("web-01", Role::Canary)]).await else {
        return;
    };
    let at = format!("{}{}", rig.server.address(), rig.root.path());
    let home = Home::with(&format!(
        "[context.prod]\nzk = \"{at}\"\n[context.test]\nzk = \"zk9\"\n"
    ));
    home.ctl("deploy web r1 --detach --context prod")
        .await
        .is(0)
        .says(&["tip: deployctl watch web --rollout 1 --context prod\n"]);
    let diff = home.ctl("diff web r2 --context prod -o json").await.is(0);
    let command = "deployctl canary web r2 --if-rollout 1 --context prod";
    diff.prints(&[&format!("\"command\": \"{command}\"")]);
    home.ctl("canary web r2 --detach --context prod")
        .await
        .is(0);
    let undo = "deployctl build bad web r2 --undo --context prod\n";
    home.ctl("rollback web --detach --context prod")
        .await
        .is(0)
        .says(&[&format!("r2 is marked bad; to take that back: {undo}")]);
}

#[tokio::test]
async fn what_is_wrong_with_contexts_is_told_before_anybody_is_asked() {
    let home = Home::with("[context.prod]\nzk = \"zk1\"\n[context.test]\nzk = \"zk2\"\n");
    home.ctl("status").await.is(2).says(&[
        "error: which ZooKeeper is not said",
        &format!("contexts in {}: prod, test", home.file()),
        "tip: --context NAME, DEPLOYCTL_CONTEXT, or `default = \"NAME\"` in the file",
    ]);
    home.ctl("status --context prot").await.is(6).says(&[
        &format!("error: no context `prot` in {}", home.file()),
        "tip: did you mean `prod`?  all: prod, test",
    ]);
    home.ctl("status --context prod --zk zk3")
        .await
        .is(2)
        .says(&["--zk and --context both say where"]);
    home.ctl_with(
        "status",
        &[("DEPLOYCTL_ZK", "zk1"), ("DEPLOYCTL_CONTEXT", "prod")],
    )
    .await
    .is(2)
    .says(&["DEPLOYCTL_ZK and DEPLOYCTL_CONTEXT both say where"]);
    home.ctl_with("status", &[("DEPLOYCTL_ZK", "zk1:x")])
        .await
        .is(2)
        .says(&["error: DEPLOYCTL_ZK is `zk1:x`: \"zk1:x\" is not host:port"]);
    // Set to nothing is not set.
    home.ctl_with("status", &[("DEPLOYCTL_ZK", ""), ("DEPLOYCTL_CONTEXT", "")])
        .await
        .is(2)
        .says(&["error: which ZooKeeper is not said"]);
    let broken = Home::with("[context.prod]\nzkk = \"zk1\"\n");
    broken.ctl("status").await.is(2).says(&[
        &format!("error: {} is not valid", broken.file()),
        "2 | zkk = \"zk1\"",
        "unknown field `zkk`, expected `zk` or `auth_file`",
        "tip: docs/deployctl.md has an example",
    ]);
    let missing = Home::with("[context.prod]\nzk = \"zk1\"\nauth_file = \"prod.auth\"\n");
    let beside = Path::new(&missing.file()).with_file_name("prod.auth");
    missing
        .ctl("status")
        .await
        .is(2)
        .says(&[&format!("failed to read {}", beside.display())]);
    let none = tempfile::tempdir().expect("a directory can be made");
    let mut command = bare_command("status");
    command.env("HOME", none.path());
    run(command, "status").await.is(2).says(&[
        "error: no ZooKeeper is named",
        "tip: --zk zk1,zk2,zk3/deploy, or export DEPLOYCTL_ZK=",
        ".config/deployctl/config.toml",
    ]);
}

#[tokio::test]
async fn words_that_are_no_utf_8_are_no_bug() {
    let odd = OsStr::from_bytes(b"/none/\xff");
    for (line, parts) in [
        ("status --auth-file", &["failed to read /none/"][..]),
        ("", &["error: ", "/none/"]),
        ("rollback web", &["error: ", "/none/"]),
    ] {
        let mut command = bare_command(line);
        command.arg(odd).env("DEPLOYCTL_ZK", "127.0.0.1:1");
        let ran = run(command, line).await.is(2).says(parts);
        assert!(!ran.stderr.contains("bug"), "{ran}");
    }
}

#[tokio::test]
async fn live_names_are_completed_and_nothing_is_said_where_that_fails() {
    let hosts = [("web-01", Role::Canary), ("web-02", Role::Fleet)];
    let Some((rig, _agents)) = Rig::with_agents("complete", &hosts).await else {
        return;
    };
    rig.add_build("worker", "w7").await;
    let at = format!("{}{}", rig.server.address(), rig.root.path());
    let here = [("DEPLOYCTL_ZK", at.as_str())];
    assert_eq!(offered("can", &here).await, ["canary"]);
    assert_eq!(offered("promote w", &here).await, ["web", "worker"]);
    assert_eq!(offered("canary wo", &here).await, ["worker"]);
    assert_eq!(offered("canary web r", &here).await, ["r1", "r2"]);
    assert_eq!(offered("deploy worker w", &here).await, ["w7"]);
    assert_eq!(offered("build show web r", &here).await, ["r1", "r2"]);
    assert_eq!(offered("rollback web --to r", &here).await, ["r1", "r2"]);
    assert_eq!(offered("host show web", &here).await, ["web-01", "web-02"]);
    assert_eq!(
        offered("lease break web web", &here).await,
        ["web-01", "web-02"]
    );
    assert!(offered("canary web x", &here).await.is_empty());
    // Names are not hidden among options, and those come when they are begun.
    assert_eq!(offered("promote ", &here).await, ["web", "worker"]);
    assert_eq!(offered("promote web --if", &here).await, ["--if-rollout"]);
    let home = Home::with(&format!(
        "[context.prod]\nzk = \"{at}\"\n[context.test]\nzk = \"zk9\"\n"
    ));
    let base = home.0.path().display().to_string();
    let configured = [("XDG_CONFIG_HOME", base.as_str())];
    assert_eq!(offered("status --context p", &configured).await, ["prod"]);
    assert_eq!(
        offered("--context prod promote wo", &configured).await,
        ["worker"]
    );
    // Nobody is there, or nobody is named.
    let closed = format!("127.0.0.1:{}", ports::free());
    let nobody = [("DEPLOYCTL_ZK", closed.as_str())];
    assert!(offered("promote w", &nobody).await.is_empty());
    assert!(offered("promote w", &[]).await.is_empty());
}

#[tokio::test]
async fn every_verb_has_a_manual_page() {
    let dir = tempfile::tempdir().expect("a directory can be made");
    let line = format!("man --dir {}", dir.path().display());
    run(bare_command(&line), &line).await.is(0);
    let pages: Vec<String> = std::fs::read_dir(dir.path())
        .expect("it was written")
        .map(|entry| entry.expect("it can be read").path())
        .map(|path| std::fs::read_to_string(path).expect("it is text"))
        .collect();
    assert!(pages.len() > 30, "{}", pages.len());
    let version = concat!("\"deployctl ", env!("CARGO_PKG_VERSION"), "\" deployctl\n");
    for page in &pages {
        assert!(page.contains(".SH EXAMPLES"), "{page}");
        let title = page.lines().find(|line| line.starts_with(".TH "));
        let title = format!("{}\n", title.expect("it has one"));
        assert!(title.ends_with(version), "{title}");
    }
    run(bare_command("man host retry"), "man host retry")
        .await
        .is(0)
        .prints(&[
            ".TH deployctl-host-retry 1",
            ".SH NAME\ndeployctl\\-host\\-retry \\- Let a host try again what failed there",
            ".SH EXAMPLES\n.nf\n  deployctl host retry web\\-09\n.fi",
            "\\-\\-timeout",
        ]);
    run(bare_command("man hots"), "man hots")
        .await
        .is(6)
        .says(&["no verb `hots`"]);
}
