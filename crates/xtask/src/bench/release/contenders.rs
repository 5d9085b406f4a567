//! Those who are measured: ours, and what somebody would type instead.

use std::cell::RefCell;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};

use super::builds::{Archive, Compression};
use super::spent::Spent;
use crate::bench::disk::Disk;
use crate::bench::files;
use crate::bench::ground::Ground;
use crate::bench::rounds::{Samples, timed};
use crate::tool::{output, succeed};

/// What all contenders are given.
pub(super) struct Scene<'a> {
    /// How often each is measured.
    pub(super) rounds: u32,
    /// What they fetch.
    pub(super) archive: &'a Archive,
    /// Where they write.
    pub(super) disk: &'a Disk,
    /// The fastest decoder of the `.tar.gz` that is here.
    pub(super) decoder: Decoder,
    ground: &'a Ground,
    /// Where the archives are served, with a slash at the end.
    url: String,
    sha256: String,
}

/// A program that decodes to nowhere.
pub(super) struct Decoder {
    /// Its name.
    pub(super) name: &'static str,
    /// What is typed.
    pub(super) line: String,
}

/// What is measured of ours apart.
#[derive(Debug, Default)]
pub(super) struct Ours {
    fetch: RefCell<Vec<Duration>>,
    unpack: RefCell<Vec<Duration>>,
    sync: RefCell<Vec<Duration>>,
}

/// The name of what is not typed instead of ours: how fast `zstd` alone is.
pub(super) const DECODE_ZSTD: &str = "decode to nowhere (zstd)";

/// What somebody would type instead of ours. Those whose program is not here are left out.
pub(super) fn shell_lines(
    compression: Compression,
) -> impl Iterator<Item = (&'static str, &'static str)> {
    let all: &[_] = match compression {
        Compression::Gzip => &[
            (
                "curl -o; sha256sum; tar xzf",
                "curl -sSf -o $FILE $URL && echo \"$SHA256  $FILE\" | sha256sum -c --quiet && tar xzf $FILE -C $DIR",
            ),
            (
                "curl | tar xz (unverified)",
                "curl -sSf $URL | tar xz -C $DIR",
            ),
            (
                "curl | pigz -d | tar x (unverified)",
                "curl -sSf $URL | pigz -d | tar x -C $DIR",
            ),
            (
                "curl | bsdtar x (unverified)",
                "curl -sSf $URL | bsdtar -x -f - -C $DIR",
            ),
            ("GNU tar, from a file", "tar xzf $ARCHIVE -C $DIR"),
            (
                "Python's tarfile, from a file",
                "python3 -c \"import sys, tarfile; tarfile.open(sys.argv[1]).extractall(sys.argv[2], filter='data')\" $ARCHIVE $DIR",
            ),
        ],
        Compression::Zstd => &[
            (DECODE_ZSTD, "zstd -q -d -c $ARCHIVE > /dev/null"),
            (
                "curl -o; sha256sum; zstd -d | tar x",
                "curl -sSf -o $FILE $URL && echo \"$SHA256  $FILE\" | sha256sum -c --quiet && zstd -q -d -c $FILE | tar x -C $DIR",
            ),
            (
                "curl | zstd -d | tar x (unverified)",
                "curl -sSf $URL | zstd -q -d -c | tar x -C $DIR",
            ),
            (
                "curl | bsdtar x (unverified)",
                "curl -sSf $URL | bsdtar -x -f - -C $DIR",
            ),
            ("GNU tar, from a file", "tar --zstd -xf $ARCHIVE -C $DIR"),
        ],
    };
    all.iter().copied().filter(|(_, line)| {
        let programs = ["curl", "pigz", "bsdtar", "python3", "zstd"];
        programs
            .iter()
            .all(|program| !line.contains(program) || is_there(program))
    })
}

fn is_there(program: &str) -> bool {
    let found = Command::new(program).arg("--version").output();
    found.is_ok_and(|found| found.status.success())
}

