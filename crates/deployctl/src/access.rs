//! Who may change what: operators everything, agents reports and leases, others at most read.
//!
//! ZooKeeper hands no list down to a new znode; deploy-zk gives each that of the one above it. So
//! the root's list is that of all, and only `hosts`, `leases` and `alive` differ: agents write there.

use deploy_zk::acl::{Grant, Rights};
use deploy_zk::config::DigestAuth;
use deploy_zk::error::Error;

use crate::context::Context;
use crate::problem::Problem;

/// What an agent may do with `hosts`, `leases` and what is below them.
pub(crate) const AGENTS_WRITE: Rights = Rights::READ
    .and(Rights::WRITE)
    .and(Rights::CREATE)
    .and(Rights::DELETE);

/// Who is who.
pub(crate) struct Access {
    /// May do everything.
    pub(crate) operators: DigestAuth,
    /// May read everything, and write what is theirs.
    pub(crate) agents: DigestAuth,
    /// Whether everybody may read.
    pub(crate) world_reads: bool,
}

impl Access {
    /// The list of all znodes that are not the agents'.
    fn grants(&self) -> Vec<Grant> {
        let mut grants = vec![
            Grant::digest(&self.operators, Rights::ALL),
            Grant::digest(&self.agents, Rights::READ),
        ];
        if self.world_reads {
            grants.push(Grant::anyone(Rights::READ));
        }
        grants
    }
}

/// Sets the lists of the root and of all that is below it, and returns how many. Those that agents
/// have made under such lists are theirs, and stay.
pub(crate) async fn protect(context: &Context, access: &Access) -> Result<usize, Problem> {
    let common = access.grants();
    let agents = for_agents(&common);
    let root = context.root.path();
    // The root first: what is created meanwhile gets its list.
    context.zk.set_acl(root, &common).await?;
    let mut count = 1;
    let mut waiting = vec![(root.to_owned(), 0)];
    while let Some((path, depth)) = waiting.pop() {
        for name in context.zk.children(&path).await?.unwrap_or_default() {
            let child = format!("{path}/{name}");
            let grants = match is_agents(&child, root) {
                true => &agents,
                false => &common,
            };
            match context.zk.set_acl(&child, grants).await {
                Ok(()) => count += 1,
                Err(Error::NoNode(_)) => continue,
                Err(Error::NoAuth(_)) if is_agents(&child, root) => {}
                Err(error) => return Err(error.into()),
            }
            if depth < DEPTH_MAX {
                waiting.push((child, depth + 1));
            }
        }
    }
    Ok(count)
}

/// Below the root: service, hosts, host, alive.
const DEPTH_MAX: u32 = 4;

/// Gives the agents a place for their reports and leases below a new service, where the tree has
/// lists at all.
pub(crate) async fn admit_agents(context: &Context, service: &str) -> Result<(), Problem> {
    let common = context.zk.acl(service).await?.unwrap_or_default();
    if common
        .iter()
        .any(|grant| *grant == Grant::anyone(Rights::ALL))
    {
        return Ok(());
    }
    for name in ["hosts", "leases", "alive"] {
        let path = format!("{service}/{name}");
        context.zk.create_parents(&format!("{path}/any")).await?;
        context.zk.set_acl(&path, &for_agents(&common)).await?;
    }
    Ok(())
}

/// The list of what agents write: who may read by a password, may write here.
pub(crate) fn for_agents(common: &[Grant]) -> Vec<Grant> {
    let widen = |grant: &Grant| {
        let is_agent = grant.scheme == "digest" && grant.rights == Rights::READ;
        Grant {
            rights: if is_agent { AGENTS_WRITE } else { grant.rights },
            ..grant.clone()
        }
    };
    common.iter().map(widen).collect()
}

/// Tells whether a znode is `hosts`, `leases` or `alive` of a service, or below.
pub(crate) fn is_agents(path: &str, root: &str) -> bool {
    let below = path.strip_prefix(root).unwrap_or_default();
    let mut names = below.split('/').skip(2);
    matches!(names.next(), Some("hosts" | "leases" | "alive"))
}
