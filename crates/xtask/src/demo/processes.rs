//! Every process that the demo started, so that each is ended.

use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, ExitStatus};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

use super::launch::Launch;

/// How long a process may take to end after SIGTERM.
const END_LIMIT: Duration = Duration::from_secs(3);
const POLL: Duration = Duration::from_millis(10);

/// The processes of a demo. Shared with the thread that waits for Ctrl-C.
#[derive(Debug)]
pub(crate) struct Processes {
    own_program: PathBuf,
    started: Mutex<Started>,
}

#[derive(Debug)]
enum Started {
    Open(Vec<Arc<Process>>),
    /// Everything was ended; nothing starts any more.
    Closed,
}

/// A process, the first of a process group of its own.
#[derive(Debug)]
pub(crate) struct Process {
    name: String,
    child: Mutex<Child>,
}

impl Processes {
    pub(crate) fn new(own_program: &Path) -> Processes {
        let started = Mutex::new(Started::Open(Vec::new()));
        Processes {
            own_program: own_program.to_owned(),
            started,
        }
    }

    /// Returns the path of the program that the demo is.
    pub(crate) fn own_program(&self) -> &Path {
        &self.own_program
    }

    /// Starts a program; `prepare` gives its arguments, environment, directory and files.
    ///
    /// To be called from a thread that lives as long as the demo, see [`Launch::command`].
    pub(crate) fn start(
        &self,
        name: &str,
        program: &Path,
        prepare: impl FnOnce(&mut Command),
    ) -> Result<Arc<Process>> {
        let mut command = Launch::command(&self.own_program, program);
        prepare(&mut command);
        // The lock is held over the start: a process either is in the list or never was.
        let mut started = lock(&self.started);
        let Started::Open(list) = &mut *started else {
            bail!("the demo is ending")
        };
        let child = command
            .spawn()
            .with_context(|| format!("failed to start {name}"))?;
        let process = Arc::new(Process {
            name: name.to_owned(),
            child: Mutex::new(child),
        });
        list.retain(|other| other.status().is_none());
        list.push(Arc::clone(&process));
        Ok(process)
    }

    /// Ends every process, the last started first, and lets none start after.
    pub(crate) fn end_all(&self) {
        let Started::Open(list) = std::mem::replace(&mut *lock(&self.started), Started::Closed)
        else {
            return;
        };
        // All are asked at once, and share one limit.
        for process in list.iter().rev() {
            process.signal(Signal::SIGTERM);
        }
        let deadline = Instant::now() + END_LIMIT;
        for process in list.iter().rev() {
            process.end_by(deadline);
        }
    }
}

impl Process {
    /// Returns how the process ended; nothing while it runs.
    pub(crate) fn status(&self) -> Option<ExitStatus> {
        lock(&self.child).try_wait().ok().flatten()
    }

    /// Returns its number.
    pub(crate) fn id(&self) -> u32 {
        lock(&self.child).id()
    }

    /// Returns its standard output, once, where that was to be read.
    pub(crate) fn output(&self) -> Option<ChildStdout> {
        lock(&self.child).stdout.take()
    }

    /// Asks the process to end, waits, and kills it where it does not.
    pub(crate) fn end(&self) {
        self.signal(Signal::SIGTERM);
        self.end_by(Instant::now() + END_LIMIT);
    }

    /// Waits for the end of the process.
    pub(crate) fn wait(&self, limit: Duration) -> Result<ExitStatus> {
        let deadline = Instant::now() + limit;
        loop {
            if let Some(status) = self.status() {
                return Ok(status);
            }
            if Instant::now() > deadline {
                self.end();
                bail!("{} took longer than {} s", self.name, limit.as_secs());
            }
            thread::sleep(POLL);
        }
    }

    fn end_by(&self, deadline: Instant) {
        while self.status().is_none() {
            if Instant::now() >= deadline {
                self.signal(Signal::SIGKILL);
                // Ends what SIGKILL ended; an error means that somebody else waited for it.
                let _ = lock(&self.child).wait();
                return;
            }
            thread::sleep(POLL);
        }
    }

    /// Signals the whole group. Does nothing where the process was waited for: its number may
    /// belong to another by now.
    fn signal(&self, signal: Signal) {
        let mut child = lock(&self.child);
        if let Ok(None) = child.try_wait()
            && let Ok(id) = i32::try_from(child.id())
        {
            // An error means that the group is gone already.
            let _ = killpg(Pid::from_raw(id), signal);
        }
    }
}

/// A thread that panicked while it held the lock left nothing half done.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
