//! A fleet on paper, for `cargo xtask bench deployctl`: the znodes of as many hosts as are wanted, and no host.
//!
//! ```text
//! reports write ZOOKEEPER SERVICE HOSTS   makes a service that so many hosts run, one in ten of them a canary
//! reports read ZOOKEEPER SERVICE          reads what they report as fast as one session can; it tells who is alive, too
//! ```

use std::time::Duration;

use deploy_core::name::{HostName, ServiceName};
use deploy_core::znode::{DEFAULT_ROOT, Root, ServiceTree};
use deploy_zk::config::Config;
use deploy_zk::error::Error;
use deploy_zk::link::Link;
use deploy_zk::zk::Zk;
use deploy_zk::znode::Mode;
use futures_util::future::try_join_all;

/// A reader that takes longer reads nothing any more.
const LIMIT: Duration = Duration::from_secs(300);

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let (zookeeper, service, hosts) = match words.as_slice() {
        ["write", zookeeper, service, hosts] => (zookeeper, service, hosts.parse().ok()),
        ["read", zookeeper, service] => (zookeeper, service, None),
        _ => panic!("usage: reports write ZOOKEEPER SERVICE HOSTS | read ZOOKEEPER SERVICE"),
    };
    let mut config = Config::new(&[zookeeper]);
    config.op_timeout = LIMIT;
    let zk = Zk::start(config);
    let up = zk.link().wait_for(Link::is_up).await.is_ok();
    assert!(up, "there is a session");
    let root = Root::parse(DEFAULT_ROOT).expect("it is a path");
    let tree = root.service(&ServiceName::parse(service).expect("it is a name"));
    match hosts {
        Some(hosts) => write(&zk, (&tree, service), hosts).await,
        None => read(&zk, &tree).await,
    }
    .expect("ZooKeeper is healthy");
    zk.close(Duration::from_secs(1)).await;
}

async fn write(zk: &Zk, (tree, service): (&ServiceTree, &str), hosts: usize) -> Result<(), Error> {
    let target = br#"{"v":1,"build":"r1","rollout":1,"by":"bench","at":"2026-01-01T00:00:00Z"}"#;
    for parent in [tree.roles(), tree.hosts(), tree.history()] {
        zk.create_parents(&format!("{parent}/x")).await?;
    }
    zk.create(&tree.enabled(), target, Mode::Persistent).await?;
    let all = (0..hosts).map(|number| async move {
        let name = format!("{service}-{number:05}");
        let host = HostName::parse(&name).expect("it is a name");
        let report = format!(
            r#"{{"v":1,"host":"{name}","service":"{service}","role":"fleet","agent":"0.1.0","phase":"serving","rollout":1,"target":"r1","current":"r1","serving":"r1","instances":[{{"unit":"{service}@8001.service","port":8001,"build":"r1","state":"serving"}},{{"unit":"{service}@8002.service","port":8002,"build":"r1","state":"serving"}}],"lease":false,"trust":"signed","releases":["r1","r0"],"disk_free":99000000000,"at":"2026-01-01T00:00:00Z"}}"#
        );
        let alive = br#"{"v":1,"agent":"0.1.0","since":"2026-01-01T00:00:00Z"}"#;
        zk.create(&tree.host(&host), report.as_bytes(), Mode::Persistent).await?;
        // Not ephemeral: it stays when we are gone.
        zk.create(&tree.alive(&host), alive, Mode::Persistent).await?;
        if number % 10 == 0 {
            let role = br#"{"v":1,"role":"canary"}"#;
            zk.create(&tree.role(&host), role, Mode::Persistent).await?;
        }
        Ok(())
    });
    try_join_all(all).await.map(|_| ())
}

async fn read(zk: &Zk, tree: &ServiceTree) -> Result<(), Error> {
    let hosts = zk.children(&tree.hosts()).await?.unwrap_or_default();
    let hosts = hosts.iter().filter_map(|name| HostName::parse(name).ok());
    let all = hosts.map(|host| async move { zk.get(&tree.host(&host)).await.map(|_| ()) });
    try_join_all(all).await.map(|_| ())
}
