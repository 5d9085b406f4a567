//! The frames, character by character.

use deploy_core::name::{BuildName, HostName, ServiceName};
use deploy_core::rollout::Standing;
use deploy_core::rollout::judge::Goal;
use deploy_core::wire::hold::Hold;
use deploy_core::wire::report::{ErrorReport, StepReport};
use deploy_core::znode::Root;
use jiff::{SignedDuration, Timestamp};

use super::{Block, Room};
use crate::out::{Color, Format, Out, Volume};
use crate::wait::Rollout;
use crate::wait::event::{Event, HostEvent, Tally};

fn build(name: &str) -> BuildName {
    BuildName::parse(name).unwrap()
}

fn rollout() -> Rollout {
    let service = ServiceName::parse("web").unwrap();
    Rollout {
        tree: Root::parse("/deploy").unwrap().service(&service),
        service,
        number: Some(142),
        kind: "canary".to_owned(),
        from: Some(build("r2417")),
        to: Some(build("r2431")),
        by: Some("alice@laptop".to_owned()),
        at: None,
        why: Some("checkout fix, PR 812".to_owned()),
        goal: Goal::Target {
            rollout: Some(142),
            build: build("r2431"),
        },
    }
}

fn at(second: i64) -> Timestamp {
    Timestamp::UNIX_EPOCH + SignedDuration::from_secs(second)
}

fn tally(there: usize, working: usize, total: usize) -> Tally {
    Tally {
        total,
        there,
        working,
        ..Tally::default()
    }
}

fn host(name: &str, standing: Standing, phase: &str, tally: &Tally) -> HostEvent {
    HostEvent {
        host: HostName::parse(name).unwrap(),
        standing,
        is_back: false,
        phase: Some(phase.to_owned()),
        step: None,
        error: None,
        unreadable: None,
        serving: Some(build("r2431")),
        instances: (4, 4),
        tally: tally.clone(),
    }
}

fn step(name: &str, (done, total): (u64, u64), detail: &str) -> Option<StepReport> {
    Some(StepReport {
        name: name.to_owned(),
        attempt: 1,
        done: Some(done),
        total: Some(total),
        since: None,
        detail: Some(detail.to_owned()),
    })
}

#[track_caller]
fn check(block: &Block, (columns, rows): (usize, usize), expected: &[&str]) {
    let out = Out::new(Format::Text, Volume::Normal, Color::Never);
    let room = Room { columns, rows };
    let drawn = block.draw(&rollout(), room, (&out, at(18)));
    assert_eq!(drawn, expected);
    let widest = drawn.iter().map(|line| line.chars().count()).max();
    assert!(widest <= Some(columns), "{widest:?} is more than {columns}");
    assert!(drawn.len() <= rows, "{} is more than {rows}", drawn.len());
}

fn told(events: Vec<(i64, Event)>) -> Block {
    let mut block = Block::default();
    for (second, event) in events {
        block.update(&event, at(second));
    }
    block
}

