//! The build that is deployed: like code, half of it goes away when it is packed.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use flate2::Compression;
use flate2::write::GzEncoder;

use crate::tool::output;

/// How many files it has.
pub(crate) const FILES: u64 = 200;
/// How large each is, so that all packed are 10 MB.
const FILE_BYTES: usize = 110_000;
/// How many different words they are made of.
const WORDS: u64 = 4096;

/// A packed build.
#[derive(Debug)]
pub(crate) struct Archive {
    /// Where it is.
    pub(crate) path: PathBuf,
    /// Its digest.
    pub(crate) sha256: String,
    /// How many bytes it has.
    pub(crate) size: u64,
    /// How many bytes it has unpacked.
    pub(crate) unpacked: u64,
}

impl Archive {
    /// Makes it, the same each time.
    pub(crate) fn make(dir: &Path) -> Result<Archive> {
        fs::create_dir_all(dir).with_context(|| format!("failed to make {}", dir.display()))?;
        let path = dir.join("build.tar.gz");
        let file = File::create(&path)?;
        let mut packed = tar::Builder::new(GzEncoder::new(file, Compression::default()));
        let mut random = Random(0x9e37_79b9_7f4a_7c15);
        for number in 0..FILES {
            let mut header = tar::Header::new_gnu();
            header.set_size(FILE_BYTES as u64);
            header.set_mode(0o644);
            header.set_uid(0);
            header.set_gid(0);
            let name = format!("lib/part{}/file{number}.txt", number % 10);
            let text = text(&mut random);
            packed.append_data(&mut header, name, text.as_bytes())?;
        }
        packed.into_inner()?.finish()?.sync_all()?;
        let said = output(Command::new("sha256sum").arg(&path))?;
        let sha256 = said.split(' ').next().unwrap_or_default().to_owned();
        Ok(Archive {
            sha256,
            size: fs::metadata(&path)?.len(),
            unpacked: FILES * FILE_BYTES as u64,
            path,
        })
    }
}

/// Words from a fixed set, with a number now and then.
fn text(random: &mut Random) -> String {
    let mut text = String::with_capacity(FILE_BYTES + 64);
    while text.len() < FILE_BYTES {
        let word = random.next() % WORDS;
        let _ = write!(
            text,
            "{:x} ",
            word.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (word % 32 + 16)
        );
        if word.is_multiple_of(8) {
            let _ = writeln!(text, "{:x}", random.next());
        }
    }
    text.truncate(FILE_BYTES);
    text
}

/// Numbers without a pattern (xorshift).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }
}
