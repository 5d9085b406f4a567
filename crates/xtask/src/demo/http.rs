//! As much HTTP as the demo needs: GET, with and without keep-alive.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
const IO_TIMEOUT: Duration = Duration::from_secs(5);
const HEAD_BYTES_MAX: u64 = 16 * 1024;
const BODY_BYTES_MAX: usize = 64 * 1024;

/// A status and a body.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: Vec<u8>,
}

/// What becomes of a connection after an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum After {
    /// It is kept for the next request.
    Keep,
    Close,
}

impl After {
    fn word(self) -> &'static str {
        match self {
            After::Keep => "keep-alive",
            After::Close => "close",
        }
    }
}

/// Answers every request, each connection on a thread of its own, for as long as the process
/// lives.
pub(crate) fn serve(
    listener: TcpListener,
    answer: impl Fn(&str) -> Answer + Send + Sync + 'static,
) {
    let answer = Arc::new(answer);
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let answer = Arc::clone(&answer);
            thread::spawn(move || {
                // Who asked and went away has no use for an error.
                let _ = answer_all(&stream, &*answer);
            });
        }
    });
}

fn answer_all(mut stream: &TcpStream, answer: impl Fn(&str) -> Answer) -> Result<()> {
    prepare(stream)?;
    let mut reader = BufReader::new(stream);
    loop {
        let head = read_head(&mut reader)?;
        let path = head[0].split(' ').nth(1).unwrap_or("/");
        let after = match header(&head, "connection") {
            Some("close") => After::Close,
            _ => After::Keep,
        };
        let Answer { status, body } = answer(path);
        let reason = if status < 400 { "OK" } else { "Error" };
        // Head and body in one piece: else the second waits for the first to be acknowledged.
        let mut text = format!(
            "HTTP/1.1 {status} {reason}\r\nContent-Length: {}\r\nConnection: {}\r\n\r\n",
            body.len(),
            after.word()
        )
        .into_bytes();
        text.extend(body);
        stream.write_all(&text)?;
        if after == After::Close {
            return Ok(());
        }
    }
}

/// A client's connection.
#[derive(Debug)]
pub(crate) struct Connection {
    reader: BufReader<TcpStream>,
}

impl Connection {
    /// Connects.
    pub(crate) fn open(address: SocketAddr) -> io::Result<Connection> {
        let stream = TcpStream::connect_timeout(&address, CONNECT_TIMEOUT)?;
        prepare(&stream)?;
        Ok(Connection {
            reader: BufReader::new(stream),
        })
    }

    /// Tells whether the server has left it open. Between two requests there is nothing to read
    /// but its end.
    pub(crate) fn is_open(&self) -> bool {
        let stream = self.reader.get_ref();
        let peeked = stream
            .set_nonblocking(true)
            .and_then(|()| stream.peek(&mut [0]));
        let is_silent = matches!(peeked, Err(error) if error.kind() == io::ErrorKind::WouldBlock);
        is_silent && stream.set_nonblocking(false).is_ok()
    }

    /// Asks, and reads the whole answer. An answer that is cut is an error.
    pub(crate) fn ask(&mut self, path: &str, after: After) -> io::Result<Answer> {
        let text = format!(
            "GET {path} HTTP/1.1\r\nHost: hello\r\nConnection: {}\r\n\r\n",
            after.word()
        );
        self.reader.get_ref().write_all(text.as_bytes())?;
        let head = read_head(&mut self.reader)?;
        let odd = || io::Error::new(io::ErrorKind::InvalidData, "no HTTP answer");
        let status = head[0].split(' ').nth(1).and_then(|word| word.parse().ok());
        let length = header(&head, "content-length").and_then(|word| word.parse().ok());
        let (Some(status), Some(length)) = (status, length) else {
            return Err(odd());
        };
        if length > BODY_BYTES_MAX {
            return Err(odd());
        }
        let mut body = vec![0; length];
        self.reader.read_exact(&mut body)?;
        Ok(Answer { status, body })
    }
}

/// Asks a server once.
pub(crate) fn fetch(address: SocketAddr, path: &str) -> Result<Answer> {
    Connection::open(address)
        .with_context(|| format!("failed to connect to {address}"))?
        .ask(path, After::Close)
        .with_context(|| format!("no answer from {address}"))
}

fn prepare(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(IO_TIMEOUT))?;
    stream.set_write_timeout(Some(IO_TIMEOUT))
}

/// Reads up to the empty line. At least one line is returned.
fn read_head(reader: &mut impl BufRead) -> io::Result<Vec<String>> {
    let mut lines = Vec::new();
    let mut limited = reader.take(HEAD_BYTES_MAX);
    loop {
        let mut line = String::new();
        limited.read_line(&mut line)?;
        if !line.ends_with('\n') {
            return Err(io::Error::new(
                io::ErrorKind::UnexpectedEof,
                "the connection was closed",
            ));
        }
        match line.trim_end() {
            "" if !lines.is_empty() => return Ok(lines),
            text => lines.push(text.to_owned()),
        }
    }
}

fn header<'a>(head: &'a [String], name: &str) -> Option<&'a str> {
    head.iter().skip(1).find_map(|line| {
        let (key, value) = line.split_once(':')?;
        key.eq_ignore_ascii_case(name).then(|| value.trim())
    })
}

#[cfg(test)]
mod tests;
