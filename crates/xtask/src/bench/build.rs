//! What it costs to build the workspace from nothing, and what dominates that. Minutes: only where it is asked for.

mod linker;
mod timings;

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};

use self::linker::Linker;
use self::timings::Unit;
use super::ground::Ground;
use super::spent::spent;
use super::table::Table;
use crate::tool::cargo;

/// How many crates are named.
const NAMED: usize = 8;

/// Something to build.
struct Build {
    name: &'static str,
    args: &'static [&'static str],
}

/// One after the other, each on top of those before it.
const BUILDS: [Build; 3] = [
    Build {
        name: "debug: the programs",
        args: &["build", "--workspace", "--bins"],
    },
    Build {
        name: "debug: the tests, on top",
        args: &["test", "--workspace", "--no-run"],
    },
    Build {
        name: "release: the programs",
        args: &["build", "--workspace", "--bins", "--release"],
    },
];

/// Measures it, once: a build is long enough to be much the same each time.
pub(crate) fn run(ground: &Ground) -> Result<Vec<Table>> {
    let target = ground.scratch().join("build");
    let linker = Linker::new(&ground.scratch().join("linker"))?;
    let mut costs = Table::new(
        "Building the workspace from nothing",
        ["what", "time", "CPU", "linked", "time in the linker"],
    );
    let mut crates = Table::new("What takes longest to build", ["what", "crate", "time"]);
    for build in BUILDS {
        eprintln!("measuring: {}", build.name);
        let mut command = cargo(["--quiet"]);
        command.args(build.args).arg("--timings");
        command.env("CARGO_TARGET_DIR", &target);
        command.env(linker.variable(), linker.program());
        let (wall, processor) = spent(&mut command)?;
        let links = linker.links()?;
        costs.row([
            build.name.to_owned(),
            seconds(wall),
            seconds(processor),
            links.len().to_string(),
            seconds(links.iter().sum()),
        ]);
        for unit in longest(&page(&target))? {
            crates.row([build.name.to_owned(), unit.name, seconds(unit.time)]);
        }
    }
    costs.note("Each measured once. Time in the linker is the sum over all that were linked; two run at a time. Packages are downloaded before.");
    Ok(vec![costs, crates])
}

fn page(target: &Path) -> PathBuf {
    target.join("cargo-timings/cargo-timing.html")
}

fn longest(page: &Path) -> Result<Vec<Unit>> {
    let mut units =
        timings::read(page).with_context(|| format!("failed to read {}", page.display()))?;
    units.sort_by_key(|unit| std::cmp::Reverse(unit.time));
    units.truncate(NAMED);
    Ok(units)
}

fn seconds(time: Duration) -> String {
    format!("{:.1} s", time.as_secs_f64())
}
