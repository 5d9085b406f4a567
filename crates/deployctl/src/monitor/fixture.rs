//! A fleet halfway through a rollout, for the tests of the monitor.

use std::sync::Arc;

use deploy_core::name::{BuildName, HostName, ServiceName};
use deploy_core::rollout::{Host, State, Targets};
use deploy_core::wire::history::{Entry, Outcome};
use deploy_core::wire::hold::Hold;
use deploy_core::wire::policy::{Concurrency, Policy};
use deploy_core::wire::report::{ErrorReport, InstanceReport, Phase, Report, StepReport};
use deploy_core::wire::role::Role;
use deploy_core::wire::target::{Previous, Target};
use deploy_core::wire::time;
use deploy_core::znode::Root;
use jiff::{SignedDuration, Timestamp};

use super::model::{Appearance, Glyphs, Model, Over, Page, Pane, Rights, Show};
use super::source::{LinkSeen, News};
use super::update::{Event, update};
use crate::fleet::{Fleet, Lease, Slot};

/// The moment of every test.
pub(super) fn now() -> Timestamp {
    time::parse("2026-11-20T19:42:07Z").expect("it is a time")
}

/// A stored time so many seconds before the moment.
pub(super) fn ago(seconds: i64) -> Option<String> {
    let at = now().checked_sub(SignedDuration::from_secs(seconds));
    Some(time::render(at.expect("it is not long ago")))
}

/// A screen that knows nothing yet.
pub(super) fn blank(columns: u16, rows: u16) -> Model {
    Model {
        now: now(),
        size: (columns, rows),
        style: Appearance {
            is_colored: true,
            glyphs: Glyphs::Ascii,
        },
        rights: Rights::Change,
        place: "zk1:2181,zk2:2181,zk3:2181/deploy".to_owned(),
        by: "alice@laptop".to_owned(),
        link: LinkSeen::Reading,
        is_silent: false,
        answered_at: now(),
        services: Default::default(),
        refused: Default::default(),
        chosen: None,
        is_picked: false,
        host: None,
        pane: Pane::Services,
        page: Page::Fleet,
        show: Show::Folded,
        filter: String::new(),
        over: Over::Nothing,
        acting: None,
        note: None,
    }
}

/// A screen that has read these.
pub(super) fn model((columns, rows): (u16, u16), fleets: Vec<Fleet>) -> Model {
    let mut model = blank(columns, rows);
    for fleet in fleets {
        update(&mut model, Event::News(News::Fleet(Box::new(fleet))));
    }
    update(&mut model, Event::News(News::Link(LinkSeen::Current)));
    model
}

/// Three services, of which `web` has so many hosts and is halfway.
pub(super) fn story(size: (u16, u16), hosts: usize) -> Model {
    model(size, vec![web(hosts), api(), worker()])
}

pub(super) fn service(name: &str) -> ServiceName {
    ServiceName::parse(name).expect("it is a service")
}

pub(super) fn host(name: &str) -> HostName {
    HostName::parse(name).expect("it is a host")
}

pub(super) fn build(name: &str) -> BuildName {
    BuildName::parse(name).expect("it is a build")
}

/// A service that was never asked for anything.
pub(super) fn fleet(name: &str) -> Fleet {
    let service = service(name);
    let root = Root::parse("/deploy").expect("it is a root");
    Fleet {
        tree: root.service(&service),
        enabled: Slot::new(None),
        canary: Slot::new(None),
        state: State {
            service: service.clone(),
            targets: Targets::default(),
            hosts: Default::default(),
        },
        service,
        hold: None,
        policy: Ok(Policy {
            restart_concurrency: Concurrency::Hosts(2),
            ..Policy::default()
        }),
        leases: Vec::new(),
        history: Vec::new(),
    }
}

