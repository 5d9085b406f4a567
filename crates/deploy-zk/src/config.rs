//! What a session needs to know before it starts.
//!
//! Nothing here does I/O: names are resolved each time a client is made, not when they are parsed.

use std::fmt;
use std::time::Duration;

use tokio::runtime::Handle;

/// The shortest session timeout that is accepted.
///
/// Hazard H11: the client counts in whole seconds, and below this it reconnects hundreds of times
/// a second. A server with the default `tickTime` negotiates at least 4 s anyway.
pub const SESSION_TIMEOUT_MIN: Duration = Duration::from_secs(2);

/// The longest session timeout that is accepted; the heartbeat is a fraction of it.
pub const SESSION_TIMEOUT_MAX: Duration = Duration::from_secs(300);

/// Where ZooKeeper is, and how patient to be with it.
#[derive(Clone, Debug)]
pub struct Config {
    /// Servers, each `host:port`. Names are resolved anew for each client, to all their addresses.
    pub hosts: Vec<String>,
    /// How long the server keeps the session, and its ephemeral znodes, without hearing of us.
    pub session_timeout: Duration,
    /// By when every call has ended, whatever the network does.
    pub op_timeout: Duration,
    /// Sent on each connection before anything else: all that we are.
    pub auth: Vec<DigestAuth>,
    /// How often watched znodes are read again although no watch fired, all at once; the first time after half to one and a half
    /// of it.
    ///
    /// A safety net: a change found this way counts as [`missed`](crate::stats::Stats::missed_events).
    pub reread: Duration,
    /// Where the client's own tasks run.
    pub tasks: Tasks,
}

/// Where the tasks of a client run.
#[derive(Clone, Debug, Default)]
pub enum Tasks {
    /// In a runtime with one thread of the client's own: the only way to be rid of a client that hangs, whatever it
    /// does (H5). What every program wants that has a few sessions.
    #[default]
    Own,
    /// In this runtime, with those of other sessions: for a process that plays thousands of hosts, where a thread each would
    /// be the limit. It must have one worker and be there for nothing else, since a client must not run before its maker has
    /// listened to it. A client that is given up is closed as soon as a server can be told.
    Shared(Handle),
}

/// A name and a password of the `digest` scheme. Its `Debug` does not show the password.
#[derive(Clone, PartialEq, Eq)]
pub struct DigestAuth {
    /// Who.
    pub user: String,
    /// The password, which goes over the wire in clear.
    pub password: String,
}

/// What is wrong with a [`Config`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// There is no server to talk to.
    #[error("no ZooKeeper server is named; expected host:port")]
    NoHosts,
    /// One of the servers is not `host:port`.
    #[error("{host:?} is not host:port")]
    Host {
        /// The text found.
        host: String,
    },
    /// The session timeout is out of bounds.
    #[error("a session timeout of {} ms is not between 2 s and 300 s", .0.as_millis())]
    SessionTimeout(Duration),
    /// No call could ever succeed.
    #[error("the time for an operation is zero")]
    OpTimeout,
    /// Watched znodes would be read without a pause.
    #[error("the time between two re-reads is below 100 ms")]
    Reread,
}

impl Config {
    /// Returns a config for `hosts`, each `host:port`, with the defaults for the rest.
    ///
    /// Session timeout 15 s, operations end within 10 s, re-read each minute, no authentication.
    pub fn new(hosts: &[&str]) -> Config {
        Config {
            hosts: hosts.iter().map(|host| (*host).to_owned()).collect(),
            session_timeout: Duration::from_secs(15),
            op_timeout: Duration::from_secs(10),
            auth: Vec::new(),
            reread: Duration::from_secs(60),
            tasks: Tasks::Own,
        }
    }

    /// Says the first thing that is wrong, if anything.
    ///
    /// A session started with such a config stays down and says this as the reason.
    ///
    /// # Errors
    /// See [`ConfigError`].
    pub fn check(&self) -> Result<(), ConfigError> {
        if self.hosts.is_empty() {
            return Err(ConfigError::NoHosts);
        }
        if let Some(host) = self.hosts.iter().find(|host| !is_host_port(host)) {
            return Err(ConfigError::Host { host: host.clone() });
        }
        if !(SESSION_TIMEOUT_MIN..=SESSION_TIMEOUT_MAX).contains(&self.session_timeout) {
            return Err(ConfigError::SessionTimeout(self.session_timeout));
        }
        if self.op_timeout.is_zero() {
            return Err(ConfigError::OpTimeout);
        }
        if self.reread < Duration::from_millis(100) {
            return Err(ConfigError::Reread);
        }
        Ok(())
    }

    /// Time between two heartbeats: an application's own, since the client pings too seldom (H8).
    pub(crate) fn heartbeat(&self) -> Duration {
        self.session_timeout / 4
    }

    /// How long a heartbeat may take before the client is given up (H2).
    pub(crate) fn heartbeat_deadline(&self) -> Duration {
        self.session_timeout / 3
    }

    /// How long the client may try to get its connection back before it is given up.
    ///
    /// A longer grace would keep the session over a longer outage, but while it waits the client
    /// may as well be hung in a connect without a timeout (H2).
    pub(crate) fn grace(&self) -> Duration {
        self.session_timeout / 2
    }
}

impl DigestAuth {
    /// Parses `user:password`, one line; the password may have colons.
    pub fn parse(line: &str) -> Option<DigestAuth> {
        let (user, password) = line.split_once(':')?;
        (!user.is_empty() && !line.contains('\n')).then(|| DigestAuth {
            user: user.to_owned(),
            password: password.to_owned(),
        })
    }
}

impl fmt::Debug for DigestAuth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DigestAuth")
            .field("user", &self.user)
            .field("password", &"…")
            .finish()
    }
}

/// Whether a text names one server, as [`Config::hosts`] wants it.
pub fn is_host_port(text: &str) -> bool {
    // The client crate would take a comma for a list and a slash for a chroot.
    let Some((host, port)) = text.rsplit_once(':') else {
        return false;
    };
    !host.is_empty()
        && !host.contains(|c: char| c.is_whitespace() || c == ',' || c == '/')
        && port.parse::<u16>().is_ok_and(|port| port > 0)
}
