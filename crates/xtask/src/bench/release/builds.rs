//! The builds that are measured: real ones, made by the ordinary clients once and kept, else generated ones of the same size.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use super::generated::{self, Shape};
use crate::bench::ground::Ground;
use crate::tool::succeed;

/// What kind of build.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Some 6,000 files: what `pip` installs for a web service.
    Python,
    /// Few files, some 200 MB: a Java runtime and programs.
    Big,
    /// Some 30,000 tiny files: what `npm` installs.
    Node,
}

/// A build, packed in each way.
#[derive(Debug)]
pub(super) struct Build {
    /// Its kind.
    pub(super) kind: Kind,
    /// What it was made from.
    pub(super) from: String,
    /// The `.tar.gz`, and then the others.
    pub(super) archives: Vec<Archive>,
}

/// An archive of a build.
#[derive(Debug)]
pub(super) struct Archive {
    /// Where it is.
    pub(super) path: PathBuf,
    /// Its bytes.
    pub(super) size: u64,
    /// How it is packed.
    pub(super) compression: Compression,
}

/// How an archive is packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Compression {
    Gzip,
    Zstd,
}

const PYTHON: &[&str] = &[
    "Django==5.1.4",
    "boto3==1.35.80",
    "SQLAlchemy==2.0.36",
    "lxml==5.3.0",
    "Pillow==11.0.0",
];

const NODE: &[&str] = &[
    "next@15.1.0",
    "react@19.0.0",
    "react-dom@19.0.0",
    "webpack@5.97.1",
    "webpack-cli@6.0.1",
    "@babel/preset-env@7.26.0",
    "@mui/material@6.1.10",
    "core-js@3.39.0",
    "date-fns@4.1.0",
    "lodash@4.17.21",
    "rxjs@7.8.1",
];

/// Fills the directory `tree` with what a real build has.
const PIP: &str = "python3 -m pip install --quiet --disable-pip-version-check --root-user-action=ignore --no-compile --target tree \"$@\"";
const NPM: &str =
    "cd tree && npm install --silent --no-audit --no-fund --ignore-scripts --omit=optional \"$@\"";
const JAVA: &str = "lib=$(dirname \"$(readlink -f \"$(command -v java)\")\")/../lib && \
    find -L \"$lib\" -type f -size +1M -exec cp {} tree \\; && cp \"$@\" tree && test \"$(du -sm tree | cut -f1)\" -gt 100";

/// As a build server should do it: the same bytes for the same files.
const PACK: &str = "tar --sort=name --owner=root:0 --group=root:0 --numeric-owner -cf build.tar -C tree . && \
    gzip -6 -n -c build.tar > build.tar.gz && zstd -q -3 -f build.tar -o build.tar.zst && rm -r build.tar tree";

impl Kind {
    /// All of them.
    pub(super) const ALL: [Kind; 3] = [Kind::Python, Kind::Big, Kind::Node];

    /// Returns its name.
    pub(super) fn name(self) -> &'static str {
        match self {
            Kind::Python => "py",
            Kind::Big => "bin",
            Kind::Node => "node",
        }
    }

    /// What makes a tree of it, and what it is called.
    fn recipe(self) -> (&'static str, &'static str) {
        match self {
            Kind::Python => (PIP, "installed by pip"),
            Kind::Big => (JAVA, "a Java runtime, and our programs"),
            Kind::Node => (NPM, "installed by npm"),
        }
    }

    fn arguments(self, ground: &Ground) -> Vec<String> {
        let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        match self {
            Kind::Python => owned(PYTHON),
            Kind::Big => [&ground.deployd, &ground.deployctl]
                .map(|program| program.display().to_string())
                .to_vec(),
            Kind::Node => owned(NODE),
        }
    }

    fn shape(self) -> Shape {
        match self {
            Kind::Python => Shape {
                files: 6_300,
                bytes_mean: 12_600,
            },
            Kind::Big => Shape {
                files: 9,
                bytes_mean: 22_600_000,
            },
            Kind::Node => Shape {
                files: 30_800,
                bytes_mean: 6_700,
            },
        }
    }
}

impl Compression {
    /// Returns the end of the name of such an archive.
    pub(super) fn suffix(self) -> &'static str {
        match self {
            Compression::Gzip => ".tar.gz",
            Compression::Zstd => ".tar.zst",
        }
    }
}

/// Returns a build, which is made where an earlier run has not done that.
pub(super) fn make(kind: Kind, ground: &Ground) -> Result<Build> {
    let dir = ground.kept.join("release").join(kind.name());
    // Written last.
    let says = dir.join("from");
    if !says.exists() {
        let from = pack(kind, ground, &dir)?;
        fs::write(&says, from).context("failed to keep a build")?;
    }
    let archive = |compression: Compression| {
        let path = dir.join(format!("build{}", compression.suffix()));
        let size = fs::metadata(&path)
            .with_context(|| format!("failed to look at {}", path.display()))?
            .len();
        Ok(Archive {
            path,
            size,
            compression,
        })
    };
    Ok(Build {
        kind,
        from: fs::read_to_string(&says)?,
        archives: [Compression::Gzip, Compression::Zstd]
            .into_iter()
            .map(archive)
            .collect::<Result<_>>()?,
    })
}

fn pack(kind: Kind, ground: &Ground, dir: &Path) -> Result<String> {
    eprintln!("making the build {}, once", kind.name());
    let tree = dir.join("tree");
    empty(&tree)?;
    let (recipe, name) = kind.recipe();
    let from = match shell(dir, recipe, &kind.arguments(ground)) {
        Ok(()) => name,
        Err(error) => {
            eprintln!("{error:#}; a generated one takes its place");
            empty(&tree)?;
            generated::write(&tree, kind.shape())?;
            "generated"
        }
    };
    shell(dir, PACK, &[])?;
    Ok(from.to_owned())
}

fn empty(dir: &Path) -> Result<()> {
    let _ = fs::remove_dir_all(dir);
    fs::create_dir_all(dir).with_context(|| format!("failed to make {}", dir.display()))
}

fn shell(dir: &Path, line: &str, arguments: &[String]) -> Result<()> {
    let mut bash = Command::new("bash");
    bash.args(["-c", line, "bash"]).args(arguments);
    succeed(bash.current_dir(dir))
}
