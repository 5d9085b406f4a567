//! Files that are made and filled in one go, from bytes that lie in one buffer.
//!
//! Small files are many, so they go over in batches; the bytes stay where they were inflated to. Who held on to several buffers
//! might hold all, and the inflater waits for one.

use std::ops::Range;
use std::sync::Arc;

use super::access::Access;
use super::error::UnpackError;
use super::file::{NewFile, Wanted};
use super::stream::Piece;

/// Files of a batch at most.
pub(super) const FILES_MAX: usize = 32;

/// Files to be made, or to be written to.
#[derive(Default)]
pub(super) struct Batch {
    buffer: Option<Arc<Vec<u8>>>,
    orders: Vec<Order>,
}

/// What is to be written, by where it is in the buffer.
enum Order {
    /// A file with all its bytes.
    Whole(Wanted, Range<usize>),
    /// Bytes of a file that was made, and where they belong in it.
    Part(Arc<NewFile>, u64, Range<usize>),
}

impl Batch {
    /// Adds an empty file.
    pub(super) fn add_empty(&mut self, file: Wanted) {
        self.orders.push(Order::Whole(file, 0..0));
    }

    /// Adds a file with all its bytes, which this batch must have room for.
    pub(super) fn add_whole(&mut self, file: Wanted, piece: &Piece<'_>) {
        self.hold(piece);
        self.orders.push(Order::Whole(file, piece.range.clone()));
    }

    /// Adds bytes of a file, which this batch must have room for.
    pub(super) fn add_part(&mut self, file: Arc<NewFile>, offset: u64, piece: &Piece<'_>) {
        self.hold(piece);
        self.orders
            .push(Order::Part(file, offset, piece.range.clone()));
    }

    /// Whether bytes of this buffer can be added.
    pub(super) fn takes(&self, piece: &Piece<'_>) -> bool {
        let holds = |held: &Arc<Vec<u8>>| Arc::ptr_eq(held, piece.buffer);
        self.buffer.as_ref().is_none_or(holds)
    }

    /// Whether nothing can be added.
    pub(super) fn is_full(&self) -> bool {
        self.orders.len() >= FILES_MAX
    }

    /// Whether nothing was added.
    pub(super) fn is_empty(&self) -> bool {
        self.orders.is_empty()
    }

    fn hold(&mut self, piece: &Piece<'_>) {
        debug_assert!(self.takes(piece));
        self.buffer.get_or_insert_with(|| Arc::clone(piece.buffer));
    }

    /// Makes the files and fills them, up to the first that fails. Returns the buffer, which is no longer needed.
    pub(super) fn fill(self, access: Access) -> (Option<Arc<Vec<u8>>>, Result<(), UnpackError>) {
        let bytes = self.buffer.as_ref().map_or(&[][..], |buffer| buffer);
        let filled = self.orders.into_iter().try_for_each(|order| match order {
            Order::Whole(file, range) => NewFile::create(file, access)?.write(&bytes[range], 0),
            Order::Part(file, offset, range) => file.write(&bytes[range], offset),
        });
        (self.buffer, filled)
    }
}
