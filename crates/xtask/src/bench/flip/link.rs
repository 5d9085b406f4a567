//! Pointing a symlink elsewhere, while somebody opens a file through it all the time.

use std::fs::{self, File};
use std::io::ErrorKind;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use anyhow::{Context, Result};

use crate::bench::ground::Ground;
use crate::bench::rounds::{Samples, timed};
use crate::bench::table::Table;
use crate::tool::succeed;

/// How often each contender points the link elsewhere in a round, at least: programs take a millisecond to
/// start, and a sync of the directory may take many.
const FLIPS_MIN: usize = 20;
/// How often the reader opens a file in a round of a contender, at least.
const OPENS_MIN: u64 = 100_000;
const RELEASES: [&str; 2] = ["releases/a", "releases/b"];

/// What a reader saw.
#[derive(Debug, Clone, Copy, Default)]
struct Opens {
    all: u64,
    missing: u64,
}

type Flip = fn(&Path, &str) -> Result<()>;

/// Measures it.
pub(super) fn run(ground: &Ground) -> Result<Table> {
    let dir = ground.scratch().join("link");
    for release in RELEASES {
        fs::create_dir_all(dir.join(release)).context("failed to make a release")?;
        fs::write(dir.join(release).join("file"), release).context("failed to write a file")?;
    }
    let contenders: [(&str, Flip); 5] = [
        (
            "a fresh link renamed over it, directory synced, as deployd does",
            flip_durably,
        ),
        ("the same without the sync", flip),
        ("`ln -s` and `mv -T`", make_and_move),
        ("`ln -sfn`", replace),
        ("the link removed and made anew", remove_and_make),
    ];
    let mut table = Table::new(
        "Pointing `current` elsewhere, under a reader that opens a file through it all the time",
        [
            "by",
            "median",
            "slowest",
            "flips",
            "opens",
            "of which found nothing",
        ],
    );
    let mut measured = vec![(Vec::new(), Opens::default()); contenders.len()];
    for _ in 0..ground.rounds {
        for ((_, flip), (times, opens)) in contenders.iter().zip(&mut measured) {
            let seen = under_a_reader(&dir, |is_enough| {
                let mut flips = 0;
                while flips < FLIPS_MIN || !is_enough() {
                    times.push(timed(|| flip(&dir, RELEASES[flips % 2]))?);
                    flips += 1;
                }
                Ok(())
            })?;
            opens.all += seen.all;
            opens.missing += seen.missing;
        }
    }
    for ((name, _), (times, opens)) in contenders.iter().zip(measured) {
        let flips = times.len().to_string();
        let samples = Samples::of(*name, times);
        let times = [0.5, 1.0].map(|share| samples.quantile(share).as_secs_f64() * 1e6);
        let times = times.map(|micros| format!("{micros:.0} µs"));
        let opens = [opens.all, opens.missing].map(|count| count.to_string());
        let [median, slowest] = times;
        let [opens, missing] = opens;
        table.row([samples.name, median, slowest, flips, opens, missing]);
    }
    table.note(
        "`ln` and `mv` are programs, and most of their time is starting them. The last is what `ln -sfn` \
         did before GNU coreutils 8.30, and still does elsewhere.",
    );
    Ok(table)
}

/// Opens a file through the link as often as it can while something is done, which can ask whether that was
/// often enough.
fn under_a_reader(dir: &Path, act: impl FnOnce(&dyn Fn() -> bool) -> Result<()>) -> Result<Opens> {
    flip(dir, RELEASES[1])?;
    let path = dir.join("current/file");
    let (is_over, all) = (AtomicBool::new(false), AtomicU64::new(0));
    thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let mut missing = 0;
            while !is_over.load(Ordering::Relaxed) {
                let opened = File::open(&path);
                all.fetch_add(1, Ordering::Relaxed);
                let is_missing =
                    matches!(opened, Err(error) if error.kind() == ErrorKind::NotFound);
                missing += u64::from(is_missing);
            }
            missing
        });
        let result = act(&|| all.load(Ordering::Relaxed) >= OPENS_MIN);
        is_over.store(true, Ordering::Relaxed);
        let missing = reader.join().ok().context("the reader died")?;
        result.map(|()| Opens {
            all: all.load(Ordering::Relaxed),
            missing,
        })
    })
}

fn flip(dir: &Path, release: &str) -> Result<()> {
    let fresh = dir.join(".fresh");
    // As deployd does: a dead run may have left one.
    let _ = fs::remove_file(&fresh);
    symlink(release, &fresh).context("failed to make a link")?;
    fs::rename(&fresh, dir.join("current")).context("failed to rename a link")
}

fn flip_durably(dir: &Path, release: &str) -> Result<()> {
    flip(dir, release)?;
    let synced = File::open(dir).and_then(|dir| dir.sync_all());
    synced.context("failed to sync a directory")
}

fn make_and_move(dir: &Path, release: &str) -> Result<()> {
    program(dir, &["ln", "-s", release, ".fresh"])?;
    program(dir, &["mv", "-T", ".fresh", "current"])
}

fn replace(dir: &Path, release: &str) -> Result<()> {
    program(dir, &["ln", "-sfn", release, "current"])
}

fn remove_and_make(dir: &Path, release: &str) -> Result<()> {
    let link = dir.join("current");
    fs::remove_file(&link).context("failed to remove a link")?;
    symlink(release, &link).context("failed to make a link")
}

fn program(dir: &Path, words: &[&str]) -> Result<()> {
    let mut command = Command::new(words[0]);
    command
        .args(&words[1..])
        .current_dir(dir)
        .stdin(Stdio::null());
    succeed(&mut command)
}
