//! The text of the repository, as the rules see it.

use std::fmt;
use std::fs;
use std::process::Command;

use anyhow::{Context, Result};
use serde_json::Value;

use super::rust_text::RustText;
use crate::tool;

/// Everything that the rules look at.
#[derive(Debug, Default)]
pub(crate) struct Tree {
    pub(crate) files: Vec<TextFile>,
    /// The crates of other people that this machine's build takes in.
    pub(crate) dependencies: Vec<Dependency>,
}

/// A file, by its path from the root.
#[derive(Debug)]
pub(crate) struct TextFile {
    pub(crate) path: String,
    pub(crate) text: String,
    /// Of `.rs` files.
    pub(crate) rust: Option<RustText>,
}

/// A crate, as `cargo metadata` tells of it.
#[derive(Debug)]
pub(crate) struct Dependency {
    pub(crate) name: String,
    pub(crate) licence: Option<String>,
}

/// Something that breaks a rule.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Violation {
    path: String,
    line: usize,
    what: String,
}

impl Violation {
    /// `line` counts from 1.
    pub(crate) fn new(path: &str, line: usize, what: String) -> Violation {
        Violation {
            path: path.to_owned(),
            line,
            what,
        }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.path, self.line, self.what)
    }
}

impl TextFile {
    pub(crate) fn new(path: &str, text: &str) -> TextFile {
        let rust = path.ends_with(".rs").then(|| RustText::of(text));
        TextFile {
            path: path.to_owned(),
            text: text.to_owned(),
            rust,
        }
    }

    /// Tests may do what the code that they test may not.
    pub(crate) fn is_test(&self) -> bool {
        self.path.starts_with("tests/")
            || self.path.contains("/tests/")
            || self.path.ends_with("/tests.rs")
    }
}

impl Tree {
    /// Returns the text of a file.
    pub(crate) fn text(&self, path: &str) -> Option<&str> {
        self.files
            .iter()
            .find(|file| file.path == path)
            .map(|file| file.text.as_str())
    }

    /// Returns the Rust files whose paths start so.
    pub(crate) fn rust<'a>(
        &'a self,
        prefix: &'a str,
    ) -> impl Iterator<Item = (&'a TextFile, &'a RustText)> {
        self.files
            .iter()
            .filter(move |file| file.path.starts_with(prefix))
            .filter_map(|file| file.rust.as_ref().map(|rust| (file, rust)))
    }

    /// Returns the manifests of the crates, with the directory of each.
    pub(crate) fn manifests(&self) -> impl Iterator<Item = (&TextFile, &str)> {
        self.files.iter().filter_map(|file| {
            let dir = file
                .path
                .strip_suffix("Cargo.toml")
                .filter(|dir| !dir.is_empty())?;
            Some((file, dir))
        })
    }
}

/// Reads what git tracks, and what it would if asked to add all.
pub(crate) fn load() -> Result<Tree> {
    let root = tool::root();
    let args = [
        "ls-files",
        "-z",
        "--cached",
        "--others",
        "--exclude-standard",
    ];
    let list = tool::output(Command::new("git").args(args).current_dir(&root))?;
    let mut files = Vec::new();
    for path in list.split_terminator('\0') {
        let full = root.join(path);
        // Removed, but not committed; or a link.
        if !full.symlink_metadata().is_ok_and(|data| data.is_file()) {
            continue;
        }
        let bytes = fs::read(&full).with_context(|| format!("failed to read {path}"))?;
        // What is not text has no lines to check.
        if let Ok(text) = str::from_utf8(&bytes) {
            files.push(TextFile::new(path, text));
        }
    }
    Ok(Tree {
        files,
        dependencies: dependencies()?,
    })
}

fn dependencies() -> Result<Vec<Dependency>> {
    let version = tool::output(&mut tool::cargo(["--version", "--verbose"]))?;
    let host = version
        .lines()
        .find_map(|line| line.strip_prefix("host: "))
        .context("cargo does not say for which host it builds")?;
    // Without the filter, crates of other systems would be downloaded.
    let args = [
        "metadata",
        "--format-version",
        "1",
        "--locked",
        "--filter-platform",
        host,
    ];
    let text = tool::output(&mut tool::cargo(args))?;
    let metadata: Value = serde_json::from_str(&text).context("failed to read cargo metadata")?;
    let packages = metadata["packages"]
        .as_array()
        .context("cargo metadata has no packages")?;
    let others = packages
        .iter()
        .filter(|package| !package["source"].is_null());
    Ok(others
        .map(|package| Dependency {
            name: package["name"].as_str().unwrap_or_default().to_owned(),
            licence: package["license"].as_str().map(str::to_owned),
        })
        .collect())
}
