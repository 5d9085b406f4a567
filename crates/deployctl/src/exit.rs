//! The exit codes: one question each, so that a script never takes "I could not look" for "it
//! failed". docs/deployctl.md lists them.

use std::process::ExitCode;

/// How deployctl ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    /// Done, and healthy.
    Done,
    /// A bug in deployctl, or what was asked for could not be written to stdout.
    Bug,
    /// It was called wrongly.
    Usage,
    /// The rollout failed or was rolled back. Of `doctor`: a check failed.
    Failed,
    /// It gave up waiting; the rollout goes on.
    TimedOut,
    /// It refused; nothing was changed.
    Refused,
    /// No such service, build, host or rollout.
    NotFound,
    /// ZooKeeper could not be reached or said no; this says nothing about the rollout.
    Unreachable,
    /// A newer rollout took its place.
    Superseded,
    /// Interrupted; the rollout goes on.
    Interrupted,
}

impl Exit {
    /// Returns the code.
    pub(crate) fn code(self) -> u8 {
        match self {
            Exit::Done => 0,
            Exit::Bug => 1,
            Exit::Usage => 2,
            Exit::Failed => 3,
            Exit::TimedOut => 4,
            Exit::Refused => 5,
            Exit::NotFound => 6,
            Exit::Unreachable => 7,
            Exit::Superseded => 8,
            Exit::Interrupted => 130,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> ExitCode {
        ExitCode::from(exit.code())
    }
}

#[cfg(test)]
mod tests;
