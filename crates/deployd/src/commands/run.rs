//! `deployd run`: the agent.

use std::error::Error;
use std::io;
use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;
use deploy_zk::alarm::Alarm;
use deploy_zk::zk::Zk;
use sd_notify::NotifyState;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use super::Exit;
use crate::agent::{End, Run, wait};
use crate::chain::Chain;
use crate::config::{self, Config};
use crate::crew::{Crew, Ground};
use crate::drains::Drains;
use crate::face;
use crate::face::answer::{Order, View, Wish};
use crate::host::lock::LockError;
use crate::host::tree::Tree;
use crate::host::{files, lock, proc};
use crate::log::Level;
use crate::metrics::Metrics;
use crate::perform::hook::MARK;
use crate::perform::program::{HOOK_UNITS, Restarts};
use crate::perform::prune;
use crate::setup::{host, open_ports, state_dir, zookeeper};

/// How long ZooKeeper may take to be told that we end.
const CLOSE_TIME: Duration = Duration::from_secs(3);

/// Between two lines in `systemctl status`, at least.
const STATUS_TIME: Duration = Duration::from_secs(1);
/// Between two signs of life, at most: thrice within the time that the watchdog of our unit gives, since one may come late.
const ALIVE_TIME: Duration = Duration::from_secs(20);

/// Run the agent: watch ZooKeeper, and bring the services of this host to their targets
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// End when nothing is left to do: exit 0 at the target, 3 if it failed or can't be reached
    #[arg(long)]
    once: bool,
}

/// Runs the agent until SIGTERM or SIGINT, or, with `--once`, until nothing is left to do.
///
/// # Errors
/// Where it can't start: the state directory can't be used, or metrics can't be served where the configuration says. A
/// service that can't be used is left alone, and the others are none the worse for it.
pub(crate) async fn run(
    (config, path): (Config, &Path),
    mut level: Level,
    arguments: &Arguments,
) -> anyhow::Result<Exit> {
    // From the first moment: a stop that comes while we start is a stop like any other.
    let signals = Signals::watch()?;
    let host = host(&config)?;
    state_dir(&config.state_dir)?;
    // Held until the end.
    let _lock = match lock::lock(&config.state_dir) {
        Ok(lock) => lock,
        Err(error @ LockError::Held { .. }) => {
            eprintln!("error: {error}\n  tip: deployd status");
            return Ok(Exit::Refused);
        }
        Err(error) => return Err(error.into()),
    };
    tidy_up(&config);
    let reach = match zookeeper(&config) {
        Ok(reach) => reach,
        Err(error) => {
            eprintln!("error: {error:#}\n  tip: deployd check");
            return Ok(Exit::Usage);
        }
    };
    let zk = Zk::start(reach);
    let ground = Ground {
        host: host.clone(),
        zk: zk.clone(),
        drains: Drains::start(),
        metrics: Metrics::new(),
        mode: match arguments.once {
            true => Run::Once,
            false => Run::On,
        },
        looks: wait::looks(),
        restarts: Restarts::Real,
    };
    let metrics = ground.metrics.clone();
    let mut crew = Crew::new(config.clone(), ground);
    let (orders, mut ordered) = mpsc::channel(1);
    let (levels, level_now) = watch::channel(level.now().to_owned());
    let view = View {
        reports: crew.reports(),
        zk: zk.clone(),
        metrics,
        level: level_now,
        orders,
    };
    // Before anybody begins anything: what can fail, fails while nothing is half done.
    let faces = faces(&config, &view).await?;
    open_ports(&config).await;
    crew.begin().await;
    tracing::info!(%host, services = config.services.len(), "deployd started");
    let _ = sd_notify::notify(&[NotifyState::Ready]);
    let ends = attend(
        (&mut crew, &mut level, path),
        (&view, &levels),
        (signals, &mut ordered),
    )
    .await?;
    drop((crew, faces));
    // Who asks finds nobody, rather than a file that nobody listens at; the next run would remove it.
    let _ = std::fs::remove_file(face::socket(&config.state_dir));
    zk.close(CLOSE_TIME).await;
    tracing::info!("deployd ended");
    Ok(exit(&ends))
}

fn exit(ends: &[End]) -> Exit {
    let bad = |end: &&End| !matches!(end, End::Stopped | End::Converged);
    match ends.iter().find(bad) {
        Some(End::NoZooKeeper) => Exit::ZooKeeper,
        Some(_) => Exit::Failed,
        None => Exit::Done,
    }
}

/// Opens the socket, and where metrics are served.
async fn faces(config: &Config, view: &View) -> anyhow::Result<JoinSet<()>> {
    let mut faces = JoinSet::new();
    let path = face::socket(&config.state_dir);
    match face::at_socket(&path, view.clone()) {
        Ok(serving) => drop(faces.spawn(serving)),
        // Nothing that is deployed needs it.
        Err(error) => {
            tracing::warn!(path = %path.display(), %error, "no socket: status is read from files, reload is SIGHUP");
        }
    }
    if let Some(address) = config.metrics_listen {
        let serving = face::at_address(address, view.clone()).await;
        let serving = serving.with_context(|| format!("failed to serve metrics at {address}"))?;
        faces.spawn(serving);
    }
    Ok(faces)
}

/// What tells us to stop, or to look at the configuration again.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

impl Signals {
    /// Those that come from now on are kept until they are asked for.
    fn watch() -> anyhow::Result<Signals> {
        let watch = |kind| signal(kind).context("failed to watch signals");
        Ok(Signals {
            terminate: watch(SignalKind::terminate())?,
            interrupt: watch(SignalKind::interrupt())?,
            hangup: watch(SignalKind::hangup())?,
        })
    }
}

