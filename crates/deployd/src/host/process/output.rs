//! What a program writes: read, and its end kept.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};

use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::sync::mpsc::Sender;

/// Lines of output that are kept.
pub(crate) const TAIL_LINES: usize = 20;
/// Bytes of output that are kept.
pub(crate) const TAIL_BYTES: usize = 4096;

/// A file without a name, for output that may outlive us.
pub(super) fn nameless() -> io::Result<File> {
    use std::os::unix::fs::OpenOptionsExt;
    let mut options = File::options();
    options
        .read(true)
        .append(true)
        .mode(0o600)
        .custom_flags(nix::libc::O_TMPFILE);
    options.open(std::env::temp_dir())
}

/// Reads the end of such a file.
pub(super) fn read_end(file: &mut File, tail: &mut Tail) -> io::Result<()> {
    let length = file.seek(SeekFrom::End(0))?;
    file.seek(SeekFrom::Start(length.saturating_sub(TAIL_BYTES as u64)))?;
    let mut bytes = Vec::new();
    file.take(TAIL_BYTES as u64).read_to_end(&mut bytes)?;
    tail.add(&bytes);
    Ok(())
}

/// Where a program writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pipe {
    /// Its standard output.
    Out,
    /// Its standard error.
    Err,
}

/// Reads a pipe, if there is one, to its end.
pub(super) async fn copy<R: AsyncRead + Unpin>(
    from: Option<R>,
    (pipe, to): (Pipe, Sender<(Pipe, Vec<u8>)>),
) {
    let Some(mut from) = from else { return };
    let mut buffer = vec![0; 8192];
    while let Ok(bytes @ 1..) = from.read(&mut buffer).await {
        if to.send((pipe, buffer[..bytes].to_vec())).await.is_err() {
            return;
        }
    }
}

/// The lines of an output that somebody wants, of whatever size the whole is.
pub(super) struct Lines<F> {
    is_wanted: F,
    /// The line that has not ended yet.
    begun: Vec<u8>,
    kept: String,
}

impl<F: FnMut(&str) -> bool> Lines<F> {
    pub(super) fn new(is_wanted: F) -> Lines<F> {
        Lines {
            is_wanted,
            begun: Vec::new(),
            kept: String::new(),
        }
    }

    pub(super) fn add(&mut self, chunk: &[u8]) {
        for part in chunk.split_inclusive(|byte| *byte == b'\n') {
            self.begun.extend(part);
            if part.ends_with(b"\n") {
                self.end_line();
            }
        }
    }

    fn end_line(&mut self) {
        let line = String::from_utf8_lossy(&self.begun);
        if (self.is_wanted)(line.trim_end()) {
            self.kept.push_str(&line);
        }
        self.begun.clear();
    }

    pub(super) fn text(mut self) -> String {
        if !self.begun.is_empty() {
            self.end_line();
        }
        self.kept
    }
}

/// The last bytes of an output.
pub(super) struct Tail {
    bytes: VecDeque<u8>,
    bytes_max: usize,
}

impl Tail {
    pub(super) fn new(bytes_max: usize) -> Tail {
        Tail {
            bytes: VecDeque::new(),
            bytes_max,
        }
    }

    pub(super) fn add(&mut self, chunk: &[u8]) {
        let from = chunk.len().saturating_sub(self.bytes_max);
        self.bytes.extend(&chunk[from..]);
        let excess = self.bytes.len().saturating_sub(self.bytes_max);
        self.bytes.drain(..excess);
    }

    pub(super) fn text(self) -> String {
        let bytes: Vec<u8> = self.bytes.into();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    pub(super) fn lines(self) -> Vec<String> {
        last_lines(&self.text())
    }
}

/// Returns the last lines of an output, as [`Ended`](super::Ended) has them.
pub(crate) fn tail(output: &[u8]) -> Vec<String> {
    let mut tail = Tail::new(TAIL_BYTES);
    tail.add(output);
    tail.lines()
}

/// Returns the last lines of a text, [`TAIL_LINES`] of them and [`TAIL_BYTES`] at most, with control characters escaped:
/// they end up in terminals.
pub(crate) fn last_lines(text: &str) -> Vec<String> {
    let lines = text.lines().filter(|line| !line.trim().is_empty());
    let mut last = Vec::new();
    let mut left = TAIL_BYTES;
    for line in lines.rev().take(TAIL_LINES).map(escape) {
        // Escaped it may be longer than it was.
        let cut = line.ceil_char_boundary(line.len().saturating_sub(left));
        if cut == line.len() {
            break;
        }
        left -= line.len() - cut;
        last.push(line[cut..].to_owned());
    }
    last.reverse();
    last
}

/// Returns a line without control characters.
pub(crate) fn escape(line: &str) -> String {
    let plain = line.replace('\t', "    ");
    plain
        .chars()
        .flat_map(|c| -> Vec<char> {
            if c.is_control() {
                c.escape_default().collect()
            } else {
                vec![c]
            }
        })
        .collect()
}
