//! What ours costs besides time: memory, and system calls.

use std::fs;
use std::process::Command;

use anyhow::{Context, Result};

use super::builds::{Build, Compression};
use super::contenders::Scene;
use super::limit::Tree;
use crate::bench::table::Table;
use crate::tool::output;

/// The table, without rows.
pub(super) fn table() -> Table {
    let mut table = Table::new(
        "Memory and system calls",
        [
            "build",
            "fetch: peak RSS",
            "unpack: peak RSS",
            "unpack: calls",
            "GNU tar: calls",
        ],
    );
    table.note("Of all threads; of GNU tar, without those of its decompressor.");
    table
}

/// Adds the row of one archive. What can't be measured here is `-`.
pub(super) fn add(
    table: &mut Table,
    scene: &Scene<'_>,
    (build, tree): (&Build, &Tree),
) -> Result<()> {
    scene.disk.renew()?;
    let fetch = peak(scene, &scene.fetch());
    let unpack = peak(scene, &scene.unpack());
    scene.disk.renew()?;
    output(&mut scene.fetch())?;
    let ours = calls(scene, &["-f"], &scene.unpack());
    scene.disk.renew()?;
    let mut tar = Command::new("tar");
    match scene.archive.compression {
        Compression::Gzip => tar.arg("-xzf"),
        Compression::Zstd => tar.args(["--zstd", "-xf"]),
    };
    tar.arg(&scene.archive.path)
        .arg("-C")
        .arg(&scene.disk.place);
    let tar = calls(scene, &[], &tar);
    let dash = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
    let a_file = |calls: u64| format!("{calls} ({:.1} a file)", calls as f64 / tree.files as f64);
    table.row([
        format!(
            "{}{}",
            build.kind.name(),
            scene.archive.compression.suffix()
        ),
        dash(fetch.ok()),
        dash(unpack.ok()),
        dash(ours.ok().map(a_file)),
        dash(tar.ok().map(a_file)),
    ]);
    Ok(())
}

/// The most memory that a command had at a time.
fn peak(scene: &Scene<'_>, command: &Command) -> Result<String> {
    let said = scene.disk.memory.join("peak");
    let mut time = Command::new("time");
    time.args(["-f", "%M", "-o"]).arg(&said);
    time.arg(command.get_program()).args(command.get_args());
    output(&mut time)?;
    let kib = fs::read_to_string(&said)?;
    let kib: f64 = kib.trim().parse().context("time writes a number")?;
    Ok(format!("{:.1} MB", kib * 1024.0 / 1e6))
}

/// How many system calls a command made.
fn calls(scene: &Scene<'_>, options: &[&str], command: &Command) -> Result<u64> {
    let said = scene.disk.memory.join("calls");
    let mut strace = Command::new("strace");
    strace
        .args(options)
        .args(["-c", "-U", "calls,name", "-o"])
        .arg(&said);
    strace.arg(command.get_program()).args(command.get_args());
    output(&mut strace)?;
    let table = fs::read_to_string(&said)?;
    let total = table
        .lines()
        .find_map(|line| line.trim().strip_suffix(" total"));
    let total = total.context("strace writes a total")?;
    total.trim().parse().context("strace writes a number")
}
