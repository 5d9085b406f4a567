//! The kernel answers one of deployd's calls with an error, once or until the fault is lifted, on the
//! service's directory or on the state directory: the report names what failed and why, the files
//! are whole, instances serve, and deployd reaches its target by itself when it can.
//!
//! A sample of the calls is tried, another one in each run; each errno at each call, which takes
//! twenty minutes, with `DEPLOY_TEST_LONG=1 cargo xtask test -p tests --test agent_disk_faults`.
//! `DEPLOY_TEST_SEED`, which each run prints, gives the same sample again.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use deploy_core::wire::report::{Phase, Report};
use nix::errno::Errno;
use tests::agent::{Agent, LIMIT, ServiceSettings, zookeeper};
use tests::calls::{self, Answer, Call, Calls};
use tests::eventually::eventually;
use tests::invariants::Files;
use tests::sample::{self, Dice};
use tests::service::Service;
use tests::witness::{Promise, Witness};

mod real;
mod symptoms;

/// What a disk, or a kernel, answers when something is wrong.
const ERRNOS: [Errno; 6] = [
    Errno::ENOSPC,
    Errno::EDQUOT,
    Errno::EIO,
    Errno::EROFS,
    Errno::EMFILE,
    Errno::ENOMEM,
];

/// Calls tried of each errno and duration, where all are too many.
const SAMPLE: usize = 1;

/// How long a fault lasts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Lasts {
    Once,
    UntilLifted,
}

/// Where it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Service,
    State,
}

/// One fault.
#[derive(Debug, Clone, Copy)]
struct Fault {
    errno: Errno,
    lasts: Lasts,
    place: Place,
    /// How many calls that it could hit come before.
    after: u64,
}

/// Tells whether a call in a place can be answered so.
fn may_hit((errno, place): (Errno, Place), call: &Call) -> bool {
    let below = |dir: &str| {
        let mut parts = call.paths.iter().flat_map(|path| path.components());
        parts.any(|part| part.as_os_str() == dir)
    };
    let here = match place {
        Place::Service => below("srv"),
        // Its status file is of no use after a crash, and never worth a failure.
        Place::State => below("state") && !below("status"),
    };
    let opens = call.name.starts_with("open");
    let frees = ["unlink", "unlinkat", "rmdir", "fchmod", "ftruncate"].contains(&call.name);
    here && match errno {
        Errno::ENOSPC | Errno::EDQUOT => !frees,
        Errno::EMFILE => opens,
        // What frees memory must be possible without any.
        Errno::ENOMEM => !frees && !call.name.contains("sync"),
        _ => true,
    }
}

/// A service that is deployed again and again while its disk fails.
struct Ground<'a> {
    web: Service<'a>,
    files: Files,
    calls: Calls,
    rollout: u64,
}

impl Ground<'_> {
    fn round(&mut self, fault: Fault) {
        self.rollout += 1;
        let build = format!("r{}", self.rollout);
        let hit = self.begin(fault);
        self.web.deploy(&build, self.rollout);
        if fault.lasts == Lasts::UntilLifted {
            let report = self.until_told_or_done(&fault, &hit);
            if let Some(report) = report {
                self.check_told(&fault, &report);
            }
            self.check_files(&fault);
            self.calls.let_go();
        }
        self.web.serves(&build);
        self.calls.let_go();
        let broken = self.files.broken();
        assert!(broken.is_empty(), "{fault:?}: {broken:#?}");
        eventually("nothing is left over", LIMIT, || {
            let mut leftovers = self.files.leftovers();
            // What can't be deleted is trash, and goes before the next release comes; or the one
            // temporary file of the journal, which goes with the next change of that.
            let deletable = |name: &String| {
                !name.ends_with(".trash") && !name.ends_with("/.deployd-tmp-web.json")
            };
            leftovers.retain(deletable);
            match leftovers.is_empty() {
                true => Ok(()),
                false => Err((fault, leftovers)),
            }
        });
        assert!(self.web.agent.is_running(), "{fault:?}: deployd has ended");
    }

    /// Lets the disk fail. Returns how many calls were hit.
    fn begin(&self, fault: Fault) -> Arc<AtomicU64> {
        let hit = Arc::new(AtomicU64::new(0));
        let hits = Arc::clone(&hit);
        let mut seen = 0;
        self.calls.rule(move |call| {
            if !may_hit((fault.errno, fault.place), call) {
                return Answer::GoOn;
            }
            seen += 1;
            let now = match fault.lasts {
                Lasts::Once => seen == fault.after + 1,
                Lasts::UntilLifted => seen > fault.after,
            };
            if !now {
                return Answer::GoOn;
            }
            hits.fetch_add(1, Ordering::Relaxed);
            Answer::Fail(fault.errno)
        });
        hit
    }

    /// Waits for a report of an error; `None` where there is nothing to tell: the target is served.
    fn until_told_or_done(&self, fault: &Fault, hit: &AtomicU64) -> Option<Report> {
        eventually("an error is reported", LIMIT, || {
            let report = self
                .web
                .report()
                .filter(|report| report.rollout == Some(self.rollout));
            match report {
                Some(report) if report.error.is_some() => Ok(Some(report)),
                Some(report) if report.phase == Phase::Serving && report.step.is_none() => Ok(None),
                report => Err((*fault, hit.load(Ordering::Relaxed), Box::new(report))),
            }
        })
    }

    /// The report says what failed, where, why, and how much room there is.
    fn check_told(&self, fault: &Fault, report: &Report) {
        let error = report.error.as_ref().expect("it was waited for");
        let told = format!("{}: {}", error.step, error.message);
        let dir = match fault.place {
            Place::Service => "/srv/web",
            Place::State => "/state",
        };
        let words = [
            fault.errno.desc().to_lowercase(),
            format!("os error {}", fault.errno as i32),
            "no space in".to_owned(),
        ];
        let said = told.to_lowercase();
        assert!(words.iter().any(|words| said.contains(words)), "{told}");
        assert!(told.contains(dir), "{told}");
        let room = !matches!(fault.errno, Errno::ENOSPC | Errno::EDQUOT) || told.contains(" free");
        assert!(room && report.disk_free.is_some(), "{told}");
    }

    /// Whatever has failed, the service has not.
    fn check_files(&self, fault: &Fault) {
        let broken = self.files.broken();
        assert!(broken.is_empty(), "{fault:?}: {broken:#?}");
    }
}

