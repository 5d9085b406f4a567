//! What somebody waits for at the command line.

mod frame;
mod status;

use std::process::{Command, Stdio};

use anyhow::Result;

use super::ground::Ground;
use super::rounds::{Contender, in_turn, timed};
use super::table::{Table, milliseconds};
use crate::tool::succeed;

/// Measures it.
pub(crate) fn run(ground: &Ground) -> Result<Vec<Table>> {
    let mut tables = vec![start(ground)?];
    tables.extend(status::run(ground)?);
    tables.push(frame::run()?);
    Ok(tables)
}

fn start(ground: &Ground) -> Result<Table> {
    let start = |program: &str| {
        let mut command = Command::new(program);
        command.arg("--version");
        command.stdin(Stdio::null()).stdout(Stdio::null());
        let name = program.rsplit('/').next().unwrap_or(program);
        Contender::new(name, move || timed(|| succeed(&mut command)))
    };
    let ours = ground.deployctl.to_string_lossy();
    let mut contenders = [
        start(&ours),
        start("/bin/true"),
        start("git"),
        start("curl"),
    ];
    let mut table = Table::new(
        "From start to end of `--version`",
        ["program", "median", "slowest"],
    );
    for samples in in_turn(ground.rounds, &mut contenders)? {
        let times = [samples.median(), samples.quantile(1.0)].map(milliseconds);
        table.row(std::iter::once(samples.name).chain(times));
    }
    table.note("Nothing but loading the program and reading its arguments.");
    Ok(table)
}
