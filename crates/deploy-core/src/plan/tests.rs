//! The plan, as text: a target, a host, and what is to be done.

mod exhaustive;
mod model;
mod text;

use text::{plan_text, shape};

use crate::observed::Probes;

#[track_caller]
fn check(target: &str, host: &str, expected: &str) {
    assert_eq!(
        plan_text(target, host, &shape("")),
        expected,
        "{target} | {host}"
    );
}

#[test]
fn first_deployment() {
    check(
        "2",
        "runs -,-",
        "fetching: fetch 2, extract 2, post_extract 2, ask for a lease, activate 2, post_install 2, \
         drain 1, restart 1, probe 1, undrain 1, drain 2, restart 2, probe 2, undrain 2, verify 2",
    );
}

#[test]
fn a_release_on_disk_is_not_fetched_again() {
    check(
        "2",
        "on 1 2, prepared 2, current 1, at 1, verified 1, runs 1,1, lease held",
        "activating: activate 2, post_install 2, drain 1, restart 1, probe 1, undrain 1, drain 2, \
         restart 2, probe 2, undrain 2, verify 2",
    );
}

#[test]
fn at_its_target_there_is_nothing_to_do() {
    check(
        "2",
        "on 1 2, current 2, at 2, verified 1 2, finished 2, runs 2,2",
        "serving:",
    );
}

#[test]
fn a_release_in_service_that_was_deleted_comes_back() {
    // What `post_extract` made is gone with it, and what had passed was another directory. Nobody
    // is disturbed, so that no lease is needed; a hold or no ZooKeeper changes nothing.
    for target in ["2", "2, held", "2, cut"] {
        check(
            target,
            "on 1, prepared 2, current 2, at 2, verified 1 2, finished 2, runs 2,2",
            "fetching: fetch 2, extract 2, post_extract 2",
        );
        check(
            target,
            "on 1 2, current 2, at 2, verified 1, finished 2, runs 2,2",
            "preparing: post_extract 2, verify 2",
        );
    }
    check(
        "2 unregistered",
        "on 1, current 2, at 2, verified 1 2, finished 2, runs 2,2",
        "blocked (builds/2):",
    );
}

#[test]
fn a_host_in_service_gives_its_lease_back() {
    check(
        "2",
        "on 1 2, current 2, at 2, verified 1 2, runs 2,2, lease held",
        "serving: give the lease back, post_restart 2",
    );
}

#[test]
fn a_host_in_service_that_can_not_go_on_holds_up_nobody() {
    let ready = "on 1 2, prepared 2, current 1, at 1, verified 1, runs 1,1, lease held";
    check("unreadable", ready, "blocked: give the lease back");
    // The download may be tried for ever.
    for lease in ["held", "queued"] {
        check(
            "3",
            &format!("on 1, current 1, at 1, verified 1, rejected 2, runs 1,1, lease {lease}"),
            "fetching: give the lease back, fetch 3, extract 3, post_extract 3, \
             ask for a lease, activate 3, post_install 3, drain 1, restart 1, probe 1, undrain 1, drain 2, restart 2, probe 2, undrain 2, verify 3",
        );
    }
    check(
        "2",
        "on 1, taken 2, current 1, at 1, verified 1, runs 1,1, lease held",
        "blocked: give the lease back",
    );
    check(
        "2",
        "foreign, on 1, at 1, verified 1, runs 1,1, lease held",
        "blocked: give the lease back",
    );
    // It failed, and can't even go back.
    check(
        "2",
        "foreign, on 1 2, at 1, verified 1, rejected 2, runs 1,1, lease held",
        "blocked ():",
    );
    // It may have been what failed that nobody can read now.
    check(
        "unreadable",
        "on 1, current 1, at 1, verified 1, rejected 2, runs 1,1, lease held",
        "blocked (enabled):",
    );
}

#[test]
fn what_serves_the_build_already_is_only_probed() {
    check(
        "2",
        "on 2, current 2, runs 2,2",
        "probing: probe 1, probe 2, verify 2",
    );
}

#[test]
fn rejected_build_rolls_back_only_what_left() {
    check(
        "2",
        "on 1 2, current 2, left, verified 1, rejected 2, runs 2du,1, lease held",
        "rolling_back: activate 1, post_install 1, restart 1, probe 1, undrain 1, verify 1",
    );
}

#[test]
fn a_failed_host_keeps_its_lease_and_stays() {
    check(
        "2",
        "on 1 2, current 1, at 1, verified 1, rejected 2, runs 1,1, lease held",
        "failed:",
    );
}

