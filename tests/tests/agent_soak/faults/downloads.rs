//! A build server that doesn't do what it should, for a while.

use tests::agent::LIMIT;
use tests::builds::{Health, Serve};
use tests::eventually::eventually;

use crate::rig::Case;

pub(crate) fn not_found(case: &mut Case<'_>) -> String {
    served_badly(case, Serve::Status(404))
}

pub(crate) fn server_error(case: &mut Case<'_>) -> String {
    served_badly(case, Serve::Status(500))
}

pub(crate) fn truncated(case: &mut Case<'_>) -> String {
    served_badly(case, Serve::Truncated)
}

pub(crate) fn wrong(case: &mut Case<'_>) -> String {
    served_badly(case, Serve::Wrong)
}

pub(crate) fn reset(case: &mut Case<'_>) -> String {
    served_badly(case, Serve::Reset)
}

fn served_badly(case: &mut Case<'_>, how: Serve) -> String {
    let build = case.build(Health::Ok);
    case.rig.builds().serve(&build, how);
    case.go_to(&build);
    is_asked_for(case, &build);
    case.moment();
    case.rig.builds().serve(&build, Serve::Whole);
    build
}

/// A download that stands still is dropped for another target, and not waited for.
pub(crate) fn stalled(case: &mut Case<'_>) -> String {
    let build = case.build(Health::Ok);
    case.rig.builds().serve(&build, Serve::Stalled);
    case.go_to(&build);
    is_asked_for(case, &build);
    case.moment();
    case.deploy()
}

/// Size or digest in the znode are not those of the archive; then they are.
pub(crate) fn znode_lies(case: &mut Case<'_>) -> String {
    let build = case.build(Health::Ok);
    let mut target = case.target(&build);
    let artifact = &mut target["artifact"];
    if case.dice.borrow_mut().below(2) == 0 {
        let size = artifact["size"].as_u64().expect("it is a number");
        artifact["size"] = (size + 1).into();
    } else {
        artifact["sha256"] = "0".repeat(64).into();
    }
    case.enable(&target);
    is_asked_for(case, &build);
    case.moment();
    case.go_to(&build);
    build
}

fn is_asked_for(case: &Case<'_>, build: &str) {
    eventually("somebody downloads it", LIMIT, || {
        match case.rig.builds().downloads(build) {
            0 => Err(()),
            _ => Ok(()),
        }
    });
}
