//! The disk that all write to: an ext4 in memory, with a journal, as servers have it.
//!
//! One without a journal, such as many virtual machines are given, passes over the inodes that were freed in the last minutes, one by
//! one, whenever it looks for a free one: who comes later pays for what was deleted before. And the disk of a shared machine has moods.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;

use anyhow::{Context, Result};
use nix::sched::{CloneFlags, unshare};

use crate::tool::output;

/// How much there is room for. Only what is written takes memory.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Room {
    pub(crate) bytes: u64,
    pub(crate) inodes: u32,
}

/// A place to write trees to.
#[derive(Debug)]
pub(crate) struct Disk {
    /// Where trees go: empty, after [`Disk::renew`].
    pub(crate) place: PathBuf,
    /// Where downloads go.
    pub(crate) memory: PathBuf,
    image: Option<PathBuf>,
    room: Room,
}

impl Disk {
    /// Has somebody work on it, on a thread of its own: the mounts are that thread's and its programs', and end with them. Who may
    /// not mount uses `scratch`.
    pub(crate) fn lend<T: Send>(
        scratch: &Path,
        room: Room,
        to: impl FnOnce(&Disk) -> Result<T> + Send,
    ) -> Result<T> {
        thread::scope(|scope| {
            let working = scope.spawn(|| to(&Disk::new(scratch, room)?));
            working.join().expect("measuring does not panic")
        })
    }

    fn new(scratch: &Path, room: Room) -> Result<Disk> {
        let place = scratch.join("place");
        let memory = scratch.join("memory");
        for dir in [&place, &memory] {
            fs::create_dir_all(dir).with_context(|| format!("failed to make {}", dir.display()))?;
        }
        let mounted = unshare(CloneFlags::CLONE_NEWNS)
            .map_err(anyhow::Error::from)
            .and_then(|()| run("mount", &["--make-rprivate", "/"]))
            .and_then(|()| run("mount", &["-t", "tmpfs", "tmpfs", &shown(&memory)]));
        let image = memory.join("disk.ext4");
        let mut disk = Disk {
            place,
            memory,
            image: Some(image),
            room,
        };
        if let Err(error) = mounted.and_then(|()| disk.renew()) {
            eprintln!(
                "no disk of its own, so all write to {}: {error:#}",
                scratch.display()
            );
            disk.image = None;
        }
        Ok(disk)
    }

    /// Empties it. What was downloaded goes too.
    pub(crate) fn renew(&self) -> Result<()> {
        let _ = fs::remove_file(self.download());
        let Some(image) = &self.image else {
            let _ = fs::remove_dir_all(&self.place);
            return fs::create_dir(&self.place).context("failed to make the place for trees");
        };
        // The first time nothing is mounted.
        let _ = Command::new("umount").arg(&self.place).output();
        let _ = fs::remove_file(image);
        File::create(image)
            .and_then(|file| file.set_len(self.room.bytes))
            .context("failed to make the image of a disk")?;
        // Nothing is left for the kernel to do later, while somebody is measured.
        let now = "lazy_itable_init=0,lazy_journal_init=0";
        let inodes = self.room.inodes.to_string();
        run(
            "mkfs.ext4",
            &["-q", "-F", "-N", &inodes, "-E", now, &shown(image)],
        )?;
        run(
            "mount",
            &["-o", "loop,discard", &shown(image), &shown(&self.place)],
        )
    }

    /// Where a download goes.
    pub(crate) fn download(&self) -> PathBuf {
        self.memory.join("download")
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        if self.image.is_some() {
            let _ = Command::new("umount").arg(&self.place).output();
            let _ = Command::new("umount").arg(&self.memory).output();
        }
    }
}

fn run(program: &str, args: &[&str]) -> Result<()> {
    output(Command::new(program).args(args)).map(drop)
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}
