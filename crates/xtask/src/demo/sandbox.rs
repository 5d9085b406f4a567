//! What the demo leaves behind: nothing. Owns its directory, its processes and its signals.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;
use std::{env, fs};

use anyhow::{Context, Result};
use nix::sys::prctl;
use nix::sys::signal::{SigSet, Signal, kill};
use nix::unistd::Pid;

use super::processes::Processes;
use crate::sweep::Sweeper;

/// Children of children of ….
const GENERATIONS_MAX: u32 = 10;

/// Ends and removes everything when it is dropped, and when a signal ends the demo.
#[derive(Debug)]
pub(crate) struct Sandbox {
    dir: PathBuf,
    held: Arc<Held>,
}

#[derive(Debug)]
struct Held {
    processes: Arc<Processes>,
    sweeper: Mutex<Sweeper>,
    /// The demo did all it does, and is kept running for whoever wants to play.
    is_over: AtomicBool,
    /// A signal came: its thread decides how this process exits.
    is_ending: AtomicBool,
}

impl Sandbox {
    /// Makes the directory. To be called before any other thread is started: signals are blocked
    /// here, and threads inherit that.
    pub(crate) fn open(own_program: &Path) -> Result<Sandbox> {
        let mut signals = SigSet::empty();
        for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP] {
            signals.add(signal);
        }
        signals.thread_block().context("failed to block signals")?;
        // What a killed agent leaves behind becomes ours to end.
        prctl::set_child_subreaper(true).context("failed to become a subreaper")?;

        let dir = tempfile::Builder::new()
            .prefix("deployd-demo-")
            .permissions(fs::Permissions::from_mode(0o700))
            .tempdir()
            .with_context(|| {
                format!(
                    "failed to make a directory in {}",
                    env::temp_dir().display()
                )
            })?;
        let (sweeper, dir) = Sweeper::start(own_program, dir, &[])?;
        let processes = Arc::new(Processes::new(own_program));
        let held = Arc::new(Held {
            processes,
            sweeper: Mutex::new(sweeper),
            is_over: AtomicBool::new(false),
            is_ending: AtomicBool::new(false),
        });

        let for_signals = Arc::clone(&held);
        thread::spawn(move || {
            let signal = signals.wait().unwrap_or(Signal::SIGTERM);
            for_signals.is_ending.store(true, Ordering::SeqCst);
            eprintln!("\n{}: stopping everything", signal.as_str());
            for_signals.leave_nothing();
            let is_over = for_signals.is_over.load(Ordering::SeqCst);
            process::exit(match signal {
                Signal::SIGINT if is_over => 0,
                other => 128 + other as i32,
            });
        });
        Ok(Sandbox { dir, held })
    }

    /// Returns the directory.
    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    /// Waits for the signal that ends the demo, and never returns.
    pub(crate) fn stay(&self) -> ! {
        self.held.is_over.store(true, Ordering::SeqCst);
        loop {
            thread::park();
        }
    }

    /// Returns where no signal came; else what went wrong since is due to that, and the thread of
    /// the signals ends the process.
    pub(crate) fn defer_to_signal(&self) {
        while self.held.is_ending.load(Ordering::SeqCst) {
            thread::park();
        }
    }

    /// Returns the processes.
    pub(crate) fn processes(&self) -> &Arc<Processes> {
        &self.held.processes
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        self.defer_to_signal();
        self.held.leave_nothing();
    }
}

impl Held {
    fn leave_nothing(&self) {
        // Held until the end: who comes second waits for who came first.
        let mut sweeper = self.sweeper.lock().unwrap_or_else(PoisonError::into_inner);
        self.processes.end_all();
        kill_orphans(sweeper.id());
        sweeper.sweep();
    }
}

/// Kills the children that we inherited from processes that are gone, and then theirs.
fn kill_orphans(except: u32) {
    for _ in 0..GENERATIONS_MAX {
        let orphans: Vec<u32> = running_children()
            .filter(|number| *number != except)
            .collect();
        if orphans.is_empty() {
            return;
        }
        for number in orphans {
            if let Ok(number) = i32::try_from(number) {
                // An error means that it is gone already.
                let _ = kill(Pid::from_raw(number), Signal::SIGKILL);
            }
        }
        thread::sleep(Duration::from_millis(20));
    }
}

fn running_children() -> impl Iterator<Item = u32> {
    let own = process::id();
    fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u32>().ok())
        .filter(move |number| is_running_child(*number, own).unwrap_or(false))
}

/// Reads `stat`: number, name in brackets, state, parent, ….
fn is_running_child(number: u32, of: u32) -> Option<bool> {
    let stat = fs::read_to_string(format!("/proc/{number}/stat")).ok()?;
    let (_, after_name) = stat.rsplit_once(") ")?;
    let mut words = after_name.split(' ');
    let state = words.next()?;
    let parent: u32 = words.next()?.parse().ok()?;
    Some(parent == of && state != "Z")
}
