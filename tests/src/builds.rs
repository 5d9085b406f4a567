//! A build server: archives by name, each served well or badly.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use deploy_core::artifact::{Artifact, Digest};
use nix::sys::socket::{Backlog, listen, setsockopt, sockopt};
use sha2::{Digest as _, Sha256};

use crate::archives::{Tar, gzip};

/// Connections that may wait until they are accepted. With std's 128 a fleet that comes at once waits for TCP to try again, which
/// doubles its pauses.
const BACKLOG: i32 = 4096;

/// How an archive is served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Serve {
    /// As it should be.
    Whole,
    /// Not: this status instead.
    Status(u16),
    /// Half of it, and then the connection ends.
    Truncated,
    /// As many bytes, but others.
    Wrong,
    /// Half of it, and then nothing, with the connection open.
    Stalled,
    /// Half of it, and then a reset.
    Reset,
}

/// What an instance of a build answers to probes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Health {
    /// Well.
    Ok,
    /// With an error.
    Sick,
    /// Nothing: it ends at start.
    Dies,
}

/// What stands in the file `health` of a build.
pub const HEALTHS: [(Health, &str); 3] = [
    (Health::Ok, "ok"),
    (Health::Sick, "sick"),
    (Health::Dies, "dies"),
];

/// Returns the files of a build and what is in them.
pub fn contents(build: &str, health: Health) -> [(&'static str, Vec<u8>); 3] {
    let word = HEALTHS.iter().find(|(known, _)| *known == health);
    let word = word.map_or("", |(_, word)| word);
    // Something that takes more than one write to unpack.
    let ballast: Vec<u8> = build.bytes().cycle().take(200_000).collect();
    [
        ("greeting", build.into()),
        ("health", word.into()),
        ("ballast", ballast),
    ]
}

/// A build server on a port of its own, for as long as the test runs.
#[derive(Debug)]
pub struct Builds {
    address: SocketAddr,
    shelf: Arc<Mutex<BTreeMap<String, Archive>>>,
}

#[derive(Debug, Clone)]
struct Archive {
    bytes: Vec<u8>,
    serve: Serve,
    downloads: usize,
}

impl Builds {
    /// Starts one.
    ///
    /// # Panics
    /// If no port is free.
    pub fn start() -> Builds {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
        let backlog = Backlog::new(BACKLOG).expect("it is not too many");
        listen(&listener, backlog).expect("it may be listened to again");
        let address = listener.local_addr().expect("it is bound");
        let shelf = Arc::new(Mutex::new(BTreeMap::new()));
        let serving = Arc::clone(&shelf);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let serving = Arc::clone(&serving);
                // The client may go away at any time.
                std::thread::spawn(move || drop(serve(stream, &serving)));
            }
        });
        Builds { address, shelf }
    }

    /// Returns the URL prefix of all it serves.
    pub fn source(&self) -> String {
        format!("http://{}/", self.address)
    }

    /// Puts a build on the shelf, and returns its artifact.
    pub fn add(&self, build: &str, health: Health) -> Artifact {
        let files = contents(build, health);
        let tar = files
            .iter()
            .fold(Tar::new(), |tar, (name, bytes)| tar.file(name, bytes));
        self.add_archive(build, gzip(&tar.end()))
    }

    /// Puts an archive on the shelf, and returns its artifact.
    pub fn add_archive(&self, name: &str, bytes: Vec<u8>) -> Artifact {
        let artifact = Artifact {
            url: format!("{}{name}.tar.gz", self.source()),
            sha256: Digest::from_bytes(&Sha256::digest(&bytes).into()),
            size: bytes.len() as u64,
        };
        let archive = Archive {
            bytes,
            serve: Serve::Whole,
            downloads: 0,
        };
        lock(&self.shelf).insert(format!("/{name}.tar.gz"), archive);
        artifact
    }

    /// Returns the bytes of an archive.
    ///
    /// # Panics
    /// If it is not on the shelf.
    pub fn bytes(&self, name: &str) -> Vec<u8> {
        let shelf = lock(&self.shelf);
        let archive = shelf.get(&format!("/{name}.tar.gz"));
        archive.expect("it was added").bytes.clone()
    }

    /// Puts a signature beside an archive.
    pub fn sign(&self, name: &str, signature: impl Into<Vec<u8>>) {
        let archive = Archive {
            bytes: signature.into(),
            serve: Serve::Whole,
            downloads: 0,
        };
        lock(&self.shelf).insert(format!("/{name}.tar.gz.minisig"), archive);
    }

    /// Serves an archive so from now on.
    ///
    /// # Panics
    /// If it is not on the shelf.
    pub fn serve(&self, name: &str, serve: Serve) {
        let mut shelf = lock(&self.shelf);
        let archive = shelf.get_mut(&format!("/{name}.tar.gz"));
        archive.expect("it was added").serve = serve;
    }

    /// Returns how often anything was asked for.
    pub fn downloads_in_all(&self) -> usize {
        lock(&self.shelf)
            .values()
            .map(|archive| archive.downloads)
            .sum()
    }

    /// Returns how often an archive was asked for.
    pub fn downloads(&self, name: &str) -> usize {
        let shelf = lock(&self.shelf);
        shelf
            .get(&format!("/{name}.tar.gz"))
            .map_or(0, |archive| archive.downloads)
    }
}

fn lock(shelf: &Mutex<BTreeMap<String, Archive>>) -> MutexGuard<'_, BTreeMap<String, Archive>> {
    shelf.lock().unwrap_or_else(PoisonError::into_inner)
}

fn serve(mut stream: TcpStream, shelf: &Mutex<BTreeMap<String, Archive>>) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut request = String::new();
    reader.read_line(&mut request)?;
    let mut line = String::new();
    while reader.read_line(&mut line)? > 2 {
        line.clear();
    }
    let url = request.split(' ').nth(1).unwrap_or_default();
    // A query is somebody's signature, and names no other file.
    let path = url.split('?').next().unwrap_or_default();
    let archive = lock(shelf).get_mut(path).map(|archive| {
        archive.downloads += 1;
        archive.clone()
    });
    let (status, body) = match archive {
        None => (404, Vec::new()),
        Some(Archive {
            serve: Serve::Status(status),
            ..
        }) => (status, b"no such luck".to_vec()),
        Some(Archive {
            bytes,
            serve: Serve::Wrong,
            ..
        }) => (200, bytes.iter().map(|byte| byte ^ 1).collect()),
        Some(Archive { bytes, serve, .. }) => {
            return send_body(stream, &mut reader, (bytes, serve));
        }
    };
    head(&mut stream, status, body.len())?;
    stream.write_all(&body)
}

fn send_body(
    mut stream: TcpStream,
    reader: &mut BufReader<TcpStream>,
    (bytes, serve): (Vec<u8>, Serve),
) -> std::io::Result<()> {
    head(&mut stream, 200, bytes.len())?;
    let sent = match serve {
        Serve::Whole => &bytes[..],
        _ => &bytes[..bytes.len() / 2],
    };
    stream.write_all(sent)?;
    if serve == Serve::Stalled {
        // Until the client has enough.
        reader.read_to_end(&mut Vec::new())?;
    }
    if serve == Serve::Reset {
        let at_once = nix::libc::linger {
            l_onoff: 1,
            l_linger: 0,
        };
        setsockopt(&stream, sockopt::Linger, &at_once)?;
    }
    Ok(())
}

fn head(stream: &mut TcpStream, status: u16, length: usize) -> std::io::Result<()> {
    write!(
        stream,
        "HTTP/1.1 {status} Whatever\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n"
    )
}
