//! What there is to do while an archive is unpacked, and who does it: whoever has time.
//!
//! The caller's thread parses the archive, and makes directories and links. Inflating the next bytes and filling files are done by its
//! helpers, or by itself: it does not wait while there is anything to do. So all of them have work until the end, whatever the
//! archive is made of, and hardly ever wake each other, which takes a tenth of a millisecond on a virtual machine.
//!
//! What comes of an archive must not depend on who was faster. Batches are begun in the archive's order, and of those that fail the
//! earliest says why.

use std::io;
use std::mem;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, Scope};

use self::state::{Job, State};
use super::access::Access;
use super::batch::Batch;
use super::compression::Decoder;
use super::error::UnpackError;

mod state;
#[cfg(test)]
mod tests;

/// Batches that wait, before the caller fills one itself.
const BATCHES_AHEAD: usize = 4;

/// Batches from the first that is not yet done to the last, at most. Who waits knows their files by name ([`super::ahead`]).
pub(super) const BATCHES_UNDONE: usize = 32;

/// Threads beside the caller's at most. They are one for inflating and one for filling, if all are busy.
pub(super) const HELPERS_MAX: usize = 2;

/// The jobs, and what has come of them.
pub(super) struct Jobs {
    state: Mutex<State>,
    changed: Condvar,
    access: Access,
}

/// Says that nothing more will come, however that has come about.
pub(super) struct Over<'a>(pub(super) &'a Jobs);

impl Jobs {
    /// Those that this archive makes.
    pub(super) fn new(archive: Decoder, access: Access) -> Self {
        Self {
            state: Mutex::new(State::new(archive)),
            changed: Condvar::new(),
            access,
        }
    }

    /// Starts threads that help. They end when it is over.
    pub(super) fn employ<'scope>(
        &'scope self,
        helpers: usize,
        scope: &'scope Scope<'scope, '_>,
    ) -> Result<(), UnpackError> {
        for _ in 0..helpers {
            thread::Builder::new()
                .name("unpack".to_owned())
                .spawn_scoped(scope, || self.help())
                .map_err(|source| UnpackError::io("start to unpack".to_owned(), source))?;
        }
        Ok(())
    }

    fn help(&self) {
        let mut state = self.lock();
        while !state.is_over() {
            let job = state.begin();
            state = self.perform_or_wait(job, state);
        }
    }

    /// Takes the next inflated bytes for those that the caller has used up; `None` at the end.
    pub(super) fn inflated(
        &self,
        used: Arc<Vec<u8>>,
    ) -> Result<Option<io::Result<Vec<u8>>>, UnpackError> {
        let mut state = self.lock();
        // Where a batch holds it, who fills that gives it back.
        if let Some(buffer) = Arc::into_inner(used) {
            state.give_back(buffer);
            self.tell(&state);
        }
        loop {
            state.check()?;
            match state.take_inflated() {
                None if !state.has_ended() => {}
                inflated => return Ok(inflated),
            }
            let job = state.begin();
            state = self.perform_or_wait(job, state);
        }
    }

    /// Takes files to be made and filled. Where too many are waiting, the caller fills some.
    pub(super) fn add(&self, batch: Batch) -> Result<(), UnpackError> {
        let mut state = self.lock();
        state.check()?;
        state.add(batch);
        self.tell(&state);
        let too_many =
            |state: &State| state.unbegun() > BATCHES_AHEAD || state.undone() > BATCHES_UNDONE;
        self.fill_while(too_many, state)
    }

    /// Waits until all files that were added are there.
    pub(super) fn settle(&self) -> Result<(), UnpackError> {
        self.fill_while(|state| state.undone() > 0, self.lock())
    }

    /// Waits until nothing is under way, and says what failed.
    pub(super) fn finish(&self) -> Result<(), UnpackError> {
        let settled = self.settle();
        let mut state = self.lock();
        while !state.is_over() && state.undone() > 0 {
            state = self.wait(state);
        }
        match state.take_failure() {
            Some(error) => Err(error),
            None => settled,
        }
    }

    fn fill_while<'a>(
        &'a self,
        needed: impl Fn(&State) -> bool,
        mut state: MutexGuard<'a, State>,
    ) -> Result<(), UnpackError> {
        loop {
            state.check()?;
            if !needed(&state) {
                return Ok(());
            }
            let job = state.begin_batch();
            state = self.perform_or_wait(job, state);
        }
    }

    fn perform_or_wait<'a>(
        &'a self,
        job: Option<Job>,
        state: MutexGuard<'a, State>,
    ) -> MutexGuard<'a, State> {
        match job {
            Some(job) => self.perform(job, state),
            None => self.wait(state),
        }
    }

    fn perform<'a>(&'a self, job: Job, state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        drop(state);
        // Who panics says that it is over, else others would wait for what it has in its hands.
        let over = Over(self);
        let done = job.perform(self.access);
        mem::forget(over);
        let mut state = self.lock();
        state.note(done);
        self.tell(&state);
        state
    }

    fn wait<'a>(&'a self, mut state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        state.waiting += 1;
        let waited = self.changed.wait(state);
        let mut state = waited.unwrap_or_else(PoisonError::into_inner);
        state.waiting -= 1;
        state
    }

    /// Wakes who waits, which costs a system call.
    fn tell(&self, state: &State) {
        if state.waiting > 0 {
            self.changed.notify_all();
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.lock().end();
        self.0.changed.notify_all();
    }
}
