//! What clients see of both services, all the time.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use tests::supervisor::get;

use crate::rig::{CONCURRENCY, Rig, SERVICES};

/// Between two looks at all instances.
const LOOK_EVERY: Duration = Duration::from_millis(5);
/// Between two looks behind `current`.
const READ_EVERY: Duration = Duration::from_millis(1);
/// How many problems are kept.
const PROBLEMS_MAX: usize = 20;

/// Threads that look, a pair for each service.
pub(crate) struct Outside {
    seen: Vec<Arc<Seen>>,
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

/// What was counted.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Counts {
    /// Looks at all instances of a service.
    pub(crate) looks: u64,
    /// Requests, each to the instances of a host in turn.
    pub(crate) requests: u64,
    /// Those that no instance of the host answered.
    pub(crate) lost: u64,
    /// Most hosts out of service at a time, but for those that a test took out.
    pub(crate) out_max: usize,
}

/// One service, as it is seen.
struct Seen {
    name: &'static str,
    hosts: Vec<Place>,
    /// Hosts that the test itself has taken out of service.
    excused: AtomicUsize,
    looks: AtomicU64,
    requests: AtomicU64,
    lost: AtomicU64,
    out_max: AtomicUsize,
    problems: Mutex<Vec<String>>,
}

/// A service on one host.
struct Place {
    ports: Vec<u16>,
    dir: PathBuf,
    /// The test itself has broken what is behind `current`.
    broken: AtomicBool,
}

impl Outside {
    /// Starts to look.
    pub(crate) fn start(rig: &Rig) -> Outside {
        let place = |service: tests::service::Service<'_>| Place {
            ports: service.ports.to_vec(),
            dir: service.dir,
            broken: AtomicBool::new(false),
        };
        let seen = SERVICES.map(|name| {
            Arc::new(Seen {
                name,
                hosts: rig.services(name).into_iter().map(place).collect(),
                excused: AtomicUsize::new(0),
                looks: AtomicU64::new(0),
                requests: AtomicU64::new(0),
                lost: AtomicU64::new(0),
                out_max: AtomicUsize::new(0),
                problems: Mutex::default(),
            })
        });
        let stop = Arc::new(AtomicBool::new(false));
        let mut threads = Vec::new();
        for service in &seen {
            let (looking, ended) = (Arc::clone(service), Arc::clone(&stop));
            threads.push(std::thread::spawn(move || looking.ask(&ended)));
            let (reading, ended) = (Arc::clone(service), Arc::clone(&stop));
            threads.push(std::thread::spawn(move || reading.read(&ended)));
        }
        Outside {
            seen: seen.to_vec(),
            stop,
            threads,
        }
    }

    fn service(&self, name: &str) -> &Seen {
        let found = self.seen.iter().find(|seen| seen.name == name);
        found.expect("it was started with both")
    }

    /// The test takes an instance out of service; until [`Outside::is_whole`].
    pub(crate) fn takes_one_out(&self, service: &str) {
        self.service(service)
            .excused
            .fetch_add(1, Ordering::Relaxed);
    }

    /// The test breaks what is behind `current` of a host; until [`Outside::is_whole`].
    pub(crate) fn breaks_current(&self, service: &str, host: usize) {
        let place = &self.service(service).hosts[host];
        place.broken.store(true, Ordering::Relaxed);
    }

    /// All hosts serve, and nothing is excused any more.
    pub(crate) fn is_whole(&self, service: &str) {
        let service = self.service(service);
        service.excused.store(0, Ordering::Relaxed);
        for place in &service.hosts {
            place.broken.store(false, Ordering::Relaxed);
        }
    }

    /// Returns what was counted so far.
    ///
    /// # Panics
    /// If something bad was seen.
    #[track_caller]
    pub(crate) fn counts(&self) -> Counts {
        let mut counts = Counts::default();
        for seen in &self.seen {
            let problems = seen.problems.lock().unwrap_or_else(PoisonError::into_inner);
            assert!(problems.is_empty(), "{}: {problems:#?}", seen.name);
            counts.looks += seen.looks.load(Ordering::Relaxed);
            counts.requests += seen.requests.load(Ordering::Relaxed);
            counts.lost += seen.lost.load(Ordering::Relaxed);
            counts.out_max = counts.out_max.max(seen.out_max.load(Ordering::Relaxed));
        }
        counts
    }

    /// Ends, and returns what was counted.
    #[track_caller]
    pub(crate) fn finish(mut self) -> Counts {
        let counts = self.counts();
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            thread.join().expect("who looks doesn't panic");
        }
        counts
    }
}

impl Drop for Outside {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

impl Seen {
    fn problem(&self, text: String) {
        let mut problems = self.problems.lock().unwrap_or_else(PoisonError::into_inner);
        if problems.len() < PROBLEMS_MAX {
            problems.push(text);
        }
    }

    fn ask(&self, stop: &AtomicBool) {
        while !stop.load(Ordering::Relaxed) {
            let excused = self.excused.load(Ordering::Relaxed);
            let allowed = CONCURRENCY + excused;
            let mut out = self.out();
            if out.len() > allowed {
                // One may have come back while another went: out twice, with the other between.
                let again = self.out();
                out = out.intersection(&again).copied().collect();
            }
            let hosts: BTreeSet<usize> = out.iter().map(|(host, _)| *host).collect();
            if hosts.len() > allowed && self.excused.load(Ordering::Relaxed) == excused {
                self.problem(format!("hosts and ports out of service together: {out:?}"));
            }
            if excused == 0 {
                self.out_max.fetch_max(hosts.len(), Ordering::Relaxed);
            }
            for (host, place) in self.hosts.iter().enumerate() {
                self.request(host, place);
            }
            self.looks.fetch_add(1, Ordering::Relaxed);
            std::thread::sleep(LOOK_EVERY);
        }
    }

    /// The instances that are not healthy, with their hosts.
    fn out(&self) -> BTreeSet<(usize, u16)> {
        let all = self.hosts.iter().enumerate();
        let all = all.flat_map(|(host, place)| place.ports.iter().map(move |port| (host, *port)));
        all.filter(|(_, port)| !matches!(get(*port, "/healthz"), Ok((200, _))))
            .collect()
    }

    /// As a balancer of this host alone would do it: the next instance where one does not answer.
    fn request(&self, host: usize, place: &Place) {
        self.requests.fetch_add(1, Ordering::Relaxed);
        let begin = Instant::now();
        let mut answers = Vec::new();
        // Asked twice: the first may have come back while the second went.
        for port in place.ports.iter().chain(&place.ports) {
            match get(*port, "/") {
                Ok((200, _)) => return,
                other => answers.push((begin.elapsed(), other)),
            }
        }
        self.lost.fetch_add(1, Ordering::Relaxed);
        let at = Timestamp::now();
        self.problem(format!(
            "no instance of host {host} answers at {at}: {answers:?}"
        ));
    }

    /// A reader of `current` finds a whole release at every instant.
    fn read(&self, stop: &AtomicBool) {
        while !stop.load(Ordering::Relaxed) {
            for (host, place) in self.hosts.iter().enumerate() {
                let found = fs::read_to_string(place.dir.join("current/greeting"));
                if place.broken.load(Ordering::Relaxed) {
                    continue;
                }
                match found {
                    Ok(text) if text.is_empty() => {
                        self.problem(format!("host {host}: an empty file behind current"));
                    }
                    Ok(_) => {}
                    Err(error) => self.problem(format!("host {host}: current: {error}")),
                }
            }
            std::thread::sleep(READ_EVERY);
        }
    }
}
