//! Operations made of several requests, each of which says how it survives a lost answer.

use crate::acl::Grant;
use crate::backend::{Fault, Naming, NewZnode};
use crate::core::{Up, Within};
use crate::error::{Call, Error, Op};
use crate::path;
use crate::znode::{Change, DATA_BYTES_MAX, Expect, Mode, Stat, Updated, Znode};

/// Attempts of one [`update`] against others who write the same znode.
const ROUNDS_MAX: u32 = 32;

/// A znode that nobody creates. See [`barrier`].
const BARRIER: &str = "/zookeeper/deploy-zk-barrier";

/// Creates a znode. One attempt.
pub(crate) async fn create(
    within: &Within<'_>,
    path: &str,
    new: NewZnode<'_>,
) -> Result<String, Error> {
    let call = Call::new(Op::Create, path);
    let made = within.write(call, |up, slot| async move {
        let (path, _) = up.session.create(slot, path, new).await?;
        Ok(path)
    });
    made.await
}

/// Replaces the data of a znode. One attempt.
pub(crate) async fn set(
    within: &Within<'_>,
    path: &str,
    data: &[u8],
    expect: Expect,
) -> Result<Stat, Error> {
    let call = Call::new(Op::Write, path);
    within
        .write(call, |up, slot| async move {
            up.session.set(slot, path, (data, expect)).await
        })
        .await
}

/// Deletes a znode. One attempt.
pub(crate) async fn delete(within: &Within<'_>, path: &str, expect: Expect) -> Result<(), Error> {
    let call = Call::new(Op::Delete, path);
    within
        .write(call, |up, slot| async move {
            up.session.delete(slot, path, expect).await
        })
        .await
}

/// Reads a znode, over reconnects.
pub(crate) async fn get(within: &Within<'_>, path: &str) -> Result<Option<Znode>, Error> {
    let request = |up: Up| async move { up.session.get(up.session.slot().await, path).await };
    within.read(Call::new(Op::Read, path), request).await
}

/// Reads who may do what, over reconnects.
pub(crate) async fn acl(within: &Within<'_>, path: &str) -> Result<Option<Vec<Grant>>, Error> {
    let request = |up: Up| async move { up.session.acl(path).await };
    within.read(Call::new(Op::Read, path), request).await
}

/// Says who may do what. One attempt.
pub(crate) async fn set_acl(
    within: &Within<'_>,
    path: &str,
    grants: &[Grant],
) -> Result<(), Error> {
    let call = Call::new(Op::Write, path);
    within
        .write(call, |up, slot| async move {
            up.session.set_acl(slot, path, grants).await
        })
        .await
}

/// Lists the children of a znode, over reconnects.
pub(crate) async fn children(
    within: &Within<'_>,
    path: &str,
) -> Result<Option<Vec<String>>, Error> {
    let request = |up: Up| async move { up.session.children(up.session.slot().await, path).await };
    within.read(Call::new(Op::List, path), request).await
}

/// Returns when reads see every write that was acknowledged before, to anybody.
///
/// The client has no `sync`. But a write that must fail does the same: the refusal is a transaction
/// like any other, and a server answers it only after it has applied all those before.
pub(crate) async fn barrier(within: &Within<'_>) -> Result<(), Error> {
    let refused = |up: Up| async move {
        let slot = up.session.slot().await;
        match up
            .session
            .set(slot, BARRIER, (&[], Expect::Version(i32::MAX)))
            .await
        {
            // Nothing was written, so it can be tried again like a read.
            Err(Fault::NoNode | Fault::BadVersion | Fault::NoAuth) => Ok(()),
            Err(fault) => Err(fault),
            Ok(_) => Err(Fault::Lost),
        }
    };
    within.read(Call::new(Op::Catch, BARRIER), refused).await
}

/// Creates the missing parents of `path`, persistent and empty.
///
/// A lost answer does no harm: it looks again what is missing.
pub(crate) async fn create_parents(within: &Within<'_>, path: &str) -> Result<(), Error> {
    let request = |up: Up| async move { make_parents(&up, path).await };
    match within.read(Call::new(Op::Create, path), request).await {
        // Some may have been made, and read() does not know that it was a write.
        Err(Error::Unavailable(call)) => Err(Error::Unknown(call)),
        result => result,
    }
}

/// Like [`create_parents`], over one connection.
pub(crate) async fn make_parents(up: &Up, path: &str) -> Result<(), Fault> {
    // Upwards by reading: creating what exists may be refused for want of authorization above it.
    let mut missing = Vec::new();
    let mut ancestor = path::parent(path);
    while let Some(path) = ancestor {
        if up
            .session
            .exists(up.session.slot().await, path)
            .await?
            .is_some()
        {
            break;
        }
        missing.push(path);
        ancestor = path::parent(path);
    }
    let new = NewZnode {
        data: &[],
        naming: Naming::Plain(Mode::Persistent),
    };
    for path in missing.into_iter().rev() {
        match up.session.create(up.session.slot().await, path, new).await {
            Ok(_) | Err(Fault::NodeExists) => {}
            Err(fault) => return Err(fault),
        }
    }
    Ok(())
}