/// A target with its number, from a build before.
pub(super) fn target(name: &str, number: u64, before: &str) -> Target {
    Target {
        rollout: Some(number),
        previous: Some(Previous {
            build: build(before),
            artifact: None,
        }),
        by: Some("alice@laptop".to_owned()),
        at: ago(245),
        why: Some("checkout fix, PR 812".to_owned()),
        ..Target::of_build(build(name))
    }
}

/// What is written into the history.
pub(super) fn entry(kind: &str, builds: (&str, &str), seconds: i64, ended: Option<&str>) -> Entry {
    Entry {
        kind: kind.to_owned(),
        from: BuildName::parse(builds.0).ok(),
        to: BuildName::parse(builds.1).ok(),
        percent: None,
        host: None,
        by: Some("bo@ci".to_owned()),
        at: ago(seconds),
        why: None,
        nonce: None,
        outcome: ended.map(|result| Outcome {
            result: result.to_owned(),
            hosts: 12,
            total: Some(12),
            seconds: Some(372),
        }),
    }
}

/// A live host that reports this of rollout #142, r2417 to r2431.
pub(super) fn reporting(name: &str, phase: Phase, seconds: i64) -> Host {
    let serving = if phase == Phase::Serving {
        "r2431"
    } else {
        "r2417"
    };
    let instance = |number: u16| InstanceReport {
        unit: format!("web@{number}.service"),
        port: Some(8100 + number),
        build: Some(build(serving)),
        state: "serving".to_owned(),
        connections: None,
    };
    Host {
        role: Role::Fleet,
        alive: true,
        unreadable: None,
        report_mzxid: 1,
        report: Some(Arc::new(Report {
            host: host(name),
            service: service("web"),
            role: Some(Role::Fleet),
            agent: "0.1.0".to_owned(),
            phase,
            rollout: Some(142),
            target: Some(build("r2431")),
            current: Some(build(serving)),
            serving: Some(build(serving)),
            previous: Some(build("r2409")),
            step: None,
            instances: (1..=4).map(instance).collect(),
            lease: false,
            trust: None,
            releases: vec![build("r2431"), build("r2417")],
            error: None,
            disk_free: Some(12_884_901_888),
            at: ago(seconds),
        })),
    }
}

/// Gives a host a step with so much done of so much.
pub(super) fn at_step(mut host: Host, name: &str, (done, total): (u64, u64)) -> Host {
    if let Some(report) = host.report.as_mut().map(Arc::make_mut) {
        report.step = Some(StepReport {
            name: name.to_owned(),
            attempt: 1,
            done: (total > 0).then_some(done),
            total: (total > 0).then_some(total),
            since: report.at.clone(),
            detail: None,
        });
    }
    host
}

/// A host that failed, and was put back.
pub(super) fn failed(name: &str, seconds: i64) -> Host {
    let mut host = reporting(name, Phase::Failed, seconds);
    if let Some(report) = host.report.as_mut().map(Arc::make_mut) {
        report.lease = true;
        report.error = Some(ErrorReport {
            step: "probe".to_owned(),
            kind: "rejected".to_owned(),
            message: "http://127.0.0.1:8101/healthz answers 500 for 20 s".to_owned(),
            log: vec![
                "19:41:44 ERROR settings: KeyError: 'PAYMENTS_URL'".to_owned(),
                "19:41:44 ERROR worker\u{1b}[31m exited with status 3".to_owned(),
            ],
        });
    }
    host
}

/// The host number `index` of `hosts`: with 12 of them it is the fleet of the screens in the docs.
fn web_host(name: &str, index: usize, hosts: usize) -> Host {
    match index * 12 / hosts.max(12) {
        6 => {
            let mut host = at_step(reporting(name, Phase::Restarting, 12), "drain", (1, 4));
            if let Some(report) = host.report.as_mut().map(Arc::make_mut) {
                report.lease = true;
                report.instances[1].state = "draining".to_owned();
                report.instances[1].connections = Some(41);
            }
            host
        }
        7 => at_step(
            reporting(name, Phase::Fetching, 9),
            "fetch",
            (106_000_000, 200_000_000),
        ),
        8 if hosts <= 12 || index.is_multiple_of(20) => failed(name, 22),
        8..=10 => reporting(name, Phase::Waiting, 100),
        11 if hosts <= 12 || index.is_multiple_of(50) => Host {
            alive: false,
            ..reporting(name, Phase::Waiting, 370)
        },
        _ => reporting(name, Phase::Serving, 231),
    }
}

