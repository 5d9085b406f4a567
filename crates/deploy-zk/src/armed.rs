//! Which watches the server holds for us.
//!
//! There is no way to take a watch back. So a path that is watched, dropped and watched again joins
//! the watch that is still armed; otherwise each round would leave one more in the client's map.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use tokio::sync::watch;

/// Watches of broken connections, and of dropped ones, that one client may pile up.
///
/// The client crate keeps a watch until it fires, even when the connection it was armed on is gone.
/// Past this many, some 10 MB, the next reconnect makes a new client.
const STALE_WATCHES_MAX: usize = 50_000;

/// What a watch is armed for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Kind {
    /// The znode is created, changed or deleted.
    Data,
    /// A child is added or removed, or the znode is deleted.
    Children,
}

/// What a watch has told. Never more than a hint: it may be different by now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Told {
    /// The znode was there a moment ago.
    Changed,
    /// It was deleted.
    Gone,
}

/// A watch that the server holds.
#[derive(Clone, Debug)]
pub(crate) struct Armed(watch::Receiver<Option<Told>>);

/// The other end, for the client's callback.
#[derive(Debug)]
pub(crate) struct Trigger(watch::Sender<Option<Told>>);

/// The armed watches of one client, by connection.
#[derive(Debug, Default)]
pub(crate) struct ArmedWatches(Mutex<Table>);

#[derive(Debug, Default)]
struct Table {
    /// Watches do not survive a reconnect (H1), so those of another connection are worth nothing.
    connection: u64,
    watches: HashMap<(Kind, String), Armed>,
    prune_at: usize,
    stale: usize,
}

/// Returns the two ends of a watch that is about to be armed.
pub(crate) fn arm() -> (Trigger, Armed) {
    let (sender, receiver) = watch::channel(None);
    (Trigger(sender), Armed(receiver))
}

impl Trigger {
    /// Never blocks, never panics: a panic in a callback would kill the client silently (H12).
    pub(crate) fn fire(self, told: Told) {
        self.0.send_replace(Some(told));
    }
}

impl Armed {
    /// Returns when the watch fired, with what it told, or its client is gone. Cancel-safe.
    pub(crate) async fn fired(&mut self) -> Option<Told> {
        // An error says that the trigger was dropped unfired, with the client.
        let told = self.0.wait_for(Option::is_some).await;
        told.ok().and_then(|told| *told)
    }

    fn is_armed(&self) -> bool {
        self.0.borrow().is_none() && self.0.has_changed().is_ok()
    }
}

impl ArmedWatches {
    /// Returns the watch of this kind that is armed on `path` over this connection.
    pub(crate) fn find(&self, connection: u64, kind: Kind, path: &str) -> Option<Armed> {
        let mut table = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if !table.turn_to(connection) {
            return None;
        }
        let key = (kind, path.to_owned());
        table
            .watches
            .get(&key)
            .filter(|armed| armed.is_armed())
            .cloned()
    }

    /// Remembers a watch that was just armed.
    pub(crate) fn keep(&self, connection: u64, key: (Kind, String), armed: Armed) {
        let mut table = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if !table.turn_to(connection) {
            table.stale += 1;
            return;
        }
        table.watches.insert(key, armed);
        if table.watches.len() > table.prune_at {
            table.watches.retain(|_, armed| armed.is_armed());
            table.prune_at = table.watches.len() * 2 + 64;
        }
    }

    /// Tells whether the client drags along so many dead watches that it should be replaced.
    pub(crate) fn is_worn(&self) -> bool {
        let table = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        table.stale + table.watches.len() > STALE_WATCHES_MAX
    }
}

impl Table {
    /// Forgets the watches of older connections; false if this one is older itself.
    fn turn_to(&mut self, connection: u64) -> bool {
        if self.connection < connection {
            self.stale += self
                .watches
                .values()
                .filter(|armed| armed.is_armed())
                .count();
            self.watches.clear();
            self.connection = connection;
        }
        self.connection == connection
    }
}