#[test]
fn another_rollout_of_a_rejected_build_is_another_try() {
    check(
        "2#8",
        "on 1 2, prepared 2, current 1, at 1, verified 1, rejected 2, runs 1,1, lease held",
        "activating: activate 2, post_install 2, drain 1, restart 1, probe 1, undrain 1, drain 2, \
         restart 2, probe 2, undrain 2, verify 2",
    );
}

#[test]
fn a_wish_to_retry_is_another_try() {
    let host = "on 1 2, prepared 2, current 1, at 1, verified 1, rejected 2, runs 1,1";
    check("2, retry 4", host, "failed:");
    let text = plan_text("2, retry 6", host, &shape(""));
    assert!(
        text.starts_with("waiting: ask for a lease, activate 2"),
        "{text}"
    );
}

#[test]
fn a_first_build_that_fails_has_nowhere_to_go_back_to() {
    check(
        "2",
        "on 2, current 2, left, rejected 2, runs 2du,-, lease held",
        "failed:",
    );
}

#[test]
fn outside_the_percent_a_host_prepares_and_stays() {
    check(
        "2 outside, previous 1",
        "on 1, current 1, at 1, verified 1, runs 1,1",
        "fetching: fetch 2, extract 2, post_extract 2",
    );
    check(
        "2 outside, previous 1",
        "on 1 2, prepared 2, current 1, at 1, verified 1, finished 1, runs 1,1",
        "staged:",
    );
}

#[test]
fn a_new_host_outside_the_percent_gets_the_good_build_first() {
    let text = plan_text("2 outside, previous 1", "runs -,-", &shape(""));
    assert!(
        text.starts_with("fetching: fetch 1, extract 1, post_extract 1, ask for a"),
        "{text}"
    );
    assert!(
        text.ends_with("verify 1, fetch 2, extract 2, post_extract 2"),
        "{text}"
    );
}

#[test]
fn under_hold_a_host_prepares_and_waits() {
    check(
        "2, held",
        "on 1, current 1, at 1, verified 1, runs 1,1",
        "fetching: fetch 2, extract 2, post_extract 2, wait for the end of the hold, activate 2, \
         post_install 2, drain 1, restart 1, probe 1, undrain 1, drain 2, restart 2, probe 2, \
         undrain 2, verify 2",
    );
}

#[test]
fn under_hold_or_without_zookeeper_a_half_restarted_host_finishes() {
    for target in ["2, held", "2, cut", "nothing", "unknown", "unreadable"] {
        let text = plan_text(
            target,
            "on 1 2, prepared 2, installed 2, current 2, left, verified 1, runs 2,1, lease held",
            &shape(""),
        );
        assert!(
            text.ends_with("drain 2, restart 2, probe 2, undrain 2, verify 2"),
            "{target}: {text}"
        );
    }
}

#[test]
fn a_third_build_waits_for_a_half_restarted_host() {
    check(
        "3",
        "on 1 2, prepared 2, installed 2, current 2, left, verified 1, runs 2du,1, lease held",
        "probing: probe 1, undrain 1, drain 2, restart 2, probe 2, undrain 2, verify 2",
    );
}

#[test]
fn going_back_does_not_finish_first() {
    check(
        "1",
        "on 1 2, prepared 1 2, installed 2, current 2, left, verified 1, runs 2du,1, lease held",
        "activating: activate 1, post_install 1, restart 1, probe 1, undrain 1, verify 1",
    );
}

#[test]
fn a_host_that_lost_its_lease_takes_nothing_more_down() {
    let host = "on 1 2, prepared 2, installed 2, current 2, left, verified 1, runs 2du,1";
    check(
        "2",
        host,
        "probing: probe 1, undrain 1, ask for a lease, drain 2, restart 2, probe 2, undrain 2, verify 2",
    );
    check(
        "2, cut",
        host,
        "probing: probe 1, undrain 1, wait for ZooKeeper, drain 2, restart 2, probe 2, undrain 2, \
         verify 2",
    );
}

#[test]
fn who_is_out_of_service_comes_first() {
    check(
        "2",
        "on 1 2, prepared 2, installed 2, current 2, left, verified 1, runs 1,-d, lease held",
        "restarting: restart 2, probe 2, undrain 2, drain 1, restart 1, probe 1, undrain 1, verify 2",
    );
}

