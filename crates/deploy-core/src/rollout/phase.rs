//! One word for how a whole service is.

use super::{Standing, State};
use crate::percent::Percent;

/// How a service is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ServicePhase {
    /// Nothing is wanted.
    Idle,
    /// Something is wanted, and none of the hosts is live to do it.
    Offline,
    /// Nothing new starts.
    Held,
    /// A live host failed.
    Failed,
    /// Hosts are on their way.
    Rolling,
    /// What is not there is blocked by something outside the build.
    Blocked,
    /// The canary hosts serve the canary, and the fleet its own build.
    Canary,
    /// Every host has the build ready, and none serves it.
    Staged,
    /// A share of the hosts serves the build.
    Partial,
    /// Every live host serves the fleet's build.
    Done,
}

impl ServicePhase {
    /// Returns the word.
    pub fn as_str(self) -> &'static str {
        match self {
            ServicePhase::Idle => "idle",
            ServicePhase::Offline => "offline",
            ServicePhase::Held => "held",
            ServicePhase::Failed => "failed",
            ServicePhase::Rolling => "rolling",
            ServicePhase::Blocked => "blocked",
            ServicePhase::Canary => "canary",
            ServicePhase::Staged => "staged",
            ServicePhase::Partial => "partial",
            ServicePhase::Done => "done",
        }
    }
}

/// Whether a hold is in force.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Held {
    /// It is.
    Yes,
    /// It is not.
    No,
}

/// Returns how a service is: what needs somebody's attention first.
pub fn service_phase(state: &State, held: Held) -> ServicePhase {
    if held == Held::Yes {
        return ServicePhase::Held;
    }
    let standings = state.standings().into_values();
    let live: Vec<Standing> = standings
        .filter(|standing| *standing != Standing::Offline)
        .collect();
    let away: Vec<Standing> = live
        .iter()
        .copied()
        .filter(|standing| !standing.is_there() && *standing != Standing::Idle)
        .collect();
    let (enabled, canary) = (&state.targets.enabled, &state.targets.canary);
    if enabled.is_none() && canary.is_none() && away.is_empty() {
        return ServicePhase::Idle;
    }
    if live.is_empty() && !state.hosts.is_empty() {
        return ServicePhase::Offline;
    }
    if away.contains(&Standing::Failed) {
        return ServicePhase::Failed;
    }
    if !away.is_empty() {
        let blocked = away.iter().all(|standing| *standing == Standing::Blocked);
        return if blocked {
            ServicePhase::Blocked
        } else {
            ServicePhase::Rolling
        };
    }
    match enabled.as_ref().map(|target| target.percent) {
        _ if canary.is_some() => ServicePhase::Canary,
        Some(percent) if percent == Percent::NONE => ServicePhase::Staged,
        Some(percent) if percent < Percent::ALL => ServicePhase::Partial,
        _ => ServicePhase::Done,
    }
}

#[cfg(test)]
mod tests;
