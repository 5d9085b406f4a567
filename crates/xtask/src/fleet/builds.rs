//! Builds of the service `hello`, and the server that they come from.

use std::fs::{self, File};
use std::net::TcpListener;
use std::path::Path;
use std::process::ExitCode;
use std::thread;

use anyhow::{Context, Result};
use clap::ValueEnum;
use flate2::Compression;
use flate2::write::GzEncoder;

use super::enter;
use super::place::{BUILDS_PORT, HUB_ADDRESS, Place};
use crate::demo::http::{self, Answer};

const PROGRAM: &str = include_str!("hello.py");

/// How a build behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Kind {
    /// As it should
    Good,
    /// It answers 500, to its probe too
    Sick,
    /// It ends at once, with an error
    Dies,
    /// It does not heed SIGTERM
    Deaf,
    /// It says that it is ready, and ends a moment later
    Loops,
    /// It takes a second to start
    Slow,
    /// It takes 0.3 s to start
    Brisk,
    /// It is not ready before the host has no file /run/hello-waits
    Waits,
}

/// Makes a build and registers it.
pub(crate) fn add(place: &Place, build: &str, kind: Kind) -> Result<ExitCode> {
    place.state()?;
    let name = format!("hello-{build}.tar.gz");
    let path = place.builds().join(&name);
    pack(&path, build, kind).with_context(|| format!("failed to pack {}", path.display()))?;
    let url = format!("http://{HUB_ADDRESS}:{BUILDS_PORT}/{name}");
    let file = path.display().to_string();
    let words = [
        "build", "add", "hello", build, "--url", &url, "--file", &file,
    ];
    enter::deployctl(place, &words.map(str::to_owned))
}

fn pack(path: &Path, build: &str, kind: Kind) -> Result<()> {
    let kind = kind.to_possible_value().expect("no kind is hidden");
    let file = File::create(path)?;
    let mut archive = tar::Builder::new(GzEncoder::new(file, Compression::default()));
    for (name, text, mode) in [
        ("bin/hello", PROGRAM, 0o755),
        ("build", build, 0o644),
        ("kind", kind.get_name(), 0o644),
    ] {
        let mut header = tar::Header::new_gnu();
        header.set_size(text.len() as u64);
        header.set_mode(mode);
        archive.append_data(&mut header, name, text.as_bytes())?;
    }
    archive.into_inner()?.finish()?.sync_all()?;
    Ok(())
}

/// Serves the files of a directory for as long as the process lives.
pub(crate) fn serve(dir: &Path, address: &str) -> Result<()> {
    let listener =
        TcpListener::bind(address).with_context(|| format!("failed to listen on {address}"))?;
    let dir = dir.to_owned();
    http::serve(listener, move |path| {
        let name = path.trim_start_matches('/');
        let plain = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
        // No path leads out of the directory.
        let known = !name.starts_with('.') && name.chars().all(plain);
        match known.then(|| fs::read(dir.join(name))) {
            Some(Ok(body)) => Answer { status: 200, body },
            Some(Err(_)) | None => Answer {
                status: 404,
                body: b"no such build\n".to_vec(),
            },
        }
    });
    loop {
        thread::park();
    }
}
