//! What an operator may ask for from the monitor: each is a verb of deployctl, with what it will do.

use deploy_core::name::{HostName, ServiceName};

/// What is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Wish {
    /// Make the canary build the fleet build.
    Promote(ServiceName),
    /// Go back to the last good build.
    Rollback(ServiceName),
    /// Let nothing new start.
    Hold(ServiceName),
    /// End the hold.
    Unhold(ServiceName),
    /// Let a host try again.
    Retry(ServiceName, HostName),
}

/// A wish with what it will do: the question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Confirm {
    /// What is asked for.
    pub(crate) wish: Wish,
    /// What it will do, a line each.
    pub(crate) effects: Vec<String>,
    /// The state of the service that this was made from; another one is refused.
    pub(crate) if_rollout: Option<u64>,
    /// The reason, as far as it is typed.
    pub(crate) why: String,
}

/// Whether a reason goes with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reason {
    /// It must.
    Needed,
    /// It may.
    Welcome,
}

impl Wish {
    /// Returns the service.
    pub(crate) fn service(&self) -> &ServiceName {
        match self {
            Wish::Promote(service)
            | Wish::Rollback(service)
            | Wish::Hold(service)
            | Wish::Unhold(service)
            | Wish::Retry(service, _) => service,
        }
    }

    /// Returns what the question is about: `ROLL BACK web`.
    pub(crate) fn title(&self) -> String {
        match self {
            Wish::Promote(service) => format!("PROMOTE THE CANARY OF {service}"),
            Wish::Rollback(service) => format!("ROLL BACK {service}"),
            Wish::Hold(service) => format!("HOLD {service}"),
            Wish::Unhold(service) => format!("END THE HOLD OF {service}"),
            Wish::Retry(service, host) => format!("TRY AGAIN {service} ON {host}"),
        }
    }

    /// Returns what the key to confirm does: `roll back`.
    pub(crate) fn act(&self) -> &'static str {
        match self {
            Wish::Promote(_) => "promote",
            Wish::Rollback(_) => "roll back",
            Wish::Hold(_) => "hold",
            Wish::Unhold(_) => "end the hold",
            Wish::Retry(..) => "try again",
        }
    }

    /// Tells whether a reason goes with it. A hold without one makes everybody ask.
    pub(crate) fn reason(&self) -> Reason {
        match self {
            Wish::Hold(_) => Reason::Needed,
            _ => Reason::Welcome,
        }
    }
}

impl Confirm {
    /// Tells whether it can be confirmed.
    pub(crate) fn is_complete(&self) -> bool {
        self.wish.reason() == Reason::Welcome || !self.why.trim().is_empty()
    }

    /// Returns the command line that does it: the same as somebody would type.
    pub(crate) fn command(&self) -> Vec<String> {
        let words: Vec<&str> = match &self.wish {
            Wish::Promote(service) => vec!["promote", service.as_str()],
            Wish::Rollback(service) => vec!["rollback", service.as_str()],
            Wish::Hold(service) => vec!["hold", service.as_str()],
            Wish::Unhold(service) => vec!["unhold", service.as_str()],
            Wish::Retry(service, host) => vec!["host", "retry", host.as_str(), service.as_str()],
        };
        let mut command: Vec<String> = words.into_iter().map(str::to_owned).collect();
        if let (Wish::Promote(_) | Wish::Rollback(_), Some(number)) = (&self.wish, self.if_rollout)
        {
            command.push(format!("--if-rollout={number}"));
        }
        if !matches!(self.wish, Wish::Hold(_) | Wish::Unhold(_)) {
            command.push("--detach".to_owned());
        }
        if !self.why.trim().is_empty() {
            // In one word: a reason may begin with a dash.
            command.push(format!("--message={}", self.why.trim()));
        }
        command
    }
}
