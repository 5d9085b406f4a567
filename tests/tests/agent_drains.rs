//! What must not happen to an instance that is to be drained: that it is restarted with users on it.

use deploy_core::wire::report::Phase;
use tests::agent::{Agent, Drain};
use tests::supervisor::Answer;

/// An agent that serves r1, drained by a command.
fn drained_by_command() -> Option<Agent> {
    drained_within(30)
}

/// The same, where the command may take so many seconds.
fn drained_within(seconds: u32) -> Option<Agent> {
    let agent = Agent::start_with(|settings| settings.services[0].drain = Drain::Command(seconds))?;
    agent.web().deploy("r1", 1);
    agent.web().serves("r1");
    Some(agent)
}

/// What was asked of the first instance, in its order: the words before its name.
fn asked_of_the_first(agent: &Agent) -> Vec<String> {
    let asked = agent.supervisor.asked("");
    let of_it = asked.iter().filter_map(|line| line.split_once(" web-1"));
    of_it.map(|(words, _)| words.to_owned()).collect()
}

/// Deploys r2, where this is what comes of the drain of the first instance; returns how much was asked of that before.
fn deploy_with(agent: &Agent, drain: Answer) -> usize {
    let before = asked_of_the_first(agent).len();
    agent.supervisor.on("traffic drain web-1", drain);
    agent.web().deploy("r2", 2);
    before
}

#[test]
fn a_drain_that_fails_is_done_again_before_anything_is_restarted() {
    let Some(agent) = drained_by_command() else {
        return;
    };
    let web = agent.web();
    let before = asked_of_the_first(&agent).len();
    let drain = "traffic drain web-1";
    agent.supervisor.on(drain, Answer::HoldBefore);
    let hiccup = Answer::FailOnce("the balancer does not answer".to_owned());
    agent.supervisor.on(drain, hiccup);
    web.deploy("r2", 2);
    web.until("the second attempt is told", |report| {
        let step = report.step.as_ref();
        report.phase == Phase::Restarting && step.is_some_and(|step| step.attempt == 2)
    });
    agent.supervisor.let_go();
    web.serves("r2");
    let wanted = [
        "traffic drain",
        "traffic drain",
        "restart",
        "traffic undrain",
    ];
    assert_eq!(asked_of_the_first(&agent)[before..], wanted);
}

#[test]
fn nothing_is_restarted_as_long_as_its_drain_fails() {
    let Some(agent) = drained_by_command() else {
        return;
    };
    let web = agent.web();
    let restarts = agent.supervisor.asked("restart").len();
    deploy_with(&agent, Answer::Fail("the balancer says no".to_owned()));
    let report = web.blocked(&["drain of web-1", "exit 7"]);
    assert_eq!(report.instances[0].state, "draining");
    web.looks_again();
    assert_eq!(agent.supervisor.asked("restart").len(), restarts);
    agent.supervisor.let_go();
    web.serves("r2");
}

#[test]
fn what_can_not_be_drained_is_opened_when_deployd_ends() {
    let Some(agent) = drained_by_command() else {
        return;
    };
    let web = agent.web();
    let no = Answer::Fail("the balancer says no".to_owned());
    let before = deploy_with(&agent, no);
    web.blocked(&["drain of web-1", "exit 7"]);
    assert_eq!(agent.stop(), Some(0));
    let asked = asked_of_the_first(&agent);
    let (last, drains) = asked[before..].split_last().expect("it was asked");
    assert_eq!(last, "traffic undrain");
    assert!(
        drains.iter().all(|words| words == "traffic drain"),
        "{drains:?}"
    );
    agent.supervisor.let_go();
    agent.run();
    web.serves("r2");
}

#[test]
fn a_drain_that_does_not_end_in_time_is_followed_by_the_restart() {
    let Some(agent) = drained_within(1) else {
        return;
    };
    let web = agent.web();
    let before = deploy_with(&agent, Answer::HoldBefore);
    web.serves("r2");
    let wanted = ["traffic drain", "restart", "traffic undrain"];
    assert_eq!(asked_of_the_first(&agent)[before..], wanted);
    let said = "did not end in time, restarting anyway";
    assert!(agent.log().contains(said), "it does not say so");
    agent.supervisor.let_go();
}

#[test]
fn a_drain_that_a_kill_has_cut_short_is_done_again() {
    let Some(agent) = drained_by_command() else {
        return;
    };
    let web = agent.web();
    let before = deploy_with(&agent, Answer::HoldBefore);
    agent.supervisor.wait_asked("traffic drain web-1", 1);
    agent.kill();
    agent.run();
    agent.supervisor.wait_asked("traffic drain web-1", 2);
    assert_eq!(asked_of_the_first(&agent)[before..], ["traffic drain"; 2]);
    agent.supervisor.let_go();
    web.serves("r2");
}

#[test]
fn a_restart_command_that_is_not_there_is_seen_before_anything_is_disturbed() {
    let Some(agent) = drained_by_command() else {
        return;
    };
    let web = agent.web();
    let before = asked_of_the_first(&agent).len();
    let text = std::fs::read_to_string(agent.config()).expect("it is there");
    let (head, tail) = text.split_once("[service.restart]").expect("it has one");
    let gone = tail.replacen("command = [\"", "command = [\"/no/such\", \"", 1);
    std::fs::write(agent.config(), format!("{head}[service.restart]{gone}")).expect("space");
    assert_eq!(agent.output(&["reload"]).status.code(), Some(0));
    web.deploy("r2", 2);
    let report = web.blocked(&["/no/such is not there"]);
    assert_eq!(
        report.serving.map(|build| build.to_string()).as_deref(),
        Some("r1")
    );
    assert_eq!(asked_of_the_first(&agent).len(), before);
    // Somebody puts it back.
    std::fs::write(agent.config(), text).expect("space");
    assert_eq!(agent.output(&["reload"]).status.code(), Some(0));
    web.serves("r2");
}
