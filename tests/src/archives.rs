//! Archives built byte by byte, so that they can lie, and what `deployd unpack` makes of them.

use std::ffi::OsStr;
use std::fs;
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use tempfile::TempDir;

/// Bytes of a tar block.
pub const BLOCK_BYTES: usize = 512;

/// Returns the path of a program of this workspace, which is built beside the tests.
///
/// # Panics
/// Where it is not built.
pub fn program(name: &str) -> PathBuf {
    let test = std::env::current_exe().expect("the test's own path");
    let path = test
        .parent()
        .and_then(Path::parent)
        .expect("tests are in target/<profile>/deps")
        .join(name);
    assert!(
        path.exists(),
        "{} is missing: run `cargo build --workspace` first",
        path.display()
    );
    path
}

/// Returns a command of deployd, to be given arguments.
pub fn deployd() -> Command {
    Command::new(program("deployd"))
}

/// One header block. Everything in it can be set to nonsense; the checksum is right anyway.
#[derive(Debug, Clone)]
pub struct Header(pub [u8; BLOCK_BYTES]);

impl Header {
    /// Returns the ustar header of an entry with mode 644 and no size.
    pub fn new(kind: u8, name: &[u8]) -> Self {
        Self([0; BLOCK_BYTES])
            .with(0, name)
            .with(100, b"0000644\0")
            .with(108, b"0000000\0")
            .with(116, b"0000000\0")
            .with(124, b"00000000000\0")
            .with(136, b"14500000000\0")
            .with(156, &[kind])
            .with(257, b"ustar\x0000")
    }

    /// Overwrites bytes anywhere.
    #[must_use]
    pub fn with(mut self, at: usize, bytes: &[u8]) -> Self {
        self.0[at..at + bytes.len()].copy_from_slice(bytes);
        self
    }

    /// Sets the size.
    #[must_use]
    pub fn size(self, size: u64) -> Self {
        self.with(124, format!("{size:011o}\0").as_bytes())
    }

    /// Sets the mode.
    #[must_use]
    pub fn mode(self, mode: u32) -> Self {
        self.with(100, format!("{mode:07o}\0").as_bytes())
    }

    /// Sets the target of a link.
    #[must_use]
    pub fn link(self, target: &[u8]) -> Self {
        self.with(157, target)
    }

    /// Returns the block with its checksum.
    pub fn sealed(self) -> [u8; BLOCK_BYTES] {
        let blank = self.with(148, b"        ");
        let sum: u32 = blank.0.iter().map(|byte| u32::from(*byte)).sum();
        blank.with(148, format!("{sum:06o}\0 ").as_bytes()).0
    }
}

/// A tar that is being built.
#[derive(Debug, Clone, Default)]
pub struct Tar(pub Vec<u8>);

impl Tar {
    /// Returns one without entries.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds bytes as they are.
    #[must_use]
    pub fn raw(mut self, bytes: &[u8]) -> Self {
        self.0.extend_from_slice(bytes);
        self
    }

    /// Adds a header, with its checksum.
    #[must_use]
    pub fn header(self, header: Header) -> Self {
        self.raw(&header.sealed())
    }

    /// Adds a header whose size is that of the body, and the body, padded.
    #[must_use]
    pub fn entry(self, header: Header, body: &[u8]) -> Self {
        let padding = body.len().wrapping_neg() % BLOCK_BYTES;
        self.header(header.size(body.len() as u64))
            .raw(body)
            .raw(&vec![0; padding])
    }

    /// Adds a file.
    #[must_use]
    pub fn file(self, name: &str, body: &[u8]) -> Self {
        self.entry(Header::new(b'0', name.as_bytes()), body)
    }

    /// Adds a directory.
    #[must_use]
    pub fn directory(self, name: &str) -> Self {
        self.header(Header::new(b'5', name.as_bytes()).mode(0o755))
    }

    /// Adds a symbolic link.
    #[must_use]
    pub fn symlink(self, name: &str, target: &str) -> Self {
        self.header(Header::new(b'2', name.as_bytes()).link(target.as_bytes()))
    }

    /// Adds a hard link.
    #[must_use]
    pub fn hard_link(self, name: &str, target: &str) -> Self {
        self.header(Header::new(b'1', name.as_bytes()).link(target.as_bytes()))
    }

    /// Adds a PAX header of `kind` with these records.
    #[must_use]
    pub fn pax(self, kind: u8, records: &[&[u8]]) -> Self {
        let body: Vec<u8> = records.iter().flat_map(|text| record(text)).collect();
        self.entry(Header::new(kind, b"PaxHeaders/x"), &body)
    }

    /// Adds a GNU long name (`L`) or long link (`K`), with its NUL.
    #[must_use]
    pub fn long(self, kind: u8, name: &[u8]) -> Self {
        let header = Header::new(kind, b"././@LongLink").with(257, b"ustar  \0");
        self.entry(header, &[name, b"\0"].concat())
    }

    /// Returns it with an end marker.
    pub fn end(self) -> Vec<u8> {
        self.raw(&[0; 2 * BLOCK_BYTES]).0
    }
}

/// Returns a PAX record with its length.
pub fn record(text: &[u8]) -> Vec<u8> {
    let mut length = text.len() + 3;
    while length.to_string().len() + text.len() + 2 != length {
        length += 1;
    }
    [length.to_string().as_bytes(), b" ", text, b"\n"].concat()
}

