//! Takes the bytes of a body from the network task to the disk.
//!
//! The task hashes what comes, while a blocking thread writes the buffer before it: each costs about
//! as much as the other, and where the network is fast, one thread for both is what is waited for.

use std::io;

use deploy_core::artifact::Digest;
use sha2::{Digest as _, Sha256};
use tokio::task::{JoinError, JoinHandle, spawn_blocking};

use super::Request;
use super::error::{DownloadError, shown};
use super::part::{Part, Verified};

/// Bytes that are handed over at once.
const BUFFER_BYTES: usize = 256 * 1024;

/// Where the bytes go.
pub(super) struct Sink {
    state: State,
    buffer: Vec<u8>,
    /// An empty one, to be filled while that one is written.
    spare: Vec<u8>,
    /// Of everything it took since it was emptied.
    hasher: Sha256,
}

enum State {
    Idle(Part),
    /// The thread gives back what it was given.
    Writing(JoinHandle<(Part, Vec<u8>, io::Result<()>)>),
    /// The part is lost, with the thread that had it.
    Lost,
}

impl Sink {
    pub(super) fn new(part: Part) -> Self {
        Self {
            state: State::Idle(part),
            buffer: Vec::with_capacity(BUFFER_BYTES),
            spare: Vec::with_capacity(BUFFER_BYTES),
            hasher: Sha256::new(),
        }
    }

    /// Returns how many bytes it took since it was emptied.
    pub(super) async fn taken(&mut self) -> Result<u64, DownloadError> {
        self.flush().await?;
        Ok(self.settle().await?.written())
    }

    /// Empties it.
    pub(super) async fn restart(&mut self) -> Result<(), DownloadError> {
        self.buffer.clear();
        self.hasher = Sha256::new();
        self.settle().await?.restart()
    }

    /// Takes more bytes.
    pub(super) async fn push(&mut self, bytes: &[u8]) -> Result<(), DownloadError> {
        self.hasher.update(bytes);
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
        let found = Digest::from_bytes(&self.hasher.clone().finalize().into());
        if found != request.sha256 {
            self.restart().await?;
            return Err(DownloadError::DigestDiffers {
                url: shown(&request.url),
                found: found.to_string(),
                wanted: request.sha256.to_string(),
            });
        }
        match std::mem::replace(&mut self.state, State::Lost) {
            State::Idle(part) => part.into_verified(),
            State::Writing(_) | State::Lost => Err(lost()),
        }
    }

    async fn flush(&mut self) -> Result<(), DownloadError> {
        self.settle().await?;
        if self.buffer.is_empty() {
            return Ok(());
        }
        match std::mem::replace(&mut self.state, State::Lost) {
            State::Idle(mut part) => {
                let spare = std::mem::take(&mut self.spare);
                let bytes = std::mem::replace(&mut self.buffer, spare);
                self.state = State::Writing(spawn_blocking(move || {
                    let written = part.append(&bytes);
                    (part, bytes, written)
                }));
                Ok(())
            }
            State::Writing(_) | State::Lost => Err(lost()),
        }
    }

    /// Waits until nothing is being written.
    async fn settle(&mut self) -> Result<&mut Part, DownloadError> {
        if let State::Writing(writing) = &mut self.state {
            let done: Result<_, JoinError> = writing.await;
            let (part, mut bytes, written) = done.map_err(|_| lost())?;
            let result = written.map_err(|source| part.failed(source));
            self.state = State::Idle(part);
            bytes.clear();
            self.spare = bytes;
            result?;
        }
        match &mut self.state {
            State::Idle(part) => Ok(part),
            State::Writing(_) | State::Lost => Err(lost()),
        }
    }
}

fn lost() -> DownloadError {
    DownloadError::disk(
        "write: the writing thread died",
        io::Error::other("no result"),
    )
}
