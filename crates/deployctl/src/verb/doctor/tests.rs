//! The checks, on surveys put together by hand.

use deploy_zk::acl::{Grant, Rights};
use deploy_zk::znode::{Stat, Znode};
use jiff::Timestamp;

use super::finding::Finding;
use super::servers::{self, Server};
use super::survey::{Found, Survey};
use super::{clocks, grants, hosts, znodes};
use crate::out::{Color, Format, Out, Volume};

const READ: Rights = Rights::READ;
const AGENTS: Rights = Rights::READ
    .and(Rights::WRITE)
    .and(Rights::CREATE)
    .and(Rights::DELETE);

#[track_caller]
fn check(findings: &[Finding], expected: &[&str]) {
    let out = Out::new(Format::Text, Volume::Normal, Color::Never);
    let lines: Vec<String> = findings
        .iter()
        .flat_map(|finding| finding.lines(&out))
        .collect();
    assert_eq!(lines, expected);
}

fn serves(mode: &str, version: &str) -> Server {
    Server::Serves {
        version: version.to_owned(),
        mode: mode.to_owned(),
    }
}

fn named(servers: Vec<Server>) -> Vec<(String, Server)> {
    let name = |(index, server)| (format!("zk{}:2181", index + 1), server);
    servers.into_iter().enumerate().map(name).collect()
}

#[test]
fn the_answer_to_srvr_is_read() {
    let answer = "Zookeeper version: 3.8.0-5a02a05eddb59aee6ac762f7ea82e92a68eb9c0f, built on \
                  2022\nLatency min/avg/max: 0/0.5/9\nMode: follower\nNode count: 5\n";
    assert_eq!(servers::read(answer), serves("follower", "3.8.0"));
    let refused = "srvr is not executed because it is not in the whitelist.\n";
    assert_eq!(servers::read(refused), Server::Mute);
    let waits = "This ZooKeeper instance is not currently serving requests\n";
    assert!(matches!(servers::read(waits), Server::Down(_)));
    assert_eq!(servers::read(""), Server::Mute);
}

#[test]
fn servers_are_judged_together() {
    let judge = |list| vec![servers::judge(&named(list))];
    let (leader, follower) = (serves("leader", "3.8.0"), serves("follower", "3.8.0"));
    check(
        &judge(vec![follower.clone(), leader.clone(), follower.clone()]),
        &["ok    zookeeper  3 of 3 answer, 3.8.0, zk2:2181 leads"],
    );
    check(
        &judge(vec![serves("standalone", "3.8.0")]),
        &["ok    zookeeper  1 of 1 answer, 3.8.0, standalone"],
    );
    check(
        &judge(vec![
            leader.clone(),
            Server::Down("no answer within 2s".to_owned()),
        ]),
        &[
            "warn  zookeeper  1 of 2 answer, 3.8.0, zk1:2181 leads",
            "        zk2:2181: no answer within 2s",
            "        tip: without most of them nothing can be changed; look at the log of the one that is down",
        ],
    );
    check(
        &judge(vec![leader, serves("follower", "3.9.1")]),
        &[
            "warn  zookeeper  2 of 2 answer, of different versions: 3.8.0, 3.9.1, zk1:2181 leads",
            "        tip: bring all servers to one version",
        ],
    );
    check(
        &judge(vec![serves("standalone", "3.8.0"), follower]),
        &[
            "FAIL  zookeeper  not one ensemble; each has a tree of its own: zk1:2181",
            "        tip: name the servers of one ensemble: --zk HOSTS/ROOT; the same in deployd.toml",
        ],
    );
    check(
        &judge(vec![Server::Mute]),
        &[
            "ok    zookeeper  1 of 1 answer; their version is not told (srvr is not in 4lw.commands.whitelist)",
        ],
    );
}

fn digest(user: &str, rights: Rights) -> Grant {
    Grant {
        scheme: "digest".to_owned(),
        id: format!("{user}:hash-of-{user}"),
        rights,
    }
}

fn masked(user: &str, rights: Rights) -> Grant {
    Grant {
        id: format!("{user}:x"),
        ..digest(user, rights)
    }
}

fn common() -> Vec<Grant> {
    vec![
        digest("ops", Rights::ALL),
        digest("agents", READ),
        Grant::anyone(READ),
    ]
}

