//! A whole fleet and its queue, with the time that requests take: never more out of service than may be, everybody gets a turn, and what one
//! costs does not depend on how many there are.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::time::Duration;

use proptest::prelude::Strategy;

use super::super::crowd::{
    FIRST_LOOK, Joined, LOOK_TIME, ROOM, Tally, ahead_outside, all_are_granted, joined, look_again,
    room, waits_for_shorter,
};
use super::super::{Follow, ahead, before, follow};
use crate::wire::tests::properties::check;

/// Microseconds.
type Time = u64;

const SECOND: Time = 1_000_000;
/// How long a request takes, at most, where nobody has much to do.
const TRIP: Time = SECOND / 50;
/// Bytes of a name in a list.
const NAME: u64 = 25;
/// Nothing takes as long.
const FOR_EVER: Time = 1_000_000 * SECOND;

#[derive(Debug, Clone, Copy)]
struct Shape {
    hosts: u64,
    limit: u64,
    /// How long a host is out of service, about.
    restart: Time,
    /// In what time all come to want a lease.
    within: Time,
    /// How many of the hosts fail, and keep their lease.
    failing: u64,
    /// How many have an older agent, which joins however long the queue is, and goes by its names.
    older: u64,
    /// How long a request takes, at most.
    trip: Time,
    /// After what time somebody's lease is broken, again and again.
    broken: Option<Time>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    /// Wants a lease.
    Ask(usize),
    /// Joins.
    Create(usize),
    /// Looks where it is, just joined.
    Count(usize),
    /// Looks from outside.
    Look(usize),
    /// Looks from inside: something has changed.
    Woken(usize),
    /// Looks from inside, by itself.
    Inside(usize),
    /// Finds that it was one of too many.
    Leave(usize),
    /// Is in service again.
    Release(usize),
    /// Somebody breaks a lease.
    Break,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
enum State {
    /// Wants no lease yet, or is on its way to one, or outside.
    #[default]
    Out,
    /// In the queue, and knows no more.
    Joined(Time),
    /// In the queue, and follows it.
    Near,
    /// In the queue, and follows this lease; so many were before its own, and so many given back, when it read that.
    Behind(u64, usize, u32),
    Held,
    Done,
}

#[derive(Debug, Clone, Default)]
struct Host {
    lease: Option<u64>,
    /// What it counted before it joined.
    counted: Tally,
    state: State,
    /// When it looked last by itself, and what was given back then; how long it waits for the next time.
    looked: (Time, u32),
    wait: Duration,
    /// It will look by itself, it will look for it was woken.
    is_timed: bool,
    is_woken: bool,
    looks: u64,
    list_bytes: u64,
    joins: u64,
}

struct Fleet {
    shape: Shape,
    hosts: Vec<Host>,
    queue: BTreeMap<u64, usize>,
    made: u64,
    events: BinaryHeap<Reverse<(Time, u64, Event)>>,
    ordinal: u64,
    now: Time,
    random: u64,
    /// How many hold a lease that is there, and how many need none any more.
    held: u64,
    done: u64,
    longest: usize,
    woken_most: usize,
}

#[derive(Debug)]
struct Outcome {
    seconds: f64,
    /// Each of these of one host.
    looks: f64,
    joins: f64,
    list_bytes: f64,
    longest: usize,
    woken_most: usize,
}

impl Fleet {
    fn play(shape: Shape, seed: u64) -> Outcome {
        let host = Host {
            wait: FIRST_LOOK,
            ..Host::default()
        };
        let mut fleet = Fleet {
            shape,
            hosts: vec![host; usize::try_from(shape.hosts).unwrap()],
            queue: BTreeMap::new(),
            made: 0,
            events: BinaryHeap::new(),
            ordinal: 0,
            now: 0,
            random: seed | 1,
            held: 0,
            done: 0,
            longest: 0,
            woken_most: 0,
        };
        for host in 0..fleet.hosts.len() {
            let at = fleet.below(shape.within);
            fleet.after(at, Event::Ask(host));
        }
        if let Some(time) = shape.broken {
            fleet.after(time, Event::Break);
        }
        // Those who fail are the first to hold a lease, and let the others go on.
        while fleet.done < shape.hosts {
            let Reverse((now, _, event)) = fleet.events.pop().expect("somebody is stuck");
            assert!(now < FOR_EVER, "somebody waits for ever: {shape:?}");
            fleet.now = now;
            fleet.happens(event);
            fleet.longest = fleet.longest.max(fleet.queue.len());
        }
        fleet.outcome()
    }

