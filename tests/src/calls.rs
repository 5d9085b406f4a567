//! Stands between a program and the file system: sees each call that changes files, before it is
//! made, and lets it go on, answers it with an error, or kills the program.
//!
//! ```text
//! deployd (all threads, and what it starts)          the test
//!     rename(…) ──► the kernel stops the thread ──► decode ──► the rule of the test
//!               ◄── goes on, or fails with an errno, or dies ◄──┘
//! ```
//!
//! It is a seccomp filter with user notification, put on between fork and exec. So it sees every
//! thread from the first instruction on, in the order in which the kernel was asked, and counting
//! is exact: `strace` counts per thread. A call that the rule looks at has not been made yet, so a
//! program that is killed there has done all the calls before it and not this one.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::missing;

mod decode;
mod filter;
mod listen;
mod table;

/// A call that changes a file or makes a change durable, and has not been made yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    /// What the kernel calls it.
    pub name: &'static str,
    /// What it changes; a rename has two.
    pub paths: Vec<PathBuf>,
    /// How many there were before it, of those that are counted.
    pub number: u64,
}

/// What becomes of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// It is made.
    GoOn,
    /// It is not made, and the program is told this.
    Fail(Errno),
    /// It is not made: the program, with all its threads, is killed with SIGKILL.
    Kill,
}

/// Whose calls are counted and answered. Those of others go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Whose {
    /// Those of the program itself, in all its threads.
    Own,
    /// Those of what it has started, too.
    All,
}

/// Who makes a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum By {
    Itself,
    Child,
}

/// Decides about each call. It runs while the caller is stopped, and may take its time; it must
/// not panic.
type Rule = Box<dyn FnMut(&Call) -> Answer + Send>;

/// The calls of one program after the other.
#[derive(Clone)]
pub struct Calls {
    shared: Arc<Shared>,
}

struct Shared {
    whose: Whose,
    /// Only calls that change something below these are counted and answered.
    roots: Vec<PathBuf>,
    state: Mutex<State>,
}

struct State {
    rule: Rule,
    count: u64,
    counts: BTreeMap<&'static str, u64>,
    killed_at: Option<Call>,
    strays: Vec<Call>,
}

impl Calls {
    /// Looks at what changes files below `roots`, which need not exist yet. Until there is a rule, everything goes on.
    pub fn below(roots: &[&Path], whose: Whose) -> Calls {
        // The kernel tells the real path of an open file, the program may use another.
        let real = roots.iter().filter_map(|root| {
            let parent = root.parent()?.canonicalize().ok()?;
            Some(parent.join(root.file_name()?))
        });
        let given = roots.iter().map(|root| root.to_path_buf());
        let state = State {
            rule: Box::new(|_| Answer::GoOn),
            count: 0,
            counts: BTreeMap::new(),
            killed_at: None,
            strays: Vec::new(),
        };
        Calls {
            shared: Arc::new(Shared {
                whose,
                roots: real.chain(given).collect(),
                state: Mutex::new(state),
            }),
        }
    }

    /// Puts the filter on what `command` will start. It is served for as long as the program or
    /// anything that it has started lives.
    ///
    /// # Panics
    /// If sockets can't be made. Where the kernel refuses the filter, the start fails.
    pub fn watch(&self, command: &mut Command) {
        let receiver = filter::install(command);
        let shared = Arc::clone(&self.shared);
        std::thread::spawn(move || {
            // The program was never started, or it is gone.
            if let Some((listener, pid)) = filter::receive(&receiver) {
                drop(receiver);
                listen::serve(&listener, pid, &shared);
            }
        });
    }

    /// Decides so from now on; the count begins anew. Returns the call that the program was killed
    /// at until now.
    pub fn rule(&self, rule: impl FnMut(&Call) -> Answer + Send + 'static) -> Option<Call> {
        let mut state = self.shared.lock();
        state.rule = Box::new(rule);
        state.count = 0;
        state.counts.clear();
        state.killed_at.take()
    }

    /// Kills the program instead of its `number`-th call from now on; the first is 0.
    pub fn kill_at(&self, number: u64) {
        self.rule(move |call| match call.number == number {
            true => Answer::Kill,
            false => Answer::GoOn,
        });
    }

    /// Lets everything go on; the count begins anew. Returns the call that the program was killed
    /// at until now.
    pub fn let_go(&self) -> Option<Call> {
        self.rule(|_| Answer::GoOn)
    }

    /// Returns how many calls were counted since the last rule.
    pub fn count(&self) -> u64 {
        self.shared.lock().count
    }

    /// Returns how many calls were counted since the last rule, by name.
    pub fn counts(&self) -> BTreeMap<&'static str, u64> {
        self.shared.lock().counts.clone()
    }

    /// Returns the call that the program was killed at, since the last rule.
    pub fn killed_at(&self) -> Option<Call> {
        self.shared.lock().killed_at.clone()
    }

    /// Returns what the program itself has changed elsewhere, the first of it.
    pub fn strays(&self) -> Vec<Call> {
        self.shared.lock().strays.clone()
    }
}

/// Tells whether programs can be watched here; if not, says so aloud.
pub fn available() -> bool {
    let mut command = Command::new("true");
    Calls::below(&[], Whose::Own).watch(&mut command);
    match command.status() {
        Ok(_) => true,
        Err(error) => {
            missing("seccomp", &format!("no user notification: {error}"));
            false
        }
    }
}

/// Strays that are kept.
const STRAYS_MAX: usize = 100;

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Decides about a call of the program `pid`, or of what it has started.
    fn decide(&self, (name, paths): (&'static str, Vec<PathBuf>), pid: Pid, by: By) -> Answer {
        let below = |path: &PathBuf| self.roots.iter().any(|root| path.starts_with(root));
        let mut state = self.lock();
        let mut call = Call {
            name,
            paths,
            number: state.count,
        };
        if !call.paths.iter().any(below) {
            if by == By::Itself && state.strays.len() < STRAYS_MAX {
                call.number = 0;
                state.strays.push(call);
            }
            return Answer::GoOn;
        }
        if by == By::Child && self.whose == Whose::Own {
            return Answer::GoOn;
        }
        state.count += 1;
        *state.counts.entry(name).or_default() += 1;
        let answer = (state.rule)(&call);
        if answer == Answer::Kill {
            // Fails only if it is dead already.
            let _ = kill(pid, Signal::SIGKILL);
            state.killed_at = Some(call);
        }
        answer
    }
}

impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.name)?;
        self.paths
            .iter()
            .try_for_each(|path| write!(f, " {}", path.display()))
    }
}
