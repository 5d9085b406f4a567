//! A server of static files on loopback. It hands each file to the kernel to send, so it is not what is slow.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::thread;

use anyhow::{Context, Result};

/// Serves the files of a directory, for as long as the process lives. Returns where.
pub(super) fn serve(dir: &Path) -> Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0").context("failed to listen on loopback")?;
    let address = listener.local_addr()?;
    let dir: PathBuf = dir.to_owned();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            // Who went away has no use for an error, and who got too little says so.
            let _ = answer(&stream, &dir);
        }
    });
    Ok(address)
}

fn answer(mut stream: &TcpStream, dir: &Path) -> io::Result<()> {
    let mut reader = BufReader::new(stream);
    let mut first = String::new();
    reader.read_line(&mut first)?;
    let mut line = String::new();
    while reader.read_line(&mut line)? > 2 {
        line.clear();
    }
    let name = first
        .split(' ')
        .nth(1)
        .and_then(|path| path.rsplit('/').next());
    let Ok(mut file) = File::open(dir.join(name.unwrap_or_default())) else {
        return stream.write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n");
    };
    let size = file.metadata()?.len();
    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {size}\r\nConnection: close\r\n\r\n");
    stream.write_all(head.as_bytes())?;
    // From a file to a socket this is sendfile.
    io::copy(&mut file, &mut stream).map(drop)
}