    fn outcome(&self) -> Outcome {
        let each = |of: fn(&Host) -> u64| {
            self.hosts.iter().map(of).sum::<u64>() as f64 / self.hosts.len() as f64
        };
        Outcome {
            seconds: self.now as f64 / SECOND as f64,
            looks: each(|host| host.looks),
            joins: each(|host| host.joins),
            list_bytes: each(|host| host.list_bytes),
            longest: self.longest,
            woken_most: self.woken_most,
        }
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random % limit.max(1)
    }

    fn after(&mut self, wait: Time, event: Event) {
        self.ordinal += 1;
        let at = self.now + wait;
        self.events.push(Reverse((at, self.ordinal, event)));
    }

    /// After a request.
    fn soon(&mut self, event: Event) {
        let trip = self.shape.trip;
        let trip = trip / 4 + self.below(trip * 3 / 4);
        self.after(trip, event);
    }

    /// As long as this host waits, more or less.
    fn later(&mut self, host: usize, event: Event) {
        let wait = u64::try_from(self.hosts[host].wait.as_micros()).unwrap();
        let wait = wait / 2 + self.below(wait);
        self.after(wait, event);
    }

    fn tally(&self) -> Tally {
        let leases = self.queue.len() as u64;
        Tally {
            leases,
            made: self.made.try_into().unwrap(),
            given_back: (self.made - leases).try_into().unwrap(),
        }
    }

    fn room(&self) -> u64 {
        room(self.shape.limit, None)
    }

    fn is_older(&self, host: usize) -> bool {
        (host as u64) < self.shape.older
    }

    fn happens(&mut self, event: Event) {
        match event {
            Event::Ask(host) if self.is_older(host) || self.tally().leases < self.room() => {
                self.joins(host);
            }
            Event::Ask(host) => self.stay_outside(host),
            Event::Create(host) => self.join(host),
            Event::Count(host) => self.count(host),
            Event::Look(host) => self.look(host),
            Event::Woken(host) => {
                self.hosts[host].is_woken = false;
                self.look_inside(host);
            }
            Event::Inside(host) => {
                self.hosts[host].is_timed = false;
                self.look_inside(host);
            }
            Event::Leave(host) => {
                if self.gone(host) {
                    self.hosts[host].state = State::Out;
                    self.stay_outside(host);
                }
            }
            Event::Release(host) => {
                self.gone(host);
                self.hosts[host].state = State::Done;
                self.done += 1;
            }
            Event::Break => self.breaks(),
        }
    }

    /// Has found room, and joins a moment later.
    fn joins(&mut self, host: usize) {
        self.hosts[host].counted = self.tally();
        self.soon(Event::Create(host));
    }

    fn join(&mut self, host: usize) {
        self.queue.insert(self.made, host);
        self.hosts[host].lease = Some(self.made);
        self.hosts[host].joins += 1;
        self.hosts[host].state = State::Joined(self.now);
        self.made += 1;
        self.wake(None);
        self.soon(Event::Count(host));
    }

    fn count(&mut self, host: usize) {
        let Some(number) = self.own(host) else { return };
        if self.is_older(host) {
            return self.read(host, number);
        }
        let tallies = (self.hosts[host].counted, self.tally());
        match joined(number, tallies, (self.shape.limit, self.room())) {
            Joined::Granted => self.granted(host),
            Joined::Queued => self.soon(Event::Woken(host)),
            Joined::Crowded => self.soon(Event::Leave(host)),
        }
    }

    fn stay_outside(&mut self, host: usize) {
        self.hosts[host].looked = (self.now, self.tally().given_back);
        self.later(host, Event::Look(host));
    }

    fn look(&mut self, host: usize) {
        self.hosts[host].looks += 1;
        if self.tally().leases < self.room() {
            return self.joins(host);
        }
        self.wait_again(host, ahead_outside(self.shape.hosts));
        self.later(host, Event::Look(host));
    }

    fn wait_again(&mut self, host: usize, ahead: u64) {
        let given_back = self.tally().given_back;
        let (then, seen) = self.hosts[host].looked;
        let waited = Duration::from_micros(self.now - then);
        self.hosts[host].looked = (self.now, given_back);
        self.hosts[host].wait = look_again(waited, given_back - seen, ahead);
    }

    /// The lease of a host that is there still; else it asks again.
    fn own(&mut self, host: usize) -> Option<u64> {
        let own = self.hosts[host].lease;
        if own.is_none() && !matches!(self.hosts[host].state, State::Held | State::Done) {
            self.hosts[host].state = State::Out;
            self.soon(Event::Ask(host));
        }
        own
    }

