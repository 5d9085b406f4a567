//! What happens to a simulated fleet, and how it is told when that is over.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use deploy_core::artifact::Artifact;
use deploy_core::lease::crowd::Tally;
use deploy_core::wire;
use deploy_core::wire::report::Report;
use serde_json::{Value, json};

use super::counts::{Cost, Counts};
use super::talk::{Answer, Ask, State, Traffic, now};
use super::{Farm, LIMIT};
use crate::eventually::eventually;

/// Nobody has asked for anything for so long: all have done what they had to.
const QUIET: Duration = Duration::from_secs(2);
/// How often the traffic is looked at.
const SAMPLE: Duration = Duration::from_millis(100);

/// What a rollout took.
#[derive(Debug, Clone)]
pub struct Rollout {
    /// From the write of the target to the first step of each host, shortest first.
    pub reactions: Vec<Duration>,
    /// Until every host served the build.
    pub served: Duration,
    /// Until every report said so in ZooKeeper.
    pub reported: Duration,
    /// What it cost.
    pub cost: Cost,
}

/// What a restart of ZooKeeper took.
#[derive(Debug, Clone)]
pub struct Comeback {
    /// How long it was away.
    pub away: Duration,
    /// From when it served again until every host had its link.
    pub linked: Duration,
    /// Until it was quiet again.
    pub settled: Duration,
    /// The most connections that came up within a tenth of a second.
    pub connects_peak: u64,
    /// The most requests within a tenth of a second.
    pub requests_peak: u64,
    /// Requests and connections in all, for each host.
    pub requests: f64,
    /// Connections for each host.
    pub connects: f64,
}

/// What it takes to wait for a lease of which there is one.
#[derive(Debug, Clone)]
pub struct Queue {
    /// What it cost to join the queue.
    pub joining: Cost,
    /// What it cost to wait in it, in a time in which nothing was given back.
    pub waiting: Cost,
    /// What it cost while leases were given back and taken, one after the other.
    pub moving: Cost,
    /// How many were given back in that time.
    pub given_back: usize,
}

