//! The members of an archive, each put together from its header and the long names before it.

use std::time::Duration;

use super::error::UnpackError;
use super::header::Header;
use super::name::EntryPath;
use super::pax::{self, Extended};
use super::stream::{BLOCK_BYTES, Block, Piece, Stream};
use super::{Limits, Rule, Unpacked};

/// Bytes of a PAX header or a GNU long name.
const META_BYTES_MAX: u64 = 1 << 20;

/// One entry to be written.
#[derive(Debug)]
pub(super) struct Member {
    /// Where.
    pub(super) path: EntryPath,
    /// What.
    pub(super) kind: Kind,
    /// Seconds and nanoseconds of its change, where they make sense.
    pub(super) modified: Option<(i64, u32)>,
}

/// What an entry is.
#[derive(Debug)]
pub(super) enum Kind {
    /// A regular file; its body must be taken with [`Members::copy_body`].
    File {
        /// Its final mode.
        mode: u32,
        /// Its bytes.
        size: u64,
    },
    /// A directory.
    Directory {
        /// Its final mode.
        mode: u32,
    },
    /// A symbolic link: data, wherever it points.
    Symlink {
        /// What it says.
        target: Vec<u8>,
    },
    /// Another name of a file of this archive.
    HardLink {
        /// The first name.
        target: EntryPath,
    },
}

/// What headers before a member say of it.
#[derive(Default)]
struct Pending {
    global: bool,
    extended: Option<Extended>,
    long_name: Option<Vec<u8>>,
    long_link: Option<Vec<u8>>,
}

/// The members, one after the other.
pub(super) struct Members<'a> {
    stream: Stream<'a>,
    unpacked_bytes_max: u64,
    entries_max: u64,
    /// Everything that is not a directory.
    files: u64,
    unpacked: Unpacked,
}

impl<'a> Members<'a> {
    pub(super) fn new(stream: Stream<'a>, limits: &Limits) -> Self {
        Self {
            stream,
            unpacked_bytes_max: limits.unpacked_bytes_max,
            entries_max: limits.entries_max,
            files: 0,
            unpacked: Unpacked {
                entries: 0,
                bytes: 0,
                synced_in: Duration::ZERO,
            },
        }
    }

    /// Returns the next member, or `None` after the end marker and everything behind it.
    pub(super) fn next(&mut self) -> Result<Option<Member>, UnpackError> {
        let mut pending = Pending::default();
        let mut block = [0; BLOCK_BYTES];
        loop {
            match self.stream.block(&mut block)? {
                Block::Whole => {}
                Block::Cut => {
                    return Err(UnpackError::archive("it ends in the middle of a header"));
                }
                Block::End => return Err(UnpackError::archive("its end marker is missing")),
            }
            if block == [0; BLOCK_BYTES] {
                return self.end(&pending).map(|()| None);
            }
            let header = Header::parse(&block).map_err(UnpackError::archive)?;
            let about = |rule| UnpackError::entry(&shown_name(&header, &pending), rule);
            match header.kind() {
                b'x' | b'g' | b'L' | b'K' => {
                    let size = meta_size(&header).map_err(about)?;
                    let body = self.meta_body(size)?;
                    let about =
                        |rule| UnpackError::entry(&shown_name(&header, &Pending::default()), rule);
                    pending.add(header.kind(), &body).map_err(about)?;
                }
                b'V' => {
                    // The label of a tape.
                    if pending.is_of_a_member() {
                        return Err(UnpackError::archive("a volume label has a long name"));
                    }
                    let size = header.size().map_err(about)?.unwrap_or(0);
                    self.count(0).map_err(about)?;
                    self.stream.body(size, &mut |_| Ok(()))?;
                }
                _ => {
                    let member = member(&header, &pending).map_err(about)?;
                    let size = match member.kind {
                        Kind::File { size, .. } => size,
                        _ => 0,
                    };
                    self.count(size).map_err(about)?;
                    self.files += u64::from(!matches!(member.kind, Kind::Directory { .. }));
                    return Ok(Some(member));
                }
            }
        }
    }

