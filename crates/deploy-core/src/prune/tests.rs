use super::prunable;
use crate::name::BuildName;
use crate::observed::{Instance, Observed, Runs};
use crate::wire::record::Rejection;
use crate::wire::report::ErrorReport;

fn builds(names: &str) -> Vec<BuildName> {
    names
        .split_whitespace()
        .map(|name| BuildName::parse(name).unwrap())
        .collect()
}

fn host(releases: &str, current: &str, verified: &str) -> Observed {
    let mut observed = Observed {
        releases: builds(releases),
        ..Observed::default()
    };
    observed.current = builds(current).pop();
    observed.journal.verified = builds(verified);
    observed
}

#[track_caller]
fn check(observed: &Observed, wanted: &str, keep: usize, expected: &str) {
    let wanted = builds(wanted);
    let gone = prunable(observed, &wanted.iter().collect::<Vec<_>>(), keep);
    assert_eq!(gone, builds(expected));
}

#[test]
fn the_oldest_go_and_what_must_stay_is_not_counted() {
    let observed = host("9 8 7 6 5 4", "9", "4 5 8");
    check(&observed, "9", 2, "5 4");
    check(&observed, "9", 0, "7 6 5 4");
    check(&observed, "9 4", 0, "7 6 5");
    check(&observed, "9", 9, "");
    // `current` stays though nothing wants it any more.
    check(&observed, "", 0, "7 6 5 4");
}

#[test]
fn what_an_instance_runs_stays() {
    let mut observed = host("9 8 7", "9", "8 9");
    let runs = Runs::Build(builds("7").remove(0));
    observed.instances = vec![Instance {
        runs,
        drained: false,
        emptied: false,
        unproven: false,
        restarted: None,
        obstacle: None,
    }];
    check(&observed, "9", 0, "8");
}

#[test]
fn a_release_whose_post_extract_failed_starts_anew() {
    let mut observed = host("9 8", "8", "8");
    let mut rejection = |step: &str| {
        let (kind, message) = ("rejected".to_owned(), String::new());
        let error = ErrorReport {
            step: step.to_owned(),
            kind,
            message,
            log: Vec::new(),
        };
        let rejection = Rejection {
            rollout: Some(1),
            retry: 0,
            error,
        };
        observed
            .journal
            .rejected
            .insert(builds("9").remove(0), rejection);
        observed.clone()
    };
    check(&rejection("post_extract"), "9", 5, "9");
    check(&rejection("probe"), "9", 5, "");
}

#[test]
fn what_could_not_be_deleted_is_passed_over_and_not_counted() {
    let mut observed = host("9 8 7 6", "9", "9");
    let stuck = builds("7").remove(0);
    observed.undeleted.insert(stuck, "a mount point".to_owned());
    check(&observed, "9", 1, "6");
    check(&observed, "9", 0, "8 6");
}
