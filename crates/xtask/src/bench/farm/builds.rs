//! Builds of any size, and the server that they come from, which remembers when it was asked.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use anyhow::{Context, Result};
use flate2::Compression;
use flate2::write::GzEncoder;

use crate::demo::builds::{START, WHOLE};
use crate::demo::http::{self, Answer};

/// A build, packed.
#[derive(Debug, Clone)]
pub(in crate::bench) struct Build {
    /// Its name.
    pub(in crate::bench) name: String,
    /// The archive.
    pub(in crate::bench) archive: Arc<Vec<u8>>,
    /// Its digest.
    pub(in crate::bench) sha256: String,
}

/// The server of the builds: every path that ends in the name of a build is its archive.
#[derive(Debug)]
pub(in crate::bench) struct BuildServer {
    address: SocketAddr,
    shelf: Arc<Mutex<Shelf>>,
}

#[derive(Debug, Default)]
struct Shelf {
    archives: BTreeMap<String, Arc<Vec<u8>>>,
    asked: Vec<(String, Instant)>,
}

impl Build {
    /// Packs a build of the service that the demo runs, with that many bytes that don't compress.
    pub(in crate::bench) fn pack(name: &str, ballast_bytes: usize) -> Result<Build> {
        let mut archive = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::fast()));
        let ballast = noise(ballast_bytes);
        let files: [(&str, &[u8], u32); 4] = [
            ("bin/start", START.as_bytes(), 0o755),
            ("greeting.txt", name.as_bytes(), 0o644),
            ("settings.env", WHOLE.as_bytes(), 0o644),
            ("ballast", &ballast, 0o644),
        ];
        for (path, bytes, mode) in files {
            let mut header = tar::Header::new_gnu();
            header.set_size(bytes.len() as u64);
            header.set_mode(mode);
            archive.append_data(&mut header, path, bytes)?;
        }
        let archive = archive.into_inner()?.finish()?;
        let sha256 = digest(&archive).context("failed to compute a digest")?;
        Ok(Build {
            name: name.to_owned(),
            archive: Arc::new(archive),
            sha256,
        })
    }
}

impl BuildServer {
    /// Serves on a port of its own for as long as this process lives.
    pub(super) fn start() -> Result<BuildServer> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0));
        let listener = listener.context("failed to listen for the builds")?;
        let address = listener.local_addr()?;
        let shelf = Arc::new(Mutex::new(Shelf::default()));
        let served = Arc::clone(&shelf);
        http::serve(listener, move |path| {
            let now = Instant::now();
            let name = path.rsplit('/').next().unwrap_or(path).to_owned();
            let mut shelf = served.lock().unwrap_or_else(PoisonError::into_inner);
            shelf.asked.push((name.clone(), now));
            let found = shelf.archives.get(&name).cloned();
            drop(shelf);
            Answer {
                status: if found.is_some() { 200 } else { 404 },
                body: found.map(|archive| archive.to_vec()).unwrap_or_default(),
            }
        });
        Ok(BuildServer { address, shelf })
    }

    /// The address of everything that is served.
    pub(super) fn prefix(&self) -> String {
        format!("http://{}/", self.address)
    }

    /// Serves a build, and returns where.
    pub(in crate::bench) fn url(&self, build: &Build) -> String {
        let mut shelf = self.shelf.lock().unwrap_or_else(PoisonError::into_inner);
        let archive = Arc::clone(&build.archive);
        shelf.archives.insert(build.name.clone(), archive);
        format!("{}{}", self.prefix(), build.name)
    }

    /// When somebody asked for a build, in order.
    pub(in crate::bench) fn asked_for(&self, build: &str) -> Vec<Instant> {
        let shelf = self.shelf.lock().unwrap_or_else(PoisonError::into_inner);
        let asked = shelf.asked.iter().filter(|(name, _)| name == build);
        asked.map(|(_, at)| *at).collect()
    }
}

/// The same bytes each time, which look random enough to a compressor.
fn noise(bytes: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let words = std::iter::repeat_with(move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    });
    words
        .take(bytes.div_ceil(8))
        .flatten()
        .take(bytes)
        .collect()
}

fn digest(bytes: &[u8]) -> Result<String> {
    use std::io::Write as _;
    let mut command = Command::new("sha256sum");
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn()?;
    let mut input = child.stdin.take().context("no way to its input")?;
    input.write_all(bytes)?;
    drop(input);
    let output = child.wait_with_output()?;
    let said = String::from_utf8(output.stdout)?;
    let word = said.split_whitespace().next();
    Ok(word.context("it said nothing")?.to_owned())
}
