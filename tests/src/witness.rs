//! Looks at a service all the time, in threads of its own, while a test does its worst.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::service::Service;
use crate::supervisor::get;

/// What must hold at every instant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Promise {
    /// Every instance answers.
    AllServe,
    /// At least one instance answers.
    OneServes,
}

/// Threads that look. Whoever starts one has to ask [`Witness::finish`] what was seen.
#[derive(Debug)]
pub struct Witness {
    seen: Arc<Seen>,
    threads: Vec<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Seen {
    stop: AtomicBool,
    looks: AtomicU64,
    problems: Mutex<BTreeMap<String, u64>>,
}

impl Witness {
    /// Starts to look at a service that is in service. A reader of `current` must find a whole
    /// release at every instant, whatever the promise.
    pub fn start(service: &Service<'_>, promise: Promise) -> Witness {
        let seen = Arc::new(Seen::default());
        let dir = service.dir.clone();
        let reader = Arc::clone(&seen);
        let current = std::thread::spawn(move || reader.read_current(&dir));
        let ports = service.ports.to_vec();
        let client = Arc::clone(&seen);
        let answers = std::thread::spawn(move || client.ask(&ports, promise));
        Witness {
            seen,
            threads: vec![current, answers],
        }
    }

    /// Ends, and asserts that nothing bad was seen.
    ///
    /// # Panics
    /// If something was, with what, and how often.
    #[track_caller]
    pub fn finish(self) {
        self.seen.stop.store(true, Ordering::Relaxed);
        for thread in self.threads {
            thread.join().expect("a witness doesn't panic");
        }
        let looks = self.seen.looks.load(Ordering::Relaxed);
        let problems = self
            .seen
            .problems
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        assert!(problems.is_empty(), "in {looks} looks: {problems:#?}");
        assert!(looks > 0, "nobody looked");
    }
}

impl Seen {
    fn problem(&self, text: String) {
        let mut problems = self.problems.lock().unwrap_or_else(PoisonError::into_inner);
        *problems.entry(text).or_default() += 1;
    }

    fn read_current(&self, dir: &Path) {
        while !self.stop.load(Ordering::Relaxed) {
            // One path resolution each: `current` may be flipped between the two.
            match fs::read_to_string(dir.join("current/greeting")) {
                Ok(text) if text.is_empty() => self.problem("an empty file behind current".into()),
                Ok(_) => {}
                Err(error) => self.problem(format!("current/greeting: {error}")),
            }
            self.looks.fetch_add(1, Ordering::Relaxed);
            // Hot enough to see a gap of a rename, and others need the processor too.
            std::thread::sleep(Duration::from_micros(500));
        }
    }

    fn ask(&self, ports: &[u16], promise: Promise) {
        let answers = |port: &u16| matches!(get(*port, "/"), Ok((200, _)));
        while !self.stop.load(Ordering::Relaxed) {
            let began = Instant::now();
            match promise {
                Promise::AllServe => {
                    for port in ports.iter().filter(|port| !answers(port)) {
                        self.problem(format!("port {port} doesn't answer"));
                    }
                }
                // Asked twice: the first may have come back while the second went.
                Promise::OneServes => {
                    if !ports.iter().chain(ports).any(answers) {
                        self.problem("no instance answers".into());
                    }
                }
            }
            std::thread::sleep(Duration::from_millis(5).saturating_sub(began.elapsed()));
        }
    }
}
