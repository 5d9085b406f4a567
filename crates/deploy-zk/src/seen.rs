//! What a watch has seen.

use crate::error::Error;

/// The last known state of a watched znode, and how it was learned.
///
/// It is current only while the link is up with the same `epoch`; see [`Seen::is_current`].
#[derive(Clone, Debug)]
pub struct Seen<T> {
    /// The last known state. A lost link or a failed read never changes it.
    pub view: View<T>,
    /// The epoch of the link in which it was read; 0 before the first read.
    pub epoch: u64,
    /// Why the last read failed, if the server refused it, as for want of authorization.
    pub refused: Option<Error>,
}

/// A state that may be unknown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum View<T> {
    /// Nothing was read yet.
    Unknown,
    /// The znode does not exist.
    Absent,
    /// The znode exists.
    Present(T),
}

impl<T> Seen<T> {
    pub(crate) fn nothing() -> Seen<T> {
        Seen {
            view: View::Unknown,
            epoch: 0,
            refused: None,
        }
    }

    /// What was read over the link of an epoch.
    pub(crate) fn read(value: Option<T>, epoch: u64) -> Seen<T> {
        Seen {
            view: value.into(),
            epoch,
            refused: None,
        }
    }

    /// Tells whether the view is as new as ZooKeeper lets one know, given the state of the link.
    pub fn is_current(&self, link: &crate::link::Link) -> bool {
        matches!(link, crate::link::Link::Up { epoch, .. } if *epoch == self.epoch)
    }
}

impl<T> View<T> {
    /// Returns the value, if the znode exists.
    pub fn present(&self) -> Option<&T> {
        match self {
            View::Present(value) => Some(value),
            View::Unknown | View::Absent => None,
        }
    }
}

impl<T> From<Option<T>> for View<T> {
    fn from(value: Option<T>) -> View<T> {
        value.map_or(View::Absent, View::Present)
    }
}
