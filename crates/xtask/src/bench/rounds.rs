//! Measuring contenders in turn: what else the machine does meets all of them alike.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};

/// One who is measured: a name, and what is to be timed.
pub(crate) struct Contender<'a> {
    /// Its name in the table.
    pub(crate) name: String,
    /// Does it once, and returns how long it took; what is made ready before and cleared away after is not counted.
    pub(crate) once: Box<dyn FnMut() -> Result<Duration> + 'a>,
}

/// What was measured of one contender.
#[derive(Debug, Clone)]
pub(crate) struct Samples {
    /// Its name.
    pub(crate) name: String,
    times: Vec<Duration>,
}

impl<'a> Contender<'a> {
    /// A contender.
    pub(crate) fn new(
        name: impl Into<String>,
        once: impl FnMut() -> Result<Duration> + 'a,
    ) -> Contender<'a> {
        Contender {
            name: name.into(),
            once: Box::new(once),
        }
    }
}

impl Samples {
    /// Samples that were taken elsewhere.
    pub(crate) fn of(name: impl Into<String>, mut times: Vec<Duration>) -> Samples {
        times.sort();
        let name = name.into();
        Samples { name, times }
    }

    /// The time that `share` (0 to 1) of all is not above. Nothing was measured: zero.
    pub(crate) fn quantile(&self, share: f64) -> Duration {
        let last = self.times.len().saturating_sub(1);
        // As many times as anybody measures fit a float.
        let at = (last as f64 * share).round() as usize;
        self.times.get(at).copied().unwrap_or_default()
    }

    /// The median.
    pub(crate) fn median(&self) -> Duration {
        self.quantile(0.5)
    }
}

/// Measures all in turn, as often as there are rounds, after a round that does not count.
pub(crate) fn in_turn(rounds: u32, contenders: &mut [Contender<'_>]) -> Result<Vec<Samples>> {
    let mut times = vec![Vec::new(); contenders.len()];
    for round in 0..=rounds {
        for (contender, times) in contenders.iter_mut().zip(&mut times) {
            let time = (contender.once)().with_context(|| contender.name.clone())?;
            if round > 0 {
                times.push(time);
            }
        }
    }
    let samples = contenders.iter().zip(times);
    Ok(samples
        .map(|(contender, times)| Samples::of(&contender.name, times))
        .collect())
}

/// Does something, and returns how long it took.
pub(crate) fn timed(act: impl FnOnce() -> Result<()>) -> Result<Duration> {
    let since = Instant::now();
    act()?;
    Ok(since.elapsed())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Contender, Samples, in_turn};

    #[test]
    fn the_first_round_does_not_count() {
        let mut round = 0;
        let mut contenders = [Contender::new("a", || {
            round += 1;
            Ok(Duration::from_secs(if round == 1 { 100 } else { round }))
        })];
        let samples = in_turn(3, &mut contenders).expect("it is measured");
        assert_eq!(samples[0].median(), Duration::from_secs(3));
        assert_eq!(samples[0].quantile(1.0), Duration::from_secs(4));
    }

    #[test]
    fn nothing_measured_is_zero() {
        assert_eq!(Samples::of("a", Vec::new()).median(), Duration::ZERO);
    }
}