impl<'a> Scene<'a> {
    /// Serves an archive.
    pub(super) fn new(
        ground: &'a Ground,
        disk: &'a Disk,
        archive: &'a Archive,
    ) -> Result<Scene<'a>> {
        let dir = archive
            .path
            .parent()
            .context("an archive is in a directory")?;
        let said = output(Command::new("sha256sum").arg(&archive.path))?;
        let sha256 = said.split(' ').next().unwrap_or_default().to_owned();
        let name = ["igzip", "pigz"].into_iter().find(|name| is_there(name));
        let name = name.unwrap_or("gzip");
        let dir = dir.to_owned();
        let url = files::serve(move |name| dir.join(name))?;
        Ok(Scene {
            rounds: ground.rounds,
            archive,
            disk,
            decoder: Decoder {
                name,
                line: format!("{name} -d -c ${{ARCHIVE%.*}}.gz > /dev/null"),
            },
            ground,
            url,
            sha256,
        })
    }

    /// Runs a line of shell on a fresh disk.
    pub(super) fn shell(&self, line: &str, spent: &Spent) -> Result<Duration> {
        self.disk.renew()?;
        let mut bash = Command::new("bash");
        bash.args(["-o", "pipefail", "-c", line]);
        bash.env("URL", self.url()).env("SHA256", &self.sha256);
        bash.env("FILE", self.disk.download())
            .env("DIR", &self.disk.place);
        bash.env("ARCHIVE", &self.archive.path);
        spent.timed(|| succeed(&mut bash))
    }

    /// Does it with ours, on a fresh disk.
    pub(super) fn ours(&self, ours: &Ours, spent: &Spent) -> Result<Duration> {
        self.disk.renew()?;
        let mut fetched = Duration::ZERO;
        let mut said = String::new();
        let all = spent.timed(|| {
            fetched = timed(|| output(&mut self.fetch()).map(drop))?;
            said = output(&mut self.unpack())?;
            Ok(())
        })?;
        let synced = synced_in(&said).with_context(|| format!("unpack said `{said}`"))?;
        let unpacked = all.saturating_sub(fetched + synced);
        ours.fetch.borrow_mut().push(fetched);
        ours.unpack.borrow_mut().push(unpacked);
        ours.sync.borrow_mut().push(synced);
        Ok(fetched + unpacked)
    }

    /// `deployd fetch`, as the agent does it, but with a name for the file.
    pub(super) fn fetch(&self) -> Command {
        let mut command = Command::new(&self.ground.deployd);
        command
            .args(["fetch", &self.url()])
            .arg(self.disk.download());
        command.args([
            "--sha256",
            &self.sha256,
            "--size",
            &self.archive.size.to_string(),
        ]);
        command
    }

    /// `deployd unpack` of what was fetched.
    pub(super) fn unpack(&self) -> Command {
        let mut command = Command::new(&self.ground.deployd);
        command.arg("unpack").arg(self.disk.download());
        command.arg(self.disk.place.join("release"));
        command
    }

    fn url(&self) -> String {
        let name = self.archive.path.file_name().unwrap_or_default();
        format!("{}{}", self.url, name.display())
    }
}

impl Ours {
    /// To download and verify.
    pub(super) fn fetch(&self) -> Samples {
        counted("fetch", &self.fetch)
    }

    /// To unpack.
    pub(super) fn unpack(&self) -> Samples {
        counted("unpack", &self.unpack)
    }

    /// To sync.
    pub(super) fn sync(&self) -> Samples {
        counted("sync", &self.sync)
    }
}

/// The first round does not count.
fn counted(name: &str, times: &RefCell<Vec<Duration>>) -> Samples {
    Samples::of(name, times.borrow().iter().skip(1).copied().collect())
}

/// Reads `…, synced in 12 ms`.
fn synced_in(said: &str) -> Option<Duration> {
    let (_, time) = said.trim_end().rsplit_once("synced in ")?;
    let milliseconds = time.strip_suffix(" ms")?.parse().ok()?;
    Some(Duration::from_millis(milliseconds))
}
