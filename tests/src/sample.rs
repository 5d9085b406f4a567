//! How much is run of a test that is long by nature: a sample, or all of it.

use std::time::{SystemTime, UNIX_EPOCH};

/// Tells whether all of it is wanted: `DEPLOY_TEST_LONG=1`.
pub fn is_long() -> bool {
    std::env::var("DEPLOY_TEST_LONG").is_ok_and(|value| value == "1")
}

/// Returns what chance begins with: another number in each run, or that of `DEPLOY_TEST_SEED`. A
/// test prints it, so that a failure can be had again.
///
/// # Panics
/// If the variable is no number.
pub fn seed() -> u64 {
    match std::env::var("DEPLOY_TEST_SEED") {
        Ok(text) => text.parse().expect("DEPLOY_TEST_SEED is a number"),
        Err(_) => SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |since| u64::from(since.subsec_micros())),
    }
}

/// Numbers that are the same for the same seed.
#[derive(Debug)]
pub struct Dice(pub u64);

impl Dice {
    /// Returns a number below `limit`.
    pub fn below(&mut self, limit: u64) -> u64 {
        // Knuth's constants of a linear congruential generator.
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % limit.max(1)
    }

    /// Returns `count` numbers below `limit` in order: one of each of as many equal parts, so that
    /// no stretch is left out.
    pub fn spread(&mut self, count: usize, limit: usize) -> Vec<usize> {
        let count = count.min(limit);
        let part = |part| {
            let (from, to) = (part * limit / count, (part + 1) * limit / count);
            let inside = self.below((to - from) as u64);
            from + usize::try_from(inside).expect("it is below a usize")
        };
        (0..count).map(part).collect()
    }
}
