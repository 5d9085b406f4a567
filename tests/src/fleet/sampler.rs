//! Who is out of service, seen from outside, ten times a second.
//!
//! Each sample asks every instance of every host at the same time, from the hub. An instance that
//! refuses, does not answer in time, or answers something else than 200 takes its host out of
//! service in that sample. A host without power answers nothing at all; so that it delays nobody,
//! the next sample begins when its time has come, whether or not the one before has all its answers.
//!
//! What counts is who is out because of deployd. A host that the test has cut off or powered off
//! while it held a lease still counts: it occupies its lease. One without a lease is out besides
//! those that may be, and the test names it, with [`Sampler::excuse`].

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{self, Write};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, timeout};

use super::Fleet;

const SAMPLE_EVERY: Duration = Duration::from_millis(100);
/// Long for a host that shares its processors with eleven others, and a machine that may do nothing at all for two seconds; the
/// next sample does not wait. Who is drained refuses at once.
const ANSWER_MAX: Duration = Duration::from_secs(5);
/// On a machine that is busy with others, samples are late. With fewer than this share of them, the
/// rollout was not sampled.
const SAMPLES_SHARE_MIN: f64 = 0.2;
/// Samples shown on both sides of one that breaks the bound.
const SHOWN: usize = 15;

/// Samples the instances of one service until it is finished.
#[derive(Debug)]
pub struct Sampler {
    began: Instant,
    over: Arc<AtomicBool>,
    excused: Arc<Mutex<BTreeSet<String>>>,
    samples: Arc<Mutex<Vec<Sample>>>,
    thread: JoinHandle<()>,
}

/// One look at all instances.
#[derive(Debug, Clone)]
pub struct Sample {
    /// When it began.
    pub at: Timestamp,
    /// The hosts that were out of service, and why.
    pub out: BTreeMap<String, String>,
    /// The hosts that don't count, for the test has put them out of service.
    pub excused: BTreeSet<String>,
}

/// All that was sampled, in its order.
#[derive(Debug)]
pub struct Samples {
    samples: Vec<Sample>,
    took: Duration,
}

impl Sampler {
    /// Starts to sample the instances that each host has on these ports.
    pub fn start(fleet: &Fleet, ports: &[u16]) -> Sampler {
        let mut instances = Vec::new();
        for host in fleet.hosts() {
            instances.extend(
                ports
                    .iter()
                    .map(|port| (host.clone(), fleet.address((&host, *port)))),
            );
        }
        let over = Arc::new(AtomicBool::new(false));
        let excused = Arc::default();
        let samples = Arc::default();
        let sampling = Sampling {
            instances: instances.into(),
            excused: Arc::clone(&excused),
            samples: Arc::clone(&samples),
        };
        let until = Arc::clone(&over);
        let thread = fleet.within("hub", move || sampling.run(&until));
        Sampler {
            began: Instant::now(),
            over,
            excused,
            samples,
            thread,
        }
    }

    /// Lets a host not count from now on: one that holds no lease, and that the test is about to
    /// put out of service.
    pub fn excuse(&self, host: &str) {
        locked(&self.excused).insert(host.to_owned());
    }

    /// Lets a host count again.
    pub fn count(&self, host: &str) {
        locked(&self.excused).remove(host);
    }

    /// Returns the newest sample of those that have all their answers.
    pub fn newest(&self) -> Option<Sample> {
        let samples = locked(&self.samples);
        samples.iter().max_by_key(|sample| sample.at).cloned()
    }

    /// Ends sampling, when the answers that are under way are there.
    ///
    /// # Panics
    /// If sampling has failed, or far fewer samples were taken than there should be.
    pub fn finish(self) -> Samples {
        self.over.store(true, Ordering::SeqCst);
        let took = self.began.elapsed();
        self.thread.join().expect("sampling does not panic");
        let mut samples = locked(&self.samples).clone();
        samples.sort_by_key(|sample| sample.at);
        let wanted = took.as_secs_f64() / SAMPLE_EVERY.as_secs_f64();
        let count = samples.len();
        #[expect(clippy::cast_precision_loss, reason = "they are some thousands")]
        let enough = count as f64 >= wanted * SAMPLES_SHARE_MIN;
        assert!(enough, "only {count} samples in {took:?}");
        Samples { samples, took }
    }
}

