//! A deployment in a tree where agents may write only what is theirs.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use tests::agent::{Agent, zookeeper};
use tests::archives::program;
use tests::builds::Health;

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

fn secret(path: &Path, line: &str) -> String {
    std::fs::write(path, line).expect("a file can be written");
    std::fs::set_permissions(path, PermissionsExt::from_mode(0o600)).expect("it is ours");
    path.display().to_string()
}
