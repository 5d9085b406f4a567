//! A part of a simulated fleet: a process of its own, which plays some of the hosts.
//!
//! One process can't play all: each host has two files open, and five while it downloads, and a process may often have no
//! more than twenty thousand, root included.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

use nix::sys::resource::{Resource, getrlimit, setrlimit};

use super::talk::{Answer, Ask};
use crate::spawn_tied;

/// The most hosts of a part.
pub const HOSTS_MAX: usize = 2500;
/// Files that are open at once, per host and besides.
const FILES_PER_HOST: u64 = 6;
const FILES: u64 = 1000;
/// With less than that per host it can't be done; not all download at once.
const FILES_PER_HOST_MIN: u64 = 3;

/// The process. It is killed when this is dropped.
pub struct Part {
    child: Child,
    asks: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Part {
    /// Starts a part that can play so many hosts, and plays none yet: the program `simulate`, whose path this is.
    ///
    /// # Panics
    /// If it does not start.
    pub fn start(program: &Path, hosts: usize, restart: Duration) -> Part {
        let mut command = Command::new(program);
        command
            .arg("part")
            .args([hosts.to_string(), restart.as_millis().to_string()])
            // What a client sets aside for answers is 2 MiB, of which it uses some KiB. It comes from the kernel, untouched, where this
            // says so; else from memory that was used before, and a host takes 1.4 MB instead of 0.25.
            .env("MALLOC_MMAP_THRESHOLD_", "1048576")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        let mut child = spawn_tied(command);
        let asks = child.stdin.take().expect("it is piped");
        let answers = child.stdout.take().expect("it is piped");
        Part {
            child,
            asks,
            answers: BufReader::new(answers),
        }
    }

    /// Asks without waiting for the answer.
    ///
    /// # Panics
    /// If the part has ended.
    pub fn ask(&mut self, ask: &Ask) {
        let ask = serde_json::to_string(ask).expect("it can be written");
        writeln!(self.asks, "{ask}").expect("a part of the fleet lives; see what it said above");
    }

    /// Waits for the answer to the oldest ask that has none yet.
    ///
    /// # Panics
    /// If the part ends instead.
    pub fn answer(&mut self) -> Answer {
        let mut answer = String::new();
        let read = self.answers.read_line(&mut answer);
        let read = read.expect("a pipe can be read");
        assert!(
            read > 0,
            "a part of the fleet ended; see what it said above"
        );
        serde_json::from_str(&answer).expect("it is an answer")
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        // Fails only if it is dead already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Sees to it that this process can have the files of so many hosts open.
///
/// # Panics
/// If it may not.
pub fn raise_file_limit(hosts: usize) {
    let hosts = hosts as u64;
    let had = open_files_up_to(hosts * FILES_PER_HOST + FILES);
    let needed = hosts * FILES_PER_HOST_MIN + FILES;
    assert!(
        had >= needed,
        "{hosts} hosts have {needed} files open, and a process may have {had} (`ulimit -n`)"
    );
}

/// Lets this process have so many files open, or as many as it may, and returns how many that are.
pub fn open_files_up_to(files: u64) -> u64 {
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE).expect("a limit can be read");
    // Who may not raise the upper limit has to do with it.
    let _ = setrlimit(Resource::RLIMIT_NOFILE, files, most.max(files))
        .or_else(|_| setrlimit(Resource::RLIMIT_NOFILE, files.min(most), most));
    let (had, _) = getrlimit(Resource::RLIMIT_NOFILE).expect("a limit can be read");
    had
}
