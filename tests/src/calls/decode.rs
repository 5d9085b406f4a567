//! What a call is about, read from who makes it while it is stopped.

use std::ffi::OsString;
use std::fs::{self, File};
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use nix::libc;

use super::table::{Entry, OPEN_CHANGES, Place, When, entries};

/// Returns the name of a call and what it changes; `None` where it changes no file.
pub(super) fn decode(asked: &libc::seccomp_notif) -> Option<(&'static str, Vec<PathBuf>)> {
    let number = i64::from(asked.data.nr);
    let entry = entries().find(|entry| entry.number == number)?;
    let caller = Caller {
        proc: PathBuf::from(format!("/proc/{}", asked.pid)),
        arguments: asked.data.args,
    };
    if !caller.changes(entry) {
        return None;
    }
    let paths: Vec<_> = entry
        .places
        .iter()
        .filter_map(|place| caller.path(*place))
        .collect();
    (!paths.is_empty()).then_some((entry.name, paths))
}

struct Caller {
    proc: PathBuf,
    arguments: [u64; 6],
}

impl Caller {
    fn changes(&self, entry: &Entry) -> bool {
        match (entry.when, entry.places) {
            (When::OpenHow(argument), _) => {
                let mut flags = [0; 8];
                let read = self.memory(self.arguments[argument], &mut flags);
                let changes = u64::from(OPEN_CHANGES.cast_unsigned());
                read == Some(8) && u64::from_le_bytes(flags) & changes != 0
            }
            (When::RegularFile, [Place::Fd(argument)]) => {
                let file = fs::metadata(self.fd(*argument));
                file.is_ok_and(|file| file.is_file())
            }
            // The filter has looked at the flags.
            _ => true,
        }
    }

    fn path(&self, place: Place) -> Option<PathBuf> {
        match place {
            Place::Fd(argument) => open_path(&self.fd(argument)),
            Place::Path(argument) => {
                let path = self.string(self.arguments[argument])?;
                Some(open_path(&self.proc.join("cwd"))?.join(path))
            }
            Place::At(directory, argument) => {
                let path = self.string(self.arguments[argument])?;
                if path.is_absolute() {
                    return Some(path);
                }
                #[expect(clippy::cast_possible_truncation, reason = "descriptors are 32 bits")]
                let base = match self.arguments[directory] as i32 {
                    libc::AT_FDCWD => self.proc.join("cwd"),
                    _ => self.fd(directory),
                };
                // An empty path is the directory itself.
                let base = open_path(&base)?;
                Some(if path == Path::new("") {
                    base
                } else {
                    base.join(path)
                })
            }
        }
    }

    #[expect(clippy::cast_possible_truncation, reason = "descriptors are 32 bits")]
    fn fd(&self, argument: usize) -> PathBuf {
        let number = self.arguments[argument] as u32;
        self.proc.join("fd").join(number.to_string())
    }

    fn string(&self, address: u64) -> Option<PathBuf> {
        let mut buffer = [0; libc::PATH_MAX as usize];
        let read = self.memory(address, &mut buffer)?;
        let end = buffer[..read].iter().position(|byte| *byte == 0)?;
        Some(OsString::from_vec(buffer[..end].to_vec()).into())
    }

    /// Reads at most so much of its memory; less where that ends before.
    fn memory(&self, address: u64, buffer: &mut [u8]) -> Option<usize> {
        let memory = File::open(self.proc.join("mem")).ok()?;
        memory
            .read_at(buffer, address)
            .ok()
            .filter(|read| *read > 0)
    }
}

/// Where an open file is; of a socket or a pipe, `None`.
fn open_path(link: &Path) -> Option<PathBuf> {
    fs::read_link(link).ok().filter(|path| path.is_absolute())
}