/// Halfway to r2431.
pub(super) fn web(hosts: usize) -> Fleet {
    let mut fleet = fleet("web");
    fleet.state.targets.enabled = Some(target("r2431", 142, "r2417"));
    for index in 0..hosts {
        // Few hosts: the failed one among them.
        let story = if hosts < 12 {
            [0, 6, 8][index % 3]
        } else {
            index
        };
        let name = if hosts > 99 {
            format!("web-{:04}", index + 1)
        } else {
            format!("web-{:02}", index + 1)
        };
        let mut of = web_host(&name, story, hosts);
        if index < 2 {
            of.role = Role::Canary;
        }
        fleet.state.hosts.insert(host(&name), of);
    }
    let waiting: Vec<String> = fleet
        .state
        .hosts
        .iter()
        .filter(|(_, host)| host.report.as_ref().is_some_and(|r| r.lease))
        .chain(fleet.state.hosts.iter().filter(|(_, host)| {
            host.alive
                && host
                    .report
                    .as_ref()
                    .is_some_and(|r| r.phase == Phase::Waiting)
        }))
        .map(|(name, _)| name.to_string())
        .collect();
    let leases = waiting.into_iter().enumerate();
    fleet.leases = leases
        .filter_map(|(at, name)| Lease::of_name(format!("{name}-{at:010}")))
        .collect();
    let mut newest = entry("promote", ("r2417", "r2431"), 245, None);
    newest.by = Some("alice@laptop".to_owned());
    newest.why = Some("checkout fix, PR 812".to_owned());
    fleet.history = vec![
        (142, newest),
        (
            140,
            entry("promote", ("r2409", "r2417"), 9600, Some("done")),
        ),
    ];
    fleet
}

/// A canary is in service.
pub(super) fn api() -> Fleet {
    let mut fleet = fleet("api");
    fleet.state.targets.enabled = Some(target("r881", 90, "r880"));
    fleet.state.targets.canary = Some(target("r884", 91, "r881"));
    for index in 1..=8 {
        let name = format!("api-{index}");
        let mut of = reporting(&name, Phase::Serving, 300);
        let (number, served) = if index < 3 {
            (91, "r884")
        } else {
            (90, "r881")
        };
        of.role = if index < 3 { Role::Canary } else { Role::Fleet };
        if let Some(report) = of.report.as_mut().map(Arc::make_mut) {
            report.rollout = Some(number);
            report.target = Some(build(served));
            report.serving = Some(build(served));
        }
        fleet.state.hosts.insert(host(&name), of);
    }
    fleet.history = vec![(91, entry("canary", ("r881", "r884"), 300, Some("done")))];
    fleet
}

/// Somebody holds it.
pub(super) fn worker() -> Fleet {
    let mut fleet = fleet("worker");
    fleet.state.targets.enabled = Some(target("r2431", 142, "r1190"));
    for index in 1..=4 {
        let name = format!("job-{index}");
        let of = reporting(&name, Phase::Serving, 15_000);
        fleet.state.hosts.insert(host(&name), of);
    }
    fleet.hold = Some(Hold {
        by: Some("dana@desk".to_owned()),
        at: ago(15_120),
        why: Some("queue migration".to_owned()),
        until: Some("2026-11-20T22:00:00Z".to_owned()),
    });
    fleet.history = vec![
        (
            139,
            entry("rollback", ("r1191", "r1190"), 15_200, Some("done")),
        ),
        (
            138,
            entry("deploy", ("r1190", "r1191"), 15_300, Some("rolled back")),
        ),
    ];
    fleet
}
