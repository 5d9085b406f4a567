//! The files of a release, as the archive has them one after the other.
//!
//! Most are made and filled in batches, a little later, by who has time ([`super::jobs`]). One whose bytes lie in several buffers is
//! made at once, and its parts are filled in like the others.
//!
//! What comes of an archive must not depend on who was faster. So nothing overtakes a file of its own name, or one that it would be
//! beneath, and no hard link its target: before such an entry the caller waits until all files before it are there.

use std::mem;
use std::sync::Arc;

use super::access::Access;
use super::ahead::Names;
use super::batch::{Batch, FILES_MAX};
use super::error::UnpackError;
use super::file::{NewFile, Wanted};
use super::jobs::{BATCHES_UNDONE, Jobs};
use super::name::EntryPath;
use super::stream::Piece;

/// Files that may be yet to be made at most; one more batch is being put together.
const FILES_AHEAD: usize = FILES_MAX * (BATCHES_UNDONE + 1);

/// Takes files to be made.
pub(super) struct Filler<'a> {
    jobs: &'a Jobs,
    access: Access,
    batch: Batch,
    coming: Coming,
    /// What may not be there yet.
    names: Names,
}

/// The file whose bytes come now.
enum Coming {
    None,
    /// None of them has come.
    New(Wanted, u64),
    /// As many have come, and some are left.
    Begun(Arc<NewFile>, u64, u64),
}

impl<'a> Filler<'a> {
    /// Takes those of one archive.
    pub(super) fn new(jobs: &'a Jobs, access: Access) -> Self {
        Self {
            jobs,
            access,
            batch: Batch::default(),
            coming: Coming::None,
            names: Names::new(FILES_AHEAD),
        }
    }

    /// Waits where this, or something above it, is a file that may not be there yet.
    pub(super) fn let_pass(&mut self, path: &EntryPath) -> Result<(), UnpackError> {
        if self.names.concern(path) {
            self.send()?;
            self.jobs.settle()?;
            self.names.clear();
        }
        Ok(())
    }

    /// Takes a file of that many bytes; what follows is about it.
    pub(super) fn file(&mut self, file: Wanted, size: u64) -> Result<(), UnpackError> {
        self.names.add(&file.place.path);
        if size > 0 {
            self.coming = Coming::New(file, size);
            return Ok(());
        }
        self.batch.add_empty(file);
        self.send_full()
    }

    /// Takes the next bytes of the file.
    pub(super) fn write(&mut self, piece: &Piece<'_>) -> Result<(), UnpackError> {
        if !self.batch.takes(piece) {
            self.send()?;
        }
        let bytes = piece.range.len() as u64;
        let (file, offset, left) = match mem::replace(&mut self.coming, Coming::None) {
            Coming::New(file, size) if bytes == size => {
                self.batch.add_whole(file, piece);
                return self.send_full();
            }
            Coming::New(file, size) => (Arc::new(NewFile::create(file, self.access)?), 0, size),
            Coming::Begun(file, offset, left) => (file, offset, left),
            Coming::None => return Ok(()),
        };
        if bytes < left {
            self.coming = Coming::Begun(Arc::clone(&file), offset + bytes, left - bytes);
        }
        self.batch.add_part(file, offset, piece);
        self.send_full()
    }

    /// Waits until all files are there, and says what went wrong first.
    pub(super) fn finish(mut self) -> Result<(), UnpackError> {
        let sent = self.send();
        self.jobs.finish().and(sent)
    }

    fn send_full(&mut self) -> Result<(), UnpackError> {
        if self.batch.is_full() {
            return self.send();
        }
        Ok(())
    }

    fn send(&mut self) -> Result<(), UnpackError> {
        if self.batch.is_empty() {
            return Ok(());
        }
        self.jobs.add(mem::take(&mut self.batch))
    }
}
