//! What systemd is on a real host: starts the instances of one host, and restarts them when the
//! agent asks.
//!
//! An instance runs in the directory of the release that `current` pointed to when it was
//! started, not in `current`: what a process serves stays visible in its working directory.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::processes::{Process, Processes};

const ASK_TIMEOUT: Duration = Duration::from_secs(5);
const READY_LIMIT: Duration = Duration::from_secs(5);
const POLL: Duration = Duration::from_millis(1);
/// How the kernel writes the state of a socket that listens.
const LISTENING: &str = "0A";

/// The supervisor of one host.
#[derive(Debug)]
pub(crate) struct Supervisor {
    pub(crate) processes: Arc<Processes>,
    /// The directory of the service: `current` is in it.
    pub(crate) service_dir: PathBuf,
    /// Where the instances' logs go.
    pub(crate) log_dir: PathBuf,
    /// The address that instances listen on.
    pub(crate) listen: Ipv4Addr,
    /// The units that there are, and their ports.
    pub(crate) instances: Vec<(String, u16)>,
}

impl Supervisor {
    /// Listens on the socket, and serves for as long as the process lives. Instances are in the
    /// network that the caller is in now.
    pub(crate) fn start(self, socket: &Path) -> Result<()> {
        let listener = UnixListener::bind(socket)
            .with_context(|| format!("failed to listen on {}", socket.display()))?;
        // One thread, one restart at a time; and it must live as long as what it starts.
        thread::spawn(move || {
            let mut running = BTreeMap::new();
            for stream in listener.incoming().flatten() {
                // An agent that went away asks again.
                let _ = self.answer(&stream, &mut running);
            }
        });
        Ok(())
    }

    fn answer(&self, stream: &UnixStream, running: &mut BTreeMap<u16, Arc<Process>>) -> Result<()> {
        stream.set_read_timeout(Some(ASK_TIMEOUT))?;
        let mut line = String::new();
        BufReader::new(stream).read_line(&mut line)?;
        let outcome = match self.restart(line.trim_end(), running) {
            Ok(()) => "ok".to_owned(),
            Err(error) => format!("{error:#}"),
        };
        let mut stream = stream;
        writeln!(stream, "{outcome}")?;
        Ok(())
    }

    fn restart(&self, wish: &str, running: &mut BTreeMap<u16, Arc<Process>>) -> Result<()> {
        let known = self
            .instances
            .iter()
            .find(|(unit, port)| wish == format!("{unit} {port}"));
        let Some((unit, port)) = known else {
            bail!("there is no instance {wish:?} here")
        };
        if let Some(old) = running.remove(port) {
            old.end();
        }
        let started = self.start_instance(unit, *port)?;
        running.insert(*port, Arc::clone(&started));
        // As systemd does for a service that tells when it is ready.
        await_listening(&started, *port);
        Ok(())
    }

    fn start_instance(&self, unit: &str, port: u16) -> Result<Arc<Process>> {
        let current = self.service_dir.join("current");
        let release = fs::canonicalize(&current)
            .with_context(|| format!("failed to follow {}", current.display()))?;
        let log_path = self.log_dir.join(format!("{unit}.log"));
        let log = File::options()
            .create(true)
            .append(true)
            .open(&log_path)
            .with_context(|| format!("failed to open {}", log_path.display()))?;
        let log_too = log.try_clone().context("failed to share a log")?;
        self.processes
            .start(unit, &release.join("bin/start"), |command| {
                command
                    .env("LISTEN", SocketAddr::from((self.listen, port)).to_string())
                    .env("HELLO_WEB", self.processes.own_program())
                    .current_dir(&release)
                    .stdin(Stdio::null())
                    .stdout(log)
                    .stderr(log_too);
            })
    }
}

/// Waits until somebody listens on a port, or a process that was to do so has ended: whether it works is
/// not asked here. A drained port can't be connected to, so the kernel's list is read.
fn await_listening(process: &Process, port: u16) {
    let deadline = Instant::now() + READY_LIMIT;
    while !is_listening(port) && process.status().is_none() && Instant::now() < deadline {
        thread::sleep(POLL);
    }
}

fn is_listening(port: u16) -> bool {
    let sockets = fs::read_to_string("/proc/thread-self/net/tcp").unwrap_or_default();
    let local = format!(":{port:04X}");
    sockets.lines().any(|line| {
        let mut fields = line.split_whitespace().skip(1);
        let of_port = fields
            .next()
            .is_some_and(|address| address.ends_with(&local));
        of_port && fields.nth(1) == Some(LISTENING)
    })
}
