//! From the flip to serving: what deployd itself adds to the restart of an instance.
//!
//! The instances are ready at once, one answer is enough for their probe, and nothing waits for a
//! balancer: so what is left beyond the restart and the request, done by hand in the same rounds, is
//! deployd's own.

mod booted;
mod journey;
mod link;
mod site;

use std::time::Duration;

use anyhow::{Context, Result};

use self::booted::Booted;
use self::journey::{Journey, Taken};
use self::site::Site;
use super::ground::Ground;
use super::rounds::Samples;
use super::table::{Table, milliseconds};
use crate::debian;
use crate::demo::trial;
use crate::netns::Netns;

/// One instance, and as many as a host has where they are restarted one by one.
const COUNTS: [usize; 2] = [1, 4];
/// On a host with a systemd, which takes longer to make.
const BOOTED_COUNT: usize = 4;
const STEPS: [(&str, &str); 7] = [
    ("ask", "ask for a lease"),
    ("activate", "activate (the flip)"),
    ("drain", "drain"),
    ("restart", "restart"),
    ("probe", "probe"),
    ("undrain", "undrain"),
    ("verify", "verify"),
];

/// Measures it.
pub(crate) fn run(ground: &Ground) -> Result<Vec<Table>> {
    debian::install(debian::FOR_DEMO)?;
    let own_program = std::env::current_exe().context("this program has no path")?;
    let may = debian::install(debian::FOR_DRAINING).and_then(|()| trial::ask(&own_program));
    let network = may.and_then(|()| network());
    let mut totals = Table::new(
        "From the flip to a report that says `serving`",
        [
            "instances",
            "deployd",
            "slowest",
            "by hand",
            "added",
            "added per instance",
            "processor time",
        ],
    );
    let mut tables = Vec::new();
    for count in COUNTS {
        let netns = match &network {
            Ok(()) => Some(network_of_its_own()?),
            Err(_) => None,
        };
        let mut host = Host::Site(Site::start(ground, netns, count)?);
        let what = format!("{count}, restarted by a command");
        add(
            &what,
            &host.measure(ground.rounds, count)?,
            (&mut totals, &mut tables),
        );
    }
    totals.note(
        "By hand: the same restart and one request of the probe, an instance after the other.",
    );
    if let Err(error) = network {
        totals.note(format!("Nothing is drained: {error:#}"));
    }
    match Booted::start(BOOTED_COUNT, ground.scratch()) {
        Ok(booted) => {
            let measured = Host::Booted(booted).measure(ground.rounds, BOOTED_COUNT)?;
            let what = format!("{BOOTED_COUNT}, restarted by systemd on a booted host");
            add(&what, &measured, (&mut totals, &mut tables));
        }
        Err(error) => totals.note(format!("Not measured with systemd: {error:#}")),
    }
    tables.insert(0, totals);
    tables.push(link::run(ground)?);
    Ok(tables)
}

fn add(what: &str, measured: &Measured, (totals, steps): (&mut Table, &mut Vec<Table>)) {
    totals.row(measured.total(what));
    steps.push(measured.steps(what));
}

/// A network whose loopback device works.
fn network_of_its_own() -> Result<Netns> {
    let netns = Netns::make()?;
    netns.raise_loopback()?;
    Ok(netns)
}

/// Who may have one only as another user can't come back from it, and the other parts are to be measured too.
fn network() -> Result<()> {
    network_of_its_own().map(drop)
}

/// Where it is measured.
enum Host {
    Site(Site),
    Booted(Booted),
}

/// What was measured on one host.
struct Measured {
    count: usize,
    journeys: Vec<Journey>,
    by_hand: Samples,
    processor: Duration,
}

impl Host {
    fn measure(&mut self, rounds: u32, count: usize) -> Result<Measured> {
        let (mut journeys, mut by_hand) = (Vec::new(), Vec::new());
        let mut processor = Duration::ZERO;
        for round in 0..=rounds {
            let floor = self.by_hand()?;
            let before = self.processor_time()?;
            let journey = self.deploy()?;
            // The first does not count.
            if round > 0 {
                by_hand.push(floor);
                processor += self.processor_time()?.saturating_sub(before);
                journeys.push(journey);
            }
        }
        Ok(Measured {
            count,
            journeys,
            by_hand: Samples::of("by hand", by_hand),
            processor: processor / rounds,
        })
    }

    fn by_hand(&self) -> Result<Duration> {
        match self {
            Host::Site(site) => site.by_hand(),
            Host::Booted(booted) => booted.by_hand(),
        }
    }

    fn deploy(&mut self) -> Result<Journey> {
        match self {
            Host::Site(site) => site.deploy(),
            Host::Booted(booted) => booted.deploy(),
        }
    }

    fn processor_time(&self) -> Result<Duration> {
        match self {
            Host::Site(site) => site.processor_time(),
            Host::Booted(booted) => booted.processor_time(),
        }
    }
}

impl Measured {
    fn total(&self, what: &str) -> Vec<String> {
        let times = self.journeys.iter().map(Journey::flip_to_serving);
        let ours = Samples::of("deployd", times.collect());
        let added = ours.median().saturating_sub(self.by_hand.median());
        // A host has few instances.
        let each = added.div_f64(self.count as f64);
        let times = [
            ours.median(),
            ours.quantile(1.0),
            self.by_hand.median(),
            added,
            each,
            self.processor,
        ];
        std::iter::once(what.to_owned())
            .chain(times.map(milliseconds))
            .collect()
    }

    fn steps(&self, what: &str) -> Table {
        let mut table = Table::new(
            &format!("The steps: {what}"),
            [
                "all steps of a name",
                "looking and writing before",
                "performing",
            ],
        );
        let mut sum = Taken::default();
        for (word, name) in STEPS {
            let of_all = |part: fn(Taken) -> Duration| {
                let times = self.journeys.iter().map(|journey| part(journey.step(word)));
                Samples::of(name, times.collect()).median()
            };
            let taken = Taken {
                before: of_all(|taken| taken.before),
                performing: of_all(|taken| taken.performing),
            };
            sum.before += taken.before;
            sum.performing += taken.performing;
            table.row([
                name.to_owned(),
                milliseconds(taken.before),
                milliseconds(taken.performing),
            ]);
        }
        table.row([
            "together".to_owned(),
            milliseconds(sum.before),
            milliseconds(sum.performing),
        ]);
        table
    }
}
