//! `init --acl`: who may change what, tried by those who may and those who may not.

mod ctl_rig;

use std::os::unix::fs::PermissionsExt;

use ctl_rig::Rig;
use deploy_core::name::{BuildName, ServiceName};
use deploy_core::znode::ServiceTree;
use deploy_zk::config::{Config, DigestAuth};
use deploy_zk::error::Error;
use deploy_zk::zk::Zk;
use deploy_zk::znode::{Expect, Mode};

/// Opens a session as somebody, or as nobody.
fn session(rig: &Rig, who: Option<&str>) -> Zk {
    let mut config = Config::new(&[&rig.server.address()]);
    config.auth = who.and_then(DigestAuth::parse).into_iter().collect();
    Zk::start(config)
}

/// Writes a file that others can't read.
fn secret(rig: &Rig, name: &str, lines: &str) -> String {
    let file = rig.file(name, lines.as_bytes());
    std::fs::set_permissions(&file, PermissionsExt::from_mode(0o600)).expect("it is ours");
    file
}

/// Says whether a session may write a znode, which is there.
async fn may_write(zk: &Zk, path: &str) -> bool {
    match zk.set(path, b"{\"v\":1}", Expect::Any).await {
        Ok(_) => true,
        Err(Error::NoAuth(_)) => false,
        Err(error) => panic!("{path}: {error}"),
    }
}

async fn may_create(zk: &Zk, path: &str) -> bool {
    match zk.create(path, b"", Mode::Persistent).await {
        Ok(()) => true,
        Err(Error::NoAuth(_)) => false,
        Err(error) => panic!("{path}: {error}"),
    }
}

/// What everybody else may do.
struct Tree {
    rig: Rig,
    web: ServiceTree,
    operators: String,
}

/// Makes a tree with lists, and a service in it.
async fn protected(name: &str, world: &str) -> Option<Tree> {
    let rig = Rig::start(name).await?;
    // Both, as operators have who are to read what agents write.
    let operators = secret(&rig, "operators", "ops:one\nagents:two\n");
    let agents = secret(&rig, "agents", "agents:two\n");
    rig.ctl(&format!(
        "init --acl --auth-file {operators} --agents {agents} --world {world}"
    ))
    .await
    .is(0)
    .says(&["operators everything, agents reports and leases"]);
    let archive = rig.file("r1", b"archive");
    let add = format!("build add web r1 --url https://b/r1 --file {archive}");
    rig.ctl(&add).await.is(7).says(&["NoAuth"]);
    rig.ctl(&format!("{add} --auth-file {operators}"))
        .await
        .is(0);
    let web = rig
        .root
        .service(&ServiceName::parse("web").expect("a good name"));
    Some(Tree {
        rig,
        web,
        operators,
    })
}

#[tokio::test]
async fn agents_write_reports_and_leases_and_nothing_else() {
    let Some(Tree {
        rig,
        web,
        operators,
    }) = protected("access", "read").await
    else {
        return;
    };
    let deploy = "deploy web r1 --detach --force";
    rig.ctl(deploy).await.is(7).says(&["NoAuth"]);
    rig.ctl(&format!("{deploy} --auth-file {operators}"))
        .await
        .is(0);

    let agent = session(&rig, Some("agents:two"));
    let report = format!("{}/h1", web.hosts());
    let lease = format!("{}/h1-0000000000", web.leases());
    for path in [&report, &lease] {
        assert!(may_create(&agent, path).await, "{path}");
        assert!(may_write(&agent, path).await, "{path}");
    }
    assert!(may_create(&agent, &format!("{report}/alive")).await);
    let forbidden = [
        web.enabled(),
        web.build(&BuildName::parse("r1").expect("a good name")),
    ];
    for path in &forbidden {
        assert!(!may_write(&agent, path).await, "{path}");
    }
    for path in [web.hold(), web.canary(), format!("{}/retry", web.path())] {
        assert!(!may_create(&agent, &path).await, "{path}");
    }
    assert!(matches!(
        agent.delete(&web.enabled(), Expect::Any).await,
        Err(Error::NoAuth(_))
    ));
    // Nor may an agent make itself one that may.
    let open = [deploy_zk::acl::Grant::anyone(deploy_zk::acl::Rights::ALL)];
    for path in [web.enabled(), web.hosts()] {
        assert!(matches!(
            agent.set_acl(&path, &open).await,
            Err(Error::NoAuth(_))
        ));
    }

    for who in [None, Some("agents:wrong"), Some("ops:two")] {
        let stranger = session(&rig, who);
        assert!(
            stranger.get(&web.enabled()).await.is_ok(),
            "everybody may read"
        );
        for path in forbidden.iter().chain([&report, &lease]) {
            assert!(!may_write(&stranger, path).await, "{who:?} {path}");
        }
    }
    // An operator takes away what an agent has left.
    rig.ctl(&format!("lease break web h1 --yes --auth-file {operators}"))
        .await
        .is(0);
}

#[tokio::test]
async fn nobody_else_reads_where_that_is_wanted() {
    let Some(Tree {
        rig,
        web,
        operators,
    }) = protected("access-none", "none").await
    else {
        return;
    };
    let agent = session(&rig, Some("agents:two"));
    let report = format!("{}/h1", web.hosts());
    assert!(may_create(&agent, &report).await);
    for who in [None, Some("agents:wrong")] {
        let stranger = session(&rig, who);
        for path in [web.path(), &web.hosts(), &report] {
            assert!(
                matches!(stranger.get(path).await, Err(Error::NoAuth(_))),
                "{path}"
            );
        }
    }
    rig.ctl("status").await.is(7).says(&["--auth-file FILE"]);
    rig.ctl(&format!("status web --auth-file {operators}"))
        .await
        .is(0);
}

#[tokio::test]
async fn an_open_tree_is_closed_later_and_mistakes_are_told() {
    let Some(rig) = Rig::start("access-later").await else {
        return;
    };
    rig.ctl("init").await.is(0);
    let archive = rig.file("r1", b"archive");
    rig.ctl(&format!(
        "build add web r1 --url https://b/r1 --file {archive}"
    ))
    .await
    .is(0);
    let web = rig
        .root
        .service(&ServiceName::parse("web").expect("a good name"));
    let nobody = session(&rig, None);
    let old = format!("{}/h0", web.hosts());
    nobody.create_parents(&old).await.expect("the tree is open");
    assert!(may_create(&nobody, &old).await);

    let operators = secret(&rig, "operators", "ops:one\n");
    let agents = secret(&rig, "agents", "agents:two\n");
    rig.ctl(&format!("init --acl --agents {agents}"))
        .await
        .is(2)
        .says(&["who the operators are", "--auth-file FILE"]);
    rig.ctl(&format!(
        "init --acl --agents {operators} --auth-file {operators}"
    ))
    .await
    .is(2)
    .says(&["the operators' password"]);
    rig.ctl("init --acl").await.is(2);
    let close = format!("init --acl --agents {agents} --auth-file {operators}");
    rig.ctl(&close).await.is(0).says(&["access is set on"]);
    assert!(
        !may_write(
            &nobody,
            &web.build(&BuildName::parse("r1").expect("a good name"))
        )
        .await
    );
    assert!(!may_write(&nobody, &old).await);
    let agent = session(&rig, Some("agents:two"));
    assert!(may_write(&agent, &old).await);
    // Again is as good.
    rig.ctl(&close).await.is(0);
    assert!(may_write(&agent, &old).await);
}
