//! An error as people read it: what happened, the facts, what to type next.

use deploy_zk::error::Error;

use crate::exit::Exit;

/// Why deployctl gives up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Problem {
    /// What a script is told.
    pub(crate) exit: Exit,
    /// What happened, to what, in the words of the user: one line.
    pub(crate) what: String,
    /// One line each.
    pub(crate) facts: Vec<String>,
    /// What to type next, one line each.
    pub(crate) tips: Vec<String>,
}

impl Problem {
    /// Returns a problem of any kind.
    pub(crate) fn new(exit: Exit, what: impl Into<String>) -> Problem {
        Problem {
            exit,
            what: what.into(),
            facts: Vec::new(),
            tips: Vec::new(),
        }
    }

    /// It was called wrongly.
    pub(crate) fn usage(what: impl Into<String>) -> Problem {
        Problem::new(Exit::Usage, what)
    }

    /// It refuses, and nothing was changed.
    pub(crate) fn refused(what: impl Into<String>) -> Problem {
        Problem::new(Exit::Refused, what)
    }

    /// There is no such thing.
    pub(crate) fn not_found(what: impl Into<String>) -> Problem {
        Problem::new(Exit::NotFound, what)
    }

    /// ZooKeeper can't be reached, or says no.
    pub(crate) fn unreachable(what: impl Into<String>) -> Problem {
        Problem::new(Exit::Unreachable, what)
    }

    /// Adds a fact.
    pub(crate) fn fact(mut self, fact: impl Into<String>) -> Problem {
        self.facts.push(fact.into());
        self
    }

    /// Adds what to type next.
    pub(crate) fn tip(mut self, tip: impl Into<String>) -> Problem {
        self.tips.push(tip.into());
        self
    }

    /// Adds facts.
    pub(crate) fn facts(mut self, facts: impl IntoIterator<Item = String>) -> Problem {
        self.facts.extend(facts);
        self
    }
}

impl From<Error> for Problem {
    fn from(error: Error) -> Problem {
        let path = error.call().path.clone();
        match error {
            Error::NoAuth(call) => {
                Problem::unreachable(format!("not allowed to {call} (ZooKeeper: NoAuth)"))
                    .fact("it is protected, and you connected without the right credentials")
                    .tip("--auth-file FILE names a file that holds user:password; so does `auth_file` of a context")
            }
            Error::AuthFailed(_) => {
                Problem::unreachable("ZooKeeper refused the credentials of --auth-file")
            }
            Error::Unavailable(call) => Problem::unreachable(format!(
                "failed to {call}: the connection to ZooKeeper is lost"
            ))
            .fact("it was not done; running services are not affected"),
            Error::Unknown(call) => Problem::unreachable(format!(
                "failed to {call}: the connection to ZooKeeper is lost"
            ))
            .fact("it may have been done or not; running services are not affected")
            .tip("look first: deployctl inspect, deployctl history"),
            Error::Closed(call) => {
                Problem::unreachable(format!("failed to {call}: the session is closed"))
            }
            Error::BadVersion(_) | Error::NodeExists(_) => Problem::refused(format!(
                "{path} was changed by somebody else at the same moment"
            ))
            .fact("nothing was changed; look again and repeat the command"),
            Error::NotEmpty(_) => Problem::refused(format!(
                "{path} can't be deleted: something that is not ours is below it"
            ))
            .tip(format!("to see what: deployctl inspect {path}")),
            Error::NoNode(_) => Problem::not_found(format!("{path} is gone")),
            Error::TooLarge { bytes, .. } => {
                Problem::refused(format!("{bytes} bytes are too much for {path}"))
            }
            Error::BadArguments { why, .. } => {
                Problem::usage(format!("`{}` is not a znode: {why}", path.escape_debug()))
            }
        }
    }
}