#[test]
fn hosts_are_drawn_as_they_stand() {
    let going = tally(1, 2, 3);
    let block = told(vec![
        (0, Event::Start(tally(0, 3, 3))),
        (
            2,
            Event::Host(Box::new(host(
                "web-02",
                Standing::Unseen,
                "x",
                &tally(0, 3, 3),
            ))),
        ),
        (
            10,
            Event::Host(Box::new(host("web-01", Standing::Done, "serving", &going))),
        ),
        (
            12,
            Event::Host(Box::new(HostEvent {
                step: step("restart", (2, 4), "draining 41 connections"),
                instances: (4, 2),
                ..host("web-02", Standing::Working, "restarting", &going)
            })),
        ),
        // Another step of the same: the time goes on.
        (
            16,
            Event::Host(Box::new(HostEvent {
                step: step("restart", (3, 4), "draining 7 connections"),
                instances: (4, 3),
                ..host("web-02", Standing::Working, "restarting", &going)
            })),
        ),
        (
            17,
            Event::Host(Box::new(host(
                "web-03",
                Standing::Waiting,
                "waiting",
                &going,
            ))),
        ),
    ]);
    check(
        &block,
        (90, 24),
        &[
            "web r2417 -> r2431  canary #142 by alice \"checkout fix, PR 812\"",
            "  ok web-01  serving        4/4      8s  r2431",
            "  >> web-02  restarting     3/4      6s  [##########....] restart 3 of 4: draining 7 conn>",
            "  .. web-03  waiting        4/4      1s",
            "1/3 there, 2 working; 18s; Ctrl-C detaches, the rollout goes on",
        ],
    );
    check(
        &block,
        (50, 24),
        &[
            "web r2417 -> r2431  canary #142 by alice \"checkou>",
            "  ok web-01  serving        4/4      8s  r2431",
            "  >> web-02  restarting     3/4      6s  [#######>",
            "  .. web-03  waiting        4/4      1s",
            "1/3 there, 2 working; 18s; Ctrl-C detaches, the r>",
        ],
    );
}

#[test]
fn what_needs_eyes_stays_where_there_is_no_room() {
    let tally = Tally {
        failed: 1,
        offline: vec![HostName::parse("web-40").unwrap()],
        ..tally(38, 0, 40)
    };
    let mut events = vec![(0, Event::Start(tally.clone()))];
    for number in 1..=38 {
        let name = format!("web-{number:02}");
        events.push((
            5,
            Event::Host(Box::new(host(&name, Standing::Done, "serving", &tally))),
        ));
    }
    let failed = HostEvent {
        error: Some(ErrorReport {
            step: "probe".to_owned(),
            kind: "rejected".to_owned(),
            message: "127.0.0.1:8001/healthz -> 500\u{1b}[2J".to_owned(),
            log: Vec::new(),
        }),
        ..host("web-39", Standing::Failed, "failed", &tally)
    };
    events.push((9, Event::Host(Box::new(failed))));
    events.push((
        9,
        Event::Host(Box::new(host("web-40", Standing::Offline, "x", &tally))),
    ));
    let block = told(events);
    check(
        &block,
        (80, 8),
        &[
            "web r2417 -> r2431  canary #142 by alice \"checkout fix, PR 812\"",
            r"  XX web-39  FAILED         4/4      9s  probe: 127.0.0.1:8001/healthz -> 500\u>",
            "  ?? web-40  offline        4/4      9s  its agent is gone",
            "  ok web-01  serving        4/4     13s  r2431",
            "  +  37 more: 37 serving",
            "38/40 there, 1 failed, 1 offline (web-40); 18s; Ctrl-C detaches, the rollout go>",
        ],
    );
}

#[test]
fn a_hold_and_a_lost_link_stand_above_the_hosts() {
    let hold = Hold {
        by: Some("dana@x".to_owned()),
        why: Some("migration".to_owned()),
        ..Hold::default()
    };
    let mut block = told(vec![
        (0, Event::Start(tally(0, 1, 1))),
        (3, Event::Held(hold)),
        (8, Event::LinkLost),
    ]);
    check(
        &block,
        (80, 24),
        &[
            "web r2417 -> r2431  canary #142 by alice \"checkout fix, PR 812\"",
            "held by dana: \"migration\": nothing new starts",
            "ZooKeeper is lost for 10s; the rollout goes on, this was before",
            "0/1 there, 1 working; 18s; Ctrl-C detaches, the rollout goes on",
        ],
    );
    block.update(&Event::LinkBack, at(9));
    block.update(&Event::Released, at(9));
    check(
        &block,
        (80, 24),
        &[
            "web r2417 -> r2431  canary #142 by alice \"checkout fix, PR 812\"",
            "0/1 there, 1 working; 18s; Ctrl-C detaches, the rollout goes on",
        ],
    );
}
