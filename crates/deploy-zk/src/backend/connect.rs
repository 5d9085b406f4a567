//! Making a client: where its servers are, and the runtime it lives in.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::{Builder, Handle, Runtime};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use zookeeper_async as za;

use super::{Connection, Phase};
use crate::backoff::jittered;
use crate::config::{Config, Tasks};
use crate::link::Reason;

/// The client's own wait between two attempts to connect, at most and before jitter. Its default is none at all (H9). The
/// fleet that lost a server comes back spread over so long, and not within the same tenth of a second.
const RETRY_WAIT_MAX: Duration = Duration::from_millis(500);
/// Attempts that fit into the time in which the client has to get its connection back.
const RETRIES: u32 = 16;

/// How long the names of all servers may take to resolve. A resolver asks twice, 5 s each.
const RESOLVE_MAX: Duration = Duration::from_secs(12);

/// How long a server may take to accept a connection: two lost packets, sent again after 1 s and 3 s.
const CONNECT_MAX: Duration = Duration::from_secs(4);

/// Pause before somebody who can't be told goodbye is told again.
const LEAVE_AGAIN: Duration = Duration::from_secs(1);
/// How often that is tried. Who has ended already can't be told either.
const LEAVE_MAX: u32 = 100;

/// A client with a connection, and where that is.
pub(super) struct Made {
    pub(super) zookeeper: Arc<za::ZooKeeper>,
    pub(super) connection: watch::Receiver<Connection>,
}

/// Where the tasks of a client run.
#[derive(Debug)]
pub(super) enum Place {
    /// A runtime with one thread. Shut down, it ends all its tasks, whatever they wait for; `None` only while it is dropped.
    Own(Handle, Option<Runtime>),
    /// A runtime that others use too.
    Shared(Handle),
}

/// Makes a client in `tasks`, within a time that does not depend on it.
///
/// H2: a connect has no timeout of its own, and the name service may hang as well. Both run in the
/// client's runtime, so that giving up on them needs no cooperation.
pub(super) async fn connect(config: &Config, tasks: &Handle) -> Result<Made, Reason> {
    let connect_max = config.grace().min(CONNECT_MAX);
    let making = tasks.spawn(establish(
        config.hosts.clone(),
        config.session_timeout,
        (connect_max, retry_wait(config)),
    ));
    match timeout(RESOLVE_MAX + connect_max, making).await {
        Ok(Ok(made)) => made,
        Ok(Err(_)) | Err(_) => Err(Reason::NoServer),
    }
}

/// Another one for each client.
fn retry_wait(config: &Config) -> Duration {
    jittered((config.grace() / RETRIES).min(RETRY_WAIT_MAX))
}

async fn establish(
    hosts: Vec<String>,
    session_timeout: Duration,
    (connect_max, retry_wait): (Duration, Duration),
) -> Result<Made, Reason> {
    let servers = addresses(&hosts).await;
    if servers.is_empty() {
        return Err(Reason::NoAddress);
    }
    let (sender, receiver) = watch::channel(Connection {
        number: 1,
        phase: Phase::Connecting,
    });
    let servers = connect_string(&servers);
    let connecting = za::ZooKeeper::connect_with_retry_time(
        &servers,
        session_timeout,
        |_event: za::WatchedEvent| {},
        retry_wait,
    );
    let zookeeper = match timeout(connect_max, connecting).await {
        Ok(Ok(zookeeper)) => zookeeper,
        Ok(Err(_)) | Err(_) => return Err(Reason::NoServer),
    };
    // No await since the client spawned its I/O task, and the only worker is busy with this one:
    // so the task has not run yet, and no change of state is missed.
    zookeeper.add_listener(move |state| sender.send_modify(|connection| connection.turn(state)));
    Ok(Made {
        zookeeper: Arc::new(zookeeper),
        connection: receiver,
    })
}

/// Returns all addresses of all `hosts` that have any, shuffled.
///
/// H10: the client would resolve once for ever, take the first address of each, and always begin
/// with the first: a whole fleet on one server.
async fn addresses(hosts: &[String]) -> Vec<SocketAddr> {
    let mut servers: Vec<SocketAddr> = Vec::new();
    for host in hosts {
        match tokio::net::lookup_host(host.as_str()).await {
            Ok(found) => servers.extend(found),
            Err(error) => tracing::warn!(host, %error, "no address of a zookeeper server"),
        }
    }
    servers.sort_unstable();
    servers.dedup();
    fastrand::shuffle(&mut servers);
    servers
}

fn connect_string(servers: &[SocketAddr]) -> String {
    let mut list: Vec<String> = servers.iter().map(SocketAddr::to_string).collect();
    // H9: a server that takes connections and closes them, as one without a quorum does, is tried
    // again without any pause, because connecting did not fail. Nobody can listen on port 0, so
    // this one always fails, locally, and makes the client wait.
    if let [only] = list.as_slice() {
        list = vec![only.clone(); 3];
    }
    list.push("127.0.0.1:0".to_owned());
    list.join(",")
}

impl Place {
    pub(super) fn of(tasks: &Tasks) -> Result<Place, Reason> {
        if let Tasks::Shared(handle) = tasks {
            return Ok(Place::Shared(handle.clone()));
        }
        let runtime = Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("zookeeper")
            .enable_all()
            .build()
            .map_err(|_| Reason::NoThread)?;
        Ok(Place::Own(runtime.handle().clone(), Some(runtime)))
    }

    pub(super) fn tasks(&self) -> &Handle {
        match self {
            Place::Own(tasks, _) | Place::Shared(tasks) => tasks,
        }
    }

    /// Gets rid of a client that was made here.
    pub(super) fn leave(&self, zookeeper: &Arc<za::ZooKeeper>) {
        if let Place::Shared(tasks) = self {
            let zookeeper = Arc::clone(zookeeper);
            tasks.spawn(async move {
                // Its I/O task ends in no other way than by saying so to a server.
                for _ in 0..LEAVE_MAX {
                    if let Ok(Ok(())) = timeout(CONNECT_MAX, zookeeper.close()).await {
                        return;
                    }
                    sleep(jittered(LEAVE_AGAIN)).await;
                }
            });
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Place::Own(_, runtime) = self
            && let Some(runtime) = runtime.take()
        {
            runtime.shutdown_background();
        }
    }
}
