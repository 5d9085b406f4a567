//! The thread that fills the files of a release, while the caller's makes the next ones.
//!
//! To make files and to fill them costs the file system about as much, and neither has to wait for the other: a file is
//! filled through its handle, whatever happens to its directory meanwhile. Small files are many, so orders go from one thread
//! to the other in batches; the bytes stay where they were inflated to.

use std::ops::Range;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{Scope, ScopedJoinHandle};

use super::error::UnpackError;
use super::stream::{Buffer, Piece};
use super::tree::NewFile;

/// Files that a batch completes at most. Four batches of open files are under way, see [`BATCHES`].
const BATCH_FILES: usize = 32;

/// Batches that wait; one more is being put together, and one worked off.
const BATCHES: usize = 2;

/// What is to be done with a file.
enum Order {
    /// Write this part of the batch's buffer to its end.
    Write(Arc<NewFile>, Range<usize>),
    /// It is complete: set its time of change, in seconds and nanoseconds, and close it.
    Close(Arc<NewFile>, Option<(i64, u32)>),
}

/// Orders that concern one buffer: who held on to several might hold all, and the inflater waits for one.
#[derive(Default)]
struct Batch {
    buffer: Option<Arc<Buffer>>,
    orders: Vec<Order>,
    files: usize,
}

/// The thread, as whoever makes the files sees it.
pub(super) struct Filler<'scope> {
    work: SyncSender<Batch>,
    batch: Batch,
    thread: ScopedJoinHandle<'scope, Result<(), UnpackError>>,
}

impl<'scope> Filler<'scope> {
    /// Starts the thread.
    pub(super) fn start(scope: &'scope Scope<'scope, '_>) -> Result<Self, UnpackError> {
        let (work, batches) = sync_channel(BATCHES);
        let thread = std::thread::Builder::new()
            .name("fill".to_owned())
            .spawn_scoped(scope, move || fill(&batches))
            .map_err(|source| UnpackError::io("start to write".to_owned(), source))?;
        Ok(Self {
            work,
            batch: Batch::default(),
            thread,
        })
    }

    /// Takes the next bytes of a file.
    pub(super) fn write(
        &mut self,
        file: &Arc<NewFile>,
        piece: &Piece<'_>,
    ) -> Result<(), UnpackError> {
        let holds = |held: &Arc<Buffer>| Arc::ptr_eq(held, piece.buffer);
        if !self.batch.buffer.as_ref().is_none_or(holds) {
            self.send()?;
        }
        self.batch
            .buffer
            .get_or_insert_with(|| Arc::clone(piece.buffer));
        let order = Order::Write(Arc::clone(file), piece.range.clone());
        self.batch.orders.push(order);
        Ok(())
    }

    /// Takes a file that is complete.
    pub(super) fn close(
        &mut self,
        file: Arc<NewFile>,
        modified: Option<(i64, u32)>,
    ) -> Result<(), UnpackError> {
        self.batch.orders.push(Order::Close(file, modified));
        self.batch.files += 1;
        if self.batch.files < BATCH_FILES {
            return Ok(());
        }
        self.send()
    }

    /// Waits until all is written, and says what went wrong first.
    pub(super) fn finish(mut self) -> Result<(), UnpackError> {
        // An error is told by the thread.
        let _ = self.send();
        drop(self.work);
        match self.thread.join() {
            Ok(filled) => filled,
            Err(panic) => std::panic::resume_unwind(panic),
        }
    }

    fn send(&mut self) -> Result<(), UnpackError> {
        let batch = std::mem::take(&mut self.batch);
        // Nobody receives it any more: the thread has failed, and `finish` says why.
        self.work.send(batch).map_err(|_| UnpackError::Stopped)
    }
}

fn fill(batches: &Receiver<Batch>) -> Result<(), UnpackError> {
    for Batch { buffer, orders, .. } in batches {
        for order in orders {
            match order {
                Order::Write(file, range) => {
                    let bytes = buffer.as_ref().map_or(&[][..], |buffer| buffer.bytes());
                    file.write(&bytes[range])?;
                }
                Order::Close(file, modified) => file.stamp(modified),
            }
        }
    }
    Ok(())
}