/// Attends to signals, orders and systemd until all agents have ended.
async fn attend(
    (crew, level, path): (&mut Crew, &mut Level, &Path),
    (view, levels): (&View, &watch::Sender<String>),
    (mut signals, ordered): (Signals, &mut mpsc::Receiver<Order>),
) -> anyhow::Result<Vec<End>> {
    let mut ends = Vec::new();
    let alarm = Alarm::in_this_runtime();
    loop {
        // Cancel-safe: signals, orders and ends are kept until they are asked for, and a level that has
        // expired is still so the next time.
        tokio::select! {
            ended = crew.ended() => match ended {
                Some(ended) => ends.extend(crew.note_end(ended.context("an agent died, which is a bug")?).await),
                None => return Ok(ends),
            },
            _ = signals.terminate.recv() => begin_stop(crew),
            _ = signals.interrupt.recv() => begin_stop(crew),
            // What came of it is in the log.
            _ = signals.hangup.recv() => drop(reload(path, crew, level).await),
            Some(order) = ordered.recv() => {
                let outcome = match order.wish {
                    Wish::Reload => reload(path, crew, level).await,
                    Wish::Log(wanted, time) => log(level, &wanted, time),
                };
                // Whoever asked may have gone.
                let _ = order.reply.send(outcome);
            }
            () = level.expire() => tracing::info!(level = level.now(), "the log level has fallen back"),
            () = say_status(view, &alarm) => {}
        }
        levels.send_if_modified(|before| {
            let is_new = before != level.now();
            level.now().clone_into(before);
            is_new
        });
    }
}

fn begin_stop(crew: &mut Crew) {
    tracing::info!("deployd is told to stop");
    let _ = sd_notify::notify(&[NotifyState::Stopping]);
    crew.stop();
}

/// Follows the file as it is now. Where it is wrong, or changes what can't be changed, everything stays as it was.
async fn reload(path: &Path, crew: &mut Crew, level: &mut Level) -> Result<String, String> {
    let config = config::load(path).map_err(|error| Chain(&error).to_string());
    let outcome = match config {
        Ok(config) => {
            let log = config.log.clone();
            crew.follow(config).await.map(|changes| (changes, log))
        }
        Err(error) => Err(error),
    };
    match outcome {
        Ok((changes, log)) => {
            level.configure(&log);
            tracing::info!(%changes, "the configuration is reloaded: {changes}");
            let left = match changes.removed.is_empty() {
                true => "",
                false => {
                    "what a removed service has in ZooKeeper, as a lease, goes with: deployctl host forget HOST SERVICE --yes\n"
                }
            };
            Ok(format!("{}: {changes}\n{left}", path.display()))
        }
        Err(error) => {
            tracing::error!(%error, "the configuration is not reloaded, the one before stays in force: {error}");
            Err(format!(
                "{error}\nthe configuration before it stays in force"
            ))
        }
    }
}

fn log(level: &mut Level, wanted: &str, time: Duration) -> Result<String, String> {
    let set = level.set_for(wanted, time);
    set.map_err(|error| error.to_string())?;
    let seconds = time.as_secs();
    tracing::info!(
        level = wanted,
        seconds,
        "the log level is changed for a while"
    );
    Ok(format!("logging {wanted} for {seconds} s\n"))
}

/// Says in `systemctl status` what goes on, and that we are alive: at each change, though not more often than
/// each second, and else as often as the watchdog must hear it. A host with nothing to do sleeps in between.
async fn say_status(view: &View, alarm: &Alarm) {
    let mut change = view.next_change();
    let status = view.line();
    let _ = sd_notify::notify(&[NotifyState::Status(&status), NotifyState::Watchdog]);
    let said = Instant::now();
    let watchdog = sd_notify::watchdog_enabled().map_or(ALIVE_TIME, |time| time / 3);
    let news = async {
        // Each look makes a report, most of which say the same.
        loop {
            change.await;
            change = view.next_change();
            if view.line() != status {
                return;
            }
        }
    };
    tokio::select! {
        () = news => {}
        () = alarm.after(watchdog.min(ALIVE_TIME)) => {}
    }
    sleep_until(said + STATUS_TIME).await;
}

/// Puts right what a dead run may have left, before anything is looked at. A hook that is a unit is
/// not what is killed here: its end may be waited for yet.
fn tidy_up(config: &Config) {
    let entry = format!("{MARK}={}", config.state_dir.display());
    let killed = proc::kill_marked(&entry, Some(HOOK_UNITS));
    if killed > 0 {
        tracing::warn!(processes = killed, "killed hooks of an earlier run");
    }
    let warn = |dir: &Path, error: &dyn Error| {
        let dir = dir.display();
        tracing::warn!(%dir, error = %Chain(error), "leftovers of an earlier run can't be removed");
    };
    for service in &config.services {
        // What another deployd works at there is no leftover.
        let lock = lock::lock_dir(&service.dir);
        if matches!(lock, Err(LockError::Held { .. })) {
            continue;
        }
        let tree = Tree::new(&service.dir);
        if let Err(error) = prune::sweep(&tree) {
            warn(&service.dir, &error);
        }
    }
    for name in ["journal", "status", "downloads"] {
        let dir = config.state_dir.join(name);
        match files::sweep(&dir) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => warn(&dir, &error),
            Ok(()) | Err(_) => {}
        }
    }
}
