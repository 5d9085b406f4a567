//! What is shown, against the file that has it: for tests.
//!
//! `DEPLOYCTL_SCREENS=write` writes the files anew: look at the difference before you commit it.

use std::path::Path;

/// Compares a text with a file below `src`.
///
/// # Panics
/// If they differ, with the difference.
#[track_caller]
pub(crate) fn same(name: &str, seen: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("src").join(name);
    if std::env::var_os("DEPLOYCTL_SCREENS").is_some_and(|how| how == "write") {
        std::fs::write(&path, seen).unwrap();
    }
    let expected = std::fs::read_to_string(&path).unwrap_or_default();
    if seen == expected {
        return;
    }
    let mut shown = String::new();
    let rows = seen.lines().count().max(expected.lines().count());
    for row in 0..rows {
        match (expected.lines().nth(row), seen.lines().nth(row)) {
            (Some(expected), Some(seen)) if expected == seen => {
                shown.push_str(&format!("  {seen}\n"))
            }
            (expected, seen) => {
                for (mark, line) in [("-", expected), ("+", seen)] {
                    shown.push_str(
                        &line.map_or_else(String::new, |line| format!("{mark} {line}\n")),
                    );
                }
            }
        }
    }
    panic!(
        "{name} is not what {} has (- expected, + seen):\n{shown}",
        path.display()
    );
}
