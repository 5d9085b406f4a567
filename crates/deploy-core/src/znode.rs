//! Where things are in ZooKeeper.
//!
//! ```text
//! <root>/<service>/
//!     enabled                    target of the fleet
//!     enabled/canary             target of the canary hosts
//!     roles/<host>               role of a host
//!     policy                     how rollouts go
//!     hold                       nothing new starts
//!     builds/<build>             a build that may be deployed
//!     history/<10 digits>        one rollout
//!     retry/<host>               try the failed rollout again
//!     leases/<host>-<10 digits>  the restart queue
//!     hosts/<host>               the report
//!     hosts/<host>/alive         there while the agent's session is
//!     alive/<host>               the same, where all of them can be counted at once
//! ```

use crate::name::{BuildName, HostName, ServiceName};

pub mod kind;

/// The root where none is configured.
pub const DEFAULT_ROOT: &str = "/deploy";

/// The tree of all services.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Root(String);

/// Why a text is not a root.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a root znode: an absolute path like `/deploy` is wanted")]
pub struct RootError(String);

impl Root {
    /// Parses a root: absolute, no empty, `.` or `..` component, no control characters, no `/` at
    /// the end, at most 255 bytes. `/` itself is refused: other things live there.
    ///
    /// # Errors
    /// Where it is anything else.
    pub fn parse(text: &str) -> Result<Root, RootError> {
        let good = text.len() <= 255
            && text.strip_prefix('/').is_some_and(|rest| {
                rest.split('/').all(|part| {
                    !matches!(part, "" | "." | ".." | "zookeeper")
                        && !part.chars().any(char::is_control)
                })
            });
        if good {
            Ok(Root(text.to_owned()))
        } else {
            Err(RootError(text.escape_debug().to_string()))
        }
    }

    /// Returns the path of the root.
    pub fn path(&self) -> &str {
        &self.0
    }

    /// Returns the tree of one service.
    pub fn service(&self, service: &ServiceName) -> ServiceTree {
        ServiceTree(format!("{}/{service}", self.0))
    }
}

/// The tree of one service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceTree(String);

impl ServiceTree {
    /// The service itself.
    pub fn path(&self) -> &str {
        &self.0
    }
    /// Target of the fleet.
    pub fn enabled(&self) -> String {
        format!("{}/enabled", self.0)
    }
    /// Target of the canary hosts.
    pub fn canary(&self) -> String {
        format!("{}/enabled/canary", self.0)
    }
    /// Parent of the roles.
    pub fn roles(&self) -> String {
        format!("{}/roles", self.0)
    }
    /// Role of a host.
    pub fn role(&self, host: &HostName) -> String {
        format!("{}/roles/{host}", self.0)
    }
    /// How rollouts go.
    pub fn policy(&self) -> String {
        format!("{}/policy", self.0)
    }
    /// Nothing new starts while it exists.
    pub fn hold(&self) -> String {
        format!("{}/hold", self.0)
    }
    /// Parent of the builds.
    pub fn builds(&self) -> String {
        format!("{}/builds", self.0)
    }
    /// A build that may be deployed.
    pub fn build(&self, build: &BuildName) -> String {
        format!("{}/builds/{build}", self.0)
    }
    /// Parent of the history; a child's name is the number of its rollout, in ten digits.
    pub fn history(&self) -> String {
        format!("{}/history", self.0)
    }
    /// One rollout.
    pub fn rollout(&self, number: u64) -> String {
        format!("{}/history/{number:010}", self.0)
    }
    /// Parent of the wishes to try again.
    pub fn retries(&self) -> String {
        format!("{}/retry", self.0)
    }
    /// The wish that a host tries again.
    pub fn retry(&self, host: &HostName) -> String {
        format!("{}/retry/{host}", self.0)
    }
    /// Parent of the leases.
    pub fn leases(&self) -> String {
        format!("{}/leases", self.0)
    }
    /// What a lease of `host` starts with, before its 10 digits.
    pub fn lease_prefix(&self, host: &HostName) -> String {
        format!("{}/leases/{host}-", self.0)
    }
    /// Parent of the reports.
    pub fn hosts(&self) -> String {
        format!("{}/hosts", self.0)
    }
    /// The report of a host.
    pub fn host(&self, host: &HostName) -> String {
        format!("{}/hosts/{host}", self.0)
    }
    /// There while the agent's session is.
    pub fn alive(&self, host: &HostName) -> String {
        format!("{}/hosts/{host}/alive", self.0)
    }
    /// Parent of the marks of those that are alive, and of nothing else: how many there are is one read.
    pub fn marks(&self) -> String {
        format!("{}/alive", self.0)
    }
    /// There as long as [`ServiceTree::alive`] is, beside those of all other hosts.
    pub fn mark(&self, host: &HostName) -> String {
        format!("{}/alive/{host}", self.0)
    }
}

/// Returns the number at the end of the name of a sequential znode.
pub fn sequence(name: &str) -> Option<u64> {
    let digits = name.get(name.len().checked_sub(10)?..)?;
    if digits.bytes().all(|byte| byte.is_ascii_digit()) {
        digits.parse().ok()
    } else {
        None
    }
}
