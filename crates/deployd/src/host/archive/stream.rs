//! The decompressed archive as the parser takes it: blocks, bodies, and a budget for every byte.

use std::mem;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::Options;
use super::error::UnpackError;
use super::jobs::Jobs;

/// Bytes of a tar block.
pub(super) const BLOCK_BYTES: usize = 512;

/// Bytes that the stream may have beyond the files' own: zeros after the end marker, mostly. The
/// largest record that is in use is 1 MiB (`tar -b 2048`).
const SLACK_BYTES: u64 = 2 << 20;

/// Bytes of headers, padding and long names that each entry may have besides its data.
const SLACK_BYTES_PER_ENTRY: u64 = 16 << 10;

/// A block, in the caller's memory, or the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Block {
    /// A whole block.
    Whole,
    /// The stream ended inside it.
    Cut,
    /// The stream ended before it.
    End,
}

/// A part of a buffer.
pub(super) struct Piece<'a> {
    /// The buffer, for who wants to keep it.
    pub(super) buffer: &'a Arc<Vec<u8>>,
    /// Where in it.
    pub(super) range: Range<usize>,
}

/// The decompressed archive.
pub(super) struct Stream<'a> {
    jobs: &'a Jobs,
    current: Arc<Vec<u8>>,
    position: usize,
    budget: u64,
    started: Instant,
    time_max: Duration,
    stop: &'a AtomicBool,
}

impl<'a> Stream<'a> {
    pub(super) fn new(jobs: &'a Jobs, options: &Options<'a>) -> Self {
        Self {
            jobs,
            current: Arc::new(Vec::new()),
            position: 0,
            budget: options
                .limits
                .unpacked_bytes_max
                .saturating_add(SLACK_BYTES),
            started: Instant::now(),
            time_max: options.limits.time_max,
            stop: options.stop,
        }
    }

    /// Widens the budget by what one more entry may have besides its data.
    pub(super) fn allow_entry(&mut self) {
        self.budget = self.budget.saturating_add(SLACK_BYTES_PER_ENTRY);
    }

    /// Takes the next block.
    pub(super) fn block(&mut self, block: &mut [u8; BLOCK_BYTES]) -> Result<Block, UnpackError> {
        let mut filled = 0;
        while filled < BLOCK_BYTES {
            let piece = self.next(BLOCK_BYTES as u64 - filled as u64)?;
            let bytes = piece.bytes();
            if bytes.is_empty() {
                return Ok(if filled == 0 { Block::End } else { Block::Cut });
            }
            block[filled..filled + bytes.len()].copy_from_slice(bytes);
            filled += bytes.len();
        }
        Ok(Block::Whole)
    }

    /// Gives the `size` bytes of a body to `sink`, and takes the padding to the next block.
    pub(super) fn body(
        &mut self,
        size: u64,
        sink: &mut dyn FnMut(&Piece<'_>) -> Result<(), UnpackError>,
    ) -> Result<(), UnpackError> {
        self.exactly(size, sink)?;
        let padding = size.wrapping_neg() % BLOCK_BYTES as u64;
        self.exactly(padding, &mut |_| Ok(()))
    }

    fn exactly(
        &mut self,
        size: u64,
        sink: &mut dyn FnMut(&Piece<'_>) -> Result<(), UnpackError>,
    ) -> Result<(), UnpackError> {
        let mut left = size;
        while left > 0 {
            let piece = self.next(left)?;
            if piece.range.is_empty() {
                return Err(UnpackError::archive("it ends in the middle of an entry"));
            }
            left -= piece.range.len() as u64;
            sink(&piece)?;
        }
        Ok(())
    }

    /// Reads to the end, and says whether nothing but zero bytes was left.
    pub(super) fn rest_is_zero(&mut self) -> Result<bool, UnpackError> {
        let mut zero = true;
        loop {
            let piece = self.next(u64::MAX)?;
            let bytes = piece.bytes();
            if bytes.is_empty() {
                return Ok(zero);
            }
            zero &= bytes.iter().all(|byte| *byte == 0);
        }
    }

    /// Takes between one and `max` bytes; none at the end of the stream.
    fn next(&mut self, max: u64) -> Result<Piece<'_>, UnpackError> {
        if self.position == self.current.len() {
            self.refill()?;
        }
        let left = self.current.len() - self.position;
        let count = usize::try_from(max).unwrap_or(usize::MAX).min(left);
        self.budget = self
            .budget
            .checked_sub(count as u64)
            .ok_or_else(|| UnpackError::archive("it has more bytes than its limit allows"))?;
        let range = self.position..self.position + count;
        self.position = range.end;
        Ok(Piece {
            buffer: &self.current,
            range,
        })
    }

    /// Takes the next buffer for the one that is used up. At the end that is one without bytes.
    fn refill(&mut self) -> Result<(), UnpackError> {
        if self.stop.load(Ordering::Relaxed) {
            return Err(UnpackError::Stopped);
        }
        if self.started.elapsed() > self.time_max {
            return Err(UnpackError::TooSlow {
                limit_s: self.time_max.as_secs(),
            });
        }
        let used = mem::take(&mut self.current);
        self.position = 0;
        let inflated = match self.jobs.inflated(used)? {
            None => return Ok(()),
            Some(inflated) => inflated.map_err(|source| match source.raw_os_error() {
                // An errno comes from the disk; everything else from the decoder.
                Some(_) => UnpackError::io("read the archive".to_owned(), source),
                None => UnpackError::Corrupt { source },
            })?,
        };
        self.current = Arc::new(inflated);
        Ok(())
    }
}

impl Piece<'_> {
    /// Returns the bytes.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.buffer[self.range.clone()]
    }
}
