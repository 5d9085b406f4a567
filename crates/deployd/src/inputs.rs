//! The znodes that decide what this host does for a service, followed as they change.

use std::time::{Duration, Instant};

use deploy_core::clock::Clock;
use deploy_core::name::{BuildName, HostName};
use deploy_core::wanted::{Problem, View, Znodes, builds_needed};
use deploy_core::znode::ServiceTree;
use deploy_zk::seen::{self, Seen};
use deploy_zk::zk::Zk;
use deploy_zk::znode::Znode;
use futures_util::future::select_all;
use jiff::Timestamp;
use tokio::sync::watch;

type Watched = watch::Receiver<Seen<Znode>>;

/// The znodes of one service that concern this host.
pub(crate) struct Inputs {
    zk: Zk,
    tree: ServiceTree,
    role: Watched,
    enabled: Watched,
    canary: Watched,
    hold: Watched,
    retry: Watched,
    /// Those of the builds that the target names without an artifact.
    builds: Vec<(BuildName, Watched)>,
    clock: Clock,
    started: Instant,
}

impl Inputs {
    /// Starts to follow them.
    pub(crate) fn new(zk: &Zk, tree: &ServiceTree, host: &HostName) -> Inputs {
        Inputs {
            role: zk.watch(&tree.role(host)),
            enabled: zk.watch_present(&tree.enabled()),
            canary: zk.watch(&tree.canary()),
            hold: zk.watch(&tree.hold()),
            retry: zk.watch(&tree.retry(host)),
            builds: Vec::new(),
            clock: Clock::new(Timestamp::now(), Duration::ZERO),
            started: Instant::now(),
            zk: zk.clone(),
            tree: tree.clone(),
        }
    }

    /// Returns what was read last, and marks it as seen. The builds that it names are followed
    /// from then on.
    pub(crate) fn read(&mut self) -> Znodes {
        let mut znodes = Znodes {
            role: view(&mut self.role),
            enabled: view(&mut self.enabled),
            canary: view(&mut self.canary),
            hold: view(&mut self.hold),
            retry: view(&mut self.retry),
            builds: Vec::new(),
            refused: Vec::new(),
        };
        let needed = builds_needed(&znodes);
        self.builds.retain(|(build, _)| needed.contains(build));
        for build in needed {
            if !self.builds.iter().any(|(followed, _)| *followed == build) {
                let watched = self.zk.watch_present(&self.tree.build(&build));
                self.builds.push((build, watched));
            }
        }
        let builds = self.builds.iter_mut();
        znodes.builds = builds
            .map(|(build, watched)| (build.clone(), view(watched)))
            .collect();
        znodes.refused = self.refused();
        znodes
    }

    /// Returns what may not be read, and what ZooKeeper says to that.
    fn refused(&self) -> Vec<Problem> {
        let Inputs {
            role,
            enabled,
            canary,
            hold,
            ..
        } = self;
        let named = [
            ("role", role),
            ("enabled", enabled),
            ("enabled/canary", canary),
            ("hold", hold),
        ];
        let named = named.map(|(name, watched)| (name.to_owned(), watched));
        let builds = self.builds.iter();
        let builds = builds.map(|(build, watched)| (format!("builds/{build}"), watched));
        let refused = |(object, watched): (String, &Watched)| {
            let message = watched.borrow().refused.as_ref()?.to_string();
            Some(Problem { object, message })
        };
        let all = named.into_iter().chain(builds);
        all.filter_map(refused).collect()
    }

    /// Returns the time that counts for what ends by itself. Says it when the clock was set.
    pub(crate) fn now(&mut self) -> Timestamp {
        let time_of_day = Timestamp::now();
        let told = self.clock.told(time_of_day, self.started.elapsed());
        if let Some(by) = told.set_by {
            let by_s = by.as_secs();
            tracing::warn!(%time_of_day, expected = %(time_of_day - by), by_s, "the clock of this host was set; until it has stood for a while, no hold ends by it");
        }
        told.now
    }

    /// Completes when something has changed since [`Inputs::read`]. Cancel-safe.
    pub(crate) async fn changed(&mut self) {
        let Inputs {
            role,
            enabled,
            canary,
            hold,
            retry,
            builds,
            ..
        } = self;
        let all = [role, enabled, canary, hold, retry].into_iter();
        let all = all.chain(builds.iter_mut().map(|(_, watched)| watched));
        let changes = all.map(|watched| Box::pin(watched.changed()));
        if select_all(changes).await.0.is_err() {
            // The session is closed: nothing will change any more.
            std::future::pending().await
        }
    }
}

fn view(watched: &mut Watched) -> View {
    let seen = watched.borrow_and_update();
    if seen.refused.is_some() {
        // What was read before may have changed since: a hold that may not be read is a hold.
        return View::Unknown;
    }
    match &seen.view {
        seen::View::Unknown => View::Unknown,
        seen::View::Absent => View::Absent,
        seen::View::Present(znode) => View::Present {
            data: znode.data.clone(),
            mzxid: znode.stat.mzxid,
        },
    }
}
