//! The codes are documented.

use super::Exit;

#[test]
fn the_manual_lists_every_code() {
    const MANUAL: &str = include_str!("../../../../docs/deployctl.md");
    for exit in [
        Exit::Done,
        Exit::Bug,
        Exit::Usage,
        Exit::Failed,
        Exit::TimedOut,
        Exit::Refused,
        Exit::NotFound,
        Exit::Unreachable,
        Exit::Superseded,
        Exit::Interrupted,
    ] {
        let row = format!("| {} |", exit.code());
        assert!(MANUAL.contains(&row), "docs/deployctl.md lacks {row}");
    }
}