/// Znodes below `/deploy`, each with a list.
fn protected(znodes: &[(&str, Vec<Grant>)]) -> Survey {
    let found = |(path, grants): &(&str, Vec<Grant>)| Found {
        path: format!("/deploy{path}"),
        znode: Some(Znode {
            data: Vec::new(),
            stat: Stat::default(),
        }),
        grants: Some(grants.clone()),
    };
    Survey {
        root: "/deploy".to_owned(),
        znodes: znodes.iter().map(found).collect(),
        is_cut: false,
    }
}

#[test]
fn a_tree_as_init_acl_makes_it_is_good() {
    let theirs = vec![
        digest("ops", Rights::ALL),
        digest("agents", AGENTS),
        Grant::anyone(READ),
    ];
    let made = vec![Grant::anyone(READ), digest("agents", Rights::ALL)];
    let survey = protected(&[
        ("", common()),
        ("/web", common()),
        ("/web/enabled", common()),
        ("/web/hosts", theirs.clone()),
        ("/web/hosts/h1", made.clone()),
        ("/web/hosts/h2", theirs),
        ("/web/leases/h1-0000000001", made),
    ]);
    let good = "ok    access     ops may change /deploy, agents hosts and leases, others read";
    check(&grants::check(&survey), &[good]);
    // Who may not change a list is shown no hashes.
    let hidden = |grant: Grant| match grant.scheme.as_str() {
        "digest" => masked(grant.id.split(':').next().unwrap(), grant.rights),
        _ => grant,
    };
    let znodes = survey.znodes.into_iter().map(|found| Found {
        grants: Some(found.grants.unwrap().into_iter().map(hidden).collect()),
        ..found
    });
    let survey = Survey {
        root: "/deploy".to_owned(),
        znodes: znodes.collect(),
        is_cut: false,
    };
    check(&grants::check(&survey), &[good]);
}

#[test]
fn an_open_tree_is_told_once() {
    let open = vec![Grant::anyone(Rights::ALL)];
    let survey = protected(&[("", open.clone()), ("/web", open)]);
    check(
        &grants::check(&survey),
        &[
            "warn  access     anyone who reaches ZooKeeper may change everything below /deploy",
            "        tip: deployctl init --acl --auth-file operators.auth --agents agents.auth   (docs/security.md)",
        ],
    );
}

#[test]
fn holes_and_missing_grants_are_told_by_path() {
    let tip = "        tip: deployctl init --acl --auth-file operators.auth --agents agents.auth   (docs/security.md)";
    let theirs = vec![
        digest("ops", Rights::ALL),
        digest("agents", AGENTS),
        Grant::anyone(READ),
    ];
    let mut hole = common();
    hole[2] = Grant::anyone(Rights::ALL);
    let mut agent = common();
    agent[1] = digest("agents", AGENTS);
    let survey = protected(&[
        ("", common()),
        ("/web", common()),
        ("/web/enabled", hole),
        ("/web/enabled/canary", agent),
        ("/web/hosts", common()),
        ("/web/hosts/h1", vec![digest("ops", Rights::ALL)]),
        ("/web/leases", theirs),
        (
            "/web/policy",
            vec![digest("ops", Rights::ALL), Grant::anyone(READ)],
        ),
        ("/web/roles", vec![digest("eve", Rights::ALL)]),
    ]);
    check(
        &grants::check(&survey),
        &[
            "FAIL  access     anyone may change 1 znode",
            "        /deploy/web/enabled: anyone may cdrwa",
            tip,
            "FAIL  access     2 grants too much",
            "        /deploy/web/enabled/canary: agents may cdrw, not just r",
            "        /deploy/web/roles: eve may cdrwa, not just nothing",
            tip,
            "FAIL  access     6 grants missing",
            "        /deploy/web/hosts: agents may r, and needs cdrw",
            "        /deploy/web/hosts/h1: agents may nothing, and needs cdrw",
            "        /deploy/web/policy: agents may nothing, and needs r",
            "        /deploy/web/roles: ops may nothing, and needs cdrwa",
            "        /deploy/web/roles: agents may nothing, and needs r",
            "        and 1 more; all: --output json",
            tip,
        ],
    );
}

#[test]
fn what_can_not_be_read_is_not_vouched_for() {
    let mut survey = protected(&[("", common()), ("/web", common())]);
    survey.znodes[1].grants = None;
    check(
        &grants::check(&survey),
        &[
            "warn  access     1 znode can't be read with these credentials",
            "        /deploy/web",
            "        tip: --auth-file FILE with both identities, that of the operators and of the agents",
        ],
    );
}

const NOW_MS: i64 = 1_795_000_000_000;

fn now() -> Timestamp {
    Timestamp::from_millisecond(NOW_MS).unwrap()
}

