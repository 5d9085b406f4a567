//! `deployd unpack`: the agent's own extraction, by hand.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::Context as _;
use nix::fcntl::OFlag;
use nix::unistd::{Gid, Uid};
use tokio::signal::unix::{SignalKind, signal};

use crate::host::archive::{self, Limits, Options, Owner, Unpacked};

/// Unpack the archive of a build as the agent would
///
/// Accepted are .tar.gz and .tar.zst that keep the rules of docs/archives.md. DIR must not exist;
/// it exists afterwards only if everything was accepted, written and synced. Exits with 1 and one
/// line that says why otherwise.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The archive, whatever its name is
    archive: PathBuf,
    /// The directory to make; its parent must exist
    dir: PathBuf,
    /// Bytes that its files may have together
    #[arg(long, value_name = "N", default_value_t = Limits::default().unpacked_bytes_max)]
    max_bytes: u64,
    /// Entries that it may have
    #[arg(long, value_name = "N", default_value_t = Limits::default().entries_max)]
    max_entries: u64,
    /// Who gets everything, in numbers [default: who runs this]
    #[arg(long, value_name = "UID:GID", value_parser = parse_owner)]
    owner: Option<Owner>,
}

fn parse_owner(text: &str) -> Result<Owner, String> {
    let (user, group) = text.split_once(':').ok_or("expected UID:GID")?;
    let number = |part: &str| {
        part.parse::<u32>()
            .ok()
            .filter(|id| *id != u32::MAX)
            .ok_or_else(|| format!("`{part}` is no number of a user or group"))
    };
    Ok(Owner {
        user: Uid::from_raw(number(user)?),
        group: Gid::from_raw(number(group)?),
    })
}

/// Runs the command.
///
/// # Errors
/// Where the archive is refused or could not be unpacked.
pub(crate) async fn run(arguments: Arguments) -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate()).context("failed to watch signals")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("failed to watch signals")?;
    let stop = Arc::new(AtomicBool::new(false));
    let dir = arguments.dir.clone();
    let mut work = tokio::task::spawn_blocking({
        let stop = Arc::clone(&stop);
        move || unpack(&arguments, &stop)
    });
    // Cancel-safe: signals may be dropped, and the work is always awaited to its end, so that
    // nothing half written stays behind.
    let unpacked = tokio::select! {
        done = &mut work => done,
        _ = terminate.recv() => { stop.store(true, Ordering::Relaxed); work.await }
        _ = interrupt.recv() => { stop.store(true, Ordering::Relaxed); work.await }
    };
    let unpacked = unpacked.context("the unpacking thread died")??;
    // Nobody reading it is no failure.
    let _ = writeln!(
        std::io::stdout(),
        "unpacked {} entries, {} bytes, into {}, synced in {} ms",
        unpacked.entries,
        unpacked.bytes,
        dir.display(),
        unpacked.synced_in.as_millis()
    );
    Ok(())
}

fn unpack(arguments: &Arguments, stop: &AtomicBool) -> anyhow::Result<Unpacked> {
    // Without O_NONBLOCK a fifo would hang here; what is no regular file is refused later.
    let archive = OpenOptions::new()
        .read(true)
        .custom_flags(OFlag::O_NONBLOCK.bits())
        .open(&arguments.archive)
        .with_context(|| format!("failed to open {}", arguments.archive.display()))?;
    let options = Options {
        limits: Limits {
            unpacked_bytes_max: arguments.max_bytes,
            entries_max: arguments.max_entries,
            ..Limits::default()
        },
        owner: arguments.owner,
        stop,
    };
    let parent = archive::open_parent(&arguments.dir)?;
    let unpacked = archive::unpack(archive, (parent, &arguments.dir), &options);
    Ok(unpacked.map_err(|(error, _)| error)?)
}
