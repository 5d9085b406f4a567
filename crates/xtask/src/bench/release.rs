//! What it costs to fetch, verify and unpack a build, beside what a shell would do and beside what the machine can do.
//!
//! Three kinds of build from a server on loopback, as `.tar.gz` and as `.tar.zst`. All write the same tree to a disk that is
//! made anew each time, and download to memory. Syncing is not in the times: the others don't sync at all.

mod builds;
mod contenders;
mod costs;
mod generated;
mod limit;
mod spent;

use std::time::Duration;

use anyhow::Result;

use self::builds::{Archive, Build, Kind};
use self::contenders::{DECODE_ZSTD, Ours, Scene, shell_lines};
use self::limit::Tree;
use self::spent::Spent;
use super::disk::{Disk, Room};
use super::ground::Ground;
use super::rounds::{Contender, Samples, in_turn};
use super::table::{Table, milliseconds};
use crate::debian;

/// Where ours stands in the tables.
const OURS: usize = 3;

/// For the largest tree a few times over.
const ROOM: Room = Room {
    bytes: 3 << 30,
    inodes: 65_536,
};

/// Measures it.
pub(crate) fn run(ground: &Ground) -> Result<Vec<Table>> {
    // A peer that can't be had is a row less.
    if let Err(error) = debian::install(debian::FOR_BENCH_OF_RELEASES) {
        eprintln!("{error:#}");
    }
    Disk::lend(ground.scratch(), ROOM, |disk| measure(ground, disk))
}

fn measure(ground: &Ground, disk: &Disk) -> Result<Vec<Table>> {
    let mut tables = Vec::new();
    let mut costs = costs::table();
    for kind in Kind::ALL {
        let build = builds::make(kind, ground)?;
        let tree = Tree::read(&build.archives[0].path)?;
        for archive in &build.archives {
            eprintln!("measuring {}{}", kind.name(), archive.compression.suffix());
            let scene = Scene::new(ground, disk, archive)?;
            tables.push(compare(&scene, (&build, &tree))?);
            costs::add(&mut costs, &scene, (&build, &tree))?;
        }
    }
    tables.push(costs);
    Ok(tables)
}

fn compare(scene: &Scene<'_>, (build, tree): (&Build, &Tree)) -> Result<Table> {
    let archive = scene.archive;
    let ours = Ours::default();
    let lines: Vec<_> = shell_lines(archive.compression).collect();
    let spent: Vec<Spent> = (0..=OURS + lines.len()).map(|_| Spent::default()).collect();
    let mut contenders = vec![
        Contender::new(
            format!("decode the .tar.gz to nowhere ({})", scene.decoder.name),
            || scene.shell(&scene.decoder.line, &spent[0]),
        ),
        Contender::new("create from memory", || {
            scene.disk.renew()?;
            spent[1].timed(|| tree.create(&scene.disk.place))
        }),
        Contender::new("curl to nowhere", || {
            scene.shell("curl -sSf -o /dev/null $URL", &spent[2])
        }),
        Contender::new("**deployd: fetch, verify, unpack**", || {
            scene.ours(&ours, &spent[OURS])
        }),
    ];
    for ((name, line), spent) in lines.iter().zip(&spent[OURS + 1..]) {
        contenders.push(Contender::new(*name, || scene.shell(line, spent)));
    }
    let samples = in_turn(scene.rounds, &mut contenders)?;
    drop(contenders);
    let spent = spent.iter().map(Spent::samples);
    let samples: Vec<_> = samples.into_iter().zip(spent).collect();
    Ok(table((build, tree, archive), &samples, &ours))
}

fn table(
    (build, tree, archive): (&Build, &Tree, &Archive),
    samples: &[(Samples, Samples)],
    ours: &Ours,
) -> Table {
    let title = format!(
        "{name}: {files} files, {megabytes:.0} MB, as {suffix} {packed:.1} MB ({from})",
        name = build.kind.name(),
        files = tree.files,
        megabytes = tree.bytes as f64 / 1e6,
        suffix = archive.compression.suffix(),
        packed = archive.size as f64 / 1e6,
        from = build.from,
    );
    let mut table = Table::new(
        &title,
        ["who", "time", "× the limit", "× ours", "CPU", "× ours"],
    );
    let limit = samples[0].0.median().max(samples[1].0.median());
    let (own, own_spent) = (samples[OURS].0.median(), samples[OURS].1.median());
    for (samples, spent) in samples {
        let (time, spent) = (samples.median(), spent.median());
        table.row([
            samples.name.clone(),
            milliseconds(time),
            ratio(time, limit),
            ratio(time, own),
            milliseconds(spent),
            ratio(spent, own_spent),
        ]);
    }
    table.note(format!(
        "Ours: {} to fetch and verify, {} to unpack, and {} to sync, which is not counted. \
         The limit is the slower of the first two rows.",
        milliseconds(ours.fetch().median()),
        milliseconds(ours.unpack().median()),
        milliseconds(ours.sync().median()),
    ));
    let decoded = samples.iter().find(|(it, _)| it.name == DECODE_ZSTD);
    if let Some((decoded, _)) = decoded {
        let limit = decoded.median().max(samples[1].0.median());
        table.note(format!(
            "Ours is {} times the slower of creating and zstd's own decoder.",
            ratio(own, limit)
        ));
    }
    table
}

fn ratio(time: Duration, of: Duration) -> String {
    format!("{:.2}", time.as_secs_f64() / of.as_secs_f64())
}
