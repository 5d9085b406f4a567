//! The journal: what can't be observed, one file a service.
//!
//! ```text
//! <state_dir>/journal/<service>.json
//! ```
//!
//! Replaced as a whole, atomically, at each change: after a crash it is the old one or the new one.
//! What it says and when it is written is in `deploy_core::wire::record`.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use deploy_core::name::ServiceName;
use deploy_core::wire::record::Record;
use deploy_core::wire::{self, WireError};

use crate::host::files;

/// The journal of one service.
#[derive(Debug)]
pub(crate) struct Journal {
    path: PathBuf,
    record: Record,
    kept: Kept,
}

/// What of the last change would be there after a power loss.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kept {
    /// All of it.
    Durably,
    /// The change, or the state before it.
    Perhaps,
}

/// Why a journal can't be read or written.
#[derive(Debug, thiserror::Error)]
pub(crate) enum JournalError {
    /// It can't be read.
    #[error("failed to read the journal {path}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// What it says makes no sense, or is of a newer deployd.
    #[error("the journal {path} is not usable; move it away to start afresh")]
    Decode {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: WireError,
    },
    /// It can't be written.
    #[error("failed to write the journal {path}")]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

impl Journal {
    /// Opens the journal of a service below `state_dir`; a missing one is empty.
    ///
    /// # Errors
    /// Where it can't be read, is not a journal, or was written by a newer deployd. Starting
    /// afresh then would forget which builds have failed.
    pub(crate) fn open(state_dir: &Path, service: &ServiceName) -> Result<Journal, JournalError> {
        let path = state_dir.join("journal").join(format!("{service}.json"));
        let record = match fs::read(&path) {
            Ok(data) => wire::decode(&data).map_err(|source| JournalError::Decode {
                path: path.clone(),
                source,
            })?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Record::default(),
            Err(source) => return Err(JournalError::Read { path, source }),
        };
        let kept = Kept::Durably;
        Ok(Journal { path, record, kept })
    }

    /// Returns what is remembered.
    pub(crate) fn record(&self) -> &Record {
        &self.record
    }

    /// Changes what is remembered; durable when it returns. When it fails, what is remembered is as before, and the next write
    /// puts that into the file. Where nothing changes, and all is durable already, it costs nothing.
    ///
    /// # Errors
    /// Where the file can't be replaced.
    pub(crate) fn write<T>(
        &mut self,
        change: impl FnOnce(&mut Record) -> T,
    ) -> Result<T, JournalError> {
        let mut record = self.record.clone();
        let result = change(&mut record);
        if record != self.record || self.kept == Kept::Perhaps {
            self.replace(record, Kept::Durably)?;
        }
        Ok(result)
    }

    /// Like [`Journal::write`], but a power loss may undo it, until the next write: for a success
    /// that is had again where nobody remembers it. That a directory has been changed is the dearest
    /// thing to make durable, and three such changes are made for each instance.
    ///
    /// # Errors
    /// As [`Journal::write`].
    pub(crate) fn note(&mut self, change: impl FnOnce(&mut Record)) -> Result<(), JournalError> {
        let mut record = self.record.clone();
        change(&mut record);
        if record != self.record {
            self.replace(record, Kept::Perhaps)?;
        }
        Ok(())
    }

    fn replace(&mut self, record: Record, kept: Kept) -> Result<(), JournalError> {
        let data = wire::encode(&record);
        let replaced = match kept {
            Kept::Durably => files::replace(&self.path, &data),
            Kept::Perhaps => files::replace_whole(&self.path, &data),
        };
        // The file may have it all the same, where only its directory could not be synced: the next write says which of the two
        // is so.
        self.kept = Kept::Perhaps;
        replaced.map_err(|source| JournalError::Write {
            path: self.path.clone(),
            source,
        })?;
        (self.record, self.kept) = (record, kept);
        Ok(())
    }
}
