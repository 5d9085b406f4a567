//! The access control list of a new znode: that of the znode above it.

use zookeeper_async as za;

use crate::acl::{Grant, Rights};

/// Whether the server knows who we are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Identity {
    /// By a password.
    Known,
    /// We have told it none.
    Nobody,
}

/// Returns what a child gets. Who may not change a list is not shown whose hashes are in it, and so
/// can't hand them on: then the child is its creator's, and everybody's as far as the list says so.
pub(super) fn inherit(above: Vec<za::Acl>, we: Identity) -> Vec<za::Acl> {
    let is_masked = |acl: &za::Acl| acl.scheme == "digest" && acl.id.ends_with(":x");
    if !above.iter().any(is_masked) {
        return above;
    }
    let mut acl: Vec<_> = above.into_iter().filter(|acl| !is_masked(acl)).collect();
    if we == Identity::Known {
        acl.extend_from_slice(za::Acl::creator_all());
    }
    if acl.is_empty() {
        acl.extend_from_slice(za::Acl::open_unsafe());
    }
    acl
}

const ALL: [(Rights, za::Permission); 5] = [
    (Rights::READ, za::Permission::READ),
    (Rights::WRITE, za::Permission::WRITE),
    (Rights::CREATE, za::Permission::CREATE),
    (Rights::DELETE, za::Permission::DELETE),
    (Rights::ADMIN, za::Permission::ADMIN),
];

pub(super) fn grant(acl: za::Acl) -> Grant {
    let held = ALL
        .iter()
        .filter(|(_, permission)| acl.perms.can(*permission));
    let rights = held.fold(Rights::NONE, |all, (right, _)| all.and(*right));
    Grant {
        scheme: acl.scheme,
        id: acl.id,
        rights,
    }
}

pub(super) fn acl(grant: &Grant) -> za::Acl {
    let held = ALL.iter().filter(|(right, _)| grant.rights.has(*right));
    let permissions = held.fold(za::Permission::NONE, |all, (_, permission)| {
        all | *permission
    });
    za::Acl::new(permissions, &grant.scheme, &grant.id)
}
