//! One of many who send requests through the balancer, and count what became of them.

use std::collections::BTreeMap;
use std::thread;
use std::time::{Duration, Instant};

use super::super::http::{After, Connection};
use super::Count;
use super::balancer::Balancer;

/// Each client starts a request so often: eight of them are some 300 a second.
const INTERVAL: Duration = Duration::from_millis(25);

/// A client of one kind.
#[derive(Debug)]
pub(crate) struct Client<'a> {
    pub(crate) balancer: &'a Balancer,
    pub(crate) count: &'a Count,
    /// What it does with a connection after an answer.
    pub(crate) after: After,
    /// Connections that it kept, by server: a balancer's pool.
    pub(crate) kept: BTreeMap<usize, Connection>,
}

impl Client<'_> {
    /// Sends requests until the end.
    pub(crate) fn run(&mut self) {
        while !self.balancer.is_over() {
            let started = Instant::now();
            let problem = self.request().err();
            self.count.add(problem);
            thread::sleep(INTERVAL.saturating_sub(started.elapsed()));
        }
    }

    /// Sends one request. Where no connection comes about, nothing was sent yet: the next server
    /// gets it. What was sent is not sent again: it may not be for doing twice.
    fn request(&mut self) -> Result<(), String> {
        for number in self.balancer.order() {
            let address = self.balancer.servers[number].address;
            let Some(mut connection) = self.connection(number) else {
                self.count.add_refused();
                continue;
            };
            let started = Instant::now();
            let answer = connection.ask("/", self.after);
            let milliseconds = started.elapsed().as_millis();
            let answer = answer.map_err(|error| {
                format!("{address} did not answer: {error} after {milliseconds} ms")
            })?;
            if answer.status != 200 {
                return Err(format!("{address} answered {}", answer.status));
            }
            if self.after == After::Keep {
                self.kept.insert(number, connection);
            }
            return Ok(());
        }
        Err("no instance took the connection".to_owned())
    }

    fn connection(&mut self, number: usize) -> Option<Connection> {
        // One that the server has closed meanwhile is of no use.
        let kept = self.kept.remove(&number).filter(Connection::is_open);
        kept.or_else(|| Connection::open(self.balancer.servers[number].address).ok())
    }
}
