//! Znodes as an administrator sees and changes them, for tests that block.

use std::future::Future;
use std::sync::LazyLock;

use deploy_zk::acl::{Grant, Rights};
use deploy_zk::config::Config;
use deploy_zk::error::Error;
use deploy_zk::zk::Zk;
use deploy_zk::znode::{Expect, Mode, Znode};
use tokio::runtime::{Builder, Runtime};

/// A session of its own, straight to the server.
#[derive(Clone)]
pub struct Znodes {
    zk: Zk,
}

static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| {
    let mut builder = Builder::new_multi_thread();
    builder.worker_threads(1).enable_all();
    builder.build().expect("a runtime can be made")
});

fn wait<T>(future: impl Future<Output = Result<T, Error>>) -> T {
    RUNTIME
        .block_on(future)
        .expect("the administrator's network is healthy")
}

impl Znodes {
    /// Opens a session with the server at `address`; there may be several, with commas between.
    pub fn connect(address: &str) -> Znodes {
        let _inside = RUNTIME.enter();
        let addresses: Vec<&str> = address.split(',').collect();
        Znodes {
            zk: Zk::start(Config::new(&addresses)),
        }
    }

    /// Tells whether the server answers.
    pub fn is_up(&self) -> bool {
        RUNTIME.block_on(self.zk.get("/")).is_ok()
    }

    /// Returns a znode, if it exists.
    ///
    /// # Panics
    /// If the server can't be asked; as all that follow.
    pub fn get(&self, path: &str) -> Option<Znode> {
        wait(self.zk.get(path))
    }

    /// Returns the names of the children of a znode; of none, none.
    pub fn children(&self, path: &str) -> Vec<String> {
        let mut names = wait(self.zk.children(path)).unwrap_or_default();
        names.sort();
        names
    }

    /// Tells whether ZooKeeper takes writes, which are none: nothing is changed.
    pub fn takes_writes(&self) -> bool {
        RUNTIME.block_on(self.zk.barrier()).is_ok()
    }

    /// Writes a znode, and makes it and those above it where they are missing.
    pub fn put(&self, path: &str, data: impl AsRef<[u8]>) {
        let data = data.as_ref();
        wait(async {
            match self.zk.set(path, data, Expect::Any).await {
                Err(Error::NoNode(_)) => {
                    self.zk.create_parents(path).await?;
                    self.zk.create(path, data, Mode::Persistent).await
                }
                other => other.map(|_| ()),
            }
        });
    }

    /// Lets nobody read a znode; everything else anybody may do still.
    pub fn forbid_reading(&self, path: &str) {
        let rights = [Rights::WRITE, Rights::CREATE, Rights::DELETE, Rights::ADMIN];
        self.give(path, rights.into_iter().fold(Rights::NONE, Rights::and));
    }

    /// Lets anybody do anything with a znode.
    pub fn allow_all(&self, path: &str) {
        self.give(path, Rights::ALL);
    }

    fn give(&self, path: &str, rights: Rights) {
        let grant = Grant {
            scheme: "world".to_owned(),
            id: "anyone".to_owned(),
            rights,
        };
        wait(self.zk.set_acl(path, &[grant]));
    }

    /// Removes a znode. That it is gone already is fine.
    pub fn delete(&self, path: &str) {
        wait(async {
            match self.zk.delete(path, Expect::Any).await {
                Err(Error::NoNode(_)) => Ok(()),
                other => other,
            }
        });
    }
}
