//! `cargo deny`: licences, sources and advisories of everything that we depend on.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::Result;

use crate::tool::{cargo, root, succeed};

/// What is installed where it is missing; deny.toml is in its format.
const VERSION: &str = "0.20.2";

/// Checks what deny.toml says. Advisories need a database that is somewhere else: where it can't be had, that is
/// said, and the rest checked all the same.
pub(crate) fn check() -> Result<()> {
    let deny = install()?;
    let run = |args: &[&str]| {
        let mut command = Command::new(&deny);
        // Warnings, such as of a licence that nothing has any more, are for who looks.
        command.args(["--log-level", "error"]).args(args);
        succeed(command.current_dir(root()).stdin(Stdio::null()))
    };
    run(&["--offline", "check", "bans", "licenses", "sources"])?;
    match run(&["fetch", "db"]) {
        Ok(()) => run(&["--offline", "check", "advisories"]),
        Err(error) => {
            println!("ci: NO ADVISORIES HERE, they are not checked: {error:#}");
            Ok(())
        }
    }
}

/// Returns the program, built for debugging the first time: that takes a minute less, and it has little to do.
fn install() -> Result<PathBuf> {
    let place = root().join("target/tools");
    let program = place.join("bin/cargo-deny");
    if !is_there(&program) {
        let mut install = cargo(["install", "cargo-deny", "--version", VERSION]);
        install.args(["--locked", "--debug", "--no-default-features", "--root"]);
        install.arg(&place);
        succeed(install.env("CARGO_TARGET_DIR", place.join("build")))?;
    }
    Ok(program)
}

fn is_there(program: &PathBuf) -> bool {
    let mut ask = Command::new(program);
    let said = ask.arg("--version").stderr(Stdio::null()).output();
    said.is_ok_and(|said| String::from_utf8_lossy(&said.stdout).contains(VERSION))
}
