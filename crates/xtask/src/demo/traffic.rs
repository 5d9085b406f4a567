//! The traffic of the demo: clients behind a balancer, all day long, and a count of what failed.
//!
//! A request fails where its answer is cut, late, or an error, or where no instance takes it. Half of
//! the clients keep their connections, as balancers do; the others make one for each request.

mod balancer;
mod client;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use self::balancer::Balancer;
use self::client::Client;
use super::http::After;

/// How many clients there are.
pub(crate) const CLIENTS: usize = 8;
/// How often the balancer checks each instance.
pub(crate) const CHECK_INTERVAL: Duration = Duration::from_millis(100);

/// The running traffic.
#[derive(Debug)]
pub(crate) struct Traffic {
    balancer: Arc<Balancer>,
    count: Arc<Count>,
    threads: Vec<JoinHandle<()>>,
}

/// What became of the requests so far.
#[derive(Debug, Clone, Default)]
pub(crate) struct Counted {
    pub(crate) requests: u64,
    pub(crate) failed: u64,
    /// Connections that an instance did not take, and another one got.
    pub(crate) refused: u64,
    /// What happened to the first that failed.
    pub(crate) first_problem: Option<String>,
}

#[derive(Debug, Default)]
struct Count(Mutex<Counted>);

/// Says in a line what it is.
pub(crate) fn describe() -> String {
    format!(
        "{CLIENTS} clients from now on, through a balancer that checks every {} ms",
        CHECK_INTERVAL.as_millis()
    )
}

impl Counted {
    /// Says in a line how many there were, and what the first problem was.
    pub(crate) fn describe(&self) -> String {
        let first = self.first_problem.as_ref();
        let first = first.map_or_else(String::new, |problem| format!("; the first: {problem}"));
        format!("{} requests, {} failed{first}", self.requests, self.failed)
    }
}

impl Traffic {
    /// Lets it begin.
    pub(crate) fn start(instances: impl Iterator<Item = SocketAddr>) -> Traffic {
        let balancer = Arc::new(Balancer::new(instances));
        let count = Arc::new(Count::default());
        let checks = (0..balancer.servers.len()).map(|number| {
            let balancer = Arc::clone(&balancer);
            thread::spawn(move || balancer.check(number))
        });
        let clients = (0..CLIENTS).map(|number| {
            let (balancer, count) = (Arc::clone(&balancer), Arc::clone(&count));
            let after = match number % 2 {
                0 => After::Keep,
                _ => After::Close,
            };
            thread::spawn(move || {
                Client {
                    balancer: &balancer,
                    count: &count,
                    after,
                    kept: BTreeMap::new(),
                }
                .run();
            })
        });
        let threads = checks.chain(clients).collect();
        Traffic {
            balancer,
            count,
            threads,
        }
    }

    /// Returns what was counted so far.
    pub(crate) fn counted(&self) -> Counted {
        self.count.lock().clone()
    }

    /// Lets it end, and returns what was counted: every request that was begun.
    pub(crate) fn end(self) -> Counted {
        self.balancer.end();
        for thread in self.threads {
            // One that panicked has told so.
            let _ = thread.join();
        }
        self.count.lock().clone()
    }
}

impl Count {
    fn add(&self, problem: Option<String>) {
        let mut counted = self.lock();
        counted.requests += 1;
        if let Some(problem) = problem {
            counted.failed += 1;
            counted.first_problem.get_or_insert(problem);
        }
    }

    fn add_refused(&self) {
        self.lock().refused += 1;
    }

    /// A thread that panicked while it held the lock left nothing half done.
    fn lock(&self) -> MutexGuard<'_, Counted> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
