//! A session under test behind a proxy, and one of an administrator that goes direct.
#![expect(
    dead_code,
    unreachable_pub,
    reason = "each test binary compiles this module and uses a part of it"
)]

use std::sync::Arc;
use std::time::{Duration, Instant};

use deploy_zk::config::Config;
use deploy_zk::ephemeral::Ephemeral;
use deploy_zk::link::Link;
use deploy_zk::seen::{Seen, View};
use deploy_zk::zk::Zk;
use deploy_zk::znode::{Expect, Mode, Znode};
use tests::eventually::{eventually_async, eventually_in};
use tests::proxy::Proxy;
use tests::zookeeper::Server;
use tests::zookeeper::expire::expire;
use tokio::sync::watch;

/// The session timeout of every session under test.
pub const T: Duration = Duration::from_secs(4);
/// By when every call has to end.
pub const OP: Duration = Duration::from_secs(4);
/// How late a deadline may be kept on a loaded machine.
pub const SLACK: Duration = Duration::from_secs(3);
/// How long anything may take on a loaded machine before it counts as hung.
pub const HANG: Duration = Duration::from_secs(30);

/// A session that watches `v` and `x` and keeps `e`, all below a prefix of its own.
pub struct Rig {
    pub proxy: Arc<Proxy>,
    pub admin: Zk,
    pub zk: Zk,
    pub prefix: String,
    pub link: watch::Receiver<Link>,
    pub v: watch::Receiver<Seen<Znode>>,
    pub x: watch::Receiver<Seen<Znode>>,
    pub e: Ephemeral,
}

/// Returns a config with the timeouts of these tests.
pub fn config(address: &str) -> Config {
    let mut config = Config::new(&[address]);
    config.session_timeout = T;
    config.op_timeout = OP;
    config
}

/// Prints how long something took, for `docs/zookeeper.md`.
pub fn measured(case: &str, what: &str, took: Duration) {
    println!("measured: {case}: {what}: {:.3} s", took.as_secs_f64());
}

impl Rig {
    /// Starts one, and returns when it is up, has seen `v` = 0 and `x` absent, and `e` exists.
    pub async fn start(server: &Server, prefix: &str) -> Rig {
        Rig::start_with(server, prefix, |_| {}).await
    }

    /// Like [`Rig::start`], with a config changed by `change`.
    pub async fn start_with(server: &Server, prefix: &str, change: impl Fn(&mut Config)) -> Rig {
        let proxy = Arc::new(Proxy::start(server.port()));
        let mut config = config(&proxy.address());
        change(&mut config);
        let zk = Zk::start(config.clone());
        config.hosts = vec![server.address()];
        let admin = Zk::start(config);
        admin
            .create(prefix, b"", Mode::Persistent)
            .await
            .expect("the administrator's network is healthy");
        admin
            .create(&format!("{prefix}/v"), b"0", Mode::Persistent)
            .await
            .expect("the administrator's network is healthy");
        let mut rig = Rig {
            link: zk.link(),
            v: zk.watch(&format!("{prefix}/v")),
            x: zk.watch(&format!("{prefix}/x")),
            e: zk.ephemeral(&format!("{prefix}/e"), b"here"),
            prefix: prefix.to_owned(),
            proxy,
            admin,
            zk,
        };
        rig.sees("0").await;
        eventually_in("x is absent", HANG, &mut rig.x, |seen| {
            seen.view == View::Absent
        })
        .await;
        rig.is_alive().await;
        rig
    }

    /// Returns the path of a znode below the prefix.
    pub fn path(&self, name: &str) -> String {
        format!("{}/{name}", self.prefix)
    }

    /// The administrator sets `v`.
    pub async fn change(&self, value: &str) {
        self.admin
            .set(&self.path("v"), value.as_bytes(), Expect::Any)
            .await
            .expect("the administrator's network is healthy");
    }

    /// Waits until the watch on `v` has seen `value`.
    pub async fn sees(&mut self, value: &str) {
        eventually_in(
            &format!("{}: v = {value}", self.prefix),
            HANG,
            &mut self.v,
            |seen| {
                seen.view
                    .present()
                    .is_some_and(|znode| znode.data == value.as_bytes())
            },
        )
        .await;
    }

    /// Waits until the watch on `x` has seen that it exists.
    pub async fn sees_x(&mut self) {
        eventually_in("x exists", HANG, &mut self.x, |seen| {
            seen.view.present().is_some()
        })
        .await;
    }

    /// Waits until the ephemeral znode is there, by its own word and by that of the server.
    pub async fn is_alive(&self) {
        eventually_in(
            "the ephemeral is ours",
            HANG,
            &mut self.e.status(),
            |status| *status,
        )
        .await;
        let path = self.path("e");
        eventually_async("the ephemeral exists", HANG, || async {
            match self.admin.get(&path).await {
                Ok(Some(znode)) if znode.stat.ephemeral_owner != 0 => Ok(()),
                other => Err(other),
            }
        })
        .await;
    }

    /// Makes sure that the ephemeral znode outlives any older session that may own it.
    pub async fn stays_alive(&self) {
        tokio::time::sleep(T + Duration::from_secs(1)).await;
        assert!(
            *self.e.status().borrow(),
            "{}: the ephemeral was lost again",
            self.prefix
        );
        let found = self
            .admin
            .get(&self.path("e"))
            .await
            .expect("the administrator's network is healthy");
        assert!(
            found.is_some(),
            "{}: the ephemeral says it exists, and does not",
            self.prefix
        );
    }

    /// Returns the epoch and the generation, waiting for the link.
    pub async fn up(&mut self) -> (u64, u64) {
        self.up_after(0).await
    }

    /// Returns the first epoch after `epoch`, and its generation.
    pub async fn up_after(&mut self, epoch: u64) -> (u64, u64) {
        let what = format!("{}: up after epoch {epoch}", self.prefix);
        let link = eventually_in(
            &what,
            HANG,
            &mut self.link,
            |link| matches!(link, Link::Up { epoch: now, .. } if *now > epoch),
        );
        match link.await {
            Link::Up { epoch, generation } => (epoch, generation),
            other => panic!("{other} is not up"),
        }
    }

    /// Ends its session behind its back, and returns the id that it had.
    pub fn expire(&self, server: &Server) -> i64 {
        let session = self.proxy.session();
        let session = session.expect("the proxy has seen the handshake");
        tokio::task::block_in_place(|| expire(server, session));
        session.id
    }

    /// Waits until the link is down, and returns how long that took.
    pub async fn down(&mut self) -> Duration {
        let start = Instant::now();
        eventually_in("the link is down", HANG, &mut self.link, |link| {
            !link.is_up()
        })
        .await;
        start.elapsed()
    }
}
