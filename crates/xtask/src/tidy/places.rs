//! Paths that exist on one machine only.

use super::rust_text::numbered;
use super::tree::{Tree, Violation};

/// Directories at the top of a file system where people keep their own things.
const OWN_DIRECTORIES: [&str; 3] = ["work", "home", "root"];

pub(crate) fn no_machine_paths(tree: &Tree) -> Vec<Violation> {
    let mut violations = Vec::new();
    for file in &tree.files {
        for (at, line) in numbered(&file.text) {
            for name in OWN_DIRECTORIES {
                if has_directory(line, name) {
                    let what = format!("has a path below the directory {name}");
                    violations.push(Violation::new(&file.path, at, what));
                }
            }
        }
    }
    violations
}

/// Whether the line has the directory at the top, not somewhere below: `x/home/` is no violation.
fn has_directory(line: &str, name: &str) -> bool {
    let directory = format!("/{name}/");
    line.match_indices(&directory).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        !before.is_some_and(|c| c.is_alphanumeric() || "_-.~}>)]*".contains(c))
    })
}
