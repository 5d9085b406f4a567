//! A server of files on loopback. It hands each file to the kernel to send, so it is not what is slow.

use std::fs::File;
use std::io::{self, BufRead as _, BufReader, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::Arc;
use std::thread;

use anyhow::{Context, Result};

/// Serves, for as long as the process lives and each connection on a thread of its own, the file that `find` returns for the
/// last component of a path. Returns the URL, with a slash at the end.
pub(super) fn serve(find: impl Fn(&str) -> PathBuf + Send + Sync + 'static) -> Result<String> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("failed to listen")?;
    let url = format!("http://{}/", listener.local_addr()?);
    let find = Arc::new(find);
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let find = Arc::clone(&find);
            thread::spawn(move || {
                // Who went away has no use for an error, and who got too little says so.
                let _ = answer(&stream, &*find);
            });
        }
    });
    Ok(url)
}

/// Answers requests until the other end hangs up.
fn answer(mut stream: &TcpStream, find: &dyn Fn(&str) -> PathBuf) -> io::Result<()> {
    let mut reader = BufReader::new(stream);
    loop {
        let mut first = String::new();
        if reader.read_line(&mut first)? == 0 {
            return Ok(());
        }
        let mut line = String::new();
        while reader.read_line(&mut line)? > 0 && line != "\r\n" {
            line.clear();
        }
        let path = first.split(' ').nth(1).unwrap_or_default();
        let name = path.rsplit('/').next().unwrap_or_default();
        let Ok(mut file) = File::open(find(name)) else {
            stream.write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")?;
            continue;
        };
        let length = file.metadata()?.len();
        write!(
            stream,
            "HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n"
        )?;
        // From a file to a socket this is sendfile.
        io::copy(&mut file, &mut stream)?;
    }
}