    /// Gives the bytes of a file's body to `sink`.
    pub(super) fn copy_body(
        &mut self,
        size: u64,
        sink: &mut dyn FnMut(&Piece<'_>) -> Result<(), UnpackError>,
    ) -> Result<(), UnpackError> {
        self.stream.body(size, sink)
    }

    /// Says what it came to.
    pub(super) fn finish(self) -> Result<Unpacked, UnpackError> {
        if self.files == 0 {
            return Err(UnpackError::archive("empty build: it has no files"));
        }
        Ok(self.unpacked)
    }

    /// Counts a member before anything of it is written.
    fn count(&mut self, size: u64) -> Result<(), Rule> {
        self.stream.allow_entry();
        self.unpacked.entries += 1;
        if self.unpacked.entries > self.entries_max {
            return Err(format!("the archive has more than {} entries", self.entries_max).into());
        }
        self.unpacked.bytes = self.unpacked.bytes.saturating_add(size);
        if self.unpacked.bytes > self.unpacked_bytes_max {
            return Err(format!(
                "the archive unpacks to more than {} bytes",
                self.unpacked_bytes_max
            )
            .into());
        }
        Ok(())
    }

    fn meta_body(&mut self, size: u64) -> Result<Vec<u8>, UnpackError> {
        let mut body = Vec::new();
        self.stream.body(size, &mut |piece| {
            body.extend_from_slice(piece.bytes());
            Ok(())
        })?;
        Ok(body)
    }

    /// Checks what follows the first zero block.
    fn end(&mut self, pending: &Pending) -> Result<(), UnpackError> {
        if pending.is_of_a_member() {
            return Err(UnpackError::archive(
                "a long name or PAX header has no entry",
            ));
        }
        let mut block = [0; BLOCK_BYTES];
        match self.stream.block(&mut block)? {
            Block::Whole if block == [0; BLOCK_BYTES] => {}
            Block::Whole => return Err(UnpackError::archive("it has a lone zero block")),
            Block::Cut | Block::End => {
                return Err(UnpackError::archive("its end marker is cut short"));
            }
        }
        if self.stream.rest_is_zero()? {
            return Ok(());
        }
        Err(UnpackError::archive(
            "something that is not zero follows its end marker",
        ))
    }
}

impl Pending {
    fn add(&mut self, kind: u8, body: &[u8]) -> Result<(), Rule> {
        let repeated = match kind {
            b'g' if self.is_of_a_member() => {
                return Err("a global PAX header stands between an entry's headers".into());
            }
            b'g' => {
                pax::check_global(body)?;
                std::mem::replace(&mut self.global, true)
            }
            b'x' => self.extended.replace(pax::parse_member(body)?).is_some(),
            b'L' => self.long_name.replace(long_name(body)?).is_some(),
            _ => self.long_link.replace(long_name(body)?).is_some(),
        };
        if repeated {
            return Err("an entry has two extended headers of one type".into());
        }
        Ok(())
    }

    fn is_of_a_member(&self) -> bool {
        self.extended.is_some() || self.long_name.is_some() || self.long_link.is_some()
    }

    fn name(&self, header: &Header<'_>) -> Result<Vec<u8>, Rule> {
        let path = self.extended.as_ref().and_then(|it| it.path.as_ref());
        one_of(path, self.long_name.as_ref()).map_or_else(|| header.name(), |found| found.cloned())
    }

    fn link(&self, header: &Header<'_>) -> Result<Vec<u8>, Rule> {
        let path = self.extended.as_ref().and_then(|it| it.link.as_ref());
        one_of(path, self.long_link.as_ref())
            .map_or_else(|| Ok(header.link()), |found| found.cloned())
    }

