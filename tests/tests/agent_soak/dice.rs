//! Random numbers that come again with the same seed.

use std::time::Duration;

/// Steele, Lea and Flood's SplitMix64: any seed is good, and one gives many.
#[derive(Debug, Clone)]
pub(crate) struct Dice(u64);

impl Dice {
    /// Returns one for a seed.
    pub(crate) fn new(seed: u64) -> Dice {
        Dice(seed)
    }

    fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Returns a number below `limit`.
    pub(crate) fn below(&mut self, limit: usize) -> usize {
        let limit = u64::try_from(limit).expect("it fits");
        usize::try_from(self.roll() % limit).expect("it is below the limit")
    }

    /// Returns a time up to `most`.
    pub(crate) fn time(&mut self, most: Duration) -> Duration {
        let most = usize::try_from(most.as_micros()).expect("it fits");
        Duration::from_micros(u64::try_from(self.below(most.max(1))).expect("it fits"))
    }

    /// Returns other dice: what is done with them changes nothing of what these give.
    pub(crate) fn split(&mut self) -> Dice {
        Dice(self.roll())
    }
}

/// Cards that are dealt in random order, each once, before any comes again.
#[derive(Debug, Default)]
pub(crate) struct Deck {
    left: Vec<usize>,
}

impl Deck {
    /// Returns the next of `cards` cards.
    pub(crate) fn draw(&mut self, cards: usize, dice: &mut Dice) -> usize {
        if self.left.is_empty() {
            self.left = (0..cards).collect();
        }
        self.left.swap_remove(dice.below(self.left.len()))
    }
}
