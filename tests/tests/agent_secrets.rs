//! No secret leaves through a log, a report, an argument or an environment: a digest password, a
//! password in a URL, and a query that is signed, at log level trace, in a deployment that goes
//! well and in some that don't.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use deploy_core::wire::report::Phase;
use serde_json::{Value, json};
use tests::agent::{Agent, Drain, zookeeper};
use tests::builds::{Health, Serve};
use tests::proxy::{Cut, Proxy};
use tests::service::{Service, named};
use tests::supervisor::Answer;

/// Of the agent in ZooKeeper.
const DIGEST_PASSWORD: &str = "correct-horse-4711";
/// In a URL, where it has no business.
const URL_PASSWORD: &str = "battery-staple-4712";
/// In the query of a URL.
const TOKEN: &str = "tr0ub4dor-4713";

const SECRETS: [&str; 3] = [DIGEST_PASSWORD, URL_PASSWORD, TOKEN];

#[track_caller]
fn clean(place: &str, text: &[u8]) {
    let text = String::from_utf8_lossy(text);
    for secret in SECRETS {
        let Some(at) = text.find(secret) else {
            continue;
        };
        let around: String = text[..at].chars().rev().take(200).collect();
        let around: String = around.chars().rev().collect();
        panic!("{place} has {secret}, after: {around}");
    }
}

/// Looks at the arguments and environments of deployd and of all that it has started; returns how
/// many these are.
#[track_caller]
fn clean_processes(agent: &Agent) -> usize {
    let socket = agent.path("supervisor").display().to_string();
    let config = agent.config().display().to_string();
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let ours = entries.filter(|entry| {
        let line = fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let line = String::from_utf8_lossy(&line);
        line.contains(&socket) || line.contains(&config)
    });
    let looked = ours.map(|entry| {
        for name in ["cmdline", "environ"] {
            // It may have ended meanwhile.
            let found = fs::read(entry.path().join(name)).unwrap_or_default();
            clean(&format!("{name} of a process"), &found);
        }
    });
    looked.count()
}

/// Looks at all files below a directory.
fn clean_files(dir: &Path) -> usize {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    let looked = entries.map(|entry| match entry.path() {
        path if path.is_dir() => clean_files(&path),
        path => {
            clean(
                &path.display().to_string(),
                &fs::read(&path).unwrap_or_default(),
            );
            1
        }
    });
    looked.sum()
}

/// Looks at all znodes but those in which an operator has written the URL.
fn clean_znodes(agent: &Agent, path: &str) -> usize {
    let web = agent.web().znodes;
    if [web.enabled(), web.builds()].contains(&path.to_owned()) {
        return 0;
    }
    let data = agent.znodes.get(path).map(|znode| znode.data);
    clean(path, &data.unwrap_or_default());
    let children = agent.znodes.children(path);
    let below = children
        .iter()
        .map(|name| clean_znodes(agent, &format!("{path}/{name}")));
    1 + below.sum::<usize>()
}

/// A target whose URL has a query that is signed.
fn signed(web: &Service<'_>, build: &str, rollout: u64) -> Value {
    let artifact = web.agent.builds.add(build, Health::Ok);
    let mut target = web.target(build, rollout, &artifact);
    target["artifact"]["url"] = json!(format!("{}?X-Signature={TOKEN}", artifact.url));
    target
}

/// A deployment that goes well, looked at in each of its programs.
fn a_good_one(web: &Service<'_>) {
    let agent = web.agent;
    let programs = [
        "hook web post_extract",
        "hook web post_install",
        "traffic drain web-1",
        "restart web-1",
        "traffic undrain web-1",
        "hook web post_restart",
    ];
    let target = signed(web, "r1", 1);
    web.enable(&target);
    web.serves("r1");
    for program in programs {
        agent.supervisor.on(program, Answer::HoldBefore);
    }
    let asked = |program: &str| agent.supervisor.asked(program).len();
    let before = programs.map(asked);
    web.enable(&signed(web, "r2", 2));
    for (program, before) in programs.iter().zip(before) {
        agent.supervisor.wait_asked(program, before);
        // deployd, and what it waits for.
        assert!(clean_processes(agent) >= 2, "{program} was not found");
        agent.supervisor.let_go_of(program);
    }
    web.serves("r2");
}

