//! A service that nothing can be done with: what is said of it, and what runs for it.

use std::future::pending;

use deploy_core::name::HostName;
use deploy_core::plan::Plan;
use deploy_core::wanted::{Gate, Problem, Wanted, WantedTarget};
use deploy_core::wire::report::Report;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use super::{End, Run, Stop, wait};
use crate::config::Service;
use crate::observe::Sight;
use crate::report::{self, Scene};

/// Returns the report of a service that nothing can be done with, as when its journal is of a newer
/// deployd: what is wrong, why, and what there is to see.
pub(crate) fn stuck(
    (object, message): (&str, String),
    place: (&HostName, &Service, &str),
    sight: &Sight,
) -> Report {
    let wanted = Wanted {
        role: None,
        target: WantedTarget::Unknown,
        gate: Gate::Cut,
        ignored: None,
        refused: Vec::new(),
    };
    let scene = Scene {
        wanted: &wanted,
        plan: &Plan::blocked(Problem {
            object: object.to_owned(),
            message,
        }),
        sight,
        step: None,
        failures: 0,
        error: None,
    };
    report::render(&scene, place)
}

/// What runs for such a service: nothing, until its agent is told to end, or it is time to try again. Its report stands
/// meanwhile.
pub(crate) async fn stay(
    (run, mut stop): (Run, watch::Receiver<Option<Stop>>),
    report: watch::Sender<Option<Report>>,
    until: Option<Instant>,
) -> End {
    let again = async {
        match until {
            Some(until) => sleep_until(until).await,
            None => pending().await,
        }
    };
    if run == Run::On {
        // Cancel-safe: one waits for a version of a watch, the other for a time.
        tokio::select! {
            () = wait::told(&mut stop) => {}
            () = again => {}
        }
    }
    drop(report);
    match run {
        Run::On => End::Stopped,
        Run::Once => End::NotConverged,
    }
}
