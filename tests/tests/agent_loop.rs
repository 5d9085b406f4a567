//! The loop: a target is written, the host goes there, and says what it is.

use deploy_core::percent::place;
use deploy_core::wire::build::Build;
use deploy_core::wire::report::{Phase, Report};
use deploy_core::wire::role::Role;
use deploy_core::wire::{self, time};
use serde_json::{Value, json};
use tests::agent::{Agent, ServiceSettings};
use tests::builds::Health;
use tests::service::{Service, named};
use tests::witness::{Promise, Witness};

#[test]
fn first_build_and_second_build() {
    let Some(agent) = Agent::start() else { return };
    let web = agent.web();
    let report = web.until("idle", |report| report.phase == Phase::Idle);
    assert_eq!(
        (report.target, report.current, report.serving),
        (None, None, None)
    );
    web.deploy("r1", 1);
    let report = web.serves("r1");
    assert_eq!(report.previous, None);
    let witness = Witness::start(&web, Promise::OneServes);
    web.deploy("r2", 2);
    let report = web.serves("r2");
    witness.finish();
    check_every_field(&web, &report);
    assert_eq!(web.releases(), ["r1", "r2"]);
    assert_eq!(web.leases(), [""; 0]);
}

#[track_caller]
fn check_every_field(web: &Service<'_>, report: &Report) {
    assert_eq!(report.host.as_str(), "h1");
    assert_eq!(report.service.as_str(), "web");
    assert_eq!(report.role, Some(Role::Fleet));
    assert_eq!(report.agent, "0.1.0");
    assert_eq!(report.rollout, Some(2));
    assert_eq!(report.target, named("r2"));
    assert_eq!(report.current, named("r2"));
    assert_eq!(report.previous, named("r1"));
    assert_eq!(report.trust.as_deref(), Some("zookeeper"));
    let releases: Vec<_> = report.releases.iter().map(|build| build.as_str()).collect();
    assert_eq!(releases, ["r2", "r1"]);
    assert_eq!(report.error, None);
    assert!(report.disk_free > Some(0));
    let at = report.at.as_deref().and_then(time::parse);
    assert!(at.is_some(), "{report:?}");
    for (number, (instance, port)) in (1..).zip(report.instances.iter().zip(web.ports)) {
        assert_eq!(instance.unit, format!("web-{number}"));
        assert_eq!(instance.port, Some(*port));
        assert_eq!(instance.build, named("r2"));
        assert_eq!(instance.state, "serving");
    }
    assert_eq!(report.instances.len(), 2);
    let znode = web
        .agent
        .znodes
        .get(&web.znodes.host(&web.host))
        .expect("it was read");
    assert!(znode.data.starts_with(b"{\"v\":1,"));
    let object: Value = serde_json::from_slice(&znode.data).expect("a report is JSON");
    // "Unknown" is said, and not left out.
    assert_eq!(
        (&object["error"], &object["step"]),
        (&Value::Null, &Value::Null)
    );
}

#[test]
fn each_phase_is_reported() {
    let hooks = &["post_extract", "post_install"];
    let agent = Agent::start_with(|settings| settings.services[0].hooks = hooks);
    let Some(agent) = agent else { return };
    let web = agent.web();
    web.deploy("r1", 1);
    web.serves("r1");
    let held = [
        (
            "hook web post_extract",
            Phase::Preparing,
            "post_extract",
            "r1",
        ),
        (
            "hook web post_install",
            Phase::Activating,
            "post_install",
            "r2",
        ),
        ("restart web-1", Phase::Restarting, "restart", "r2"),
    ];
    for (prefix, ..) in &held {
        agent
            .supervisor
            .on(prefix, tests::supervisor::Answer::HoldBefore);
    }
    web.deploy("r2", 2);
    for (prefix, phase, step, current) in held {
        let report = web.until(&format!("{step} under way"), |report| {
            report
                .step
                .as_ref()
                .is_some_and(|it| it.name == step && it.since.is_some())
        });
        assert_eq!(report.phase, phase);
        assert_eq!(report.step.as_ref().map(|step| step.attempt), Some(1));
        let of_instances = (phase == Phase::Restarting).then_some((0, 2));
        assert_eq!(progress(&report), of_instances);
        assert_eq!(report.current, named(current));
        assert_eq!(report.lease, phase != Phase::Preparing);
        // The old build, until it is restarted.
        assert_eq!(report.serving, named("r1"));
        let state = report.instances[0].state.as_str();
        assert_eq!(state == "restarting", phase == Phase::Restarting, "{state}");
        if phase == Phase::Restarting {
            agent
                .supervisor
                .on("restart web-2", tests::supervisor::Answer::HoldBefore);
        }
        agent.supervisor.let_go_of(prefix);
    }
    let report = web.until("the second restart under way", |report| {
        report.instances[1].state == "restarting"
    });
    assert_eq!(progress(&report), Some((1, 2)));
    agent.supervisor.let_go_of("restart web-2");
    web.serves("r2");
}

