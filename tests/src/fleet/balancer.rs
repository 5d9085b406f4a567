//! haproxy before the instances of a fleet, as `docs/draining.md` wants it.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Stdio};
use std::time::Duration;

use super::{ANSWER_MAX, Fleet, get};
use crate::eventually::eventually;
use crate::spawn_tied;

/// Where the clients find it, in the hub.
pub const ADDRESS: &str = "127.0.0.1:8000";

/// Where it tells what it counted.
const COUNTERS: &str = "127.0.0.1:8010";
const START_MAX: Duration = Duration::from_secs(20);

/// A haproxy in the hub. It is ended when dropped.
#[derive(Debug)]
pub struct Balancer(Child);

/// What it counted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counted {
    /// Requests that it gave to an instance.
    pub requests: u64,
    /// Requests that it did not understand, that it answered with an error, and those whose answer
    /// broke off. It counts none that is lost on a connection that it had kept: it closes the
    /// client's then, which sees it.
    pub failed: u64,
    /// Requests that an instance refused and another one took.
    pub redispatched: u64,
    /// All of its counters, and its log, for messages.
    pub said: String,
}

impl Balancer {
    /// Starts it, and waits until it lets requests through. It asks each instance for its health so
    /// often; two answers in a row, good or bad, count.
    ///
    /// # Panics
    /// If it doesn't come up.
    pub fn start(fleet: &Fleet, check_every: Duration) -> Balancer {
        let file = fleet.dir().join("haproxy.cfg");
        fs::write(&file, config(fleet, check_every)).expect("the fleet has a directory");
        let file = file.to_str().expect("it is text");
        let mut command = fleet.command(&["exec", "hub", "haproxy", "-db", "-f", file]);
        // It tells there who is up and who is down, which is not for everybody.
        let log = File::create(log(fleet)).expect("the fleet has a directory");
        command.stdout(Stdio::null()).stderr(log);
        let balancer = Balancer(spawn_tied(command));
        let up = fleet.within("hub", || {
            eventually("haproxy lets requests through", START_MAX, || {
                get(address(ADDRESS), "/")
            })
        });
        up.join().expect("haproxy comes up");
        balancer
    }

    /// Returns what it has counted so far.
    ///
    /// # Panics
    /// If it doesn't tell.
    pub fn count(&self, fleet: &Fleet) -> Counted {
        let asked = fleet.within("hub", || {
            let mut stream = TcpStream::connect_timeout(&address(COUNTERS), ANSWER_MAX)?;
            stream.set_read_timeout(Some(ANSWER_MAX))?;
            stream.write_all(b"show stat\n")?;
            let mut table = String::new();
            stream.read_to_string(&mut table)?;
            Ok::<_, std::io::Error>(table)
        });
        let table = asked.join().expect("asking does not panic");
        let mut counted = Counted::of(&table.expect("haproxy tells what it counted"));
        counted.said += &fs::read_to_string(log(fleet)).unwrap_or_default();
        counted
    }
}

impl Drop for Balancer {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Counted {
    fn of(table: &str) -> Counted {
        let count = |name, column| cell(table, name, column);
        Counted {
            requests: count("BACKEND", "req_tot"),
            failed: count("FRONTEND", "ereq")
                + count("BACKEND", "hrsp_4xx")
                + count("BACKEND", "hrsp_5xx")
                + count("BACKEND", "srv_abrt"),
            redispatched: count("BACKEND", "wredis"),
            said: table.to_owned(),
        }
    }
}

/// Returns a number of the table that haproxy writes: comma-separated, its first line the names of
/// the columns.
fn cell(table: &str, name: &str, column: &str) -> u64 {
    let mut lines = table.trim_start_matches("# ").lines();
    let columns = lines.next().unwrap_or_default().split(',');
    let row = lines.find(|line| line.split(',').nth(1) == Some(name));
    let mut cells = columns.zip(row.unwrap_or_default().split(','));
    let found = cells.find(|(other, _)| *other == column);
    let number = found.and_then(|(_, cell)| cell.parse().ok());
    number.unwrap_or_else(|| panic!("haproxy does not tell {column} of {name}:\n{table}"))
}

fn config(fleet: &Fleet, check_every: Duration) -> String {
    // wrk connects once without asking anything, to see whether it can: http-ignore-probes.
    let mut config = format!(
        "global\n stats socket ipv4@{COUNTERS}\n\
         defaults\n mode http\n timeout connect 2s\n timeout client 30s\n timeout server 30s\n \
         retries 3\n option redispatch 1\n option httpchk GET /healthz\n \
         option http-ignore-probes\n\
         listen hello\n bind {ADDRESS}\n default-server check inter {} fall 2 rise 2\n",
        check_every.as_millis()
    );
    for (host, port) in fleet.instances() {
        let address = fleet.address((&host, port));
        config += &format!(" server {host}-{port} {address}\n");
    }
    config
}

fn log(fleet: &Fleet) -> PathBuf {
    fleet.dir().join("haproxy.log")
}

fn address(text: &str) -> SocketAddr {
    text.parse().expect("it is an address")
}
