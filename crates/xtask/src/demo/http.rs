//! As much HTTP as the demo needs: GET, on the loopback address, one request a connection.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};

const IO_TIMEOUT: Duration = Duration::from_secs(5);
const HEAD_BYTES_MAX: u64 = 16 * 1024;
const BODY_BYTES_MAX: u64 = 64 * 1024;

/// A status and a body.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: Vec<u8>,
}

/// The number of requests under way.
#[derive(Debug, Clone, Default)]
pub(crate) struct Busy(Arc<AtomicUsize>);

impl Busy {
    pub(crate) fn count(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }
}

/// Answers every request, each on a thread of its own, for as long as the process lives.
pub(crate) fn serve(
    listener: TcpListener,
    answer: impl Fn(&str) -> Answer + Send + Sync + 'static,
) -> Busy {
    let busy = Busy::default();
    let counted = busy.clone();
    let answer = Arc::new(answer);
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let (answer, busy) = (Arc::clone(&answer), counted.clone());
            busy.0.fetch_add(1, Ordering::SeqCst);
            thread::spawn(move || {
                // Who asked and went away has no use for an error.
                let _ = answer_one(&stream, &*answer);
                busy.0.fetch_sub(1, Ordering::SeqCst);
            });
        }
    });
    busy
}

fn answer_one(mut stream: &TcpStream, answer: impl Fn(&str) -> Answer) -> Result<()> {
    stream.set_read_timeout(Some(IO_TIMEOUT))?;
    stream.set_write_timeout(Some(IO_TIMEOUT))?;
    let mut head = BufReader::new(stream).take(HEAD_BYTES_MAX).lines();
    let request = head.next().context("no request")??;
    for line in head {
        if line?.is_empty() {
            break;
        }
    }
    let path = request.split(' ').nth(1).unwrap_or("/");
    let Answer { status, body } = answer(path);
    let reason = if status < 400 { "OK" } else { "Error" };
    let length = body.len();
    write!(
        stream,
        "HTTP/1.1 {status} {reason}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n"
    )?;
    stream.write_all(&body)?;
    Ok(())
}

/// Asks a server on this machine.
pub(crate) fn fetch(port: u16, path: &str) -> Result<Answer> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let mut stream = TcpStream::connect_timeout(&address, IO_TIMEOUT)
        .with_context(|| format!("failed to connect to {address}"))?;
    stream.set_read_timeout(Some(IO_TIMEOUT))?;
    write!(
        stream,
        "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n"
    )?;
    let mut text = Vec::new();
    stream
        .take(BODY_BYTES_MAX)
        .read_to_end(&mut text)
        .with_context(|| format!("no answer from {address}"))?;
    parse(&text).with_context(|| format!("no HTTP answer from {address}"))
}

fn parse(text: &[u8]) -> Option<Answer> {
    let end = text.windows(4).position(|four| four == b"\r\n\r\n")?;
    let head = str::from_utf8(&text[..end]).ok()?;
    let status = head.split(' ').nth(1)?.parse().ok()?;
    Some(Answer {
        status,
        body: text[end + 4..].to_vec(),
    })
}

#[cfg(test)]
mod tests;