/// How far its step is.
fn progress(report: &Report) -> Option<(u64, u64)> {
    let step = report.step.as_ref()?;
    Some((step.done?, step.total?))
}

#[test]
fn canary_hosts_follow_the_canary_znode() {
    let Some(agent) = Agent::start() else { return };
    let web = agent.web();
    let first = web.deploy("r1", 1);
    web.serves("r1");
    let second = agent.builds.add("r2", Health::Ok);
    let canary = web.target("r2", 2, &second).to_string();
    web.put(&web.znodes.canary(), &canary);
    let report = web.looks_again();
    assert_eq!(
        (report.target, report.role),
        (named("r1"), Some(Role::Fleet))
    );
    web.put(&web.znodes.role(&web.host), r#"{"v":1,"role":"canary"}"#);
    let report = web.serves("r2");
    assert_eq!((report.role, report.rollout), (Some(Role::Canary), Some(2)));
    // Promoted: the same build by another way is no reason to restart.
    let pids = web.pids();
    web.enable(&web.target("r2", 3, &second));
    web.delete(&web.znodes.canary());
    let is_third = |report: &Report| report.rollout == Some(3) && report.phase == Phase::Serving;
    web.until("the canary follows the fleet", is_third);
    assert_eq!(web.pids(), pids);
    web.put(&web.znodes.role(&web.host), r#"{"v":1,"role":"fleet"}"#);
    web.until("the role is fleet", |report| {
        report.role == Some(Role::Fleet)
    });
    web.delete(&web.znodes.role(&web.host));
    web.looks_again();
    assert_eq!(web.pids(), pids);
    // The canary znode is taken away from under a canary: back to the fleet's build.
    web.enable(&web.target("r1", 4, &first));
    web.serves("r1");
    web.put(&web.znodes.canary(), &canary);
    web.put(&web.znodes.role(&web.host), r#"{"v":1,"role":"canary"}"#);
    web.serves("r2");
    web.delete(&web.znodes.canary());
    let report = web.serves("r1");
    assert_eq!((report.role, report.rollout), (Some(Role::Canary), Some(4)));
    assert_eq!(agent.builds.downloads("r2"), 1, "kept on disk");
}

#[test]
fn a_bare_word_names_a_registered_build() {
    let Some(agent) = Agent::start() else { return };
    let web = agent.web();
    web.put(&web.znodes.enabled(), "r1\n");
    web.blocked(&["builds/r1", "not registered"]);
    let build = Build {
        artifact: agent.builds.add("r1", Health::Ok),
        signed_by: None,
        bad: None,
        by: None,
        at: None,
        why: None,
    };
    let path = web.znodes.build(named("r1").as_ref().expect("a name"));
    web.put(&path, wire::encode(&build));
    let report = web.serves("r1");
    assert_eq!(report.rollout, None);
}

#[test]
fn outside_the_percent_a_build_is_staged() {
    let settings = Agent::start_with(|settings| settings.services[0].hooks = &["post_extract"]);
    let Some(agent) = settings else { return };
    let web = agent.web();
    let first = web.deploy("r1", 1);
    web.serves("r1");
    let pids = web.pids();
    let second = agent.builds.add("r2", Health::Ok);
    let build = named("r2").expect("a name");
    let service = web.report().expect("there is one").service;
    let at = place(&service, &build, &web.host) as f64 / 2f64.powi(64) * 100.0;
    let target = |rollout: u64, percent: f64| {
        let mut target = web.target("r2", rollout, &second);
        target["percent"] = json!(percent);
        target["previous"] = json!({ "build": "r1", "artifact": first });
        target
    };
    for (rollout, percent) in [(2, 0.0), (3, at - 0.001)] {
        web.enable(&target(rollout, percent));
        let report = web.until("staged", |report| {
            report.phase == Phase::Staged && report.rollout == Some(rollout)
        });
        assert_eq!((report.target, report.current), (named("r2"), named("r1")));
        assert_eq!(web.releases(), ["r1", "r2"]);
    }
    assert_eq!(agent.supervisor.asked("hook web post_extract r2").len(), 1);
    web.is_at("r1");
    assert_eq!(web.pids(), pids);
    web.enable(&target(4, at + 0.001));
    web.serves("r2");
    assert_eq!(agent.builds.downloads("r2"), 1, "staged is staged");
    assert_eq!(agent.supervisor.asked("hook web post_extract r2").len(), 1);
    // And back out of the percent: on `previous` again.
    web.enable(&target(5, 0.0));
    web.until("back on previous", |report| {
        report.phase == Phase::Staged && report.serving == named("r1")
    });
    web.is_at("r1");
}

#[test]
fn a_restart_number_restarts_once() {
    let Some(agent) = Agent::start() else { return };
    let web = agent.web();
    let artifact = web.deploy("r1", 1);
    web.serves("r1");
    let before = web.pids();
    let mut target = web.target("r1", 2, &artifact);
    target["restart"] = json!(2);
    web.enable(&target);
    web.until("both are restarted", |report| {
        let pids = web.pids();
        let all_new = pids
            .iter()
            .zip(&before)
            .all(|(now, then)| now.is_some() && now != then);
        report.rollout == Some(2) && report.phase == Phase::Serving && all_new
    });
    let after = web.pids();
    target["why"] = json!("a comment is no restart");
    target["rollout"] = json!(3);
    web.enable(&target);
    web.until("the new rollout is seen", |r| {
        r.rollout == Some(3) && r.phase == Phase::Serving
    });
    assert_eq!(web.pids(), after);
    // The number outlives the agent.
    assert_eq!(agent.stop(), Some(0));
    agent.run();
    web.looks_again();
    assert_eq!(web.pids(), after);
    assert_eq!(agent.supervisor.asked("restart").len(), 4);
}

#[test]
fn old_releases_are_pruned() {
    let agent = Agent::start_with(|settings| settings.builds = "keep = 1".to_owned());
    let Some(agent) = agent else { return };
    let web = agent.web();
    for number in 1..=4 {
        let build = format!("r{number}");
        web.deploy(&build, number);
        web.serves(&build);
    }
    let is_pruned = |report: &Report| report.releases.len() == 2;
    let report = web.until("pruned", is_pruned);
    let names: Vec<_> = report.releases.iter().map(|build| build.as_str()).collect();
    assert_eq!(names, ["r4", "r3"]);
    assert_eq!(web.releases(), ["r3", "r4"]);
}

#[test]
fn services_do_not_disturb_each_other() {
    let agent = Agent::start_with(|settings| settings.services.push(ServiceSettings::new("api")));
    let Some(agent) = agent else { return };
    let (web, api) = (agent.web(), agent.service("api"));
    web.deploy("w1", 1);
    api.deploy("a1", 1);
    web.serves("w1");
    api.serves("a1");
    let pids = web.pids();
    let witness = Witness::start(&web, Promise::AllServe);
    // One service that can't be read, or fails, is none of the other's business.
    web.put(&web.znodes.enabled(), "{");
    web.blocked(&["enabled"]);
    api.deploy("a2", 2);
    api.serves("a2");
    api.deploy_with("a3", 3, Health::Dies);
    api.failed("a3", "a2");
    web.looks_again();
    witness.finish();
    assert_eq!(web.pids(), pids);
}
