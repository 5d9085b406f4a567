//! Disks of a test's own: in memory, or an ext4 in a file. Unmounted when dropped, also on panic.

use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use tempfile::TempDir;

use crate::eventually::eventually;
use crate::missing;

/// How long a disk may be busy after its last user has ended.
const BUSY_MAX: Duration = Duration::from_secs(10);
/// What is copied at once; a piece of zeros is a hole.
const PIECE_BYTES: usize = 64 * 1024;

/// A mounted file system.
#[derive(Debug)]
pub struct Mounted {
    at: PathBuf,
}

/// An ext4 in a file.
#[derive(Debug)]
pub struct Image {
    // Before the directory that it is in.
    mounted: Mounted,
    dir: TempDir,
}

impl Mounted {
    /// Mounts a file system in memory at a directory; `None`, aloud, where that can't be done.
    pub fn tmpfs(options: &str, at: &Path) -> Option<Mounted> {
        let mounted = mount(&["-t", "tmpfs", "-o", options, "tmpfs"], at);
        mounted.map_err(|why| missing("mount", &why)).ok()
    }

    /// Mounts the file system in a file at a directory, as after a power loss: its journal is
    /// replayed.
    ///
    /// # Errors
    /// What `mount` says.
    pub fn image(image: &Path, (options, at): (&str, &Path)) -> Result<Mounted, String> {
        let options = format!("loop,{options}");
        mount(
            &["-t", "ext4", "-o", &options, &image.display().to_string()],
            at,
        )
    }

    /// Changes its options.
    ///
    /// # Panics
    /// If the kernel refuses.
    pub fn remount(&self, options: &str) {
        let options = format!("remount,{options}");
        run("mount", &["-o", &options, &self.at.display().to_string()])
            .unwrap_or_else(|why| panic!("{why}"));
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let at = self.at.display().to_string();
        if std::thread::panicking() {
            // Whoever uses it may still be there.
            let _ = run("umount", &["-l", &at]);
        } else {
            eventually("the disk is not busy", BUSY_MAX, || run("umount", &[&at]));
        }
    }
}

impl Image {
    /// Makes and mounts one; `None`, aloud, where there are no loop devices.
    ///
    /// # Panics
    /// If no file can be made.
    pub fn ext4(mib: u64, options: &str) -> Option<Image> {
        let dir = tempfile::Builder::new()
            .prefix("deploy-test-disk-")
            .tempdir();
        let dir = dir.expect("a temporary directory can be made");
        let (image, at) = (dir.path().join("image"), dir.path().join("mnt"));
        fs::create_dir(&at).expect("a directory can be made in a new one");
        let file = File::create(&image).and_then(|file| file.set_len(mib << 20));
        file.expect("a file can be made");
        let lazy = "lazy_itable_init=0,lazy_journal_init=0,nodiscard";
        let made = run(
            "mkfs.ext4",
            &["-q", "-F", "-E", lazy, &image.display().to_string()],
        );
        let mounted = made.and_then(|()| Mounted::image(&image, (options, &at)));
        match mounted {
            Ok(mounted) => Some(Image { mounted, dir }),
            Err(why) => {
                missing("loop", &why);
                None
            }
        }
    }

    /// Returns where it is mounted.
    pub fn at(&self) -> &Path {
        &self.mounted.at
    }

    /// Copies what the disk has been told to write, to be mounted as after a power loss at this
    /// moment. Nothing of what the kernel still holds in memory is in it. No moment at which the
    /// disk was being written to is taken: the copy would be of two of them.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn copy(&self, to: &Path) -> std::io::Result<()> {
        let image = self.dir.path().join("image");
        let writes = Writes::of(&self.mounted.at)?;
        loop {
            let before = writes.count()?;
            copy_sparse(&image, to)?;
            if writes.count()? == before {
                return Ok(());
            }
        }
    }
}

/// The count of writes of a block device.
struct Writes(PathBuf);

impl Writes {
    fn of(at: &Path) -> std::io::Result<Writes> {
        let mounts = fs::read_to_string("/proc/self/mounts")?;
        let at = at.display().to_string();
        let device = mounts.lines().find_map(|line| {
            let (device, rest) = line.split_once(' ')?;
            (rest.split(' ').next()? == at).then(|| device.trim_start_matches("/dev/"))
        });
        let device = device.ok_or_else(|| std::io::Error::other("it is not mounted"))?;
        Ok(Writes(PathBuf::from(format!("/sys/block/{device}/stat"))))
    }

    /// Those that are done, and those under way.
    fn count(&self) -> std::io::Result<(String, String)> {
        let text = fs::read_to_string(&self.0)?;
        let fields: Vec<_> = text.split_whitespace().collect();
        let field = |index: usize| fields.get(index).copied().unwrap_or_default().to_owned();
        Ok((field(4), field(8)))
    }
}

fn copy_sparse(from: &Path, to: &Path) -> std::io::Result<()> {
    let mut from = File::open(from)?;
    let mut to = File::create(to)?;
    let (mut piece, hole, mut at) = (vec![0; PIECE_BYTES], vec![0; PIECE_BYTES], 0);
    loop {
        let read = from.read(&mut piece)?;
        if read == 0 {
            return to.set_len(at);
        }
        if piece[..read] != hole[..read] {
            to.seek(SeekFrom::Start(at))?;
            to.write_all(&piece[..read])?;
        }
        at += read as u64;
    }
}

fn mount(arguments: &[&str], at: &Path) -> Result<Mounted, String> {
    let shown = at.display().to_string();
    run("mount", &[arguments, &[shown.as_str()]].concat())?;
    Ok(Mounted { at: at.to_owned() })
}

fn run(program: &str, arguments: &[&str]) -> Result<(), String> {
    let output = Command::new(program).args(arguments).output();
    let output = output.map_err(|error| format!("{program}: {error}"))?;
    match output.status.success() {
        true => Ok(()),
        false => Err(format!(
            "{program} {arguments:?}: {}",
            String::from_utf8_lossy(&output.stderr).trim()
        )),
    }
}