#[test]
fn an_instance_that_somebody_stopped_in_service_is_left_alone() {
    check(
        "2",
        "on 2, current 2, at 2, verified 2, finished 2, runs 2,-",
        "serving:",
    );
}

#[test]
fn a_forgotten_drain_is_undone() {
    check(
        "2",
        "on 2, current 2, at 2, verified 2, finished 2, runs 2,2d",
        "restarting: undrain 2, verify 2",
    );
}

#[test]
fn a_restart_number_restarts_each_instance_once() {
    check(
        "2, restart 9",
        "on 2, current 2, at 2, verified 2, finished 2, runs 2r9,2r8, lease held",
        "restarting: drain 2, restart 2, probe 2, undrain 2, verify 2",
    );
    // Outside the percent, those of the build before.
    let staged = "on 1 2, prepared 2, current 1, at 1, verified 1, finished 1, lease held, runs";
    check(
        "2 outside, previous 1, restart 9",
        &format!("{staged} 1r9,1r8"),
        "restarting: drain 2, restart 2, probe 2, undrain 2, verify 1",
    );
    check(
        "2 outside, previous 1, restart 9",
        &format!("{staged} 1r9,1r9"),
        "staged: give the lease back",
    );
}

#[test]
fn an_artifact_that_nobody_knows_blocks() {
    check(
        "2 unregistered",
        "on 1, current 1, at 1, verified 1, runs 1,1",
        "blocked (builds/2):",
    );
    check(
        "2 unregistered",
        "on 1 2, prepared 2, current 2, at 2, verified 1 2, finished 2, runs 2,2",
        "serving:",
    );
}

#[test]
fn a_name_that_something_else_has_blocks_before_anything_is_fetched() {
    check(
        "2",
        "on 1, taken 2, current 1, at 1, verified 1, runs 1,1",
        "blocked (releases/2):",
    );
    // One that is not wanted is in nobody's way.
    check(
        "2",
        "on 1, taken 3, current 1, at 1, verified 1, runs 1,1",
        "fetching: fetch 2, extract 2, post_extract 2, ask for a lease, activate 2, post_install 2, \
         drain 1, restart 1, probe 1, undrain 1, drain 2, restart 2, probe 2, undrain 2, verify 2",
    );
    // Of a release in service somebody has put a file in its place.
    check(
        "2",
        "on 1, taken 2, current 2, at 2, verified 1 2, finished 2, runs 2,2",
        "blocked (releases/2):",
    );
}

#[test]
fn the_same_name_with_other_bytes_blocks() {
    check(
        "2",
        "on 1 2, digest 2 other, current 1, at 1, verified 1, runs 1,1",
        "blocked (builds/2):",
    );
}

#[test]
fn the_same_name_with_other_bytes_is_not_serving() {
    check(
        "2",
        "on 2, digest 2 other, current 2, at 2, verified 2, finished 2, runs 2,2",
        "blocked (builds/2):",
    );
}

#[test]
fn who_has_left_service_comes_back_whatever_is_wrong_with_what_is_wanted() {
    let half = "on 1 2, prepared 1 2, installed 2, current 2, left, verified 1, lease held";
    for (target, wrong) in [
        ("4 outside, previous 1", "taken 4"),
        ("4 outside, previous 2", "on 1 2 4, digest 4 other"),
        ("4 outside, previous 2", "taken 4"),
        ("1", "digest 1 other"),
        ("4 unregistered", "runs 2du,1"),
    ] {
        for runs in ["2du,1", "1du,1", "-,1"] {
            let host = format!("{half}, {wrong}, runs {runs}");
            let text = plan_text(target, &host, &shape(""));
            assert!(text.contains("undrain 1"), "{target}; {host}: {text}");
        }
    }
    // Who is in service is told, and nothing is begun.
    check(
        "4 outside, previous 1",
        "on 1, prepared 1, taken 4, current 1, at 1, verified 1, finished 1, runs 1,1",
        "blocked (releases/4):",
    );
}

