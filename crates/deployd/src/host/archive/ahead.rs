//! Names of files that an archive has had, and that may not be there yet.

use std::collections::HashSet;
use std::hash::{DefaultHasher, Hasher as _};
use std::mem;

use super::name::EntryPath;

/// The names of the latest files. Only their hashes: of two that are the same nothing comes but a wait.
pub(super) struct Names {
    latest: HashSet<u64>,
    before: HashSet<u64>,
    kept: usize,
}

impl Names {
    /// Those of none. At least as many are `kept` as are added last, and at most twice as many.
    pub(super) fn new(kept: usize) -> Self {
        Self {
            latest: HashSet::new(),
            before: HashSet::new(),
            kept,
        }
    }

    /// Adds the name of a file.
    pub(super) fn add(&mut self, path: &EntryPath) {
        if self.latest.len() >= self.kept {
            mem::swap(&mut self.latest, &mut self.before);
            self.latest.clear();
        }
        self.latest.extend(hashes(path).last());
    }

    /// Tells whether this, or something above it, may be one of them.
    pub(super) fn concern(&self, path: &EntryPath) -> bool {
        hashes(path).any(|hash| self.latest.contains(&hash) || self.before.contains(&hash))
    }

    /// Forgets all.
    pub(super) fn clear(&mut self) {
        self.latest.clear();
        self.before.clear();
    }
}

/// Returns hashes of the directories above, from the top, and of the path itself.
fn hashes(path: &EntryPath) -> impl Iterator<Item = u64> {
    let mut hasher = DefaultHasher::new();
    let components = path.as_bytes().split(|byte| *byte == b'/');
    components.map(move |component| {
        hasher.write(component);
        hasher.write_u8(b'/');
        hasher.finish()
    })
}

#[cfg(test)]
mod tests {
    use super::Names;
    use crate::host::archive::name::EntryPath;

    fn path(name: &str) -> EntryPath {
        EntryPath::of_file(name.as_bytes()).expect("a name")
    }

    #[test]
    fn a_file_concerns_what_has_its_name_and_what_is_beneath_it() {
        let mut names = Names::new(4);
        names.add(&path("a/b"));
        assert!(names.concern(&path("./a//b")));
        assert!(names.concern(&path("a/b/c/d")));
        for other in ["a", "b", "a/bc", "a/c", "ab", "c/a/b"] {
            assert!(!names.concern(&path(other)), "{other}");
        }
        names.clear();
        assert!(!names.concern(&path("a/b")));
    }

    #[test]
    fn the_latest_are_kept_and_not_all() {
        let mut names = Names::new(4);
        for number in 0..100_u32 {
            names.add(&path(&number.to_string()));
            for latest in number.saturating_sub(3)..=number {
                assert!(
                    names.concern(&path(&latest.to_string())),
                    "{latest} at {number}"
                );
            }
        }
        let known = (0..100_u32).filter(|number| names.concern(&path(&number.to_string())));
        assert!(known.count() <= 8);
    }
}