impl Farm {
    /// Lets all hosts wait for the one lease, for this time; then lets it go from one to the next for as long, or until
    /// nobody waits; and then lets everybody have one.
    ///
    /// # Panics
    /// If not all join the queue, or not all serve in the end.
    pub fn queue(&mut self, time: Duration) -> Queue {
        self.concurrency(json!(1));
        let holder = format!("{}/nobody-0000000000", self.tree.leases());
        self.znodes.put(&holder, r#"{"v":1,"host":"nobody"}"#);
        self.await_quiet();
        let build = self.build();
        let before = self.count();
        self.enable(&build);
        // In the queue, as many as there is room for, or outside of it.
        self.ask(&Ask::Await(State::Waiting(build.0.clone())));
        self.await_quiet();
        let joining = self.cost_since(before);
        let waiting = self.rest(time);
        let before = self.count();
        let then = self.tally();
        self.znodes.delete(&holder);
        // With few hosts all have had their turn before.
        let deadline = Instant::now() + time;
        while Instant::now() < deadline && !self.znodes.children(&self.tree.leases()).is_empty() {
            std::thread::sleep(SAMPLE);
        }
        let moving = self.cost_since(before);
        let given_back = self.tally().given_back_since(then) as usize;
        self.concurrency(json!(self.hosts));
        self.await_serving(&build.0);
        Queue {
            joining,
            waiting,
            moving,
            given_back,
        }
    }

    fn tally(&self) -> Tally {
        let queue = self.znodes.get(&self.tree.leases());
        let stat = queue.expect("there was a lease").stat;
        Tally::of(stat.children_version, stat.num_children)
    }

    /// Rolls a new build out, with this restart concurrency.
    ///
    /// # Panics
    /// If it does not reach every host.
    pub fn roll_out(&mut self, concurrency: Value) -> Rollout {
        self.concurrency(concurrency);
        let build = self.build();
        self.bring_to(build)
    }

    /// Goes back to the build before, which every host has still.
    ///
    /// # Panics
    /// If not all get there.
    pub fn roll_back(&mut self) -> Rollout {
        self.concurrency(json!(self.hosts));
        let before = self.before.take().expect("there was a build before");
        self.rollouts += 1;
        self.bring_to(before)
    }

    fn bring_to(&mut self, build: (String, Artifact)) -> Rollout {
        self.await_quiet();
        let before = self.count();
        self.ask(&Ask::WatchFirstSteps(build.0.clone()));
        let begun = now();
        self.enable(&build);
        let reactions = self.reactions_since(begun);
        let rollout = self.await_all(&build.0, (begun, before), reactions);
        self.before = self.now.replace(build);
        rollout
    }

    /// Writes so many targets, one behind the other, and waits until the last is served.
    ///
    /// # Panics
    /// If it does not reach every host.
    pub fn burst(&mut self, changes: usize) -> Rollout {
        self.concurrency(json!(self.hosts));
        self.await_quiet();
        let before = self.count();
        let begun = now();
        let mut last = None;
        for _ in 0..changes {
            let build = self.build();
            self.enable(&build);
            last = Some(build.0);
        }
        let last = last.expect("there is a change");
        self.await_all(&last, (begun, before), Vec::new())
    }

    /// Waits until all serve and report a build, and it is quiet; tells what it took since it had begun.
    fn await_all(
        &mut self,
        build: &str,
        (begun, before): (Duration, Counts),
        reactions: Vec<Duration>,
    ) -> Rollout {
        self.await_serving(build);
        let served = now() - begun;
        self.await_reported(build);
        let reported = now() - begun;
        self.await_quiet();
        Rollout {
            reactions,
            served,
            reported,
            cost: self.cost_since(before),
        }
    }

    /// What every host costs with nothing to do, in this time.
    pub fn rest(&mut self, time: Duration) -> Cost {
        let before = self.count();
        std::thread::sleep(time);
        self.cost_since(before)
    }

    /// Kills ZooKeeper, starts it again, and waits until all is quiet.
    ///
    /// # Panics
    /// If a host does not come back.
    pub fn restart_zookeeper(&mut self) -> Comeback {
        self.await_quiet();
        let first = self.traffic();
        let killed = Instant::now();
        self.server.kill();
        self.server.launch();
        self.server.wait_ready();
        let back = Instant::now();
        let away = back.duration_since(killed);
        // What was tried while nobody listened counts in all, and for no peak.
        let mut samples = vec![self.traffic()];
        let mut linked = None;
        let mut window = Window::default();
        let settled = loop {
            std::thread::sleep(SAMPLE);
            let now = self.traffic();
            if now.connects > samples.last().map_or(0, |last| last.connects) {
                window = Window::default();
            }
            samples.push(now);
            if linked.is_none() && now.linked == self.hosts {
                linked = Some(back.elapsed());
            }
            match window.quiet_since(now.requests, self.hosts) {
                Some(since) if linked.is_some() => break since.duration_since(back),
                _ => {}
            }
            assert!(back.elapsed() < LIMIT, "not all hosts come back");
        };
        let last = *samples.last().expect("there is a sample");
        let peak = |of: fn(&Traffic) -> u64| {
            let steps = samples.windows(2).map(|pair| of(&pair[1]) - of(&pair[0]));
            steps.max().unwrap_or_default()
        };
        let each = |count: u64| count as f64 / self.hosts as f64;
        Comeback {
            away,
            linked: linked.expect("it was waited for"),
            settled,
            requests_peak: peak(|sample| sample.requests),
            connects_peak: peak(|sample| sample.connects),
            requests: each(last.requests - first.requests),
            connects: each(last.connects - first.connects),
        }
    }

    /// Waits until nobody asks for more than heartbeats and slow re-reads take.
    ///
    /// # Panics
    /// If it never gets quiet.
    pub fn await_quiet(&mut self) {
        let mut window = Window::default();
        eventually("the fleet is quiet", LIMIT, || {
            std::thread::sleep(SAMPLE);
            let requests = self.traffic().requests;
            window.quiet_since(requests, self.hosts).ok_or(requests)
        });
    }

    /// Returns how long each host took from then to its first step, which is watched for, the shortest first.
    fn reactions_since(&mut self, begun: Duration) -> Vec<Duration> {
        let answers = self.ask(&Ask::FirstSteps).into_iter();
        let steps = answers.flat_map(|answer| match answer {
            Answer::FirstSteps(steps) => steps,
            other => panic!("who was to time first steps said {other:?}"),
        });
        let mut reactions: Vec<_> = steps.map(|at| at.saturating_sub(begun)).collect();
        reactions.sort();
        reactions
    }

    fn await_serving(&mut self, build: &str) {
        self.ask(&Ask::Await(State::Serving(build.to_owned())));
    }

    fn await_reported(&self, build: &str) {
        let serving = State::Serving(build.to_owned());
        for number in 0..self.hosts {
            let path = self.tree.host(&Farm::name(number));
            eventually("its report says that it serves", LIMIT, || {
                let znode = self.znodes.get(&path).ok_or("no report".to_owned())?;
                let report =
                    wire::decode::<Report>(&znode.data).map_err(|error| error.to_string())?;
                if serving.is_said_by(&report) {
                    Ok(())
                } else {
                    Err(format!("{report:?}"))
                }
            });
        }
    }
}

/// The requests of the last moments, to tell whether they are more than those of a fleet at rest.
///
/// Not sample by sample: a host reads all that it watches at once, and a sample may come late.
#[derive(Default)]
struct Window {
    /// When something was counted, oldest first.
    samples: VecDeque<(Instant, u64)>,
}

impl Window {
    /// Adds what is counted now, and tells since when it is quiet, if it is: long enough, and less than one request of each host a
    /// second. Heartbeats and slow re-reads are half of that at most.
    fn quiet_since(&mut self, requests: u64, hosts: usize) -> Option<Instant> {
        self.samples.push_back((Instant::now(), requests));
        while self.samples.get(1).is_some_and(is_old) {
            self.samples.pop_front();
        }
        let first = self.samples.front().filter(|first| is_old(first))?;
        let rate = (requests - first.1) as f64 / first.0.elapsed().as_secs_f64();
        (rate < hosts as f64).then_some(first.0)
    }
}

fn is_old((at, _): &(Instant, u64)) -> bool {
    at.elapsed() >= QUIET
}
