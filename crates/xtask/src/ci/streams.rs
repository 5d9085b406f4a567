//! All tests, in streams beside each other. Tests mostly wait: for hosts that boot, for time limits, for servers that come
//! back. One after the other they leave a machine of two cores idle for most of a quarter of an hour.
//!
//! Cargo runs the programs of one stream one after the other. What a stream prints is told when all have ended, but for the
//! last one, which is seen as it goes.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io;
use std::thread;
use std::time::Instant;

use anyhow::{Context, Result};

use super::{REQUIRED_BESIDE_FLEET, REQUIRED_WITH_FLEET, test_command};
use crate::tool::{root, succeed};

/// The one that takes nearly as long as all other tests on hosts together.
const LONGEST: &str = "fleet_faults";

/// Test programs that run one after the other.
#[derive(Debug, PartialEq, Eq)]
struct Stream {
    name: &'static str,
    /// What cargo is asked for.
    args: Vec<String>,
    /// What may not be missing.
    required: &'static str,
}

/// Runs every test, those on hosts included.
pub(super) fn run() -> Result<()> {
    let mut streams = streams(&targets()?);
    let seen = streams.pop().context("there are streams")?;
    let said: Vec<File> = streams
        .iter()
        .map(|_| tempfile::tempfile().context("failed to make a file for what is said"))
        .collect::<Result<_>>()?;
    thread::scope(|scope| {
        let behind = streams.iter().zip(&said);
        let behind: Vec<_> = behind
            .map(|(stream, said)| scope.spawn(|| run_one(stream, Some(said))))
            .collect();
        let mut outcome = run_one(&seen, None);
        for ((stream, mut said), thread) in streams.iter().zip(&said).zip(behind) {
            let ended = thread.join().expect("it doesn't panic");
            println!("ci: {} said:", stream.name);
            io::Seek::rewind(&mut said)?;
            io::copy(&mut said, &mut io::stdout())?;
            outcome = outcome.and(ended);
        }
        outcome
    })?;
    // They belong to no test program.
    succeed(&mut test_command(&["--doc"], REQUIRED_BESIDE_FLEET))
}

fn run_one(stream: &Stream, said: Option<&File>) -> Result<()> {
    let started = Instant::now();
    let args: Vec<&str> = stream.args.iter().map(String::as_str).collect();
    let mut tests = test_command(&args, stream.required);
    if let Some(said) = said {
        tests.stdout(said.try_clone()?).stderr(said.try_clone()?);
    }
    let outcome = succeed(&mut tests);
    let seconds = started.elapsed().as_secs();
    println!("ci: {} ended after {seconds} s", stream.name);
    outcome
}

/// Returns the test programs of the package `tests`.
fn targets() -> Result<BTreeSet<String>> {
    let dir = root().join("tests/tests");
    let mut names = BTreeSet::new();
    for entry in fs::read_dir(&dir).with_context(|| format!("failed to list {}", dir.display()))? {
        let path = entry?.path();
        let is_target =
            path.extension().is_some_and(|end| end == "rs") || path.join("main.rs").exists();
        if let Some(name) = path.file_stem().filter(|_| is_target) {
            names.insert(name.to_string_lossy().into_owned());
        }
    }
    Ok(names)
}

/// Divides them so that the streams take about as long as each other. Whatever has no place of its own is in the last one,
/// with the tests inside the crates.
fn streams(targets: &BTreeSet<String>) -> Vec<Stream> {
    let place = |name: &str| match name {
        LONGEST => 0,
        _ if name.starts_with("fleet_") => 1,
        _ if name.starts_with("agent_") => 2,
        _ => 3,
    };
    let named = |wanted: usize| -> Vec<String> {
        let names = targets.iter().filter(|name| place(name) == wanted);
        names
            .flat_map(|name| ["--test".to_owned(), name.clone()])
            .collect()
    };
    let inside = ["--lib", "--bins"].map(str::to_owned);
    let stream = |name, args, required| Stream {
        name,
        args,
        required,
    };
    vec![
        stream("the longest test on hosts", named(0), REQUIRED_WITH_FLEET),
        stream("the other tests on hosts", named(1), REQUIRED_WITH_FLEET),
        stream("the tests of agents", named(2), REQUIRED_BESIDE_FLEET),
        stream(
            "everything else",
            [inside.to_vec(), named(3)].concat(),
            REQUIRED_BESIDE_FLEET,
        ),
    ]
}

#[cfg(test)]
mod tests {
    use super::{streams, targets};

    #[test]
    fn every_test_program_is_in_one_stream() {
        let targets = targets().expect("they can be listed");
        let streams = streams(&targets);
        let all = streams.iter().flat_map(|stream| &stream.args);
        let mut named: Vec<&String> = all.filter(|arg| !arg.starts_with("--")).collect();
        named.sort();
        assert_eq!(named, targets.iter().collect::<Vec<_>>());
        // A stream without programs would run all of them.
        assert!(
            streams.iter().all(|stream| stream.args.len() >= 2),
            "{streams:?}"
        );
    }
}
