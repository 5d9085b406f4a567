//! A tree like that of a real build, for who can't get one: as many files, of sizes and words that are spread as widely.

use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::Path;

use anyhow::Result;

/// How large a tree is.
#[derive(Debug, Clone, Copy)]
pub(super) struct Shape {
    /// Its files.
    pub(super) files: u64,
    /// Bytes of a file, on the average.
    pub(super) bytes_mean: u64,
}

/// Files in a directory.
const FILES_PER_DIRECTORY: u64 = 12;

/// Words of a generated file: so few that it packs about as well as code does.
const WORDS: u64 = 20_000;

/// Writes it. The same shape is the same tree, to the byte.
pub(super) fn write(dir: &Path, shape: Shape) -> Result<()> {
    let mut dice = Dice(1);
    for number in 0..shape.files {
        let directory = dir.join(format!("package-{}", number / FILES_PER_DIRECTORY));
        fs::create_dir_all(&directory)?;
        let path = directory.join(format!("file-{number}"));
        let mut file = BufWriter::new(File::create(path)?);
        // Most files are small and few are large: seven sizes, each twice the one before, 127 together.
        let size = shape.bytes_mean * 7 * (1 << dice.below(7)) / 127;
        let mut written = 0;
        while written < size {
            let word = format!("{:x} ", dice.below(WORDS));
            written += word.len() as u64;
            file.write_all(word.as_bytes())?;
        }
        file.flush()?;
    }
    Ok(())
}

/// Numbers that look like chance, the same in each run.
struct Dice(u64);

impl Dice {
    fn below(&mut self, end: u64) -> u64 {
        // Knuth's multiplier; the high bits are the good ones.
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % end
    }
}
