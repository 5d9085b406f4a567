//! The loop: a target is written, the host goes there, and says what it is.

use deploy_core::wire::report::Phase;
use tests::agent::Agent;
use tests::service::named;

#[test]
fn first_build_and_second_build() {
    let Some(agent) = Agent::start() else { return };
    let web = agent.web();
    web.until("idle", |report| report.phase == Phase::Idle);
    web.deploy("r1", 1);
    web.serves("r1");
    web.deploy("r2", 2);
    let report = web.serves("r2");
    assert_eq!(report.previous, named("r1"));
    assert_eq!(web.releases(), ["r1", "r2"]);
}
