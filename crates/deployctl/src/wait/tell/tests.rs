//! Each change is told once.

use std::collections::BTreeMap;
use std::sync::Arc;

use deploy_core::name::{BuildName, HostName, ServiceName};
use deploy_core::rollout::judge::{Goal, judge};
use deploy_core::rollout::{Host, State, Targets};
use deploy_core::wire::hold::Hold;
use deploy_core::wire::report::{Phase, Report, StepReport};
use deploy_core::wire::role::Role;
use deploy_core::wire::target::Target;

use super::Teller;
use crate::wait::event::Event;
use crate::watches::Sight;

/// Hosts as `name phase done`; a leading `-` means offline.
fn tell(teller: &mut Teller, hosts: &[&str], hold: Option<Hold>) -> Vec<String> {
    let build = BuildName::parse("r1").unwrap();
    let target = Target {
        rollout: Some(1),
        ..Target::of_build(build.clone())
    };
    let hosts: BTreeMap<HostName, Host> = hosts.iter().map(|text| host(text, &build)).collect();
    let targets = Targets {
        enabled: Some(target),
        canary: None,
    };
    let state = State {
        service: ServiceName::parse("web").unwrap(),
        targets,
        hosts,
    };
    let judgement = judge(
        &state,
        &Goal::Target {
            rollout: Some(1),
            build,
        },
    );
    let events = teller.update(&Sight { state, hold }, &judgement);
    events.iter().map(shown).collect()
}

fn host(text: &str, build: &BuildName) -> (HostName, Host) {
    let words: Vec<&str> = text.split(' ').collect();
    let name = HostName::parse(words[0].trim_start_matches('-')).unwrap();
    let step = words.get(2).map(|done| StepReport {
        name: "restart".to_owned(),
        attempt: 1,
        done: done.parse().ok(),
        total: Some(4),
        since: None,
        detail: None,
    });
    let report = Report {
        host: name.clone(),
        service: ServiceName::parse("web").unwrap(),
        role: None,
        agent: String::new(),
        phase: Phase::of_word(words[1]),
        rollout: Some(1),
        target: Some(build.clone()),
        current: Some(build.clone()),
        serving: Some(build.clone()),
        previous: None,
        step,
        instances: vec![],
        lease: false,
        trust: None,
        releases: vec![],
        error: None,
        disk_free: None,
        at: None,
    };
    let alive = !words[0].starts_with('-');
    (
        name,
        Host {
            role: Role::Fleet,
            alive,
            report: Some(Arc::new(report)),
            unreadable: None,
            report_mzxid: 1,
        },
    )
}

fn shown(event: &Event) -> String {
    match event {
        Event::Start(tally) => format!("start {}/{}", tally.there, tally.total),
        Event::Host(event) => format!(
            "{} {}{}",
            event.host,
            event.standing.as_str(),
            if event.is_back { " back" } else { "" }
        ),
        Event::Held(_) => "held".to_owned(),
        Event::Released => "released".to_owned(),
        Event::Progress(_) => "progress".to_owned(),
        Event::LinkLost => "lost".to_owned(),
        Event::LinkBack => "link back".to_owned(),
    }
}

#[test]
fn each_change_is_told_once() {
    let mut teller = Teller::default();
    let tell = &mut |hosts: &[&str]| tell(&mut teller, hosts, None);
    assert_eq!(
        tell(&["a restarting 1", "-b serving"]),
        ["start 0/2", "a working"]
    );
    assert_eq!(tell(&["a restarting 1", "-b serving"]), [""; 0]);
    assert_eq!(tell(&["a restarting 2", "-b serving"]), ["a working"]);
    assert_eq!(
        tell(&["a serving", "b serving"]),
        ["a serving", "b serving back"]
    );
    assert_eq!(tell(&["a serving", "-b serving"]), ["b offline"]);
    assert_eq!(tell(&["a serving"]), [""; 0]);
}

#[test]
fn holds_and_the_link_are_told_once() {
    let mut teller = Teller::default();
    let hold = || Some(Hold::default());
    assert_eq!(
        tell(&mut teller, &["a serving"], hold()),
        ["start 1/1", "held", "a serving"]
    );
    assert_eq!(tell(&mut teller, &["a serving"], hold()), [""; 0]);
    assert_eq!(teller.link_lost(), [Event::LinkLost]);
    assert_eq!(teller.link_lost(), []);
    assert!(teller.link_is_lost());
    assert_eq!(
        tell(&mut teller, &["a serving"], None),
        ["link back", "released"]
    );
    assert!(!teller.link_is_lost());
}
