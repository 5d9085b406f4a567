//! Builds that must be signed: who can write to ZooKeeper, and to the build server, can't run code.

use deploy_core::artifact::Artifact;
use deploy_core::wire::report::Phase;
use tests::agent::Agent;
use tests::builds::Health;
use tests::minisign::{Key, Kind};
use tests::service::named;

/// Starts an agent that trusts these keys.
fn trusting(keys: &[&Key]) -> Option<Agent> {
    let paths: Vec<String> = keys
        .iter()
        .map(|key| format!("{:?}", key.public()))
        .collect();
    let trusted = format!("trusted_keys = [{}]\n", paths.join(", "));
    Agent::start_with(|settings| settings.builds = trusted)
}

/// Says what a signature must say.
fn comment(service: &str, build: &str, artifact: &Artifact) -> String {
    format!("service:{service} build:{build} sha256:{}", artifact.sha256)
}

/// Puts a build on the shelf, signs it, and makes it the target.
fn deploy_signed(agent: &Agent, (build, rollout): (&str, u64), key: &Key) {
    let web = agent.web();
    let artifact = agent.builds.add(build, Health::Ok);
    let comment = comment("web", build, &artifact);
    let signature = key.sign(&agent.builds.bytes(build), &comment, Kind::Hashed);
    agent.builds.sign(build, signature);
    web.enable(&web.target(build, rollout, &artifact));
}

#[test]
fn a_build_is_taken_with_a_signature_of_any_trusted_key() {
    let Some((old, new)) = Key::make().zip(Key::make()) else {
        return;
    };
    let Some(agent) = trusting(&[&old, &new]) else {
        return;
    };
    let web = agent.web();
    deploy_signed(&agent, ("r1", 1), &old);
    let report = web.serves("r1");
    assert_eq!(report.trust.as_deref(), Some("signed"));
    deploy_signed(&agent, ("r2", 2), &new);
    web.serves("r2");
}

#[test]
fn a_build_without_a_good_signature_is_not_taken() {
    let Some((key, other)) = Key::make().zip(Key::make()) else {
        return;
    };
    let Some(agent) = trusting(&[&key]) else {
        return;
    };
    let web = agent.web();
    deploy_signed(&agent, ("r1", 1), &key);
    web.serves("r1");

    let artifact = agent.builds.add("r2", Health::Ok);
    let bytes = agent.builds.bytes("r2");
    let good = comment("web", "r2", &artifact);
    let elsewhere = agent.builds.add("elsewhere", Health::Sick);
    let signed = |text: &str| key.sign(&bytes, text, Kind::Hashed);
    let cases: Vec<(Vec<u8>, &str)> = vec![
        (
            other.sign(&bytes, &good, Kind::Hashed).into(),
            "builds.trusted_keys",
        ),
        (key.sign(&bytes, &good, Kind::Legacy).into(), "legacy"),
        (
            signed(&comment("api", "r2", &artifact)).into(),
            "service:api",
        ),
        (signed(&comment("web", "r1", &artifact)).into(), "build:r1"),
        (signed(&comment("web", "r2", &elsewhere)).into(), "not for"),
        (signed(&format!("{good} ")).into(), "not for"),
        (signed("").into(), "not for"),
        // A signature of other bytes that says that it is of these.
        (
            key.sign(b"other", &good, Kind::Hashed).into(),
            "these bytes",
        ),
        // One whose comment was changed afterwards.
        (
            signed("harmless").replace("harmless", &good).into(),
            "these bytes",
        ),
        (b"<html>".to_vec(), "not a signature"),
        (vec![b'x'; 1 << 20], "more than"),
        (vec![0xff; 100], "not a signature"),
    ];
    web.enable(&web.target("r2", 2, &artifact));
    web.blocked(&["r2", "is not signed", "404", "minisign -Sm", &good]);
    assert_eq!(
        agent.builds.downloads("r2"),
        0,
        "it was not downloaded in vain"
    );
    for (number, (signature, why)) in (3..).zip(cases) {
        agent.builds.sign("r2", signature);
        web.enable(&web.target("r2", number, &artifact));
        let report = web.until(why, |report| {
            let said = report.error.as_ref().map(|error| error.message.as_str());
            report.rollout == Some(number) && said.is_some_and(|said| said.contains(why))
        });
        assert_eq!(
            (report.phase, report.serving),
            (Phase::Blocked, named("r1"))
        );
    }
    web.is_at("r1");
    assert_eq!(web.releases(), ["r1"]);
    assert_eq!(web.leases(), [""; 0]);

    // A good one comes at last, and nobody has to ask again.
    agent.builds.sign("r2", signed(&good));
    web.serves("r2");
}

#[test]
fn an_archive_that_was_swapped_in_zookeeper_too_is_not_taken() {
    let Some(key) = Key::make() else { return };
    let Some(agent) = trusting(&[&key]) else {
        return;
    };
    let web = agent.web();
    deploy_signed(&agent, ("r1", 1), &key);
    web.serves("r1");
    // Both the build server and ZooKeeper are somebody else's now; the key is not.
    let evil = agent.builds.add("evil", Health::Ok);
    let old = key.sign(
        &agent.builds.bytes("r1"),
        &comment("web", "r1", &evil),
        Kind::Hashed,
    );
    agent.builds.sign("evil", old);
    web.enable(&web.target("evil", 2, &evil));
    web.blocked(&["evil", "no good signature"]);
    assert_eq!(web.releases(), ["r1"]);
}

#[test]
fn a_key_that_is_none_leaves_the_service_alone_and_says_so() {
    let dir = tempfile::tempdir().expect("a temporary directory can be made");
    let path = dir.path().join("no.pub");
    let trusted = format!("trusted_keys = [{path:?}]\n");
    let agent = Agent::start_with(|settings| settings.builds = trusted);
    let Some(agent) = agent else { return };
    let web = agent.web();
    web.deploy("r1", 1);
    web.blocked(&["trusted_keys", "no.pub"]);
    assert_eq!(web.releases(), [""; 0]);
    let check = agent.output(&["check"]);
    let said = String::from_utf8_lossy(&check.stderr).into_owned();
    assert!(said.contains("no.pub") && check.status.success(), "{said}");
}

#[test]
fn a_key_that_changes_at_its_path_is_taken_up_by_a_reload() {
    let (Some(old), Some(new)) = (Key::make(), Key::make()) else {
        return;
    };
    let dir = tempfile::tempdir().expect("a temporary directory can be made");
    let path = dir.path().join("ci.pub");
    let trusted = format!("trusted_keys = [{path:?}]\n");
    let agent = Agent::start_with(|settings| settings.builds = trusted);
    let Some(agent) = agent else { return };
    let web = agent.web();
    web.blocked(&["trusted_keys", "ci.pub"]);
    let reload = |key: &Key| {
        std::fs::copy(key.public(), &path).expect("space");
        let output = agent.output(&["reload"]);
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(said.ends_with("deployd.toml: changed web\n"), "{said}");
    };
    reload(&old);
    deploy_signed(&agent, ("r1", 1), &old);
    web.serves("r1");
    reload(&new);
    deploy_signed(&agent, ("r2", 2), &old);
    web.blocked(&["trusted_keys"]);
    deploy_signed(&agent, ("r3", 3), &new);
    web.serves("r3");
}