/// Znodes below `/deploy` with data, written some milliseconds ago.
fn written(znodes: &[(&str, &str, i64)]) -> Survey {
    let found = |(path, data, age_ms): &(&str, &str, i64)| Found {
        path: format!("/deploy{path}"),
        znode: Some(Znode {
            data: data.as_bytes().to_vec(),
            stat: Stat {
                mtime_ms: NOW_MS - age_ms,
                ..Stat::default()
            },
        }),
        grants: None,
    };
    Survey {
        root: "/deploy".to_owned(),
        znodes: znodes.iter().map(found).collect(),
        is_cut: false,
    }
}

/// A report of a host whose clock shows `at_ms` before now.
fn report(host: &str, at_ms: i64, more: &str) -> String {
    let at = Timestamp::from_millisecond(NOW_MS - at_ms).unwrap();
    let at = deploy_core::wire::time::render(at);
    format!(
        r#"{{"v":1,"host":"{host}","service":"web","role":null,"agent":"0.1.0","phase":"serving","at":"{at}"{more}}}"#
    )
}

const ALIVE: &str = r#"{"v":1,"agent":"0.1.0"}"#;

#[test]
fn clocks_are_compared_by_what_is_written_anyway() {
    let (fine, fast, slow) = (
        report("h1", 60_000, ""),
        report("h2", -30_000, ""),
        report("h3", 70_000, ""),
    );
    let survey = written(&[
        ("", "", 90_000),
        ("/web/hosts/h1", &fine, 59_500),
        ("/web/alive/h1", ALIVE, 80_000),
    ]);
    let services = survey.services();
    check(
        &[clocks::check(&survey, &services, now())],
        &["ok    clocks     1 host on ZooKeeper's time; ours is not behind, and at most 1m ahead"],
    );
    let survey = written(&[
        ("/web/hosts/h1", &fine, 59_500),
        ("/web/alive/h1", ALIVE, 80_000),
        ("/web/hosts/h2", &fast, 10_000),
        ("/web/alive/h2", ALIVE, 80_000),
        ("/web/hosts/h3", &slow, -3_000),
        ("/web/alive/h3", ALIVE, 80_000),
    ]);
    let services = survey.services();
    check(
        &[clocks::check(&survey, &services, now())],
        &[
            "warn  clocks     3 clocks off; holds end and times are shown by them",
            "        this machine: 3s behind ZooKeeper's",
            "        h2 (web): 40s ahead of ZooKeeper's",
            "        h3 (web): 1m13s behind ZooKeeper's, or its last report was that late",
            "        tip: timedatectl, there; ZooKeeper's own may be the wrong one if all are off",
        ],
    );
}