/// Creates a numbered znode, at most one.
///
/// Unless the answer was lost one attempt is all. If it was, the children are searched for the data,
/// which nobody else may have written, before another attempt.
pub(crate) async fn create_sequential(
    within: &Within<'_>,
    prefix: &str,
    data: &[u8],
) -> Result<String, Error> {
    let new = NewZnode {
        data,
        naming: Naming::Numbered,
    };
    loop {
        match create(within, prefix, new).await {
            Err(Error::Unknown(_)) => {}
            result => return result,
        }
        let found = async {
            // First of all: what was under way on the lost connection is decided by then.
            barrier(within).await?;
            find_numbered(within, prefix, data).await
        };
        match found.await {
            Ok(Some(path)) => return Ok(path),
            Ok(None) => {}
            // Still not known.
            Err(_) => return Err(Error::Unknown(Call::new(Op::Create, prefix))),
        }
    }
}

async fn find_numbered(
    within: &Within<'_>,
    prefix: &str,
    data: &[u8],
) -> Result<Option<String>, Error> {
    let (parent, start) = prefix.rsplit_once('/').unwrap_or(("", prefix));
    let parent = if parent.is_empty() { "/" } else { parent };
    // The newest first: ours is among them.
    for name in children(within, parent)
        .await?
        .unwrap_or_default()
        .iter()
        .rev()
    {
        let is_numbered = name
            .strip_prefix(start)
            .is_some_and(|number| number.len() == 10 && number.bytes().all(|b| b.is_ascii_digit()));
        if !is_numbered {
            continue;
        }
        let path = path::join(parent, name);
        if get(within, &path)
            .await?
            .is_some_and(|znode| znode.data == data)
        {
            return Ok(Some(path));
        }
    }
    Ok(None)
}

/// Reads, lets `decide`, and writes what it wants, if nobody was faster; else again.
///
/// When the answer to the write is lost, it reads back: if what was to be written is there, and is
/// the next version, it was written. Otherwise `decide` is asked again with what is there.
pub(crate) async fn update(
    within: &Within<'_>,
    path: &str,
    mut decide: impl FnMut(Option<&Znode>) -> Change,
) -> Result<Updated, Error> {
    for _ in 0..ROUNDS_MAX {
        let before = get(within, path).await?;
        let change = decide(before.as_ref());
        match apply(within, path, before.as_ref(), &change).await {
            Err(Error::Unknown(_)) => {
                let unknown = |_| Error::Unknown(Call::new(Op::Update, path));
                // First of all: what was under way on the lost connection is decided by then.
                barrier(within).await.map_err(unknown)?;
                let after = get(within, path).await.map_err(unknown)?;
                if let Some(updated) = was_applied(before.as_ref(), after.as_ref(), &change) {
                    return Ok(updated);
                }
            }
            // Somebody was faster. But if it was to be created, and there is no such znode, that is
            // its parent.
            Err(Error::BadVersion(_) | Error::NodeExists(_)) => {}
            Err(Error::NoNode(_)) if before.is_some() => {}
            result => return result,
        }
    }
    Err(Error::BadVersion(Call::new(Op::Update, path)))
}

async fn apply(
    within: &Within<'_>,
    path: &str,
    before: Option<&Znode>,
    change: &Change,
) -> Result<Updated, Error> {
    if let Change::Write(data) = change {
        check_data(Call::new(Op::Update, path), data)?;
    }
    match (change, before) {
        (Change::Leave, _) => Ok(Updated::Left),
        (Change::Delete, None) => Ok(Updated::Deleted),
        (Change::Delete, Some(znode)) => {
            delete(within, path, Expect::Version(znode.stat.version)).await?;
            Ok(Updated::Deleted)
        }
        (Change::Write(data), Some(znode)) => {
            let stat = set(within, path, data, Expect::Version(znode.stat.version)).await?;
            Ok(Updated::Written(stat))
        }
        (Change::Write(data), None) => {
            let new = NewZnode {
                data,
                naming: Naming::Plain(Mode::Persistent),
            };
            let call = Call::new(Op::Create, path);
            let made = within.write(call, |up, slot| async move {
                let (_, stat) = up.session.create(slot, path, new).await?;
                Ok(stat)
            });
            Ok(Updated::Written(made.await?))
        }
    }
}

/// H13: a server would cut the connection, and with it every watch.
pub(crate) fn check_data(call: Call, data: &[u8]) -> Result<(), Error> {
    if data.len() > DATA_BYTES_MAX {
        return Err(Error::TooLarge {
            call,
            bytes: data.len(),
        });
    }
    Ok(())
}

fn was_applied(before: Option<&Znode>, after: Option<&Znode>, change: &Change) -> Option<Updated> {
    match (change, before, after) {
        (Change::Delete, _, None) => Some(Updated::Deleted),
        (Change::Write(data), None, Some(after)) => {
            (after.data == *data && after.stat.version == 0).then_some(Updated::Written(after.stat))
        }
        (Change::Write(data), Some(before), Some(after)) => {
            let is_next = after.stat.czxid == before.stat.czxid
                && after.stat.version == before.stat.version.wrapping_add(1);
            (is_next && after.data == *data).then_some(Updated::Written(after.stat))
        }
        _ => None,
    }
}
