//! `cargo xtask dist`: the Debian packages of deployd and deployctl.
//!
//! What the packages hold is in the manifests of the two crates. Manual pages and completions are printed by the
//! programs themselves, so that they can't differ from them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use anyhow::{Context, Result};

use crate::tool::{self, Profile, build_programs, root, succeed};

/// What is installed where it is missing.
const CARGO_DEB: &str = "3.8.0";

/// The arguments of `cargo xtask dist`.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Package what `cargo build` has built for debugging: larger, and here at once
    #[arg(long)]
    debug: bool,
    /// The version of the packages [default: that of the crates, -1]
    #[arg(long, value_name = "VERSION")]
    deb_version: Option<String>,
    /// Where they go [default: target/dist]
    #[arg(long, value_name = "DIR")]
    into: Option<PathBuf>,
}

/// Installs what makes packages.
pub(crate) fn prepare() -> Result<PathBuf> {
    tool::install("cargo-deb", CARGO_DEB)
}

/// Makes the packages, and says where they are.
pub(crate) fn run(options: &Options) -> Result<ExitCode> {
    let profile = match options.debug {
        true => Profile::Debug,
        false => Profile::Release,
    };
    build_programs(profile)?;
    let dist = root().join("target/dist");
    let pages = dist.join("man1");
    // A verb may have another name by now, and all that is there is packaged.
    let _ = fs::remove_dir_all(&pages);
    fs::create_dir_all(&pages).with_context(|| format!("failed to make {}", pages.display()))?;
    let programs = root().join("target").join(profile.dir());
    generate(&programs, &dist)?;
    let deb = prepare()?;
    let into = options.into.as_ref().unwrap_or(&dist);
    fs::create_dir_all(into).with_context(|| format!("failed to make {}", into.display()))?;
    for package in ["deployd", "deployctl"] {
        let mut build = Command::new(&deb);
        build.args(["--no-build", "--no-strip", "-q", "-p", package]);
        build.args(["--profile", profile.name()]);
        if options.debug {
            // With symbols it is ten times as large, and nobody keeps it.
            build.args(["--fast", "-Z", "gz", "--compress-system"]);
        }
        if let Some(version) = &options.deb_version {
            build.args(["--deb-version", version]);
        }
        build.arg("--output").arg(into);
        succeed(build.current_dir(root()).stdin(Stdio::null()))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn generate(programs: &Path, dist: &Path) -> Result<()> {
    let pages: [(&str, &[&str], &str); 7] = [
        ("deployd", &["pages", "man"], "deployd.8"),
        ("deployd", &["pages", "bash"], "deployd.bash"),
        ("deployd", &["pages", "zsh"], "_deployd"),
        ("deployd", &["pages", "fish"], "deployd.fish"),
        ("deployctl", &["completions", "bash"], "deployctl.bash"),
        ("deployctl", &["completions", "zsh"], "_deployctl"),
        ("deployctl", &["completions", "fish"], "deployctl.fish"),
    ];
    for (program, arguments, name) in pages {
        let mut print = Command::new(programs.join(program));
        let text = tool::output(print.args(arguments).stdin(Stdio::null()))?;
        let path: PathBuf = dist.join(name);
        fs::write(&path, text).with_context(|| format!("failed to write {}", path.display()))?;
    }
    let mut pages = Command::new(programs.join("deployctl"));
    pages.args(["man", "--dir"]).arg(dist.join("man1"));
    succeed(pages.stdin(Stdio::null()))
}