    fn look_inside(&mut self, host: usize) {
        match self.hosts[host].state {
            State::Out | State::Held | State::Done => return,
            State::Joined(_) | State::Near | State::Behind(..) => {}
        }
        let Some(number) = self.own(host) else { return };
        self.hosts[host].looks += 1;
        let (tally, limit) = (self.tally(), self.shape.limit);
        match self.hosts[host].state {
            State::Joined(at) if !self.is_older(host) => {
                if all_are_granted(number, tally, limit) {
                    return self.granted(host);
                }
                let waited = self.now - at;
                let [since, trip] = [waited, self.shape.trip / 2].map(Duration::from_micros);
                if waits_for_shorter(tally, since, trip) {
                    return self.after(waited.max(SECOND / 10), Event::Woken(host));
                }
            }
            State::Behind(followed, before, given_back) if self.queue.contains_key(&followed) => {
                let ahead = ahead(before, tally.given_back - given_back, limit);
                if ahead > 0 {
                    self.wait_again(host, ahead.div_ceil(2));
                    return self.look_by_itself(host);
                }
            }
            _ => {}
        }
        self.read(host, number);
    }

    fn look_by_itself(&mut self, host: usize) {
        if !std::mem::replace(&mut self.hosts[host].is_timed, true) {
            self.later(host, Event::Inside(host));
        }
    }

    fn read(&mut self, host: usize, number: u64) {
        let names = self.queue.keys().map(|key| format!("h-{key:010}"));
        let names: Vec<String> = names.collect();
        self.hosts[host].list_bytes += NAME * names.len() as u64;
        let before = before(&format!("h-{number:010}"), &names).expect("it is there");
        match follow(&before, self.shape.limit) {
            Follow::Own => self.granted(host),
            Follow::Queue => self.hosts[host].state = State::Near,
            Follow::Ahead(name) => {
                let followed = name[2..].parse().expect("a number");
                let given_back = self.tally().given_back;
                if matches!(self.hosts[host].state, State::Joined(_)) {
                    self.hosts[host].looked = (self.now, given_back);
                    self.hosts[host].wait = FIRST_LOOK;
                } else if !self.hosts[host].is_timed {
                    self.hosts[host].wait = LOOK_TIME;
                }
                self.hosts[host].state = State::Behind(followed, before.len(), given_back);
                self.look_by_itself(host);
            }
        }
    }

    fn granted(&mut self, host: usize) {
        self.hosts[host].state = State::Held;
        self.held += 1;
        let (held, limit) = (self.held, self.shape.limit);
        assert!(held <= limit, "{held} at once: {:?}", self.shape);
        if self.shape.failing > 0 {
            self.shape.failing -= 1;
            self.done += 1;
            return;
        }
        let restart = self.shape.restart / 2 + self.below(self.shape.restart);
        self.after(restart, Event::Release(host));
    }

    /// Takes the lease of a host away, if it has one.
    fn gone(&mut self, host: usize) -> bool {
        let Some(number) = self.hosts[host].lease.take() else {
            return self.own(host).is_some();
        };
        self.queue.remove(&number);
        if self.hosts[host].state == State::Held {
            self.held -= 1;
        }
        self.wake(Some(number));
        true
    }

    fn breaks(&mut self) {
        let broken = self.below(self.queue.len() as u64);
        if let Some(host) = self.queue.values().nth(broken as usize).copied() {
            self.gone(host);
            // Who is out of service comes back, and is counted no more. Who waits finds out, and asks again.
            self.soon(Event::Woken(host));
        }
        if let Some(time) = self.shape.broken {
            self.after(time, Event::Break);
        }
    }

