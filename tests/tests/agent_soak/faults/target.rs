//! Targets that change, and change again.

use deploy_core::wire::report::Phase;
use serde_json::json;
use tests::builds::Health;

use crate::rig::Case;

pub(crate) fn changed(case: &mut Case<'_>) -> String {
    case.deploy();
    case.moment();
    case.deploy();
    case.moment();
    case.deploy()
}

pub(crate) fn changed_back(case: &mut Case<'_>) -> String {
    let at = case.at();
    case.deploy();
    case.moment();
    case.go_to(&at);
    at
}

pub(crate) fn written_again(case: &mut Case<'_>) -> String {
    let build = case.deploy();
    for _ in 0..20 {
        case.poke();
    }
    case.moment();
    case.poke();
    build
}

pub(crate) fn rollback(case: &mut Case<'_>) -> String {
    match case.before() {
        Some(before) => {
            case.go_to(&before);
            before
        }
        None => case.deploy(),
    }
}

/// The same build, and every instance is another process.
pub(crate) fn restart(case: &mut Case<'_>) -> String {
    let at = case.at();
    let pids: Vec<_> = case.services().iter().flat_map(|it| it.pids()).collect();
    let mut target = case.target(&at);
    target["restart"] = target["rollout"].clone();
    case.enable(&target);
    case.is_served(&at);
    let now: Vec<_> = case.services().iter().flat_map(|it| it.pids()).collect();
    let same = pids.iter().filter(|pid| now.contains(pid)).count();
    assert_eq!(same, 0, "{pids:?}, {now:?}");
    at
}

/// Staged everywhere, then activated by some, then by all.
pub(crate) fn percent(case: &mut Case<'_>) -> String {
    let at = case.at();
    let build = case.build(Health::Ok);
    let previous = case.target(&at);
    let previous = json!({ "build": at, "artifact": previous["artifact"] });
    for percent in [0, 50] {
        let mut target = case.target(&build);
        target["percent"] = percent.into();
        target["previous"] = previous.clone();
        case.enable(&target);
        if percent == 0 {
            for (host, service) in case.services().iter().enumerate() {
                case.is_in(&Phase::Staged, host);
                service.is_at(&at);
            }
        }
    }
    case.moment();
    case.go_to(&build);
    build
}
