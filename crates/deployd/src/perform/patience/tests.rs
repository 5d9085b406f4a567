use std::time::Duration;

use super::{GAP_MAX, Patience, TICK};

const TIME: Duration = Duration::from_secs(30);

#[test]
fn time_that_passes_counts() {
    let mut patience = Patience::new(TIME);
    let begin = patience.counted;
    for tick in 1..=120 {
        patience.count(begin + TICK * tick);
    }
    assert_eq!(patience.left(), Duration::from_secs(18));
    // A busy host is late.
    patience.count(begin + TICK * 120 + GAP_MAX);
    assert_eq!((patience.left(), patience.gaps()), (TIME - TICK * 130, 0));
    for tick in 131..=400 {
        patience.count(begin + TICK * tick);
    }
    assert_eq!(patience.left(), Duration::ZERO);
}

#[test]
fn time_in_which_we_stood_still_does_not() {
    let mut patience = Patience::new(TIME);
    patience.count(patience.counted + 20 * TIME);
    assert_eq!((patience.left(), patience.gaps()), (TIME - GAP_MAX, 1));
}
