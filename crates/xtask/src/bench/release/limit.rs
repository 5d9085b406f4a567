//! The half of the limit that is ours to make: the same tree from memory, with as few system calls as there can be.

use std::ffi::OsString;
use std::fs::File;
use std::io::{BufReader, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::path::{Component, Path};

use anyhow::{Context, Result, bail};
use flate2::bufread::GzDecoder;
use nix::fcntl::{OFlag, open, openat};
use nix::sys::stat::{Mode, mkdirat};
use nix::unistd::symlinkat;

/// A tree in memory.
#[derive(Debug, Default)]
pub(super) struct Tree {
    /// How many files it has.
    pub(super) files: usize,
    /// Their bytes.
    pub(super) bytes: u64,
    entries: Vec<Entry>,
}

#[derive(Debug)]
struct Entry {
    /// Those of its directories, then its own name.
    names: Vec<OsString>,
    what: What,
}

#[derive(Debug)]
enum What {
    Directory,
    File(Vec<u8>),
    Symlink(OsString),
}

impl Tree {
    /// Reads the tree of a `.tar.gz`.
    pub(super) fn read(archive: &Path) -> Result<Tree> {
        let opened =
            File::open(archive).with_context(|| format!("failed to open {}", archive.display()))?;
        let mut tree = Tree::default();
        let mut members = tar::Archive::new(GzDecoder::new(BufReader::new(opened)));
        for member in members.entries()? {
            let mut member = member?;
            let path = member.path()?.into_owned();
            let names = path.components().filter_map(|component| match component {
                Component::Normal(name) => Some(name.to_owned()),
                _ => None,
            });
            let names: Vec<OsString> = names.collect();
            let what = match member.header().entry_type() {
                tar::EntryType::Directory => What::Directory,
                tar::EntryType::Symlink => {
                    let target = member.link_name_bytes().unwrap_or_default();
                    What::Symlink(OsString::from_vec(target.into_owned()))
                }
                tar::EntryType::Regular => {
                    let mut body = Vec::new();
                    member.read_to_end(&mut body)?;
                    tree.files += 1;
                    tree.bytes += body.len() as u64;
                    What::File(body)
                }
                other => bail!("{} is a {other:?}", path.display()),
            };
            tree.entries.push(Entry { names, what });
        }
        Ok(tree)
    }

    /// Makes the tree in a directory, on one thread, beneath directory handles.
    pub(super) fn create(&self, place: &Path) -> Result<()> {
        let root = open(place, OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty())?;
        let mut open: Vec<(&OsString, OwnedFd)> = Vec::new();
        for entry in &self.entries {
            let Some((name, parents)) = entry.names.split_last() else {
                continue;
            };
            let same = open.iter().zip(parents);
            let depth = same.take_while(|((open, _), name)| open == name).count();
            open.truncate(depth);
            let parent = open.last().map_or(root.as_fd(), |(_, fd)| fd.as_fd());
            if depth < parents.len() {
                bail!("a directory comes after what is in it");
            }
            if let Some(directory) = make(parent, (name, &entry.what))? {
                open.push((name, directory));
            }
        }
        Ok(())
    }
}

/// Makes one entry. Returns the handle of a directory.
fn make(parent: BorrowedFd<'_>, (name, what): (&OsString, &What)) -> Result<Option<OwnedFd>> {
    let name = name.as_os_str();
    match what {
        What::Directory => {
            mkdirat(parent, name, Mode::from_bits_truncate(0o755))?;
            let flags = OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
            return Ok(Some(openat(parent, name, flags, Mode::empty())?));
        }
        What::Symlink(target) => symlinkat(target.as_os_str(), parent, name)?,
        What::File(body) => {
            let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_CLOEXEC;
            let file = openat(parent, name, flags, Mode::from_bits_truncate(0o644))?;
            File::from(file).write_all(body)?;
        }
    }
    Ok(None)
}
