//! Keeps a client alive, or replaces it.
//!
//! One task owns the client. It says what there is to use in [`Current`], and to callers in
//! [`Link`]; nobody else decides anything about the link.

use std::convert::Infallible;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, sleep, timeout};

use crate::alarm::Alarm;
use crate::backend::{Client, Connection, Fault, Phase, Session};
use crate::backoff::Backoff;
use crate::bell::Ringer;
use crate::config::Config;
use crate::core::{Current, Up};
use crate::link::{Link, Reason};
use crate::rhythm::Rhythm;
use crate::stats::{Counters, count};

/// Time between two nudges of a client that is connecting.
const NUDGE_EVERY: Duration = Duration::from_millis(50);
/// Session timeouts between two looks whether the heart of a client still beats: only one that holds up its own runtime is
/// found by that.
const PULSE_TIMEOUTS: u32 = 4;

pub(crate) struct Supervisor {
    pub(crate) config: Config,
    pub(crate) current: watch::Sender<Current>,
    pub(crate) link: watch::Sender<Link>,
    pub(crate) counters: Arc<Counters>,
    ringer: Ringer,
    client: Option<Client>,
    epoch: u64,
    generation: u64,
    backoff: Backoff,
}

/// The wish to end the session.
#[derive(Debug)]
pub(crate) struct Close {
    pub(crate) deadline: Duration,
    pub(crate) done: oneshot::Sender<bool>,
}

/// How the watching over a connection ended.
enum Turn {
    /// The client looks for a new connection, and may find one in time.
    Suspended,
    /// The client is of no use any more.
    Over(Reason),
}

impl Supervisor {
    pub(crate) fn new(
        config: Config,
        (current, link): (watch::Sender<Current>, watch::Sender<Link>),
        counters: Arc<Counters>,
        ringer: Ringer,
    ) -> Supervisor {
        Supervisor {
            config,
            current,
            link,
            counters,
            ringer,
            client: None,
            epoch: 0,
            generation: 0,
            backoff: Backoff::default(),
        }
    }

    /// Runs until the session is closed, or nobody has a handle on it any more.
    pub(crate) async fn run(mut self, mut wishes: mpsc::Receiver<Close>) {
        let wish = tokio::select! {
            // Cancel-safe: what it holds on to is in self, and a client half made goes away.
            never = self.supervise() => match never {},
            wish = wishes.recv() => wish,
        };
        let deadline = wish
            .as_ref()
            .map_or(self.config.heartbeat_deadline(), |wish| wish.deadline);
        let closed = self.close(deadline).await;
        if let Some(wish) = wish {
            // Whoever asked may be gone by now, which is fine.
            let _ = wish.done.send(closed);
        }
    }

    async fn supervise(&mut self) -> Infallible {
        if let Err(problem) = self.config.check() {
            self.say_down(Reason::Config(problem));
            return std::future::pending().await;
        }
        loop {
            let reason = match Client::connect(&self.config, &self.counters).await {
                Ok(client) => {
                    let session = Arc::clone(&client.session);
                    self.client = Some(client);
                    self.generation += 1;
                    self.serve(&session).await
                }
                Err(reason) => reason,
            };
            // Down before the client goes, so that nobody finds a dead one behind a link that is up.
            self.say_down(reason);
            self.client = None;
            // H9: never two attempts without a wait between them.
            sleep(self.backoff.next_wait()).await;
        }
    }

    /// Watches over one client, over as many connections as it has.
    async fn serve(&mut self, session: &Arc<Session>) -> Reason {
        let mut reason = Reason::NoServer;
        loop {
            let connection = match timeout(self.config.grace(), settled(session)).await {
                Ok(connection) if connection.phase == Phase::Connected => connection.number,
                Ok(_) => return Reason::SessionLost,
                Err(_) => return reason,
            };
            // Within the heartbeat's deadline: this is the first heartbeat.
            match timeout(self.config.heartbeat_deadline(), vet(&self.config, session)).await {
                Ok(Ok(())) => {}
                // The server cuts the connection after this, so it comes before the next case.
                Ok(Err(Reason::AuthFailed)) => return Reason::AuthFailed,
                Ok(Err(_)) | Err(_) if session.connection().number != connection => continue,
                Ok(Err(reason)) => return reason,
                Err(_) => return Reason::HeartbeatMissed,
            }
            let up = Up {
                session: Arc::clone(session),
                connection,
                epoch: self.epoch + 1,
                generation: self.generation,
                rereads: Rhythm::new(self.config.reread),
            };
            if !up.holds() {
                continue;
            }
            let since = Instant::now();
            self.say_up(up.clone());
            let turn = self.watch_over(&up).await;
            if since.elapsed() > self.config.session_timeout {
                self.backoff.reset();
            }
            match turn {
                Turn::Over(reason) => return reason,
                Turn::Suspended if session.is_worn() => return Reason::ConnectionLost,
                Turn::Suspended => self.say_down(Reason::ConnectionLost),
            }
            reason = Reason::ReconnectTimedOut;
        }
    }

