//! Ctrl-C and SIGTERM, where something goes on until it is ended.

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::exit::Exit;
use crate::problem::Problem;

/// What ends it from outside. From the first on none of them kills the process: whoever listens must go on listening for
/// as long as anything may take its time.
pub(crate) struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    /// Begins to listen.
    ///
    /// # Errors
    /// Where the system has no room for it.
    pub(crate) fn listen() -> Result<Signals, Problem> {
        let bug = |error| Problem::new(Exit::Bug, format!("failed to wait for signals: {error}"));
        Ok(Signals {
            interrupt: signal(SignalKind::interrupt()).map_err(bug)?,
            terminate: signal(SignalKind::terminate()).map_err(bug)?,
        })
    }

    /// Waits for one of them. Cancel-safe.
    pub(crate) async fn any(&mut self) {
        // Cancel-safe, both: what has come and was not received is received later.
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}
