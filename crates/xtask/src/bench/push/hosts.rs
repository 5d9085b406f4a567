//! What all hosts have alike: a name, and a directory with `current` and `releases/`.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

/// Returns the names of the first hosts.
pub(crate) fn names(count: usize) -> Vec<String> {
    (1..=count).map(|number| format!("h{number}")).collect()
}

/// Makes sure that every host has a build in service, whole.
pub(crate) fn serve(services: &[PathBuf], (build, files): (&str, u64)) -> Result<()> {
    for service in services {
        let current = service.join("current");
        let target = fs::read_link(&current)
            .with_context(|| format!("failed to read {}", current.display()))?;
        let shown = (current.display(), target.display());
        ensure!(
            target.ends_with(build),
            "{} points to {}, not to {build}",
            shown.0,
            shown.1
        );
        let found = count(&current)?;
        ensure!(found == files, "{} has {found} of {files} files", shown.0);
    }
    Ok(())
}

/// Removes all releases but one, so that the disk does not fill up.
pub(crate) fn keep_only(services: &[PathBuf], build: &str) -> Result<()> {
    for service in services {
        for entry in fs::read_dir(service.join("releases"))? {
            let path = entry?.path();
            if !path.ends_with(build) {
                fs::remove_dir_all(&path)
                    .with_context(|| format!("failed to remove {}", path.display()))?;
            }
        }
    }
    Ok(())
}

fn count(dir: &Path) -> Result<u64> {
    let mut files = 0;
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        files += match entry.file_type()?.is_dir() {
            true => count(&entry.path())?,
            false => 1,
        };
    }
    Ok(files)
}