    /// Returns when the connection is not to be used any more.
    async fn watch_over(&self, up: &Up) -> Turn {
        let (every, deadline) = (self.config.heartbeat(), self.config.heartbeat_deadline());
        let mut beating = pin!(up.session.beside(beat(up.clone(), every, deadline)));
        let pulse = self.config.session_timeout * PULSE_TIMEOUTS;
        let alarm = Alarm::in_this_runtime();
        loop {
            let before = self.counters.heartbeats.load(Ordering::Relaxed);
            tokio::select! {
                // Cancel-safe, both: they only wait.
                turn = &mut beating => return turn.unwrap_or(Turn::Over(Reason::SessionLost)),
                () = alarm.after(pulse) => {}
            }
            // H2: whatever the client does to its own runtime, somebody notices who is not in it.
            if self.counters.heartbeats.load(Ordering::Relaxed) == before {
                count(&self.counters.heartbeat_failures);
                return Turn::Over(Reason::HeartbeatMissed);
            }
        }
    }

    fn say_up(&mut self, up: Up) {
        self.epoch = up.epoch;
        count(&self.counters.epochs);
        let (epoch, generation) = (up.epoch, up.generation);
        tracing::info!(epoch, generation, "zookeeper link up");
        self.current.send_replace(Current::Up(up));
        self.link.send_replace(Link::Up { epoch, generation });
        self.ringer.ring();
    }

    fn say_down(&mut self, reason: Reason) {
        self.current.send_replace(Current::Down);
        let link = Link::Down { reason };
        // Once per transition and per reason, not once per attempt.
        let is_new = self.link.send_if_modified(|before| {
            let is_new = *before != link;
            *before = link.clone();
            is_new
        });
        if is_new {
            self.ringer.ring();
            tracing::warn!(%link, "zookeeper link down");
        }
    }

    /// Ends the session if that can be done by the deadline, and frees everything in any case.
    async fn close(mut self, deadline: Duration) -> bool {
        let up = match &*self.current.borrow() {
            Current::Up(up) if up.holds() => Some(up.clone()),
            _ => None,
        };
        // First of all nobody sends anything any more: closing must be the last request.
        self.current.send_replace(Current::Closed);
        let closed = match up {
            Some(up) => {
                // The client says that it is closed when it has written so, even into a black hole:
                // so ask first whether anybody is there.
                let heard = matches!(timeout(deadline / 2, up.session.probe()).await, Ok(Ok(())));
                // H2: closing hangs for as long as there is no connection.
                let closed = timeout(deadline / 2, up.session.close()).await;
                heard && matches!(closed, Ok(Ok(())))
            }
            None => false,
        };
        self.client = None;
        self.link.send_replace(Link::Closed);
        self.ringer.ring();
        tracing::info!(closed, "zookeeper session closed");
        closed
    }
}

/// Asks for a sign of life again and again, until there is none.
async fn beat(up: Up, every: Duration, deadline: Duration) -> Turn {
    let alarm = Alarm::in_this_runtime();
    loop {
        tokio::select! {
            // Cancel-safe, all three: they only wait.
            () = up.lost() => return lost(&up),
            () = alarm.after(every) => {}
            () = up.session.doubt.notified() => {}
        }
        match timeout(deadline, up.ask(up.session.probe())).await {
            Ok(Ok(())) => {}
            Ok(Err(Fault::Lost)) if !up.holds() => return lost(&up),
            Ok(Err(_)) => return Turn::Over(Reason::Garbled),
            Err(_) => {
                count(&up.session.counters.heartbeat_failures);
                return Turn::Over(Reason::HeartbeatMissed);
            }
        }
    }
}

fn lost(up: &Up) -> Turn {
    match up.session.connection().phase {
        Phase::Dead => Turn::Over(Reason::SessionLost),
        Phase::Connecting | Phase::Connected => Turn::Suspended,
    }
}

/// Returns when the client has a session again, or none for good. Cancel-safe.
async fn settled(session: &Arc<Session>) -> Connection {
    tokio::select! {
        biased;
        connection = session.connection_that(|now| now.phase != Phase::Connecting) => connection,
        never = nudge(session) => match never {},
    }
}

/// Keeps one request waiting at the client.
///
/// H15: when writing fails, the client connects again, but then does not ask for its session before
/// another request comes, or 2 s have passed. And nobody sends requests while the link is down.
async fn nudge(session: &Arc<Session>) -> Infallible {
    loop {
        // The answer does not matter, and there is none if the connection is lost once more.
        let _ = session.probe().await;
        sleep(NUDGE_EVERY).await;
    }
}

/// Authenticates a new connection (H6), and makes sure that answers belong to requests (H4).
async fn vet(config: &Config, session: &Arc<Session>) -> Result<(), Reason> {
    for auth in &config.auth {
        match session.authenticate(&auth.user, &auth.password).await {
            Ok(()) => {}
            Err(Fault::AuthFailed | Fault::NoAuth) => return Err(Reason::AuthFailed),
            Err(Fault::Lost) => return Err(Reason::ConnectionLost),
            Err(_) => return Err(Reason::Garbled),
        }
    }
    match session.probe().await {
        Ok(()) => Ok(()),
        Err(Fault::Lost) => Err(Reason::ConnectionLost),
        Err(_) => Err(Reason::Garbled),
    }
}