/// Deploys through faults in one place.
fn fail_everywhere(place: Place) {
    let Some(server) = zookeeper().filter(|_| calls::available()) else {
        return;
    };
    let agent = Agent::prepare(server, |settings| {
        settings.services[0] = ServiceSettings {
            hooks: &["post_extract", "post_install", "post_restart"],
            // No build is bad, however busy the machine is.
            probe_timeout_s: 20.0,
            ..ServiceSettings::new("web")
        };
        settings.builds = "keep = 1".to_owned();
    });
    let calls = agent.calls();
    agent.run_watched(&calls);
    let web = agent.web();
    for rollout in 1..=3 {
        web.deploy(&format!("r{rollout}"), rollout);
        web.serves(&format!("r{rollout}"));
    }
    let mut ground = Ground {
        web: agent.web(),
        files: agent.files(),
        calls: calls.clone(),
        rollout: 3,
    };
    let witness = Witness::start(&web, Promise::OneServes);
    let (begin, seed) = (Instant::now(), sample::seed());
    println!("faults of {place:?}: DEPLOY_TEST_SEED={seed}");
    let mut dice = Dice(seed);
    let counts = ground.calls_that_may_be_hit(place);
    let mut tried = 0;
    for (errno, count) in ERRNOS.into_iter().zip(counts) {
        for lasts in [Lasts::Once, Lasts::UntilLifted] {
            let size = if sample::is_long() { count } else { SAMPLE };
            for after in dice.spread(size, count) {
                ground.round(Fault {
                    errno,
                    lasts,
                    place,
                    after: after as u64,
                });
                tried += 1;
            }
        }
    }
    // What was trash is gone.
    ground.calls_that_may_be_hit(place);
    assert_eq!(ground.files.leftovers(), [""; 0]);
    let seconds = begin.elapsed().as_secs_f64();
    println!("{tried} faults of {place:?} in {seconds:.1} s");
    witness.finish();
}

impl Ground<'_> {
    /// Deploys undisturbed, and returns how many calls each errno could have hit.
    fn calls_that_may_be_hit(&mut self, place: Place) -> [usize; ERRNOS.len()] {
        self.rollout += 1;
        let build = format!("r{}", self.rollout);
        let counts = Arc::new(Mutex::new([0; ERRNOS.len()]));
        let counting = Arc::clone(&counts);
        self.calls.rule(move |call| {
            let mut counts = counting.lock().unwrap_or_else(PoisonError::into_inner);
            for (errno, count) in ERRNOS.into_iter().zip(counts.iter_mut()) {
                *count += usize::from(may_hit((errno, place), call));
            }
            Answer::GoOn
        });
        self.web.deploy(&build, self.rollout);
        self.web.serves(&build);
        self.calls.let_go();
        *counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[test]
fn errors_in_the_directory_of_the_service_pass_by() {
    fail_everywhere(Place::Service);
}

#[test]
fn errors_in_the_state_directory_pass_by() {
    fail_everywhere(Place::State);
}
