//! What is to be done of an archive, what is under way, and what comes next.

use std::collections::VecDeque;
use std::io;
use std::mem;
use std::sync::Arc;

use crate::host::archive::access::Access;
use crate::host::archive::batch::Batch;
use crate::host::archive::compression::{Decoder, read_full};
use crate::host::archive::error::UnpackError;

/// Bytes of one buffer on its way from who inflates to who writes.
const BUFFER_BYTES: usize = 256 * 1024;

/// Buffers on their way at most.
const BUFFERS: usize = 8;

/// Inflated buffers that wait for the caller, before anybody fills files instead.
const INFLATED_AHEAD: usize = 2;

/// All of it.
pub(super) struct State {
    archive: Archive,
    /// What is inflated, and not yet parsed.
    inflated: VecDeque<io::Result<Vec<u8>>>,
    /// Buffers that nobody needs.
    empty: Vec<Vec<u8>>,
    /// Files to be filled.
    batches: VecDeque<Batch>,
    /// Batches that were begun.
    begun: usize,
    /// Of these, the ones in somebody's hands: the first batch is number 1.
    in_hands: Vec<usize>,
    /// The earliest batch that failed.
    failed: Option<(usize, UnpackError)>,
    /// Nothing more will come.
    over: bool,
    /// Threads that wait for something to do.
    pub(super) waiting: usize,
}

/// What is left of the archive.
enum Archive {
    Here(Decoder),
    /// Somebody inflates.
    InHands,
    /// It has ended, or failed.
    Ended,
}

/// Something to do.
pub(super) enum Job {
    /// Inflate the next bytes.
    Inflate(Decoder, Vec<u8>),
    /// Fill the files of this batch.
    Fill(usize, Batch),
}

/// What came of it.
pub(super) enum Done {
    /// As many bytes, none at the end.
    Inflated(Decoder, Vec<u8>, io::Result<usize>),
    /// The files of this batch are there, or one could not be made.
    Filled(usize, Option<Vec<u8>>, Result<(), UnpackError>),
}

impl State {
    /// All is yet to be done.
    pub(super) fn new(archive: Decoder) -> Self {
        Self {
            archive: Archive::Here(archive),
            inflated: VecDeque::new(),
            // The caller begins with the last one, used up.
            empty: vec![Vec::new(); BUFFERS - 1],
            batches: VecDeque::new(),
            begun: 0,
            in_hands: Vec::new(),
            failed: None,
            over: false,
            waiting: 0,
        }
    }

    /// Fails where nothing more is to be done: [`Self::take_failure`] says why.
    pub(super) fn check(&self) -> Result<(), UnpackError> {
        if self.over || self.failed.is_some() {
            return Err(UnpackError::Stopped);
        }
        Ok(())
    }

    /// Nothing more will come.
    pub(super) fn end(&mut self) {
        self.over = true;
    }

    /// Whether nothing more will come.
    pub(super) fn is_over(&self) -> bool {
        self.over
    }

    /// Takes what went wrong, of the earliest batch.
    pub(super) fn take_failure(&mut self) -> Option<UnpackError> {
        self.failed.take().map(|(_, error)| error)
    }

    /// Takes the next inflated bytes, if they are there.
    pub(super) fn take_inflated(&mut self) -> Option<io::Result<Vec<u8>>> {
        self.inflated.pop_front()
    }

    /// Whether all of the archive is inflated.
    pub(super) fn has_ended(&self) -> bool {
        matches!(self.archive, Archive::Ended)
    }

    /// Takes back a buffer.
    pub(super) fn give_back(&mut self, buffer: Vec<u8>) {
        self.empty.push(buffer);
    }

    /// Takes files to be filled.
    pub(super) fn add(&mut self, batch: Batch) {
        self.batches.push_back(batch);
    }

    /// Batches that nobody has begun.
    pub(super) fn unbegun(&self) -> usize {
        self.batches.len()
    }

    /// Batches from the first that is not yet done to the last.
    pub(super) fn undone(&self) -> usize {
        let first = self.in_hands.iter().min();
        let done = first.map_or(self.begun, |first| first - 1);
        self.begun - done + self.batches.len()
    }

    /// Takes on what is most urgent: that the caller has something to parse.
    pub(super) fn begin(&mut self) -> Option<Job> {
        if self.inflated.len() >= INFLATED_AHEAD
            && let Some(job) = self.begin_batch()
        {
            return Some(job);
        }
        self.begin_to_inflate().or_else(|| self.begin_batch())
    }

    fn begin_to_inflate(&mut self) -> Option<Job> {
        if self.over || self.failed.is_some() || self.empty.is_empty() {
            return None;
        }
        match mem::replace(&mut self.archive, Archive::InHands) {
            Archive::Here(decoder) => Some(Job::Inflate(decoder, self.empty.pop()?)),
            other => {
                self.archive = other;
                None
            }
        }
    }

    /// Takes on the next files to be filled.
    pub(super) fn begin_batch(&mut self) -> Option<Job> {
        let batch = self.batches.pop_front()?;
        self.begun += 1;
        self.in_hands.push(self.begun);
        Some(Job::Fill(self.begun, batch))
    }

    /// Takes note of what was done.
    pub(super) fn note(&mut self, done: Done) {
        match done {
            Done::Inflated(decoder, buffer, inflated) => {
                self.note_inflated(decoder, buffer, inflated)
            }
            Done::Filled(number, buffer, filled) => {
                self.in_hands.retain(|held| *held != number);
                self.empty.extend(buffer);
                if let Err(error) = filled {
                    self.note_failure(number, error);
                }
            }
        }
    }

    fn note_inflated(
        &mut self,
        decoder: Decoder,
        mut buffer: Vec<u8>,
        inflated: io::Result<usize>,
    ) {
        self.archive = match inflated {
            Ok(0) | Err(_) => Archive::Ended,
            Ok(_) => Archive::Here(decoder),
        };
        match inflated {
            Ok(0) => {}
            Ok(count) => {
                buffer.truncate(count);
                self.inflated.push_back(Ok(buffer));
            }
            Err(error) => self.inflated.push_back(Err(error)),
        }
    }

    /// What comes later is not begun any more; what comes earlier and is under way may fail, too.
    fn note_failure(&mut self, number: usize, error: UnpackError) {
        self.batches.clear();
        if self
            .failed
            .as_ref()
            .is_none_or(|(first, _)| number < *first)
        {
            self.failed = Some((number, error));
        }
    }
}

impl Job {
    /// Does it.
    pub(super) fn perform(self, access: Access) -> Done {
        match self {
            Self::Inflate(mut decoder, mut buffer) => {
                buffer.resize(BUFFER_BYTES, 0);
                let inflated = read_full(&mut decoder, &mut buffer);
                Done::Inflated(decoder, buffer, inflated)
            }
            Self::Fill(number, batch) => {
                let (buffer, filled) = batch.fill(access);
                Done::Filled(number, buffer.and_then(Arc::into_inner), filled)
            }
        }
    }
}
