use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::Clock;

const HOUR: i64 = 3600;
const YEAR: i64 = 365 * 24 * HOUR;
/// Ten in the morning.
const MORNING: i64 = 1_800_000_000;

/// Asks at these seconds, with the clock so wrong then; returns how wrong is what counts.
fn errors(looks: &[(u64, i64)]) -> Vec<i64> {
    let at = |second: i64| Timestamp::from_second(MORNING + second).expect("a time");
    let mut clock = Clock::new(at(0), Duration::ZERO);
    let mut last_error = 0;
    let told = looks.iter().map(|(second, error)| {
        let true_time = i64::try_from(*second).expect("it fits");
        let told = clock.told(at(true_time + error), Duration::from_secs(*second));
        let was_set = (error - last_error).abs() > 5;
        assert_eq!(
            told.set_by.is_some_and(|by| by != SignedDuration::ZERO),
            was_set && *error != 0
        );
        last_error = *error;
        told.now.as_second() - MORNING - true_time
    });
    told.collect()
}

#[test]
fn a_clock_that_is_right_is_believed() {
    assert_eq!(
        errors(&[(0, 0), (30, 0), (60, 1), (90, 3), (120, 5)]),
        [0, 0, 1, 3, 5]
    );
}

#[test]
fn a_clock_that_was_set_forward_ends_nothing() {
    for by in [HOUR, YEAR] {
        assert_eq!(
            errors(&[(30, by), (60, by), (600, by), (700, 0)]),
            [0, 0, 0, 0]
        );
    }
}

#[test]
fn a_clock_that_was_set_back_ends_nothing() {
    for by in [-HOUR, -YEAR] {
        assert_eq!(errors(&[(30, by), (60, by), (90, 0)]), [by, by, 0]);
    }
}

#[test]
fn a_time_that_stands_is_believed() {
    for by in [HOUR, -HOUR, YEAR, -YEAR] {
        let told = errors(&[(30, by), (60, by), (930, by), (960, by)]);
        assert_eq!(told, [by.min(0), by.min(0), by, by]);
    }
    // A second time that it is set, it has to stand anew.
    assert_eq!(errors(&[(30, HOUR), (900, YEAR), (960, YEAR)]), [0, 0, 0]);
}

#[test]
fn times_without_end_are_survived() {
    let mut clock = Clock::new(Timestamp::MAX, Duration::ZERO);
    clock.told(Timestamp::MIN, Duration::MAX);
    clock.told(Timestamp::MAX, Duration::ZERO);
}
