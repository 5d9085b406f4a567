//! `xtask demo-web`: the service that the demo deploys. Reads its release from its directory.

use std::fs;
use std::net::{Ipv4Addr, TcpListener};
use std::process::ExitCode;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use clap::Args;
use nix::sys::signal::{SigSet, Signal};

use super::http::{self, Answer};

/// How long requests under way may take after SIGTERM.
const FINISH_LIMIT: Duration = Duration::from_secs(2);
const POLL: Duration = Duration::from_millis(5);

/// Serves `greeting.txt` at `/`, and at `/healthz` whether its settings are complete.
#[derive(Debug, Args)]
pub(crate) struct Web {
    #[arg(long, env = "PORT")]
    port: u16,
}

impl Web {
    pub(crate) fn run(&self) -> Result<ExitCode> {
        let mut term = SigSet::empty();
        term.add(Signal::SIGTERM);
        term.thread_block().context("failed to block SIGTERM")?;

        let greeting = fs::read("greeting.txt").context("failed to read greeting.txt")?;
        let settings = fs::read_to_string("settings.env").context("failed to read settings.env")?;
        let address = (Ipv4Addr::LOCALHOST, self.port);
        let listener = TcpListener::bind(address)
            .with_context(|| format!("failed to listen on port {}", self.port))?;
        eprintln!("listening on 127.0.0.1:{}", self.port);
        let busy = http::serve(listener, move |path| match path {
            "/" => Answer {
                status: 200,
                body: greeting.clone(),
            },
            "/healthz" => health(&settings),
            _ => Answer {
                status: 404,
                body: Vec::new(),
            },
        });

        term.wait().context("failed to wait for SIGTERM")?;
        let deadline = Instant::now() + FINISH_LIMIT;
        while busy.count() > 0 && Instant::now() < deadline {
            thread::sleep(POLL);
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// The service can't take payments where it was not told how: the mistake of build v3.
fn health(settings: &str) -> Answer {
    if settings
        .lines()
        .any(|line| line.starts_with("PAYMENTS_URL="))
    {
        return Answer {
            status: 200,
            body: b"ok\n".to_vec(),
        };
    }
    let message = "ERROR settings: KeyError: 'PAYMENTS_URL'";
    eprintln!("{message}");
    Answer {
        status: 500,
        body: format!("{message}\n").into_bytes(),
    }
}