    /// Wakes who follows the queue, or the lease that is gone.
    fn wake(&mut self, gone: Option<u64>) {
        let hosts = self.queue.values().copied();
        let woken = hosts.filter(|host| match self.hosts[*host].state {
            State::Near => true,
            State::Behind(followed, ..) => gone == Some(followed),
            _ => false,
        });
        let woken: Vec<usize> = woken.collect();
        self.woken_most = self.woken_most.max(woken.len());
        for host in woken {
            if !std::mem::replace(&mut self.hosts[host].is_woken, true) {
                self.soon(Event::Woken(host));
            }
        }
    }
}

const CALM: Shape = Shape {
    hosts: 1,
    limit: 1,
    restart: 30 * SECOND,
    within: 5 * SECOND,
    failing: 0,
    older: 0,
    trip: TRIP,
    broken: None,
};

/// Some hosts, some limit, older agents, failures, leases that are broken: whatever happens, never more hold one than may, and
/// all get a turn.
#[test]
fn nobody_is_granted_too_much_and_nobody_waits_for_ever() {
    let fleet = (1..200_u64, 1..100_u64, 0..3_u64, 0..3_u64);
    let times = (
        SECOND / 10..60 * SECOND,
        1..10 * SECOND,
        0..4_u64,
        1..u64::MAX,
    );
    check(
        60,
        &(fleet, times).prop_map(|((hosts, limit, failing, older), times)| {
            let (restart, within, broken, seed) = times;
            let shape = Shape {
                hosts,
                limit,
                restart,
                within,
                failing: failing.min(limit - 1).min(hosts - 1),
                older: older * hosts / 3,
                trip: TRIP,
                broken: (broken > 0).then_some(broken * restart),
            };
            (shape, seed)
        }),
        |(shape, seed)| {
            let outcome = Fleet::play(shape, seed);
            assert!(outcome.woken_most <= 24, "{outcome:?} {shape:?}");
        },
    );
}

/// What a host does is the same in a fleet of any size, and so is how long a fleet takes of which a share may go at a time.
#[test]
fn what_a_host_costs_does_not_depend_on_how_many_there_are() {
    for hosts in [30, 100, 300, 1000, 3000] {
        for (restart, within) in [(30 * SECOND, 5 * SECOND), (2 * SECOND, SECOND)] {
            let limit = hosts / 10;
            let shape = Shape {
                hosts,
                limit,
                restart,
                within,
                ..CALM
            };
            let outcome = Fleet::play(shape, hosts);
            println!("{hosts} {restart}: {outcome:?}");
            assert!(outcome.looks <= 40.0, "{hosts}: {outcome:?}");
            assert!(outcome.joins <= 2.5, "{hosts}: {outcome:?}");
            assert!(outcome.list_bytes <= 12_000.0, "{hosts}: {outcome:?}");
            assert!(outcome.woken_most <= 12, "{hosts}: {outcome:?}");
            // Ten times in a row, if nobody lost any.
            let ideal = 10.0 * restart as f64 / SECOND as f64;
            assert!(outcome.seconds <= 1.5 * ideal + 3.0, "{hosts}: {outcome:?}");
            let room = room(limit, None) as usize;
            assert!(
                outcome.longest <= room + room / 4 + 16,
                "{hosts}: {outcome:?}"
            );
        }
    }
}

/// Where few may go at a time, it takes as long as they take, and what a host costs depends on that time a little.
#[test]
fn few_at_a_time() {
    for hosts in [30, 300, 3000] {
        let shape = Shape {
            hosts,
            limit: 3,
            ..CALM
        };
        let outcome = Fleet::play(shape, 7);
        println!("{hosts}: {outcome:?}");
        assert!(outcome.looks <= 120.0, "{hosts}: {outcome:?}");
        assert!(outcome.joins <= 2.0, "{hosts}: {outcome:?}");
        assert!(outcome.list_bytes <= 15_000.0, "{hosts}: {outcome:?}");
        assert!(outcome.longest as u64 <= 2 * ROOM, "{hosts}: {outcome:?}");
        let ideal = hosts as f64 / 3.0 * 30.0;
        assert!(
            outcome.seconds <= 1.2 * ideal + 30.0,
            "{hosts}: {outcome:?}"
        );
    }
}

/// All come at the same moment, as when a hold ends: each joins before it hears of the others. Those who are too many leave, and
/// nothing else comes of it.
#[test]
fn all_at_once() {
    let shape = Shape {
        hosts: 2000,
        limit: 200,
        within: 1,
        ..CALM
    };
    let outcome = Fleet::play(shape, 7);
    println!("{outcome:?}");
    assert!(outcome.longest > 1000, "{outcome:?}");
    assert!(outcome.joins <= 3.5, "{outcome:?}");
    assert!(outcome.list_bytes <= 15_000.0, "{outcome:?}");
    assert!(outcome.seconds <= 450.0, "{outcome:?}");
}

/// ZooKeeper takes seconds for each request, since it has all of a large fleet to serve: that is no reason to ask for long lists.
#[test]
fn a_server_on_its_knees() {
    for (hosts, trip) in [(1000, 2 * SECOND), (5000, 2 * SECOND), (5000, 6 * SECOND)] {
        let shape = Shape {
            hosts,
            limit: hosts / 10,
            restart: 3 * SECOND,
            within: 30 * SECOND,
            trip,
            ..CALM
        };
        let outcome = Fleet::play(shape, 7);
        println!("{hosts} {trip}: {outcome:?}");
        assert!(outcome.joins <= 3.0, "{outcome:?}");
        assert!(outcome.list_bytes <= 6_000.0, "{outcome:?}");
    }
}
