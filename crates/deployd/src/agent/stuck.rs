//! A service that nothing can be done with: what is said of it, and what runs for it.

use deploy_core::name::HostName;
use deploy_core::plan::Plan;
use deploy_core::wanted::{Gate, Problem, Wanted, WantedTarget};
use deploy_core::wire::report::Report;
use tokio::sync::watch;

use super::{End, Run, Stop, wait};
use crate::config::Service;
use crate::observe::Sight;
use crate::report::{self, Scene};

/// Returns the report of a service that nothing can be done with, as when its journal is of a newer
/// deployd.
pub(crate) fn stuck(why: String, place: (&HostName, &Service, &str)) -> Report {
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
            object: "journal".to_owned(),
            message: why,
        }),
        sight: &Sight::default(),
        step: None,
        failures: 0,
        error: None,
    };
    report::render(&scene, place)
}

/// What runs for such a service: nothing, until deployd is stopped. Its report stands meanwhile.
pub(crate) async fn stay(
    (run, mut stop): (Run, watch::Receiver<Option<Stop>>),
    report: watch::Sender<Option<Report>>,
) -> End {
    if run == Run::On {
        wait::told(&mut stop).await;
    }
    drop(report);
    match run {
        Run::On => End::Stopped,
        Run::Once => End::NotConverged,
    }
}
