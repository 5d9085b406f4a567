//! The thread that makes and fills the files of a release, while the caller's makes the directories.
//!
//! Making a directory costs a file system several times what a file does, and an archive may have many of them or few. So whoever
//! has time makes the files: where the thread is behind, the caller does not wait for it, but makes the next files itself, and
//! leaves the rest of them to the thread. Small files are many, so orders go over in batches; the bytes stay where they were
//! inflated to.
//!
//! What comes of an archive must not depend on who was faster. So nothing overtakes a file of its own name, or one that it would be
//! beneath, and no hard link its target: before such an entry the caller waits until all files before it are there.

use std::mem;
use std::ops::Range;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread::{Scope, ScopedJoinHandle};

use super::access::Access;
use super::ahead::Names;
use super::error::UnpackError;
use super::file::NewFile;
use super::name::EntryPath;
use super::stream::{Buffer, Piece};
use super::tree::Place;

/// Files that a batch completes at most. Four batches are under way, see [`BATCHES`], with an open handle for each of their files:
/// of its directory, and of itself once it is made.
const BATCH_FILES: usize = 32;

/// Batches that wait; one more is being put together, and one worked off.
const BATCHES: usize = 2;

/// Files that may be yet to be made at most.
const FILES_AHEAD: usize = BATCH_FILES * (BATCHES + 2);

/// What the thread is to do next.
enum Order {
    /// Make a file; what follows is about it.
    Make(Place, u32),
    /// The file that was made for it; what follows is about it.
    Made(NewFile),
    /// Write this part of the batch's buffer to the file's end.
    Write(Range<usize>),
    /// It is complete: set its time of change, in seconds and nanoseconds, and close it.
    Close(Option<(i64, u32)>),
    /// Tell that all before is done.
    Tell(SyncSender<()>),
}

/// Orders that concern one buffer: who held on to several might hold all, and the inflater waits for one.
#[derive(Default)]
struct Batch {
    buffer: Option<Arc<Buffer>>,
    orders: Vec<Order>,
    files: usize,
}

/// The thread, as the caller sees it.
pub(super) struct Filler<'scope> {
    work: SyncSender<Batch>,
    batch: Batch,
    access: Access,
    /// What may not be there yet.
    names: Names,
    thread: ScopedJoinHandle<'scope, Result<(), UnpackError>>,
}

impl<'scope> Filler<'scope> {
    /// Starts the thread.
    pub(super) fn start(
        scope: &'scope Scope<'scope, '_>,
        access: Access,
    ) -> Result<Self, UnpackError> {
        let (work, batches) = sync_channel(BATCHES);
        let thread = std::thread::Builder::new()
            .name("fill".to_owned())
            .spawn_scoped(scope, move || fill(&batches, access))
            .map_err(|source| UnpackError::io("start to write".to_owned(), source))?;
        Ok(Self {
            work,
            batch: Batch::default(),
            access,
            names: Names::new(FILES_AHEAD),
            thread,
        })
    }

    /// Waits where this, or something above it, is a file that may not be there yet.
    pub(super) fn let_pass(&mut self, path: &EntryPath) -> Result<(), UnpackError> {
        if self.names.concern(path) {
            self.settle()?;
        }
        Ok(())
    }

    /// Takes a file to be made; what follows is about it.
    pub(super) fn file(&mut self, place: Place, mode: u32) {
        self.names.add(&place.path);
        self.batch.orders.push(Order::Make(place, mode));
    }

    /// Takes the next bytes of the file.
    pub(super) fn write(&mut self, piece: &Piece<'_>) -> Result<(), UnpackError> {
        let holds = |held: &Arc<Buffer>| Arc::ptr_eq(held, piece.buffer);
        if !self.batch.buffer.as_ref().is_none_or(holds) {
            self.send()?;
        }
        self.batch
            .buffer
            .get_or_insert_with(|| Arc::clone(piece.buffer));
        self.batch.orders.push(Order::Write(piece.range.clone()));
        Ok(())
    }

    /// Takes note that the file is complete.
    pub(super) fn close(&mut self, modified: Option<(i64, u32)>) -> Result<(), UnpackError> {
        self.batch.orders.push(Order::Close(modified));
        self.batch.files += 1;
        if self.batch.files < BATCH_FILES {
            return Ok(());
        }
        self.send()
    }

    /// Waits until all files that it has taken are there, and nothing is left to be done.
    fn settle(&mut self) -> Result<(), UnpackError> {
        let (done, all_done) = sync_channel(1);
        self.batch.orders.push(Order::Tell(done));
        self.send()?;
        self.names.clear();
        all_done.recv().map_err(|_| UnpackError::Stopped)
    }

    /// Waits until all is written, and says what went wrong first.
    pub(super) fn finish(mut self) -> Result<(), UnpackError> {
        let sent = self.send();
        drop(self.work);
        match self.thread.join() {
            // What the thread is at comes earlier in the archive than what is sent.
            Ok(filled) => filled.and(sent),
            Err(panic) => std::panic::resume_unwind(panic),
        }
    }

    fn send(&mut self) -> Result<(), UnpackError> {
        let batch = mem::take(&mut self.batch);
        // Nobody receives it any more: the thread has failed, and `finish` says why.
        match self.work.try_send(batch) {
            Ok(()) => Ok(()),
            Err(TrySendError::Full(mut batch)) => {
                let made = batch.make(self.access);
                let sent = self.work.send(batch).map_err(|_| UnpackError::Stopped);
                sent.and(made)
            }
            Err(TrySendError::Disconnected(_)) => Err(UnpackError::Stopped),
        }
    }
}

impl Batch {
    /// Makes its files. Of what follows the first that can't be made nothing is left in it: what comes before may fail, too.
    fn make(&mut self, access: Access) -> Result<(), UnpackError> {
        for order in mem::take(&mut self.orders) {
            self.orders.push(match order {
                Order::Make(place, mode) => Order::Made(NewFile::create(place, mode, access)?),
                order => order,
            });
        }
        Ok(())
    }
}

fn fill(batches: &Receiver<Batch>, access: Access) -> Result<(), UnpackError> {
    let mut filled = None;
    for Batch { buffer, orders, .. } in batches {
        for order in orders {
            match order {
                Order::Make(place, mode) => {
                    filled = Some(NewFile::create(place, mode, access)?);
                }
                Order::Made(file) => filled = Some(file),
                Order::Write(range) => {
                    let file = filled.as_mut().expect("bytes follow their file");
                    let bytes = buffer.as_ref().map_or(&[][..], |buffer| buffer.bytes());
                    file.write(&bytes[range])?;
                }
                Order::Close(modified) => {
                    if let Some(file) = filled.take() {
                        file.stamp(modified);
                    }
                }
                Order::Tell(done) => drop(done.send(())),
            }
        }
    }
    Ok(())
}