    fn size(&self, header: &Header<'_>) -> Result<Option<u64>, Rule> {
        let in_header = header.size()?;
        Ok(self.extended.as_ref().and_then(|it| it.size).or(in_header))
    }
}

/// Both at once: readers differ in which of them counts.
fn one_of<T>(pax: Option<T>, gnu: Option<T>) -> Option<Result<T, Rule>> {
    match (pax, gnu) {
        (Some(_), Some(_)) => Some(Err("it has a PAX name and a GNU long name at once".into())),
        (found, None) | (None, found) => found.map(Ok),
    }
}

fn meta_size(header: &Header<'_>) -> Result<u64, Rule> {
    match header.size()? {
        None => Err("its size is missing".into()),
        Some(size) if size > META_BYTES_MAX => {
            Err(format!("its extended header is larger than {META_BYTES_MAX} bytes").into())
        }
        Some(size) => Ok(size),
    }
}

/// The body of an `L` or `K`: a name with its NUL.
fn long_name(body: &[u8]) -> Result<Vec<u8>, Rule> {
    let end = body
        .iter()
        .rposition(|byte| *byte != 0)
        .map_or(0, |at| at + 1);
    let name = &body[..end];
    if name.is_empty() {
        return Err("a GNU long name is empty".into());
    }
    if name.contains(&0) {
        return Err("a GNU long name contains a NUL byte".into());
    }
    Ok(name.to_vec())
}

fn shown_name(header: &Header<'_>, pending: &Pending) -> Vec<u8> {
    pending
        .name(header)
        .unwrap_or_else(|_| header.short_name().to_vec())
}

fn member(header: &Header<'_>, pending: &Pending) -> Result<Member, Rule> {
    let name = pending.name(header)?;
    let size = pending.size(header)?;
    let (path, kind) = match header.kind() {
        b'0' | 0 | b'7' => {
            let size = size.ok_or("its size is missing")?;
            let mode = (permissions(header)? & 0o755) | 0o400;
            (EntryPath::of_file(&name)?, Kind::File { mode, size })
        }
        b'5' => {
            let mode = (permissions(header)? & 0o755) | 0o700;
            (EntryPath::of_directory(&name)?, Kind::Directory { mode })
        }
        b'2' => (
            EntryPath::of_file(&name)?,
            Kind::Symlink {
                target: symlink_target(pending.link(header)?)?,
            },
        ),
        b'1' => {
            let target = pending.link(header)?;
            let target = EntryPath::of_file(&target)
                .map_err(|rule| Rule::from(format!("the target of the hard link: {}", rule.0)))?;
            (EntryPath::of_file(&name)?, Kind::HardLink { target })
        }
        other => return Err(unsupported(other)),
    };
    if !matches!(kind, Kind::File { .. }) && size.unwrap_or(0) != 0 {
        // Some readers skip that many bytes, others take them for the next header.
        return Err("it has a size, but is not a file".into());
    }
    let in_header = header.modified_s().map(|seconds| (seconds, 0));
    let modified = pending
        .extended
        .as_ref()
        .and_then(|it| it.modified)
        .or(in_header);
    Ok(Member {
        path,
        kind,
        modified,
    })
}

fn permissions(header: &Header<'_>) -> Result<u32, Rule> {
    u32::try_from(header.mode()? & 0o7777).map_err(|_| "its mode is not a number".into())
}

fn symlink_target(target: Vec<u8>) -> Result<Vec<u8>, Rule> {
    if target.is_empty() {
        return Err("the symbolic link points nowhere".into());
    }
    Ok(target)
}

fn unsupported(kind: u8) -> Rule {
    let what = match kind {
        b'3' => "a character device",
        b'4' => "a block device",
        b'6' => "a fifo",
        b'S' => "a sparse file (GNU); pack it without --sparse",
        b'D' => "a directory of an incremental backup",
        b'M' => "part of a file of another volume",
        b'N' => "a list of long names",
        b'A' => "an access control list",
        b'I' => "an inode without data",
        b'X' => "a Solaris extended header",
        other => return format!("its type is unknown: {}", super::error::quoted(&[other])).into(),
    };
    format!("it is {what}").into()
}
