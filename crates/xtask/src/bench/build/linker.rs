//! A linker that notes how long it took: cargo does not tell linking and compiling apart.

use std::env::consts::ARCH;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};

/// A program that calls the system's linker, and its notes.
#[derive(Debug)]
pub(crate) struct Linker {
    dir: PathBuf,
}

impl Linker {
    /// Makes the program.
    pub(crate) fn new(dir: &Path) -> Result<Linker> {
        fs::create_dir_all(dir)?;
        let linker = Linker {
            dir: dir.to_owned(),
        };
        let text = format!(
            "#!/bin/sh\nsince=$(date +%s%N)\n/usr/bin/cc \"$@\" || exit\necho $(($(date +%s%N) - since)) >>'{}'\n",
            linker.notes().display()
        );
        fs::write(linker.program(), text)?;
        fs::set_permissions(linker.program(), Permissions::from_mode(0o755))?;
        Ok(linker)
    }

    /// Returns the program. It is called `cc`, and so gets the arguments that cc would get.
    pub(crate) fn program(&self) -> PathBuf {
        self.dir.join("cc")
    }

    /// Returns the variable that tells cargo of it.
    pub(crate) fn variable(&self) -> String {
        format!(
            "CARGO_TARGET_{}_UNKNOWN_LINUX_GNU_LINKER",
            ARCH.to_uppercase()
        )
    }

    /// Returns how long each took that was linked since this was asked last.
    pub(crate) fn links(&self) -> Result<Vec<Duration>> {
        let notes = fs::read_to_string(self.notes()).context("nothing was linked")?;
        fs::remove_file(self.notes())?;
        let nanos = notes.lines().filter_map(|line| line.parse().ok());
        Ok(nanos.map(Duration::from_nanos).collect())
    }

    fn notes(&self) -> PathBuf {
        self.dir.join("notes")
    }
}
