//! `xtask demo-web`: the service that the demo deploys. Reads its release from its directory.
//!
//! It ends at SIGTERM at once, as most programs do that nobody taught otherwise: requests under
//! way are lost with it. So it shows whether somebody drained it.

use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::process::ExitCode;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::Args;

use super::http::{self, Answer};

/// How long the service thinks about a greeting.
const THINKING_TIME: Duration = Duration::from_millis(20);

/// Serves `greeting.txt` at `/`, and at `/healthz` whether its settings are complete.
#[derive(Debug, Args)]
pub(crate) struct Web {
    #[arg(long, env = "LISTEN")]
    listen: SocketAddr,
}

impl Web {
    /// Serves until a signal ends it.
    pub(crate) fn run(&self) -> Result<ExitCode> {
        let greeting = fs::read("greeting.txt").context("failed to read greeting.txt")?;
        let settings = fs::read_to_string("settings.env").context("failed to read settings.env")?;
        let listener = TcpListener::bind(self.listen)
            .with_context(|| format!("failed to listen on {}", self.listen))?;
        eprintln!("listening on {}", self.listen);
        http::serve(listener, move |path| match (path, problem(&settings)) {
            ("/", None) => {
                thread::sleep(THINKING_TIME);
                ok(&greeting)
            }
            ("/healthz", None) => ok(b"ok\n"),
            ("/" | "/healthz", Some(problem)) => {
                eprintln!("{problem}");
                Answer {
                    status: 500,
                    body: format!("{problem}\n").into_bytes(),
                }
            }
            _ => Answer {
                status: 404,
                body: Vec::new(),
            },
        });
        loop {
            thread::park();
        }
    }
}

fn ok(body: &[u8]) -> Answer {
    Answer {
        status: 200,
        body: body.to_vec(),
    }
}

/// The service can't take payments where it was not told how: the mistake of build v3.
fn problem(settings: &str) -> Option<&'static str> {
    let is_told = settings
        .lines()
        .any(|line| line.starts_with("PAYMENTS_URL="));
    (!is_told).then_some("ERROR settings: KeyError: 'PAYMENTS_URL'")
}
