//! What is asked of the server and of the client crate, a function each: one request, one answer, nothing again.

use std::future::Future;
use std::sync::Arc;

use zookeeper_async as za;

use super::inherit::{self, Identity};
use super::{Fault, Naming, NewZnode, Session, Slot};
use crate::acl::Grant;
use crate::armed::{Armed, Kind, Trigger, arm};
use crate::path::parent;
use crate::stats::count;
use crate::znode::{Expect, Mode, Stat, Znode};

impl Session {
    pub(crate) async fn exists(
        self: &Arc<Self>,
        slot: Slot,
        path: &str,
    ) -> Result<Option<Stat>, Fault> {
        let (session, path) = (Arc::clone(self), path.to_owned());
        let found = self
            .send(
                slot,
                async move { session.zookeeper.exists(&path, false).await },
            )
            .await?;
        Ok(found.map(Stat::from))
    }

    /// Like [`Session::exists`], with a watch that fires when the znode is created, changed or deleted.
    pub(crate) async fn exists_watched(
        self: &Arc<Self>,
        slot: Slot,
        path: &str,
    ) -> Result<(Option<Stat>, Armed), Fault> {
        let number = self.connection().number;
        if let Some(armed) = self.armed.find(number, Kind::Data, path) {
            return Ok((self.exists(slot, path).await?, armed));
        }
        let at = (number, Kind::Data, path);
        let (found, armed) = self
            .arm_by(slot, at, |session, path, trigger| async move {
                let told = move |_event| trigger.fire();
                session.zookeeper.exists_w(&path, told).await
            })
            .await?;
        Ok((found.map(Stat::from), armed))
    }

    /// Like [`Session::get`], with a watch that fires when the znode is changed or deleted.
    ///
    /// Only for a znode that was there a moment ago: on a missing one there would be no watch, and the client would keep
    /// its half of one until a znode of this path comes and goes (H14).
    pub(crate) async fn get_watched(
        self: &Arc<Self>,
        slot: Slot,
        path: &str,
    ) -> Result<Option<(Znode, Armed)>, Fault> {
        let number = self.connection().number;
        if let Some(armed) = self.armed.find(number, Kind::Data, path) {
            let found = self.get(slot, path).await?;
            return Ok(found.map(|znode| (znode, armed)));
        }
        let at = (number, Kind::Data, path);
        let found = self
            .arm_by(slot, at, |session, path, trigger| async move {
                let told = move |_event| trigger.fire();
                session.zookeeper.get_data_w(&path, told).await
            })
            .await;
        present(found.map(|(found, armed)| (znode(found), armed)))
    }

    /// Reads a znode. H14: not with a watch, since one on a missing znode stays in the client.
    pub(crate) async fn get(
        self: &Arc<Self>,
        slot: Slot,
        path: &str,
    ) -> Result<Option<Znode>, Fault> {
        let (session, path) = (Arc::clone(self), path.to_owned());
        let found = self
            .send(slot, async move {
                session.zookeeper.get_data(&path, false).await
            })
            .await;
        present(found.map(znode))
    }

    pub(crate) async fn children(
        self: &Arc<Self>,
        slot: Slot,
        path: &str,
    ) -> Result<Option<Vec<String>>, Fault> {
        let (session, path) = (Arc::clone(self), path.to_owned());
        let found = self
            .send(slot, async move {
                session.zookeeper.get_children(&path, false).await
            })
            .await;
        present(found.map(sorted))
    }

    /// Like [`Session::children`], with a watch that fires when a child comes or goes.
    ///
    /// Only for a znode that was just seen: on a missing one there would be no watch (H14).
    pub(crate) async fn children_watched(
        self: &Arc<Self>,
        slot: Slot,
        path: &str,
    ) -> Result<Option<(Vec<String>, Armed)>, Fault> {
        let number = self.connection().number;
        if let Some(armed) = self.armed.find(number, Kind::Children, path) {
            let found = self.children(slot, path).await?;
            return Ok(found.map(|names| (names, armed)));
        }
        let at = (number, Kind::Children, path);
        let found = self
            .arm_by(slot, at, |session, path, trigger| async move {
                let told = move |_event| trigger.fire();
                session.zookeeper.get_children_w(&path, told).await
            })
            .await;
        present(found.map(|(names, armed)| (sorted(names), armed)))
    }

