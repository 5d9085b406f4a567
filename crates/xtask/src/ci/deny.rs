//! `cargo deny`: licences, sources and advisories of everything that we depend on.

use std::process::{Command, Stdio};

use anyhow::Result;

use crate::tool::{cargo, install, root, succeed};

/// What is installed where it is missing; deny.toml is in its format.
const VERSION: &str = "0.20.2";

/// Checks what deny.toml says. Advisories need a database that is somewhere else: where it can't be had, that is
/// said, and the rest checked all the same.
pub(crate) fn check() -> Result<()> {
    let deny = install("cargo-deny", VERSION)?;
    // It looks at dependencies of every platform, of which a build here has fetched its own; and offline nobody fetches them.
    succeed(&mut cargo(["fetch", "--locked"]))?;
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