#[test]
fn what_can_not_be_restarted_is_not_begun() {
    // All is made ready, and then it is said what is in the way.
    check(
        "2",
        "on 1, current 1, at 1, verified 1, runs 1,1m",
        "fetching: fetch 2, extract 2, post_extract 2",
    );
    let ready = "on 1 2, prepared 2, current 1, at 1, verified 1, runs 1,1m";
    for target in ["2", "2, held", "2, cut"] {
        check(target, ready, "blocked (restart):");
    }
    check(
        "2",
        "on 1 2, prepared 2, current 1, at 1, verified 1, runs 1,1m, lease held",
        "blocked: give the lease back",
    );
    check(
        "1, restart 9",
        "on 1, current 1, at 1, verified 1, finished 1, runs 1m,1",
        "blocked (restart):",
    );
    check(
        "1",
        "on 1, current 1, at 1, verified 1, finished 1, runs 1,1m",
        "serving:",
    );
    // It went away in the middle: that has an outcome of its own.
    check(
        "2",
        "on 1 2, prepared 2, installed 2, current 2, left, verified 1, runs 2,1dm, lease held",
        "restarting: restart 2, probe 2, undrain 2, verify 2",
    );
}

#[test]
fn who_is_out_of_service_does_not_wait_for_another_build() {
    check(
        "3 outside, previous 2",
        "on 1 2, prepared 2, installed 2, current 2, left, verified 1, runs 2du,1, lease queued",
        "probing: probe 1, undrain 1, fetch 3, extract 3, post_extract 3, wait for the lease, drain 2, restart 2, \
         probe 2, undrain 2, verify 2",
    );
}

#[test]
fn a_host_whose_target_goes_away_comes_to_an_end_where_all_run() {
    for target in ["nothing", "unreadable"] {
        check(
            target,
            "on 1 2, prepared 2, installed 2, current 2, left, verified 1, runs 2,2, lease held",
            "probing: verify 2",
        );
        // It was flipped, and nothing was restarted yet.
        check(
            target,
            "on 1 2, prepared 2, current 2, left, verified 1, runs 1,1, lease held",
            "activating: activate 1, post_install 1, verify 1",
        );
    }
    check(
        "unknown",
        "on 1 2, prepared 2, current 2, left, verified 1, runs 1,1, lease held",
        "waiting:",
    );
}

#[test]
fn without_a_target_nothing_is_touched() {
    for (target, expected) in [
        ("nothing", "idle:"),
        ("unknown", "waiting:"),
        ("unreadable", "blocked (enabled):"),
    ] {
        check(
            target,
            "on 1, current 1, at 1, verified 1, runs 1,-",
            expected,
        );
    }
}

#[test]
fn method_none_flips_and_counts_as_good() {
    let mut shape = shape("");
    (shape.restarts, shape.drains, shape.probes) = (false, false, Probes::None);
    let text = plan_text(
        "2",
        "on 1 2, prepared 2, current 1, at 1, verified 1, runs 1,-, lease held",
        &shape,
    );
    assert_eq!(text, "activating: activate 2, post_install 2, verify 2");
}

#[test]
fn batches() {
    let text = plan_text(
        "2",
        "on 1 2, prepared 2, installed 2, current 2, left, verified 1, runs 1,1,2,1, lease held",
        &shape("batch 2"),
    );
    assert_eq!(
        text,
        "restarting: drain 1 2, restart 1 2, probe 1 2, undrain 1 2, drain 4, restart 4, probe 4, \
         undrain 4, verify 2"
    );
}

#[test]
fn a_drain_that_has_not_come_to_its_end_is_done_again_and_only_then_restarted() {
    check(
        "2",
        "on 1 2, prepared 2, installed 2, current 2, left, verified 1, runs 1b,1, lease held",
        "restarting: drain 1, restart 1, probe 1, undrain 1, drain 2, restart 2, probe 2, undrain 2, verify 2",
    );
    // Where it need not be restarted after all, it is opened.
    check(
        "1",
        "on 1 2, prepared 2, current 1, installed 1, left, verified 1, runs 1b,1, lease held",
        "restarting: undrain 1, verify 1",
    );
}

#[test]
fn a_host_whose_current_is_no_link_of_ours_begins_nothing() {
    check("2", "on 1, foreign current, runs 1,1", "blocked (current):");
}

#[test]
fn what_may_not_be_read_blocks_where_it_is_waited_for() {
    check(
        "unknown, refused hold",
        "on 1, current 1, at 1, verified 1, runs 1,1",
        "blocked (hold):",
    );
    check(
        "2, cut, refused hold",
        "on 1 2, prepared 2, current 1, at 1, verified 1, finished 1, runs 1,1",
        "blocked (hold):",
    );
    // Nobody waits for it.
    check(
        "1, refused enabled/canary",
        "on 1, current 1, at 1, verified 1, finished 1, runs 1,1",
        "serving:",
    );
}
