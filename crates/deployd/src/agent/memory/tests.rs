use std::time::Duration;

use deploy_core::name::BuildName;
use deploy_core::plan::{Plan, Rest, Way};
use deploy_core::step::{Step, WaitFor};
use deploy_core::verdict::Failure;
use deploy_core::wanted::WantedTarget;
use tokio::time::Instant;

use super::{DONE_MAX, Memory, Pause};
use crate::perform::StepError;

fn fetch() -> Step {
    Step::Fetch(BuildName::parse("r1").unwrap())
}

fn extract() -> Step {
    Step::Extract(BuildName::parse("r1").unwrap())
}

fn paused(step: Step) -> Memory {
    let error = StepError {
        failure: Failure::Passing,
        message: "no space".to_owned(),
        log: Vec::new(),
    };
    let until = Instant::now() + Duration::from_secs(60);
    let pause = Pause {
        step,
        error,
        failures: 3,
        until,
    };
    Memory {
        target: Some(WantedTarget::Nothing),
        pause: Some(pause),
        ..Memory::default()
    }
}

#[test]
fn a_pause_holds_whatever_step_comes_first() {
    let mut memory = paused(extract());
    memory.keep_for(&WantedTarget::Nothing);
    assert!(memory.paused_until().is_some());
    // The download that comes before it does not make the failures forgotten.
    memory.done(&fetch()).unwrap();
    assert_eq!(memory.pause.as_ref().map(|pause| pause.failures), Some(3));
    memory.done(&extract()).unwrap();
    assert!(memory.pause.is_none());
}

#[test]
fn a_failure_is_over_when_nothing_is_left_to_do() {
    let told = |steps: Vec<Step>, until: Instant| {
        let mut memory = paused(extract());
        if let Some(pause) = &mut memory.pause {
            pause.until = until;
        }
        let plan = Plan {
            goal: None,
            way: Way::Forward,
            steps,
            rest: Rest::Serving,
        };
        memory.trouble(&plan).is_some()
    };
    let (past, future) = (Instant::now(), Instant::now() + Duration::from_secs(60));
    assert!(told(vec![extract()], past), "it is tried again");
    assert!(
        told(vec![fetch()], future),
        "it holds up what comes before it"
    );
    assert!(!told(vec![fetch()], past), "it holds up nothing");
    assert!(!told(vec![], future));
    assert!(!told(vec![Step::Wait(WaitFor::Lease)], future));
}

#[test]
fn another_target_is_tried_at_once() {
    let mut memory = paused(extract());
    memory.keep_for(&WantedTarget::Unknown);
    assert!(memory.paused_until().is_none());
}

#[test]
fn a_step_that_is_undone_each_time_fails() {
    let mut memory = Memory::default();
    for _ in 0..DONE_MAX {
        memory.done(&fetch()).unwrap();
        memory.done(&extract()).unwrap();
    }
    let error = memory.done(&fetch()).unwrap_err();
    assert_eq!(error.failure, Failure::OfTheBuild);
    assert!(error.message.contains("something undoes it"), "{error:?}");
}
