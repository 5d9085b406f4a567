//! Which compression an archive has, and what undoes it.
//!
//! Everything is read to the last byte of the file, so that every checksum in it counts: a gzip
//! stream's CRC and length come after its data.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::os::unix::fs::FileExt;

use flate2::bufread::GzDecoder;

use super::error::UnpackError;

/// Bytes of the archive that are read at once.
const INPUT_BYTES: usize = 256 * 1024;

/// Logarithm of the largest zstd window that is accepted: 128 MiB, as much as `zstd` itself takes
/// without being asked. It bounds the memory that an archive can make us use.
const ZSTD_WINDOW_LOG_MAX: u32 = 27;

/// The bytes of an archive, as they were before it was compressed.
pub(super) type Decoder = Box<dyn Read + Send>;

/// A compression that is accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Compression {
    /// One or several gzip members.
    Gzip,
    /// One or several zstd frames.
    Zstd,
}

impl Compression {
    /// Tells it from the first bytes of the file, never from its name.
    pub(super) fn detect(archive: &File) -> Result<Self, UnpackError> {
        let mut first = [0; 512];
        let read = ReadFrom::start(archive)
            .and_then(|reader| reader.take(512).read_into(&mut first))
            .map_err(|source| UnpackError::io("read the archive".to_owned(), source))?;
        let found = match &first[..read] {
            [] => "it is empty",
            [0x1f, 0x8b, ..] => return Ok(Self::Gzip),
            [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => {
                return Ok(Self::Zstd);
            }
            [b'B', b'Z', b'h', ..] => "it is bzip2",
            [0xfd, b'7', b'z', b'X', b'Z', ..] => "it is xz",
            [0x5d, 0, 0, ..] => "it is lzma",
            [0x04, 0x22, 0x4d, 0x18, ..] => "it is lz4",
            [0x1f, 0x9d, ..] => "it is compress",
            [b'P', b'K', 3 | 5, ..] => "it is zip",
            plain if plain.len() == 512 && plain[257..].starts_with(b"ustar") => {
                "it is a tar that is not compressed"
            }
            _ => "its format is unknown",
        };
        Err(UnpackError::archive(format!(
            "{found}; accepted are .tar.gz and .tar.zst"
        )))
    }

    /// Begins to inflate `archive`.
    pub(super) fn inflate(self, archive: &File) -> io::Result<Decoder> {
        let input = BufReader::with_capacity(INPUT_BYTES, ReadFrom::start(archive)?);
        Ok(match self {
            Self::Gzip => Box::new(GzipMembers::new(input)),
            Self::Zstd => Box::new(zstd_frames(input)?),
        })
    }
}

/// Reads until the buffer is full, or nothing is left.
pub(super) fn read_full(from: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match from.read(&mut buffer[filled..]) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

fn zstd_frames<R: BufRead>(input: R) -> io::Result<zstd::Decoder<'static, R>> {
    let mut decoder = zstd::Decoder::with_buffer(input)?;
    decoder.window_log_max(ZSTD_WINDOW_LOG_MAX)?;
    Ok(decoder)
}

/// All members of a gzip file, one after the other. As `gzip` does it, zero bytes may follow the
/// last one, as tapes and block devices have them; unlike it, anything else is an error.
struct GzipMembers<R> {
    member: Option<Box<GzDecoder<R>>>,
}

impl<R: BufRead> GzipMembers<R> {
    fn new(input: R) -> Self {
        Self {
            member: Some(Box::new(GzDecoder::new(input))),
        }
    }
}

impl<R: BufRead> Read for GzipMembers<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while let Some(member) = &mut self.member {
            let count = member.read(buffer)?;
            if count > 0 || buffer.is_empty() {
                return Ok(count);
            }
            let Some(member) = self.member.take() else {
                break;
            };
            let mut rest = member.into_inner();
            match rest.fill_buf()?.first() {
                None => {}
                Some(0) => only_zeros(&mut rest)?,
                Some(0x1f) => self.member = Some(Box::new(GzDecoder::new(rest))),
                Some(_) => return Err(trailing_bytes()),
            }
        }
        Ok(0)
    }
}

fn only_zeros(rest: &mut impl BufRead) -> io::Result<()> {
    loop {
        let bytes = rest.fill_buf()?;
        if bytes.is_empty() {
            return Ok(());
        }
        if bytes.iter().any(|byte| *byte != 0) {
            return Err(trailing_bytes());
        }
        let count = bytes.len();
        rest.consume(count);
    }
}

fn trailing_bytes() -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidData,
        "bytes that are not gzip follow the end of the gzip stream",
    )
}

/// Reads a file by position, so that whoever else holds the file is not disturbed, and never past
/// the length that it had at the start.
struct ReadFrom {
    file: File,
    position: u64,
    end: u64,
}

impl ReadFrom {
    fn start(file: &File) -> io::Result<Self> {
        let metadata = file.metadata()?;
        if !metadata.is_file() {
            return Err(io::Error::other("it is not a regular file"));
        }
        Ok(Self {
            file: file.try_clone()?,
            position: 0,
            end: metadata.len(),
        })
    }

    fn take(mut self, bytes: u64) -> Self {
        self.end = self.end.min(bytes);
        self
    }

    fn read_into(mut self, buffer: &mut [u8]) -> io::Result<usize> {
        read_full(&mut self, buffer)
    }
}

impl Read for ReadFrom {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.end - self.position).unwrap_or(usize::MAX);
        let wanted = buffer.len().min(left);
        let count = self.file.read_at(&mut buffer[..wanted], self.position)?;
        self.position += count as u64;
        Ok(count)
    }
}