    /// Sends a request that arms a watch, and remembers that it is armed on the connection of this number.
    async fn arm_by<T, F>(
        self: &Arc<Self>,
        slot: Slot,
        (number, kind, path): (u64, Kind, &str),
        request: impl FnOnce(Arc<Session>, String, Trigger) -> F,
    ) -> Result<(T, Armed), Fault>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, za::ZkError>> + Send + 'static,
    {
        let (trigger, armed) = arm();
        let (session, path, kept) = (Arc::clone(self), path.to_owned(), armed.clone());
        let asked = request(Arc::clone(self), path.clone(), trigger);
        let found = self
            .send(slot, async move {
                let found = asked.await;
                // Here, since the caller may be gone by now: the watch is armed all the same.
                if found.is_ok() {
                    session.keep_armed(number, (kind, path), kept);
                }
                found
            })
            .await?;
        Ok((found, armed))
    }

    /// Creates a znode and returns its path, which differs from `path` if it is to be numbered.
    pub(crate) async fn create(
        self: &Arc<Self>,
        slot: Slot,
        path: &str,
        new: NewZnode<'_>,
    ) -> Result<(String, Stat), Fault> {
        let mode = match new.naming {
            Naming::Plain(Mode::Persistent) => za::CreateMode::Persistent,
            Naming::Plain(Mode::Ephemeral) => za::CreateMode::Ephemeral,
            Naming::Numbered => za::CreateMode::PersistentSequential,
        };
        let (session, path, data) = (Arc::clone(self), path.to_owned(), new.data.to_vec());
        // Two, of which `send` counts one.
        count(&self.counters.requests);
        let made = self
            .send(slot, async move {
                // ZooKeeper hands nothing down by itself.
                let above = parent(&path).unwrap_or("/");
                let acl = match session.zookeeper.get_acl(above).await {
                    Ok((acl, _)) => inherit::inherit(acl, session.we),
                    Err(za::ZkError::NoAuth) if session.we == Identity::Known => {
                        za::Acl::creator_all().clone()
                    }
                    Err(error) => return Err(error),
                };
                session.zookeeper.create2(&path, data, acl, mode).await
            })
            .await?;
        Ok((made.0, made.1.into()))
    }

    pub(crate) async fn acl(self: &Arc<Self>, path: &str) -> Result<Option<Vec<Grant>>, Fault> {
        let (session, path) = (Arc::clone(self), path.to_owned());
        let slot = self.slot().await;
        let found = self.send(slot, async move { session.zookeeper.get_acl(&path).await });
        let grants =
            |(acl, _): (Vec<za::Acl>, za::Stat)| acl.into_iter().map(inherit::grant).collect();
        present(found.await.map(grants))
    }

    pub(crate) async fn set_acl(
        self: &Arc<Self>,
        slot: Slot,
        path: &str,
        grants: &[Grant],
    ) -> Result<(), Fault> {
        let (session, path) = (Arc::clone(self), path.to_owned());
        let acl = grants.iter().map(inherit::acl).collect();
        self.send(slot, async move {
            session.zookeeper.set_acl(&path, acl, None).await
        })
        .await?;
        Ok(())
    }

    pub(crate) async fn set(
        self: &Arc<Self>,
        slot: Slot,
        path: &str,
        (data, expect): (&[u8], Expect),
    ) -> Result<Stat, Fault> {
        let (session, path, data) = (Arc::clone(self), path.to_owned(), data.to_vec());
        let version = expect.version();
        let stat = self
            .send(slot, async move {
                session.zookeeper.set_data(&path, data, version).await
            })
            .await?;
        Ok(stat.into())
    }

    pub(crate) async fn delete(
        self: &Arc<Self>,
        slot: Slot,
        path: &str,
        expect: Expect,
    ) -> Result<(), Fault> {
        let (session, path) = (Arc::clone(self), path.to_owned());
        let version = expect.version();
        self.send(slot, async move {
            session.zookeeper.delete(&path, version).await
        })
        .await
    }

    fn keep_armed(&self, number: u64, key: (Kind, String), armed: Armed) {
        count(&self.counters.watches_made);
        self.armed.keep(number, key, armed);
    }
}

impl From<za::Stat> for Stat {
    fn from(stat: za::Stat) -> Stat {
        Stat {
            czxid: stat.czxid,
            mzxid: stat.mzxid,
            pzxid: stat.pzxid,
            ctime_ms: stat.ctime,
            mtime_ms: stat.mtime,
            version: stat.version,
            children_version: stat.cversion,
            ephemeral_owner: stat.ephemeral_owner,
            data_bytes: stat.data_length,
            num_children: stat.num_children,
        }
    }
}

fn present<T>(found: Result<T, Fault>) -> Result<Option<T>, Fault> {
    match found {
        Ok(found) => Ok(Some(found)),
        Err(Fault::NoNode) => Ok(None),
        Err(fault) => Err(fault),
    }
}

fn znode((data, stat): (Vec<u8>, za::Stat)) -> Znode {
    let stat = stat.into();
    Znode { data, stat }
}

fn sorted(mut names: Vec<String>) -> Vec<String> {
    names.sort_unstable();
    names
}