#[test]
fn hosts_are_judged_by_what_they_report() {
    let low = report("h1", 1000, r#","trust":"signed","disk_free":1000000"#);
    let plain = report(
        "h2",
        1000,
        r#","trust":"zookeeper","disk_free":99000000000"#,
    );
    let survey = written(&[
        ("/web/hosts/h1", &low, 500),
        ("/web/alive/h1", ALIVE, 500),
        ("/web/hosts/h2", &plain, 500),
        ("/web/alive/h2", r#"{"v":1,"agent":"0.0.9"}"#, 500),
        ("/web/hosts/h3", &report("h3", 7_200_000, ""), 500),
        ("/web/roles/h4", r#"{"v":1,"role":"canary"}"#, 500),
    ]);
    let services = survey.services();
    let found = [
        Some(hosts::agents(&services, now())),
        hosts::versions(&services),
        hosts::trust(&services),
        hosts::disk(&services),
        hosts::blocked(&services),
    ];
    let ours = env!("CARGO_PKG_VERSION");
    check(
        &found.into_iter().flatten().collect::<Vec<_>>(),
        &[
            "warn  agents     2 of 4 hosts have no agent",
            "        h3 (web): no session, last report 2h ago",
            "        h4 (web): never reported",
            "        tip: systemctl status deployd, there",
            "        tip: where the machine is gone: deployctl host forget HOST",
            &format!("warn  versions   agents are of 2 versions, deployctl {ours}"),
            "        0.0.9: h2 (web)",
            "        0.1.0: h1 (web)",
            "        tip: install one version everywhere; services keep running meanwhile",
            "warn  signatures 1 of 2 hosts take any build that ZooKeeper names: who may write there, may run code",
            "        h2 (web)",
            "        tip: builds.trusted_keys in deployd.toml   (docs/security.md)",
            "FAIL  disk       less than 1.0 GiB is free on 1 host",
            "        h1 (web): 976.6 KiB free",
            "        tip: there: lower builds.keep, or clean the disk that `dir` is on",
        ],
    );
}

#[test]
fn an_agent_that_lives_and_says_nothing_is_told() {
    let old = report("h1", 1_200_000, "");
    let survey = written(&[
        ("/web/hosts/h1", &old, 1_200_000),
        ("/web/alive/h1", ALIVE, 500),
        ("/web/hosts/h2", "", 500),
        ("/web/alive/h2", ALIVE, 500),
    ]);
    check(
        &[hosts::agents(&survey.services(), now())],
        &[
            "warn  agents     2 of 2 agents are silent",
            "        h1 (web): it has a session, and its last report is 20m old",
            "        h2 (web): it has a session, and no report that can be read",
            "        tip: journalctl -u deployd, there",
        ],
    );
}

#[test]
fn blocked_hosts_say_what_blocks_them() {
    let blocked = report(
        "h1",
        1000,
        r#","error":{"step":"fetch","kind":"blocked","message":"no room"}"#,
    )
    .replace("serving", "blocked");
    let survey = written(&[
        ("/web/hosts/h1", &blocked, 500),
        ("/web/alive/h1", ALIVE, 500),
    ]);
    check(
        &hosts::blocked(&survey.services())
            .into_iter()
            .collect::<Vec<_>>(),
        &[
            "warn  blocked    1 host blocked by something outside the build",
            "        h1 (web): fetch: no room",
            "        tip: deployctl host show HOST; it is tried again by itself",
        ],
    );
}

#[test]
fn znodes_are_read_as_those_read_them_who_need_them() {
    let large = format!(r#"{{"v":1,"x":"{}"}}"#, "y".repeat(50_000));
    let survey = written(&[
        ("", "", 0),
        ("/web", "", 0),
        ("/web/enabled", "{", 0),
        ("/web/enabeld", "r1", 0),
        ("/web/policy", &large, 0),
        ("/web/roles/h1", r#"{"v":2,"role":"x"}"#, 0),
    ]);
    check(
        &znodes::check(&survey),
        &[
            "FAIL  znodes     1 znode can't be read",
            "        /deploy/web/enabled: the target can't be read: EOF while parsing an object at line 1 column 1",
            "        tip: deployctl inspect ZNODE; write it again, or delete it with zkCli",
            "warn  znodes     1 znode by a newer version",
            "        /deploy/web/roles/h1: the role has version 2, and this program knows 1: it is too old",
            "        tip: use a newer deployctl",
            "warn  znodes     1 znode nearly too large",
            "        /deploy/web/policy: 48.8 KiB, and above 64.0 KiB nobody reads it",
            "warn  znodes     1 znode that nothing of ours reads",
            "        /deploy/web/enabeld",
            "        tip: a slip of the pen? deployctl inspect ZNODE",
        ],
    );
}

#[test]
fn leases_of_the_dead_and_old_holds_are_told() {
    let lease = r#"{"v":1,"host":"h1","nonce":"n"}"#;
    let at = |age_ms: i64| {
        let at = Timestamp::from_millisecond(NOW_MS - age_ms).unwrap();
        deploy_core::wire::time::render(at)
    };
    let old = format!(
        r#"{{"v":1,"by":"dana@x","at":"{}","why":"why not"}}"#,
        at(3 * 86_400_000)
    );
    let young = format!(r#"{{"v":1,"at":"{}"}}"#, at(1000));
    let survey = written(&[
        ("/api/hold", &young, 0),
        ("/web/hold", &old, 0),
        ("/web/hosts/h1", &report("h1", 0, ""), 0),
        ("/web/alive/h2", ALIVE, 0),
        ("/web/leases/h2-0000000009", lease, 0),
        ("/web/leases/h1-0000000007", lease, 0),
        ("/web/leases/h9-0000000011", lease, 0),
    ]);
    let services = survey.services();
    check(
        &[znodes::leases(&services), znodes::holds(&services, now())],
        &[
            "warn  leases     2 leases of dead hosts",
            "        h1 (web) has no agent, and holds a lease, so that others wait",
            "        h9 (web) has no agent, and waits for a lease",
            "        tip: if it is out of service anyway: deployctl lease break web h1",
            "        tip: if it is out of service anyway: deployctl lease break web h9",
            "warn  holds      1 hold old",
            "        web is held for 3d by dana: \"why not\", without an end",
            "        tip: deployctl unhold web",
        ],
    );
}
