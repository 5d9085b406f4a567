//! A frame of `deployctl monitor` with 2,000 hosts. It is inside the program, so a test of it says the figures.

use anyhow::{Result, ensure};

use crate::bench::table::Table;
use crate::tool::{cargo, output};

/// The test, which claims nothing about time.
const TEST: &str = "the_time_of_a_frame_with_two_thousand_hosts";
/// What it says before each figure.
const FIGURE: &str = "2,000 hosts";

/// Measures it.
pub(crate) fn run() -> Result<Table> {
    // The whole workspace, so that what was built with it is not built again.
    let mut test = cargo(["test", "--release", "--quiet", "--workspace"]);
    test.args(["--bin", "deployctl", TEST, "--", "--nocapture"]);
    let said = output(&mut test)?;
    let mut table = Table::new(
        "`deployctl monitor` with 2,000 hosts on 100 x 30",
        ["what", "median and worst"],
    );
    for line in said.lines().filter(|line| line.starts_with(FIGURE)) {
        if let Some((what, figures)) = line.split_once(" takes ") {
            table.row([what.to_owned(), figures.to_owned()]);
        }
    }
    ensure!(!table.rows.is_empty(), "{TEST} says no figure: {said}");
    Ok(table)
}
