//! What systemd has said of units: asking starts a program, which on a host with nothing to do is most of what it would
//! cost, and in a rollout most of what is between two steps.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::{SystemdError, Unit, is_same_start, show_all};

/// What systemd has said of each unit, and when.
#[derive(Debug, Default)]
pub(crate) struct Answers(Mutex<BTreeMap<String, (Unit, Instant)>>);

impl Answers {
    /// Returns what systemd says of units, in their order. What it has said within `age` is taken for so where the unit
    /// has the same start still. A unit that is down, or that something keeps from being started, is asked for each time: that may
    /// be over at any moment.
    pub(crate) async fn units(
        &self,
        names: &[&str],
        age: Duration,
    ) -> Vec<Result<Unit, SystemdError>> {
        let known: Vec<Option<Unit>> = names.iter().map(|name| self.known(name, age)).collect();
        let of_known = names.iter().zip(&known);
        let unknown = of_known.filter(|(_, known)| known.is_none());
        let unknown: Vec<&str> = unknown.map(|(name, _)| *name).collect();
        let asked = Instant::now();
        let mut answers = match unknown.as_slice() {
            [] => Vec::new(),
            unknown => show_all(unknown).await,
        }
        .into_iter();
        let answer = |(name, known): (&&str, Option<Unit>)| match known {
            Some(unit) => Some(Ok(unit)),
            None => Some(answers.next()?.inspect(|unit| self.keep(name, unit, asked))),
        };
        names.iter().zip(known).filter_map(answer).collect()
    }

    fn known(&self, name: &str, age: Duration) -> Option<Unit> {
        let answers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (unit, asked) = answers.get(name)?;
        let stands = asked.elapsed() < age
            && unit.is_up()
            && unit.obstacle(name).is_none()
            && is_same_start(name, unit);
        stands.then(|| unit.clone())
    }

    fn keep(&self, name: &str, unit: &Unit, asked: Instant) {
        let mut answers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        answers.insert(name.to_owned(), (unit.clone(), asked));
    }
}