/// All that goes wrong where a URL is near.
fn bad_ones(web: &Service<'_>) {
    let agent = web.agent;
    agent.supervisor.on(
        "hook web post_install r3",
        Answer::Fail("no luck".to_owned()),
    );
    web.enable(&signed(web, "r3", 3));
    web.failed("r3", "r2");
    for (rollout, serve, words) in [
        (4, Serve::Status(403), "403"),
        (5, Serve::Wrong, "SHA-256"),
        (6, Serve::Truncated, "fetch"),
    ] {
        let build = format!("r{rollout}");
        let target = signed(web, &build, rollout);
        agent.builds.serve(&build, serve);
        web.enable(&target);
        web.blocked(&[words]);
    }
    let urls = [
        (
            format!("http://carol:{URL_PASSWORD}@127.0.0.1:1/r7?t={TOKEN}"),
            "user or password",
        ),
        (
            format!("http://carol:{URL_PASSWORD}@[x/r7?t={TOKEN}"),
            "no usable URL",
        ),
        (
            format!("http://carol:{URL_PASSWORD}@elsewhere.invalid/r7?t={TOKEN}#{TOKEN}"),
            "refused",
        ),
    ];
    for (rollout, (url, words)) in (7..).zip(&urls) {
        let mut target = signed(web, "r7", rollout);
        target["artifact"]["url"] = json!(url);
        web.enable(&target);
        web.blocked(&[words]);
    }
    // Nobody is told in full what can't be read.
    let url = &urls[0].0;
    let mut target = signed(web, "r9", 10);
    target["artifact"] = json!(url);
    web.enable(&target);
    web.blocked(&["enabled", "artifact"]);
    web.put(&web.znodes.enabled(), url);
    web.blocked(&["neither a JSON object nor a build name"]);
    let build = named("r11").expect("a name");
    let object = json!({ "v": 1, "artifact": { "url": "x", "size": url, "sha256": url } });
    web.put(&web.znodes.build(&build), object.to_string());
    web.put(&web.znodes.enabled(), "r11");
    web.blocked(&["builds/r11"]);
}

#[test]
fn no_secret_is_told() {
    let Some(server) = zookeeper() else { return };
    let dir = tempfile::tempdir().expect("a temporary directory can be made");
    let auth = dir.path().join("auth");
    fs::write(&auth, format!("agents:{DIGEST_PASSWORD}\n")).expect("a file can be written");
    fs::set_permissions(&auth, PermissionsExt::from_mode(0o600)).expect("it is ours");
    let proxy = Proxy::start(server.port());
    let agent = Agent::prepare(server, |settings| {
        settings.zookeeper = proxy.address();
        settings.zookeeper_more = format!("auth_file = {auth:?}\n");
        settings.log_level = "trace";
        settings.services[0].drain = Drain::Command(30);
        settings.services[0].hooks = &["post_extract", "post_install", "post_restart"];
    });
    agent.run();
    let web = agent.web();
    a_good_one(&web);
    // The password is sent again.
    proxy.cut(Cut::Rst);
    bad_ones(&web);
    for arguments in [
        &["status"][..],
        &["status", "--json"],
        &["plan"],
        &["check"],
    ] {
        let output = agent.output(arguments);
        assert!(output.status.success(), "{arguments:?}: {output:?}");
        clean(&format!("deployd {arguments:?}"), &output.stdout);
        clean(&format!("deployd {arguments:?}"), &output.stderr);
    }
    web.until("blocked", |report| report.phase == Phase::Blocked);
    assert_eq!(clean_processes(&agent), 1);
    let log = agent.log();
    assert!(log.contains("\"level\":\"TRACE\"") || log.contains("\"level\":\"DEBUG\""));
    clean("the log", log.as_bytes());
    assert!(
        clean_files(&agent.path("state")) >= 2,
        "a report and a journal"
    );
    assert!(clean_znodes(&agent, agent.root().path()) >= 5);
    assert_eq!(agent.stop(), Some(0));
    clean("the log", agent.log().as_bytes());
}
