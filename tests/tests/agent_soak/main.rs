//! Deployment after deployment on three hosts, each with faults from a seeded generator: every one
//! ends where it should, no request is lost, and nothing grows.
//!
//! A few dozen deployments by default. `DEPLOY_TEST_LONG=1 cargo test -p tests --test agent_soak --
//! --nocapture` makes it 200, and compares the figures of the beginning with those of the end;
//! `DEPLOY_TEST_SEED=N` gives the faults of an earlier run again.
//!
//! ```text
//! dice    random numbers, and the order in which faults come
//! rig     three agents behind proxies on one ZooKeeper, and one deployment on them
//! faults  what is done to a deployment, a table
//! outside what clients see, all the time
//! check   what must hold after each deployment
//! figures what must not grow
//! last    what is said last where it fails
//! ```

mod check;
mod dice;
mod faults;
mod figures;
mod last;
mod outside;
mod private;
mod rig;

use std::collections::BTreeMap;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use self::dice::{Deck, Dice};
use self::faults::{ALONE, Companion, FAULTS, NO_FAULT};
use self::figures::Figures;
use self::last::LastWords;
use self::outside::Outside;
use self::rig::{Case, Progress, Rig, SERVICES};

/// Deployments where nobody asks for a long run.
const SHORT: usize = 20;
/// Deployments of a long run.
const LONG: usize = 200;
/// A long run takes minutes: a line that often.
const SAY_EVERY: usize = 20;

#[test]
fn two_hundred_deployments_with_faults() {
    if private::again_with_own_mounts("two_hundred_deployments_with_faults") {
        return;
    }
    let long = std::env::var("DEPLOY_TEST_LONG").is_ok_and(|value| value == "1");
    let wanted = if long { LONG } else { SHORT };
    let seed = seed();
    println!("soak: {wanted} deployments, DEPLOY_TEST_SEED={seed}");
    let _last = LastWords::listen();
    last::keep(format!("DEPLOY_TEST_SEED={seed}"));
    let Some(rig) = Rig::start() else { return };
    let mut progress = SERVICES.map(|service| Progress::first(&rig, service));
    let outside = Outside::start(&rig);
    let mut tally = Tally::default();
    let mut figures = Figures::default();
    let mut dice = Dice::new(seed);
    let mut deck = Deck::default();
    let begin = Instant::now();
    for deployment in 1..=wanted {
        let fault = deck.draw(FAULTS.len(), &mut dice);
        let progress = &mut progress[dice.below(SERVICES.len())];
        let mut case = Case::new((&rig, &outside), progress, dice.split());
        one(fault, &mut case, &mut tally);
        figures.take(deployment, &rig, outside.counts());
        if deployment % SAY_EVERY == 0 {
            let seconds = begin.elapsed().as_secs();
            println!("soak: {deployment} deployments in {seconds} s");
        }
    }
    let counts = outside.finish();
    figures.print();
    println!("{}", tally.table());
    let (faults, kinds) = tally.faults();
    println!(
        "figure: survived {} faults of {} kinds in {wanted} deployments ({} rollouts, {} s, seed \
         {seed}), lost {} of {} requests, never more than {} host of a service out in {} looks",
        faults,
        kinds,
        progress.iter().map(Progress::rollouts).sum::<u64>(),
        begin.elapsed().as_secs(),
        counts.lost,
        counts.requests,
        counts.out_max,
        counts.looks,
    );
    figures.are_flat(rig.hosts[0].agent.process());
}

/// One deployment with its fault, and perhaps another one beside it.
fn one(fault: usize, case: &mut Case<'_>, tally: &mut Tally) {
    let (name, perform) = FAULTS[fault];
    let begin = Instant::now();
    let companion = Companion::choose(case);
    let beside = companion.as_ref().map_or(ALONE, Companion::name);
    let story = case.tell(name, beside);
    let build = std::thread::scope(|scope| {
        if let Some(companion) = companion {
            scope.spawn(move || companion.perform());
        }
        perform(case)
    });
    case.is_served(&build);
    check::holds(case, &build);
    case.progress.is_at(&build);
    case.outside.counts();
    story.over();
    for fault in [name, beside] {
        tally.count(fault, begin.elapsed());
    }
}

fn seed() -> u64 {
    match std::env::var("DEPLOY_TEST_SEED") {
        Ok(text) => text.parse().expect("DEPLOY_TEST_SEED is a number"),
        Err(_) => {
            let now = SystemTime::now().duration_since(UNIX_EPOCH);
            now.map_or(1, |now| now.as_secs() % 100_000)
        }
    }
}

/// How often each fault happened, and how long its deployments took.
#[derive(Default)]
struct Tally {
    kinds: BTreeMap<&'static str, Vec<Duration>>,
}

impl Tally {
    fn count(&mut self, name: &'static str, took: Duration) {
        self.kinds.entry(name).or_default().push(took);
    }

    /// How many faults there were, and of how many kinds.
    fn faults(&self) -> (usize, usize) {
        let none = [NO_FAULT, ALONE];
        let kinds = self.kinds.iter().filter(|(name, _)| !none.contains(name));
        let times: Vec<usize> = kinds.map(|(_, took)| took.len()).collect();
        (times.iter().sum(), times.len())
    }

    fn table(&self) -> String {
        let mut text = String::from("times  median  worst  fault\n");
        for (name, took) in &self.kinds {
            let mut took = took.clone();
            took.sort_unstable();
            let (median, worst) = (took[took.len() / 2], took[took.len() - 1]);
            let (median, worst) = (median.as_secs_f64(), worst.as_secs_f64());
            let times = took.len();
            text += &format!("{times:5} {median:6.1}s {worst:5.1}s  {name}\n");
        }
        text
    }
}
