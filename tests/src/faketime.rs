//! A clock that a test sets, for one process: the time of day jumps, the time that passes doesn't.
//!
//! It is Debian's `faketime`, a library that answers in the kernel's place. Nobody else's clock is
//! touched.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::missing;

/// The clock of a process.
#[derive(Debug)]
pub struct FakeClock {
    library: PathBuf,
    file: PathBuf,
}

impl FakeClock {
    /// Makes one that is right, with its file in `dir`; `None`, aloud, where there is no faketime.
    pub fn new(dir: &Path) -> Option<FakeClock> {
        let Some(library) = library() else {
            missing("faketime", "no libfaketimeMT.so.1 (Debian: faketime)");
            return None;
        };
        let file = dir.join("clock");
        let clock = FakeClock { library, file };
        clock.set("+0");
        Some(clock)
    }

    /// Lets a process have this clock.
    pub fn give(&self, command: &mut Command) {
        command
            .env("LD_PRELOAD", &self.library)
            .env("FAKETIME_TIMESTAMP_FILE", &self.file)
            .env("FAKETIME_DONT_FAKE_MONOTONIC", "1")
            .env("FAKETIME_NO_CACHE", "1");
    }

    /// Sets it, from now on: `+1h`, `-1y`, or `+0`, which is right.
    ///
    /// # Panics
    /// If its file can't be replaced.
    pub fn set(&self, offset: &str) {
        let fresh = self.file.with_extension("fresh");
        fs::write(&fresh, offset).expect("a file can be written");
        fs::rename(&fresh, &self.file).expect("a file can be renamed");
    }
}

impl Drop for FakeClock {
    /// The library leaves a file in memory for each process that was killed.
    fn drop(&mut self) {
        for entry in fs::read_dir("/dev/shm").into_iter().flatten().flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            let owner = ["faketime_shm_", "sem.faketime_sem_"]
                .iter()
                .find_map(|kind| name.strip_prefix(kind));
            let is_left = |owner: &str| !Path::new("/proc").join(owner).exists();
            if owner.is_some_and(is_left) {
                // Another test may have been faster.
                let _ = fs::remove_file(entry.path());
            }
        }
    }
}

/// Debian has it in a directory named by the machine.
fn library() -> Option<PathBuf> {
    let dirs = fs::read_dir("/usr/lib").ok()?.flatten();
    let mut found = dirs.map(|dir| dir.path().join("faketime/libfaketimeMT.so.1"));
    found.find(|path| path.exists())
}