impl Sample {
    /// Returns the hosts that were out of service because of deployd.
    pub fn counted(&self) -> impl Iterator<Item = &String> {
        let hosts = self.out.keys();
        hosts.filter(|host| !self.excused.contains(*host))
    }
}

impl Samples {
    /// Checks that never more hosts were out of service at a time, and that anything was seen.
    ///
    /// # Panics
    /// If there were more, with the samples before and after; or if no host ever was.
    #[track_caller]
    pub fn never_more_than(&self, hosts: usize) {
        let over = |sample: &Sample| sample.counted().count() > hosts;
        if let Some(index) = self.samples.iter().position(over) {
            let first = index.saturating_sub(SHOWN);
            let shown = self.samples.iter().skip(first).take(2 * SHOWN + 1);
            let lines: String = shown.fold(String::new(), |mut lines, sample| {
                let _ = writeln!(lines, "{sample}");
                lines
            });
            panic!("more than {hosts} hosts were out of service at a time:\n{lines}");
        }
        assert!(self.most() > 0, "nobody ever was out of service: {self}");
    }

    /// Returns how many were out of service at a time at most.
    pub fn most(&self) -> usize {
        let counts = self.samples.iter().map(|sample| sample.counted().count());
        counts.max().unwrap_or_default()
    }
}

/// What the thread in the hub has.
struct Sampling {
    instances: Arc<[(String, SocketAddr)]>,
    excused: Arc<Mutex<BTreeSet<String>>>,
    samples: Arc<Mutex<Vec<Sample>>>,
}

impl Sampling {
    /// One thread, for the network of a socket is that of the thread that makes it.
    fn run(self, until: &AtomicBool) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime can be made");
        runtime.block_on(async {
            let mut due = interval(SAMPLE_EVERY);
            due.set_missed_tick_behavior(MissedTickBehavior::Skip);
            let mut under_way = JoinSet::new();
            while !until.load(Ordering::SeqCst) {
                due.tick().await;
                let instances = Arc::clone(&self.instances);
                let excused = Arc::clone(&self.excused);
                let samples = Arc::clone(&self.samples);
                under_way.spawn(async move {
                    let sample = sample(instances, &excused).await;
                    locked(&samples).push(sample);
                });
                while under_way.try_join_next().is_some() {}
            }
            under_way.join_all().await;
        });
    }
}

async fn sample(
    instances: Arc<[(String, SocketAddr)]>,
    excused: &Mutex<BTreeSet<String>>,
) -> Sample {
    let at = Timestamp::now();
    let mut excused_meanwhile = locked(excused).clone();
    let mut asked = JoinSet::new();
    for (host, address) in instances.iter().cloned() {
        asked.spawn(async move {
            let answer = timeout(ANSWER_MAX, ask(address)).await;
            let why = match answer {
                Ok(Ok(head)) if head.starts_with("HTTP/1.1 200 ") => return None,
                Ok(Ok(head)) => format!("answers {:?}", head.lines().next().unwrap_or_default()),
                Ok(Err(error)) => error.to_string(),
                Err(_) => "no answer".to_owned(),
            };
            Some((host, format!("{} {why}", address.port())))
        });
    }
    let answers = asked.join_all().await;
    let mut out: BTreeMap<String, String> = BTreeMap::new();
    for (host, why) in answers.into_iter().flatten() {
        let reasons = out.entry(host).or_default();
        let separator = if reasons.is_empty() { "" } else { ", " };
        *reasons += &format!("{separator}{why}");
    }
    excused_meanwhile.extend(locked(excused).iter().cloned());
    Sample {
        at,
        out,
        excused: excused_meanwhile,
    }
}

async fn ask(address: SocketAddr) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(address).await?;
    let request = b"GET / HTTP/1.1\r\nHost: sampler\r\nConnection: close\r\n\r\n";
    stream.write_all(request).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    Ok(answer)
}

fn locked<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl fmt::Display for Sample {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.3} out:", self.at)?;
        for (host, why) in &self.out {
            let excused = self.excused.contains(host);
            let note = if excused { "; by the test" } else { "" };
            write!(f, " {host} ({why}{note})")?;
        }
        Ok(())
    }
}

impl fmt::Display for Samples {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (count, seconds) = (self.samples.len(), self.took.as_secs_f64());
        write!(
            f,
            "{count} samples in {seconds:.1} s, at most {} out",
            self.most()
        )
    }
}
