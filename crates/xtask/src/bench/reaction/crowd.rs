//! `xtask bench-crowd`: thousands of sessions on one thread, which do what an agent does when the target changes.

use std::io::{ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use clap::Args;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags};
use nix::sys::resource::{Resource, getrlimit, setrlimit};

use crate::bench::farm::jute::{EVENT, SESSION_TIME, Session, Watch, get, ping, take_frame};

/// What it says when all sessions watch.
pub(crate) const READY: &str = "ready";
const GET_XID: i32 = 1;
/// Sessions that are kept alive at a time, so that pings are spread.
const PINGS: usize = 100;
const WAIT_MS: u16 = 50;

/// Watches a znode by many sessions, until it is ended.
#[derive(Debug, Args)]
pub(crate) struct Crowd {
    address: SocketAddr,
    znode: String,
    size: usize,
}

/// A session, and what has come of its next answer.
struct Member {
    session: Session,
    received: Vec<u8>,
}

impl Crowd {
    /// Says [`READY`], and after each change, when all have read it, how many microseconds after its first event
    /// the last one had.
    pub(crate) fn run(&self) -> Result<ExitCode> {
        let (_, most) = getrlimit(Resource::RLIMIT_NOFILE)?;
        setrlimit(Resource::RLIMIT_NOFILE, most, most)?;
        let epoll = Epoll::new(EpollCreateFlags::empty())?;
        let mut members = Vec::new();
        for number in 0..self.size {
            let member = self.join(number);
            let member = member.with_context(|| format!("session {number} of {}", self.size))?;
            let event = EpollEvent::new(EpollFlags::EPOLLIN, number as u64);
            epoll.add(&member.session.stream, event)?;
            members.push(member);
        }
        println!("{READY}");
        self.attend(&epoll, &mut members)
    }

    fn join(&self, number: usize) -> Result<Member> {
        let mut session = Session::connect(self.address)?;
        let answer = session.ask(&get(GET_XID, &self.znode, Watch::Armed))?;
        if answer.error != 0 {
            bail!("ZooKeeper says {} to session {number}", answer.error);
        }
        session.stream.set_nonblocking(true)?;
        Ok(Member {
            session,
            received: Vec::new(),
        })
    }

    fn attend(&self, epoll: &Epoll, members: &mut [Member]) -> Result<ExitCode> {
        let mut begun = None;
        let mut done = 0;
        let mut pinged = (Instant::now(), 0);
        let mut events = vec![EpollEvent::empty(); 1024];
        loop {
            let ready = epoll.wait(&mut events, WAIT_MS)?;
            for event in &events[..ready] {
                let number = usize::try_from(event.data())?;
                let member = &mut members[number];
                for step in member.hear(&self.znode)? {
                    match step {
                        Step::Event => drop(begun.get_or_insert_with(Instant::now)),
                        Step::Read => done += 1,
                    }
                }
            }
            if done == members.len() {
                let took = begun.take().map(|begun: Instant| begun.elapsed());
                println!("{}", took.unwrap_or_default().as_micros());
                done = 0;
            }
            keep_alive(members, &mut pinged)?;
        }
    }
}

/// What matters of what a session heard.
enum Step {
    /// The znode has changed.
    Event,
    /// It was read again.
    Read,
}

impl Member {
    /// Reads what has come, and asks for the data where it has changed.
    fn hear(&mut self, znode: &str) -> Result<Vec<Step>> {
        let mut buffer = [0; 4096];
        loop {
            match self.session.stream.read(&mut buffer) {
                Ok(0) => bail!("ZooKeeper has closed a connection"),
                Ok(read) => self.received.extend(&buffer[..read]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => return Err(error).context("a connection was lost"),
            }
        }
        let mut steps = Vec::new();
        while let Some(answer) = take_frame(&mut self.received)? {
            match answer.xid {
                EVENT => {
                    self.send(&get(GET_XID, znode, Watch::Armed))?;
                    steps.push(Step::Event);
                }
                GET_XID => steps.push(Step::Read),
                _ => {}
            }
        }
        Ok(steps)
    }

    /// So little always fits the socket's buffer.
    fn send(&mut self, request: &[u8]) -> Result<()> {
        let sent = self.session.stream.write_all(request);
        sent.context("a connection takes no more")
    }
}

/// Sends pings to some after the others, so that each has one in a third of the session's time.
fn keep_alive(members: &mut [Member], (last, next): &mut (Instant, usize)) -> Result<()> {
    let pause = (SESSION_TIME / 3).mul_f64(PINGS.min(members.len()) as f64 / members.len() as f64);
    if last.elapsed() < pause.max(Duration::from_millis(1)) {
        return Ok(());
    }
    *last = Instant::now();
    for _ in 0..PINGS.min(members.len()) {
        members[*next].send(&ping())?;
        *next = (*next + 1) % members.len();
    }
    Ok(())
}
