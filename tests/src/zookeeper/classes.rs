//! The classes of a server, parsed once for all that tests start.
//!
//! Java spends half of the second of processor time that a server takes to start on parsing the same classes again. What it
//! writes of them at the end of one server spares that to all others. It looks by itself whether they are still those of the
//! jars, and does without where they are not.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use super::{READY_MAX, Server, expire};
use crate::proxy::WireSession;
use crate::target;

/// Where they are, once for all processes. None where they can't be kept.
static ARCHIVE: LazyLock<Option<PathBuf>> = LazyLock::new(|| {
    let path = target()?.join("tools/zookeeper.jsa");
    match make_once(&path) {
        Ok(()) => Some(path),
        Err(error) => {
            eprintln!("every ZooKeeper parses its classes by itself: {error}");
            None
        }
    }
});

/// Returns what tells Java to use them.
pub(super) fn option() -> Option<String> {
    let path = ARCHIVE.as_ref()?;
    Some(format!("-XX:SharedArchiveFile={}", path.display()))
}

/// Tests in other processes wait meanwhile.
fn make_once(path: &Path) -> io::Result<()> {
    if path.exists() {
        return Ok(());
    }
    let dir = path.parent().unwrap_or(path);
    fs::create_dir_all(dir)?;
    let lock = File::create(path.with_extension("lock"))?;
    lock.lock()?;
    if path.exists() {
        return Ok(());
    }
    let made = path.with_extension("new");
    let option = format!("-XX:ArchiveClassesAtExit={}", made.display());
    let mut server = Server::start_just_with(&[option], "");
    begin_session(&server)?;
    server.stop();
    fs::rename(&made, path)
}

/// Those who come have sessions, for which Java needs some classes more.
fn begin_session(server: &Server) -> io::Result<()> {
    let new = WireSession {
        id: 0,
        password: [0; 16],
    };
    let mut stream = TcpStream::connect(server.address())?;
    stream.set_read_timeout(Some(READY_MAX))?;
    stream.write_all(&expire::request_of(new))?;
    stream.read_exact(&mut [0; 8])
}
