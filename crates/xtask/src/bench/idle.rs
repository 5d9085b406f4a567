//! What an agent with nothing to do costs.

use std::fs;

use anyhow::{Context, Result};

use super::ground::Ground;
use super::table::Table;

/// Measures it.
pub(crate) fn run(ground: &Ground) -> Result<Vec<Table>> {
    let mut table = Table::new("Size of the programs", ["program", "size"]);
    for program in [&ground.deployd, &ground.deployctl] {
        let facts = fs::metadata(program);
        let facts = facts.with_context(|| format!("failed to look at {}", program.display()))?;
        let name = program.file_name().unwrap_or_default().to_string_lossy();
        let megabytes = facts.len() as f64 / 1e6;
        table.row([name.into_owned(), format!("{megabytes:.1} MB")]);
    }
    Ok(vec![table])
}
