//! The server that every host fetches the build from: whatever is asked for, it is that one file.

use std::fs::File;
use std::io::{self, BufRead as _, BufReader, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::Path;
use std::thread;

use anyhow::{Context, Result};

/// Serves a file for as long as this process lives, each connection on a thread of its own, and returns the URL, with a slash
/// at the end.
pub(crate) fn serve(path: &Path) -> Result<String> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("failed to listen")?;
    let url = format!("http://{}/", listener.local_addr()?);
    let path = path.to_owned();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let path = path.clone();
            thread::spawn(move || {
                // Who asked and went away has no use for an error.
                let _ = answer(&stream, &path);
            });
        }
    });
    Ok(url)
}

/// Answers requests until the other end hangs up.
fn answer(mut stream: &TcpStream, path: &Path) -> io::Result<()> {
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    while reader.read_line(&mut line)? > 0 {
        let is_end_of_head = line == "\r\n";
        line.clear();
        if is_end_of_head {
            let mut file = File::open(path)?;
            let length = file.metadata()?.len();
            write!(
                stream,
                "HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n"
            )?;
            // Sent by the kernel: the server costs next to nothing.
            io::copy(&mut file, &mut stream)?;
        }
    }
    Ok(())
}
