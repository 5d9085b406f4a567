//! The disk that all write to: an ext4 in memory, made anew for each.
//!
//! On a disk that is used again ext4 passes over the inodes that were freed in the last minutes, one by one, whenever it looks
//! for a free one: who comes later pays for what was deleted before. And the disk of a shared machine has moods.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use nix::sched::{CloneFlags, unshare};

use crate::tool::output;

/// Room for the largest tree a few times over; only what is written takes memory.
const DISK_BYTES: u64 = 3 << 30;

/// A place to write trees to.
#[derive(Debug)]
pub(super) struct Disk {
    /// Where trees go: empty, after [`Disk::renew`].
    pub(super) place: PathBuf,
    /// Where downloads go.
    pub(super) memory: PathBuf,
    image: Option<PathBuf>,
}

impl Disk {
    /// Mounts it where only this thread and its programs see it, so that it ends with them. Who may not mount uses `scratch`.
    pub(super) fn new(scratch: &Path) -> Result<Disk> {
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
    pub(super) fn renew(&self) -> Result<()> {
        let _ = fs::remove_file(self.download());
        let Some(image) = &self.image else {
            let _ = fs::remove_dir_all(&self.place);
            return fs::create_dir(&self.place).context("failed to make the place for trees");
        };
        // The first time nothing is mounted.
        let _ = Command::new("umount").arg(&self.place).output();
        let _ = fs::remove_file(image);
        File::create(image)
            .and_then(|file| file.set_len(DISK_BYTES))
            .context("failed to make the image of a disk")?;
        // Nothing is left for the kernel to do later, while somebody is measured.
        let now = "lazy_itable_init=0,lazy_journal_init=0";
        run(
            "mkfs.ext4",
            &["-q", "-F", "-N", "65536", "-E", now, &shown(image)],
        )?;
        run("mount", &["-o", "loop", &shown(image), &shown(&self.place)])
    }

    /// Where a download goes.
    pub(super) fn download(&self) -> PathBuf {
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
