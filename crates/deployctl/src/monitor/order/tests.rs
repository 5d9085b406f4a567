//! Filters, windows, and who comes first.

use super::{Listed, glob, hosts, matches, services, window};
use crate::monitor::fixture::{api, fleet, model, story, web, worker};
use crate::monitor::model::Show;

#[test]
fn a_filter_is_a_part_of_the_name_or_a_pattern_and_may_be_turned_round() {
    for (filter, name, expected) in [
        ("", "web-01", true),
        ("b-0", "web-01", true),
        ("x", "web-01", false),
        ("web-*", "web-01", true),
        ("*-01", "web-01", true),
        ("web-?", "web-01", false),
        ("web-??", "web-01", true),
        ("w*b*1", "web-01", true),
        ("w*b*2", "web-01", false),
        ("!web*", "web-01", false),
        ("!api", "web-01", true),
        ("!", "web-01", true),
    ] {
        assert_eq!(matches(filter, name), expected, "{filter:?} {name:?}");
    }
    // A pattern that would take for ever if it were tried in every way.
    assert!(!glob("*a".repeat(60).as_bytes(), "a".repeat(59).as_bytes()));
}

#[test]
fn a_window_is_around_the_cursor_and_never_outside() {
    assert_eq!(window(0, None, 5), 0..0);
    assert_eq!(window(3, Some(2), 5), 0..3);
    assert_eq!(window(100, None, 5), 0..5);
    assert_eq!(window(100, Some(50), 5), 48..53);
    assert_eq!(window(100, Some(99), 5), 95..100);
    assert_eq!(window(100, Some(99), 0), 99..99);
}

#[track_caller]
fn check(rows: usize, show: Show, expected: &str) {
    let mut model = story((80, 24), 12);
    model.show = show;
    let view = model.view().unwrap();
    let Listed { hosts, folded } = hosts(&model, view, rows);
    let names = |listed: &[(&deploy_core::name::HostName, _)]| {
        let names: Vec<&str> = listed.iter().map(|(name, _)| &name.as_str()[4..]).collect();
        names.join(" ")
    };
    assert_eq!(format!("{} | {}", names(&hosts), names(&folded)), expected);
}

#[test]
fn failures_come_first_and_what_is_fine_folds_where_not_all_fit() {
    check(12, Show::Folded, "09 12 07 08 10 11 01 02 03 04 05 06 | ");
    check(11, Show::Folded, "09 12 07 08 10 11 01 02 03 04 | 05 06");
    check(7, Show::Folded, "09 12 07 08 10 11 | 01 02 03 04 05 06");
    check(2, Show::Folded, "09 12 07 08 10 11 | 01 02 03 04 05 06");
    check(2, Show::All, "09 12 07 08 10 11 01 02 03 04 05 06 | ");
    check(12, Show::Trouble, "09 12 | ");
}

#[test]
fn services_are_in_their_order_where_all_fit_and_else_by_need() {
    let fleets = vec![fleet("idle"), api(), web(12), worker()];
    let model = model((80, 24), fleets);
    let names = |rows| {
        services(&model, rows)
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>()
    };
    assert_eq!(names(4), ["api", "idle", "web", "worker"]);
    assert_eq!(names(3), ["web", "worker", "api", "idle"]);
}
