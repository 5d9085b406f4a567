//! A deployment in a tree where agents may write only what is theirs, and znodes that they may not
//! even read.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use deploy_core::wire::report::Phase;
use tests::agent::{Agent, zookeeper};
use tests::archives::program;
use tests::builds::Health;
use tests::service::named;
use tests::witness::{Promise, Witness};

#[test]
fn an_agent_deploys_with_no_more_rights_than_it_needs() {
    let Some(server) = zookeeper() else { return };
    let dir = tempfile::tempdir().expect("a temporary directory can be made");
    let operators = secret(&dir.path().join("operators"), "ops:one\n");
    let agents = secret(&dir.path().join("agents"), "agents:two\n");
    let agent = Agent::prepare(server, |settings| {
        settings.zookeeper_more = format!("auth_file = {agents:?}\n");
    });
    let ctl = |line: &str| {
        let address = format!("{}{}", agent.settings.zookeeper, agent.root().path());
        let mut command = Command::new(program("deployctl"));
        command.args(["--zk", &address, "--auth-file", &operators]);
        let output = command.args(line.split(' ')).output();
        let output = output.expect("deployctl can be started");
        assert!(output.status.success(), "{line}: {output:?}");
    };
    ctl(&format!("init --acl --agents {agents}"));
    for build in ["r1", "r2"] {
        let artifact = agent.builds.add(build, Health::Ok);
        let (url, sha256, size) = (&artifact.url, &artifact.sha256, artifact.size);
        ctl(&format!(
            "build add web {build} --url {url} --sha256 {sha256} --size {size}"
        ));
    }
    agent.run();
    let web = agent.web();
    ctl("deploy web r1 --detach --force");
    web.serves("r1");
    // With a lease taken and given back, and waited for to its end.
    ctl("deploy web r2 --timeout 60s");
    web.is_at("r2");
    assert_eq!(web.leases(), [""; 0]);
    // The znode of the agent is its own, over a new session too.
    agent.kill();
    agent.run();
    ctl("restart web --timeout 60s");
    ctl("rollback web --to r1 --timeout 60s");
    web.is_at("r1");
}

#[test]
fn what_may_not_be_read_is_told_and_starts_nothing() {
    let Some(agent) = Agent::start() else { return };
    let web = agent.web();
    let build = web.znodes.build(named("r2").as_ref().expect("a name"));
    let cases = [
        (
            "role",
            web.znodes.role(&web.host),
            r#"{"v":1,"role":"fleet"}"#,
        ),
        // Whoever may not read it can't know that it holds nothing.
        (
            "hold",
            web.znodes.hold(),
            r#"{"v":1,"until":"2001-01-01T00:00:00Z"}"#,
        ),
        ("builds/r2", build, "{}"),
        ("enabled", web.znodes.enabled(), ""),
    ];
    for (_, path, data) in &cases[..3] {
        web.put(path, data);
    }
    web.deploy("r1", 1);
    web.serves("r1");
    let witness = Witness::start(&web, Promise::AllServe);
    let pids = web.pids();
    for (rollout, (object, path, _)) in (2..).zip(&cases) {
        agent.znodes.forbid_reading(path);
        // Nobody is told of a list that has changed, nor of what they may not read: it is seen at the next
        // connection, or within a minute.
        agent.stop();
        agent.run();
        if *object == "builds/r2" {
            web.put(&web.znodes.enabled(), "r2");
        } else {
            web.deploy(&format!("s{rollout}"), rollout);
        }
        let report = web.blocked(&[object, "not authorized"]);
        assert_eq!(report.serving, named("r1"), "{object}");
        assert_eq!(
            (web.current().as_deref(), web.pids()),
            (Some("r1"), pids.clone())
        );
        // So that the next is told alone: nothing is wanted.
        if *object != "enabled" {
            web.put(&web.znodes.enabled(), "");
        }
        agent.znodes.allow_all(path);
        if *object != "enabled" {
            web.until("idle", |report| report.phase == Phase::Idle);
        }
    }
    witness.finish();
    web.serves("s5");
}

fn secret(path: &Path, line: &str) -> String {
    std::fs::write(path, line).expect("a file can be written");
    std::fs::set_permissions(path, PermissionsExt::from_mode(0o600)).expect("it is ours");
    path.display().to_string()
}