/// Compresses bytes as one gzip member.
pub fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).expect("memory takes everything");
    encoder.finish().expect("memory takes everything")
}

/// Compresses bytes as one zstd frame, with a checksum.
pub fn zstd_frame(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = zstd::Encoder::new(Vec::new(), 1).expect("level 1 exists");
    encoder.include_checksum(true).expect("it is an option");
    encoder.write_all(bytes).expect("memory takes everything");
    encoder.finish().expect("memory takes everything")
}

/// A directory to unpack in, and something outside of it that must stay as it is.
#[derive(Debug)]
pub struct Place {
    directory: TempDir,
}

impl Place {
    /// Makes one.
    pub fn new() -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        for inner in ["outside", "releases"] {
            fs::create_dir(directory.path().join(inner)).expect("it is fresh");
        }
        fs::write(directory.path().join("outside/victim"), "precious").expect("it is fresh");
        Self { directory }
    }

    /// Returns the path of something in it.
    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Unpacks an archive into `releases/r1`.
    pub fn unpack(&self, archive: &[u8], options: &[&str]) -> Output {
        fs::write(self.path("archive"), archive).expect("space for an archive");
        self.command(options).output().expect("deployd starts")
    }

    /// Returns the command that unpacks `archive` into `releases/r1`.
    pub fn command(&self, options: &[&str]) -> Command {
        let mut command = deployd();
        command
            .arg("unpack")
            .arg(self.path("archive"))
            .arg(self.path("releases/r1"))
            .args(options);
        command
    }

    /// Returns what unpacking came to: the tree, or `refused: ` and why.
    #[track_caller]
    pub fn outcome(&self, output: &Output) -> String {
        let stderr = String::from_utf8(output.stderr.clone()).expect("messages are UTF-8");
        assert_eq!(
            tree(&self.path("outside")),
            "f644 victim 8\n",
            "something outside changed; stderr: {stderr}"
        );
        let left = names(&self.path("releases"));
        match output.status.code() {
            Some(0) => {
                assert_eq!(left, ["r1"], "besides the release");
                assert_eq!(stderr, "");
                let release = self.path("releases/r1");
                let mode = fs::metadata(&release).expect("it is there").mode();
                assert_eq!(mode & 0o7777, 0o755, "mode of the release");
                tree(&release)
            }
            Some(1) => {
                assert!(left.is_empty(), "left after a refusal: {left:?}; {stderr}");
                assert_eq!(stderr.matches('\n').count(), 1, "one line: {stderr}");
                let why = stderr.trim_end().strip_prefix("error: ");
                let why = why.unwrap_or_else(|| panic!("no error: {stderr}"));
                format!("refused: {why}")
            }
            _ => panic!("{}; stderr: {stderr}", output.status),
        }
    }
}

impl Default for Place {
    fn default() -> Self {
        Self::new()
    }
}

/// Unpacks an archive, and compares the tree or the refusal.
#[track_caller]
pub fn check(archive: &[u8], expected: &str) {
    check_with(archive, &[], expected);
}

/// Unpacks an archive with options, and compares the tree or the refusal.
#[track_caller]
pub fn check_with(archive: &[u8], options: &[&str], expected: &str) {
    let place = Place::new();
    let output = place.unpack(archive, options);
    let outcome = place.outcome(&output);
    assert_eq!(outcome.trim_end(), expected.trim_end());
}

/// Returns a tree as text: a line per entry, sorted, with type, mode, name, and size or target.
///
/// # Panics
/// Where it can't be read.
pub fn tree(root: &Path) -> String {
    let mut lines = Vec::new();
    describe(root, root, &mut lines);
    lines.sort_by(|one, other| one.0.cmp(&other.0));
    lines.into_iter().map(|(_, line)| line + "\n").collect()
}

fn describe(root: &Path, directory: &Path, lines: &mut Vec<(PathBuf, String)>) {
    for entry in fs::read_dir(directory).expect("a directory") {
        let path = entry.expect("an entry").path();
        let metadata = path.symlink_metadata().expect("it is there");
        let mode = metadata.permissions().mode() & 0o7777;
        let name = path.strip_prefix(root).expect("it is below").to_owned();
        let shown = name.as_os_str().as_bytes().escape_ascii();
        let kind = metadata.file_type();
        let line = if kind.is_symlink() {
            let target = fs::read_link(&path).expect("a link");
            format!(
                "l {shown} -> {}",
                target.as_os_str().as_bytes().escape_ascii()
            )
        } else if kind.is_dir() {
            describe(root, &path, lines);
            format!("d{mode:o} {shown}")
        } else if kind.is_socket() {
            format!("s{mode:o} {shown}")
        } else {
            assert!(
                kind.is_file(),
                "{shown} is neither file, directory, link nor socket"
            );
            let links = match metadata.nlink() {
                1 => String::new(),
                links => format!(" links {links}"),
            };
            format!("f{mode:o} {shown} {}{links}", metadata.len())
        };
        lines.push((name, line));
    }
}

/// Returns the sorted names in a directory.
///
/// # Panics
/// Where it can't be read.
pub fn names(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).expect("a directory");
    let mut names: Vec<String> = entries
        .map(|entry| entry.expect("an entry").file_name())
        .map(|name| OsStr::as_bytes(&name).escape_ascii().to_string())
        .collect();
    names.sort();
    names
}
