//! What must hold of the files of a service at every moment, and what must be left at rest.
//!
//! For builds of [`crate::builds::Builds::add`], whose content follows from their names.

use std::fs;
use std::path::{Path, PathBuf};

use deploy_core::wire;
use deploy_core::wire::record::Record;

use crate::builds::{HEALTHS, contents};

/// Where the files of a service are.
#[derive(Debug, Clone)]
pub struct Files {
    /// Its `dir`.
    pub dir: PathBuf,
    /// The `state_dir` of its deployd.
    pub state: PathBuf,
    /// Its name.
    pub service: String,
}

impl Files {
    /// Returns what is wrong though a crash may have left it so: `current` is absent or points to a
    /// complete release (I1), what has the name of a release is complete (I2), and the journal can
    /// be read.
    pub fn broken(&self) -> Vec<String> {
        let mut problems = Vec::new();
        if let Err(why) = self.current() {
            problems.push(format!("current {why}"));
        }
        for name in names(&self.dir.join("releases")) {
            if !name.starts_with('.')
                && let Err(why) = complete(&self.dir.join("releases").join(&name), &name)
            {
                problems.push(format!("release {name} {why}"));
            }
        }
        if let Err(why) = self.journal() {
            problems.push(format!("the journal {why}"));
        }
        problems
    }

    /// Returns the build that `current` points to, if there is one.
    ///
    /// # Errors
    /// What it is, where it is anything else.
    pub fn current(&self) -> Result<Option<String>, String> {
        let path = self.dir.join("current");
        let Ok(metadata) = path.symlink_metadata() else {
            return Ok(None);
        };
        if !metadata.is_symlink() {
            return Err("is no symlink".to_owned());
        }
        let target = fs::read_link(&path).map_err(|error| error.to_string())?;
        let name = target.strip_prefix("releases").ok().and_then(Path::to_str);
        let name = name.ok_or_else(|| format!("points to {}", target.display()))?;
        complete(&self.dir.join("releases").join(name), name)
            .map_err(|why| format!("points to {name}, which {why}"))?;
        Ok(Some(name.to_owned()))
    }

    /// Returns the journal; a missing one is empty.
    ///
    /// # Errors
    /// Why it can't be read.
    pub fn journal(&self) -> Result<Record, String> {
        let path = self.state.join(format!("journal/{}.json", self.service));
        match fs::read(&path) {
            Ok(data) => wire::decode(&data).map_err(|error| format!("is unreadable: {error}")),
            Err(_) if !path.exists() => Ok(Record::default()),
            Err(error) => Err(error.to_string()),
        }
    }

    /// Returns what has no business being there while deployd has nothing to do.
    pub fn leftovers(&self) -> Vec<String> {
        let file = format!("{}.json", self.service);
        let allowed: [(&Path, &[&str]); 4] = [
            (&self.dir, &["current", "releases"]),
            (&self.state.join("journal"), &[&file]),
            (&self.state.join("status"), &[&file]),
            (&self.state.join("downloads"), &[]),
        ];
        let mut found = Vec::new();
        for (dir, allowed) in allowed {
            let names = names(dir);
            let others = names
                .iter()
                .filter(|name| !allowed.contains(&name.as_str()));
            found.extend(others.map(|name| dir.join(name).display().to_string()));
        }
        let releases = names(&self.dir.join("releases"));
        found.extend(releases.into_iter().filter(|name| name.starts_with('.')));
        found
    }
}

/// What a hook of a test writes into its release.
pub const MADE_BY_HOOK: &str = "made-by-hook";

/// Says in what a release is not the whole build of that name. What a hook has made is not the
/// build's.
fn complete(release: &Path, build: &str) -> Result<(), String> {
    let mut found = names(release);
    found.retain(|name| name != MADE_BY_HOOK);
    let health = fs::read_to_string(release.join("health")).unwrap_or_default();
    let health = HEALTHS.iter().find(|(_, word)| *word == health);
    let (health, _) = health.ok_or_else(|| format!("has no health, of {found:?}"))?;
    let expected = contents(build, *health);
    if found.len() != expected.len() {
        return Err(format!("has {found:?}"));
    }
    for (name, bytes) in expected {
        match fs::read(release.join(name)) {
            Ok(read) if read == bytes => {}
            Ok(read) => return Err(format!("has {} bytes of {name}, or wrong ones", read.len())),
            Err(error) => return Err(format!("has no {name}: {error}")),
        }
    }
    Ok(())
}

fn names(dir: &Path) -> Vec<String> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    let mut names: Vec<_> = entries
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

/// Asserts that of all that was asked of a supervisor for a good build, the first of each kind came
/// in order, killed or not: prepared, then installed, then restarted, then the last hook.
///
/// # Panics
/// If it did not.
#[track_caller]
pub fn check_order(asked: &[String], build: &str) {
    let first = |from: usize, what: &str| {
        let found = asked[from..].iter().position(|line| line.starts_with(what));
        from + found.unwrap_or_else(|| panic!("no `{what}` in {:?}", &asked[from..]))
    };
    let hook = |name: &str| {
        let line = format!("hook web {name} {build}");
        asked
            .iter()
            .position(|asked| *asked == line)
            .unwrap_or_else(|| panic!("no `{line}`"))
    };
    let prepared = hook("post_extract");
    let order = [
        hook("post_install"),
        first(prepared, "restart web-"),
        hook("post_restart"),
    ];
    assert!(order.is_sorted(), "{:?}", &asked[prepared..]);
}
