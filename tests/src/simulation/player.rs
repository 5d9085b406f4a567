//! Plays some hosts of a simulated fleet: what the program `simulate` does as a part of it.

use std::io::{BufRead, Write};
use std::time::Duration;

use deploy_core::wire::report::Report;
use deploy_zk::link::Link;
use deployd::simulate::{Host, Simulated};
use futures_util::future::join_all;
use nix::libc;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::LIMIT;
use super::talk::{Answer, Ask, Traffic, now};
use crate::eventually::eventually_in;

/// How much the threads of the agents give way, from 0 to 19.
const NICE: libc::c_int = 10;

/// Hosts, and what runs them.
pub struct Player {
    hosts: Vec<Host>,
    simulated: Simulated,
    /// The tasks that look when each host begins.
    first_steps: Vec<JoinHandle<Duration>>,
    /// Runs the agents, and whoever waits for them.
    agents: Runtime,
    /// Runs all sessions.
    _sessions: Runtime,
}

impl Player {
    /// Plays no host yet.
    ///
    /// # Panics
    /// If a runtime can't be made.
    pub fn new(restart: Duration) -> Player {
        let sessions = runtime("sessions", 1, || {});
        let simulated = Simulated {
            sessions: sessions.handle().clone(),
            restart,
        };
        Player {
            hosts: Vec::new(),
            simulated,
            first_steps: Vec::new(),
            agents: runtime("agents", 2, give_way),
            _sessions: sessions,
        }
    }

    /// Does what is asked, line by line, until nothing more is asked.
    ///
    /// # Panics
    /// If something can't be done, or does not come to pass: who asks sees that nobody answers.
    pub fn play(&mut self, asks: impl BufRead, mut answers: impl Write) {
        for ask in asks.lines() {
            let ask = ask.expect("an ask can be read");
            let ask = serde_json::from_str(&ask).expect("it is one");
            let answer = self.answer(ask);
            let answer = serde_json::to_string(&answer).expect("an answer can be written");
            writeln!(answers, "{answer}").expect("somebody reads it");
        }
    }

    fn answer(&mut self, ask: Ask) -> Answer {
        match ask {
            Ask::Start(configurations) => {
                for configuration in configurations {
                    self.start(&configuration);
                }
                self.await_links();
            }
            Ask::WatchFirstSteps(build) => self.watch_first_steps(&build),
            Ask::FirstSteps => {
                let steps = join_all(self.first_steps.drain(..));
                let steps = self.agents.block_on(steps).into_iter();
                return Answer::FirstSteps(steps.map(|at| at.expect("it ends")).collect());
            }
            Ask::Await(state) => {
                let says_so = |report: &Option<Report>| {
                    report
                        .as_ref()
                        .is_some_and(|report| state.is_said_by(report))
                };
                for mut report in self.reports() {
                    let what = "a host is as it should be";
                    let saying = eventually_in(what, LIMIT, &mut report, says_so);
                    self.agents.block_on(saying);
                }
            }
            Ask::Count => return Answer::Counted(self.traffic()),
        }
        Answer::Done
    }

    fn start(&mut self, configuration: &str) {
        let host = Host::start(configuration, &self.simulated);
        let host = self.agents.block_on(host);
        self.hosts.push(host.expect("a host starts"));
    }

    fn await_links(&self) {
        for host in &self.hosts {
            let mut link = host.link();
            let up = eventually_in("a host has its link", LIMIT, &mut link, Link::is_up);
            self.agents.block_on(up);
        }
    }

    fn watch_first_steps(&mut self, build: &str) {
        let watches = self.reports().into_iter().map(|mut report| {
            let build = build.to_owned();
            self.agents.spawn(async move {
                let begun = |report: &Option<Report>| {
                    let target = report.as_ref().and_then(|report| report.target.as_ref());
                    target.is_some_and(|target| target.as_str() == build)
                };
                let begun = tokio::time::timeout(LIMIT, report.wait_for(begun)).await;
                begun.expect("a host hears of the target").expect("it runs");
                now()
            })
        });
        self.first_steps = watches.collect();
    }

    fn reports(&self) -> Vec<watch::Receiver<Option<Report>>> {
        let reports = self.hosts.iter().map(Host::report);
        reports
            .map(|report| report.expect("it has a service"))
            .collect()
    }

    /// Cheap enough to be asked ten times a second.
    fn traffic(&self) -> Traffic {
        let each = self.hosts.iter().map(|host| {
            let stats = host.stats();
            Traffic {
                requests: stats.requests,
                heartbeats: stats.heartbeats,
                connects: stats.clients + stats.reconnects,
                linked: usize::from(host.link().borrow().is_up()),
            }
        });
        each.fold(Traffic::default(), |sum, host| sum + host)
    }
}

fn runtime(name: &str, workers: usize, starts: fn()) -> Runtime {
    let mut builder = Builder::new_multi_thread();
    builder.worker_threads(workers).thread_name(name);
    builder.on_thread_start(starts);
    // Archives are unpacked by these.
    builder.max_blocking_threads(4).enable_all();
    builder.build().expect("a runtime can be made")
}

/// Lets this thread give way to sessions and to ZooKeeper, as on servers, where no host's unpacking takes from another's
/// heartbeats. With 10,000 hosts on two cores they came too late, and whoever missed one made a new connection, at which all the others
/// missed theirs.
#[expect(
    unsafe_code,
    reason = "neither std nor nix can set the priority of a thread, and this call touches no memory"
)]
fn give_way() {
    // Where it fails, times are worse, and nothing else.
    unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, NICE) };
}
