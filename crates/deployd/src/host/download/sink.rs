//! Takes the bytes of a body from the network task to the disk.
//!
//! The task fills a buffer with what comes, while one blocking thread hashes the buffer before it, and another one writes it: each
//! costs about as much as the other, and where the network is fast, a thread for two of them is what is waited for.

use std::io;
use std::sync::Arc;

use deploy_core::artifact::Digest;
use sha2::{Digest as _, Sha256};
use tokio::task::{JoinHandle, spawn_blocking};

use super::Request;
use super::error::{DownloadError, shown};
use super::part::{Part, Verified};

/// Bytes that are handed over at once.
const BUFFER_BYTES: usize = 512 * 1024;

/// Where the bytes go.
pub(super) struct Sink {
    state: State,
    buffer: Vec<u8>,
    /// An empty one, to be filled while that one is hashed and written.
    spare: Vec<u8>,
}

type Buffer = Arc<Vec<u8>>;
type Writing = JoinHandle<(Part, Buffer, io::Result<()>)>;
type Hashing = JoinHandle<(Sha256, Buffer)>;

enum State {
    /// Nothing is done; the hash is of everything that the part has.
    Idle(Part, Sha256),
    /// The threads give back what they were given.
    Busy(Writing, Hashing),
    /// The part is lost, with the thread that had it.
    Lost,
}

impl Sink {
    pub(super) fn new(part: Part) -> Self {
        Self {
            state: State::Idle(part, Sha256::new()),
            buffer: Vec::with_capacity(BUFFER_BYTES),
            spare: Vec::with_capacity(BUFFER_BYTES),
        }
    }

    /// Returns how many bytes it took since it was emptied.
    pub(super) async fn taken(&mut self) -> Result<u64, DownloadError> {
        self.flush().await?;
        let (part, _) = self.settle().await?;
        Ok(part.written())
    }

    /// Empties it.
    pub(super) async fn restart(&mut self) -> Result<(), DownloadError> {
        self.buffer.clear();
        let (part, hasher) = self.settle().await?;
        *hasher = Sha256::new();
        part.restart()
    }

    /// Takes more bytes.
    pub(super) async fn push(&mut self, bytes: &[u8]) -> Result<(), DownloadError> {
        self.buffer.extend_from_slice(bytes);
        if self.buffer.len() >= BUFFER_BYTES {
            self.flush().await?;
        }
        Ok(())
    }

    /// Checks size and digest of everything. Emptied, where they differ.
    pub(super) async fn verify(&mut self, request: &Request) -> Result<Verified, DownloadError> {
        let received = self.taken().await?;
        if received != request.size_bytes {
            return Err(DownloadError::TooShort {
                url: shown(&request.url),
                received,
                wanted: request.size_bytes,
            });
        }
        let (_, hasher) = self.settle().await?;
        let found = Digest::from_bytes(&hasher.clone().finalize().into());
        if found != request.sha256 {
            self.restart().await?;
            return Err(DownloadError::DigestDiffers {
                url: shown(&request.url),
                found: found.to_string(),
                wanted: request.sha256.to_string(),
            });
        }
        match std::mem::replace(&mut self.state, State::Lost) {
            State::Idle(part, _) => part.into_verified(),
            State::Busy(..) | State::Lost => Err(lost()),
        }
    }

    async fn flush(&mut self) -> Result<(), DownloadError> {
        self.settle().await?;
        if self.buffer.is_empty() {
            return Ok(());
        }
        match std::mem::replace(&mut self.state, State::Lost) {
            State::Idle(mut part, mut hasher) => {
                let spare = std::mem::take(&mut self.spare);
                let written = Arc::new(std::mem::replace(&mut self.buffer, spare));
                let hashed = Arc::clone(&written);
                let writing = spawn_blocking(move || {
                    let result = part.append(&written);
                    (part, written, result)
                });
                let hashing = spawn_blocking(move || {
                    hasher.update(&*hashed);
                    (hasher, hashed)
                });
                self.state = State::Busy(writing, hashing);
                Ok(())
            }
            State::Busy(..) | State::Lost => Err(lost()),
        }
    }

    /// Waits until nothing is being hashed or written. Dropped while it waits, it loses the part.
    async fn settle(&mut self) -> Result<(&mut Part, &mut Sha256), DownloadError> {
        match std::mem::replace(&mut self.state, State::Lost) {
            State::Busy(writing, hashing) => {
                let (written, hashed) = tokio::join!(writing, hashing);
                let (part, buffer, result) = written.map_err(|_| lost())?;
                let (hasher, other) = hashed.map_err(|_| lost())?;
                let result = result.map_err(|source| part.failed(source));
                self.state = State::Idle(part, hasher);
                // Where the other one still had it, the buffer could not be used again.
                drop(other);
                self.spare = Arc::try_unwrap(buffer).unwrap_or_default();
                self.spare.clear();
                result?;
            }
            other => self.state = other,
        }
        match &mut self.state {
            State::Idle(part, hasher) => Ok((part, hasher)),
            State::Busy(..) | State::Lost => Err(lost()),
        }
    }
}

fn lost() -> DownloadError {
    DownloadError::disk(
        "hash or write: the thread died",
        io::Error::other("no result"),
    )
}
