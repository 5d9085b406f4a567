//! Unpacks the archive of a build into a release directory, as `docs/archives.md` says.
//!
//! ```text
//! releases/                 the parent: opened once, everything else is beneath that handle
//!     .r2431.partial/       being written; 0700 and locked, so that nobody looks in or joins in
//!     r2431/                complete: renamed here after one syncfs
//! ```
//!
//! It must never create, change or remove anything outside the partial directory, whatever the
//! archive says; never follow a symbolic link, not even one that stays inside; and never leave
//! anything under the final name that is not complete and on disk. No system call here takes a
//! path of more than one component.
//!
//! The caller's thread parses the archive, and makes directories and links; who has time inflates, or makes and fills files. They share a
//! few buffers, so memory does not grow with the archive.

use std::borrow::Cow;
use std::fs::File;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::thread;
use std::time::Duration;

use nix::fcntl::{OFlag, open};
use nix::sys::stat::Mode;
use nix::unistd::{Gid, Uid};

use self::access::Access;
use self::compression::Compression;
use self::error::UnpackError;
use self::file::Wanted;
use self::fill::Filler;
use self::jobs::{HELPERS_MAX, Jobs, Over};
use self::member::{Kind, Member, Members};
use self::partial::Partial;
use self::stream::Stream;
use self::tree::Tree;

mod access;
mod ahead;
mod batch;
mod compression;
pub(crate) mod error;
mod file;
mod fill;
mod header;
mod jobs;
mod member;
mod name;
mod partial;
mod pax;
pub(crate) mod remove;
mod stream;
mod tree;

/// What an archive may cost.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Limits {
    /// Sum of the sizes that the archive's files claim.
    pub(crate) unpacked_bytes_max: u64,
    /// Members of the archive.
    pub(crate) entries_max: u64,
    /// From the first byte to the last, syncing not counted.
    pub(crate) time_max: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            unpacked_bytes_max: 8 << 30,
            entries_max: 1_000_000,
            time_max: Duration::from_secs(30 * 60),
        }
    }
}

/// Who gets everything that is unpacked. The owners named in the archive are ignored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Owner {
    /// The user.
    pub(crate) user: Uid,
    /// The group.
    pub(crate) group: Gid,
}

/// How an archive is to be unpacked.
#[derive(Debug)]
pub(crate) struct Options<'a> {
    /// What it may cost.
    pub(crate) limits: Limits,
    /// Who gets it; `None` leaves it to the user that deployd runs as.
    pub(crate) owner: Option<Owner>,
    /// Set to true by another thread, it ends the work with [`UnpackError::Stopped`] soon.
    pub(crate) stop: &'a AtomicBool,
}

/// What an unpacked archive came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Unpacked {
    /// Members of the archive.
    pub(crate) entries: u64,
    /// Sum of the sizes of its files.
    pub(crate) bytes: u64,
    /// How long the disk took to make it durable, which is no work of ours.
    pub(crate) synced_in: Duration,
}

/// Opens the directory that `release` is to be made in, whatever links lead there.
///
/// # Errors
/// Where it is not there, no directory, or can't be opened.
pub(crate) fn open_parent(release: &Path) -> Result<OwnedFd, UnpackError> {
    let parent = match release.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    open(parent, flags, Mode::empty())
        .map_err(|errno| UnpackError::io(format!("open {}", parent.display()), errno))
}

/// Unpacks `archive`, from its first byte whatever its position is, into the directory `release` of
/// `parent`: of its path only the last name is used, the rest is for messages.
///
/// The archive is taken, since it is closed before the sync. A download has no name, so it is gone then,
/// and its bytes, which nobody needs any more, are not written to the disk with those of the release.
///
/// `release` must not exist and exists afterwards only where the answer is `Ok`; it is complete
/// and on disk then. What a killed run left beside it is removed first.
///
/// # Errors
/// Where the archive breaks a rule of `docs/archives.md`, where the file system fails, or where
/// somebody said stop; with the archive, where it was not closed yet. The partial directory is gone in every case, unless the error says that
/// this failed too; a killed process leaves it, for the next call of the same name or for
/// [`remove::remove_tree`].
pub(crate) fn unpack(
    archive: File,
    (parent, release): (OwnedFd, &Path),
    options: &Options<'_>,
) -> Result<Unpacked, (UnpackError, Option<File>)> {
    let begun = Compression::detect(&archive)
        .and_then(|compression| Ok((compression, Partial::create((parent, release))?)));
    let (compression, partial) = match begun {
        Ok(begun) => begun,
        Err(error) => return Err((error, Some(archive))),
    };
    let written = write_tree(&archive, compression, &partial, options);
    let archive = written.is_err().then_some(archive);
    let publish = |unpacked| {
        let synced_in = partial.publish()?;
        Ok(Unpacked {
            synced_in,
            ..unpacked
        })
    };
    match written.and_then(publish) {
        Ok(unpacked) => Ok(unpacked),
        Err(refusal) => match partial.discard() {
            Ok(()) => Err((refusal, archive)),
            Err(source) => {
                let refusal = Box::new(refusal);
                Err((UnpackError::Leftover { refusal, source }, archive))
            }
        },
    }
}

fn write_tree(
    archive: &File,
    compression: Compression,
    partial: &Partial,
    options: &Options<'_>,
) -> Result<Unpacked, UnpackError> {
    let access = Access::new(options.owner)?;
    let mut tree = Tree::new(partial.root()?, access, options);
    let failed = |source| UnpackError::io("start to decompress".to_owned(), source);
    let jobs = Jobs::new(compression.inflate(archive).map_err(failed)?, access);
    let others = thread::available_parallelism().map_or(1, |threads| threads.get() - 1);
    let unpacked = thread::scope(|scope| {
        let _over = Over(&jobs);
        jobs.employ(others.min(HELPERS_MAX), scope)?;
        let mut filler = Filler::new(&jobs, access);
        let members = Members::new(Stream::new(&jobs, options), &options.limits);
        let made = write_members(&mut tree, members, &mut filler);
        // What is yet to be made there comes earlier in the archive than what is made here.
        filler.finish().and(made)
    })?;
    tree.finish()?;
    Ok(unpacked)
}

fn write_members(
    tree: &mut Tree,
    mut members: Members,
    filler: &mut Filler,
) -> Result<Unpacked, UnpackError> {
    while let Some(member) = members.next()? {
        let Member {
            path,
            kind,
            modified,
        } = member;
        filler.let_pass(&path)?;
        match kind {
            Kind::Directory { mode } => tree.directory(&path, mode)?,
            Kind::Symlink { target } => tree.symlink(&path, &target)?,
            Kind::HardLink { target } => {
                filler.let_pass(&target)?;
                tree.hard_link(&path, &target)?;
            }
            Kind::File { mode, size } => {
                let place = tree.place(path)?;
                let file = Wanted {
                    place,
                    mode,
                    modified,
                };
                filler.file(file, size)?;
                members.copy_body(size, &mut |piece| filler.write(piece))?;
            }
        }
    }
    members.finish()
}

/// A rule of `docs/archives.md` that was broken, in words that follow the name of an entry.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Rule(Cow<'static, str>);

impl From<&'static str> for Rule {
    fn from(text: &'static str) -> Self {
        Self(Cow::Borrowed(text))
    }
}

impl From<String> for Rule {
    fn from(text: String) -> Self {
        Self(Cow::Owned(text))
    }
}
