//! Why an archive was not unpacked.

use std::fmt::Write as _;
use std::io;
use std::path::PathBuf;

use nix::errno::Errno;

use super::Rule;
use super::name::EntryPath;
use super::remove::RemoveError;
use crate::host::ErrorKind;

/// Why an archive was not unpacked. Names from the archive are escaped: a message is one line.
#[derive(Debug, thiserror::Error)]
pub(crate) enum UnpackError {
    /// One entry breaks a rule.
    #[error("entry {entry}: {rule}")]
    Entry {
        /// Its name, quoted and escaped.
        entry: String,
        /// What is wrong with it.
        rule: String,
    },
    /// The archive as a whole breaks a rule.
    #[error("bad archive: {rule}")]
    Archive {
        /// What is wrong with it.
        rule: String,
    },
    /// The compressed data is damaged, cut or followed by something else.
    #[error("bad archive: failed to decompress it")]
    Corrupt {
        /// What the decoder says.
        #[source]
        source: io::Error,
    },
    /// Reading the archive or writing the release failed.
    #[error("failed to {action}")]
    Io {
        /// What was tried, with its object.
        action: String,
        /// What the kernel says.
        #[source]
        source: io::Error,
    },
    /// There is something where the release is to be.
    #[error("{path} exists already; it was left alone", path = path.display())]
    Exists {
        /// Where.
        path: PathBuf,
    },
    /// Another process is unpacking to the same place.
    #[error("another deployd is unpacking into {path}", path = path.display())]
    Busy {
        /// Its partial directory.
        path: PathBuf,
    },
    /// Somebody said stop.
    #[error("stopped before the archive was unpacked")]
    Stopped,
    /// It took too long.
    #[error("not unpacked within {limit_s} s")]
    TooSlow {
        /// The limit.
        limit_s: u64,
    },
    /// It failed, and what it had written could not be removed.
    #[error("{refusal}; what was written is still there")]
    Leftover {
        /// Why it failed.
        refusal: Box<UnpackError>,
        /// What could not be removed.
        #[source]
        source: RemoveError,
    },
}

impl UnpackError {
    /// Returns what is to be done about it.
    pub(crate) fn kind(&self) -> ErrorKind {
        match self {
            Self::Entry { .. } | Self::Archive { .. } | Self::Corrupt { .. } => ErrorKind::Reject,
            Self::Io { source, .. } if source.kind() == io::ErrorKind::ReadOnlyFilesystem => {
                ErrorKind::Stuck
            }
            Self::Io { .. } | Self::Busy { .. } | Self::Stopped | Self::TooSlow { .. } => {
                ErrorKind::Retry
            }
            Self::Exists { .. } | Self::Leftover { .. } => ErrorKind::Stuck,
        }
    }

    pub(super) fn entry(name: &[u8], rule: impl Into<Rule>) -> Self {
        Self::Entry {
            entry: quoted(name),
            rule: rule.into().0.into_owned(),
        }
    }

    pub(super) fn archive(rule: impl Into<Rule>) -> Self {
        Self::Archive {
            rule: rule.into().0.into_owned(),
        }
    }

    pub(super) fn io(action: String, source: impl Into<io::Error>) -> Self {
        Self::Io {
            action,
            source: source.into(),
        }
    }

    /// Two entries have this name.
    pub(super) fn twice(name: &[u8]) -> Self {
        Self::entry(name, "it is in the archive twice")
    }

    /// Tells what the file system cannot hold, the archive's fault, from what just failed.
    pub(super) fn refused(source: impl Into<io::Error>, path: &EntryPath, action: &str) -> Self {
        let source = source.into();
        let rule = match source.raw_os_error().map(Errno::from_raw) {
            Some(Errno::ENAMETOOLONG) => "the file system has no room for a name that long",
            Some(Errno::EMLINK) => "the file system has no room for so many links",
            Some(Errno::EINVAL | Errno::EILSEQ) => "the file system refuses the name",
            Some(Errno::EFBIG) => "the file system refuses a file that large",
            _ => return Self::io(format!("{action} {}", quoted(path.as_bytes())), source),
        };
        Self::entry(path.as_bytes(), rule)
    }
}

/// Characters of a name that a message shows.
const SHOWN_CHARS_MAX: usize = 120;

/// Returns a name from an archive quoted, escaped and cut, fit for a log line or a terminal.
pub(super) fn quoted(name: &[u8]) -> String {
    let mut shown = String::from("\"");
    let mut chars = 0;
    for chunk in name.utf8_chunks() {
        for char in chunk.valid().chars().take(SHOWN_CHARS_MAX - chars) {
            shown.extend(char.escape_debug());
            chars += 1;
        }
        for byte in chunk.invalid().iter().take(SHOWN_CHARS_MAX - chars) {
            // Writing to a String cannot fail.
            let _ = write!(shown, "\\x{byte:02x}");
            chars += 1;
        }
        if chars == SHOWN_CHARS_MAX {
            shown.push('…');
            break;
        }
    }
    shown.push('"');
    shown
}
