//! What the simulation and the processes that play its hosts say to each other: a line of JSON each, over pipes.

use std::time::Duration;

use deploy_core::wire::report::{Phase, Report};
use nix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};

/// What a part of the fleet is asked. It answers one after the other.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum Ask {
    /// Starts a host with each of these configurations; [`Answer::Done`] when all have their link.
    Start(Vec<String>),
    /// Looks from now on when each host begins its first step to this build; [`Answer::Done`] at once.
    WatchFirstSteps(String),
    /// Waits until all have begun what is watched for; [`Answer::FirstSteps`].
    FirstSteps,
    /// Waits until each host reports this; [`Answer::Done`].
    Await(State),
    /// Waits for nothing; [`Answer::Counted`].
    Count,
}

/// What a part of the fleet answers.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum Answer {
    /// It is done.
    Done,
    /// When each host began, see [`now`].
    FirstSteps(Vec<Duration>),
    /// What was counted up to now.
    Counted(Traffic),
}

/// What a host may report.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum State {
    /// It serves this build.
    Serving(String),
    /// It has this build as its target, and waits for a lease, in the queue or outside of it.
    Waiting(String),
}

/// What the sessions of hosts have counted up to now, together.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
pub struct Traffic {
    /// Requests, heartbeats included.
    pub requests: u64,
    /// Of those, heartbeats.
    pub heartbeats: u64,
    /// Clients that were made, and connections that came up again.
    pub connects: u64,
    /// Hosts that have their link.
    pub linked: usize,
}

impl State {
    /// Tells whether a report says so.
    pub fn is_said_by(&self, report: &Report) -> bool {
        let (build, phase, said) = match self {
            State::Serving(build) => (build, Phase::Serving, &report.serving),
            State::Waiting(build) => (build, Phase::Waiting, &report.target),
        };
        report.phase == phase && said.as_ref().is_some_and(|said| said.as_str() == build)
    }
}

impl std::ops::Add for Traffic {
    type Output = Traffic;

    fn add(self, other: Traffic) -> Traffic {
        Traffic {
            requests: self.requests + other.requests,
            heartbeats: self.heartbeats + other.heartbeats,
            connects: self.connects + other.connects,
            linked: self.linked + other.linked,
        }
    }
}

/// The time since the machine was started: the same in all processes.
///
/// # Panics
/// Never: Linux has this clock.
pub fn now() -> Duration {
    let now = clock_gettime(ClockId::CLOCK_MONOTONIC);
    now.expect("Linux has a monotonic clock").into()
}
