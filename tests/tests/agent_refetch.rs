//! What once went round in circles, or was taken for done.

use std::fs;
use std::time::Duration;

use deploy_core::wire::report::{Phase, Report};
use tests::agent::Agent;
use tests::builds::Health;

fn told(report: &Report, word: &str) -> bool {
    report.phase == Phase::Blocked
        && report
            .error
            .as_ref()
            .is_some_and(|error| error.message.contains(word))
}

#[test]
fn a_missing_mount_is_waited_for_and_nothing_downloaded_meanwhile() {
    let Some(server) = tests::agent::zookeeper() else {
        return;
    };
    let agent = Agent::prepare(server, |_| {});
    let web = agent.web();
    fs::remove_dir(agent.path("srv")).expect("it is empty");
    agent.run();
    web.deploy("r1", 1);
    web.until("blocked", |report| told(report, "srv"));
    assert!(
        agent.builds.downloads("r1") < 5,
        "{} downloads",
        agent.builds.downloads("r1")
    );
    assert!(
        !agent.path("srv").exists(),
        "a mount that is missing is not papered over"
    );
    fs::create_dir(agent.path("srv")).expect("it was gone");
    web.serves_within("r1", Duration::from_secs(90));
}

#[test]
fn a_build_in_service_that_is_wanted_with_other_bytes_is_refused() {
    let Some(agent) = Agent::start() else { return };
    let web = agent.web();
    web.deploy("r1", 1);
    web.serves("r1");
    let other = agent.builds.add("r1", Health::Sick);
    web.enable(&web.target("r1", 2, &other));
    web.blocked(&["builds/r1", "another archive", "new name"]);
    web.is_at("r1");
}
