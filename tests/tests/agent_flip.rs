//! `current` is flipped under those who use it all the time.

use std::fs::File;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::{io, thread};

use tests::agent::{Agent, LIMIT};
use tests::builds::Health;
use tests::eventually::eventually;

/// How often `current` is flipped, at least.
const FLIPS: u64 = 60;
/// How often a file is opened through it, at least.
const OPENS_MIN: u64 = 2_000_000;
/// Errors that are kept.
const ERRORS_MAX: usize = 5;

#[test]
fn whoever_opens_files_through_current_always_finds_them() {
    // Without instances a deployment is little but the flip.
    let agent = Agent::start_with(|settings| settings.services[0].instances = 0);
    let Some(agent) = agent else { return };
    let web = agent.web();
    let builds = ["r1", "r2"].map(|build| (build, agent.builds.add(build, Health::Ok)));
    let deploy = |rollout: u64| {
        let (build, artifact) = &builds[usize::from(rollout.is_multiple_of(2))];
        web.enable(&web.target(build, rollout, artifact));
        web.serves(build);
    };
    deploy(1);
    let reader = Reader::default();
    let path = web.dir.join("current/greeting");
    let missed = thread::scope(|scope| {
        let reading = scope.spawn(|| reader.read(&path));
        // Whatever happens to this thread, the reader must not read for ever.
        let stop = Stop(&reader);
        (2..2 + FLIPS).for_each(deploy);
        eventually("enough is opened", LIMIT, || {
            let opens = reader.opens.load(Ordering::Relaxed);
            (opens >= OPENS_MIN).then_some(()).ok_or(opens)
        });
        drop(stop);
        reading.join().expect("the reader doesn't panic")
    });
    let opens = reader.opens.load(Ordering::Relaxed);
    assert!(missed.is_empty(), "after {opens} opens: {missed:?}");
}

/// Opens a file as often as it can, until it is stopped.
#[derive(Default)]
struct Reader {
    stop: AtomicBool,
    opens: AtomicU64,
}

impl Reader {
    /// Returns the first errors that it saw.
    fn read(&self, path: &Path) -> Vec<io::Error> {
        let mut errors = Vec::new();
        while !self.stop.load(Ordering::Relaxed) {
            if let Err(error) = File::open(path)
                && errors.len() < ERRORS_MAX
            {
                errors.push(error);
            }
            self.opens.fetch_add(1, Ordering::Relaxed);
        }
        errors
    }
}

struct Stop<'a>(&'a Reader);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.stop.store(true, Ordering::Relaxed);
    }
}
