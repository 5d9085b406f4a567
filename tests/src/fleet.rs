//! Real hosts: those of `cargo xtask fleet`, one fleet for each test that asks for one.
//!
//! The program is asked for everything, so that what a test does can be done by hand. They run
//! where `DEPLOY_TEST_REQUIRE` names `fleet`, as `cargo xtask test --fleet` does.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;
use std::{env, process, thread};

use nix::sched::{CloneFlags, setns};
use serde_json::Value;

use crate::archives::program;
use crate::eventually::eventually;
use crate::{missing, target};

pub mod balancer;
pub mod load;
pub mod sampler;

/// How long a rollout may take, on a machine with other things to do.
pub const ROLLOUT_MAX: Duration = Duration::from_secs(120);
/// The ports of the instances of `hello`, on each host of a fleet that is not told otherwise.
pub const PORTS: [u16; 2] = [8001, 8002];

const ANSWER_MAX: Duration = Duration::from_secs(8);
const CONNECT_MAX: Duration = Duration::from_secs(1);
const JOURNAL_LINES: &str = "60";

/// How large a fleet is.
#[derive(Debug, Clone, Copy)]
pub struct Size {
    /// How many hosts.
    pub hosts: u8,
    /// How many instances on each.
    pub instances: u8,
}

/// A fleet. It is ended, and removed, when dropped.
#[derive(Debug)]
pub struct Fleet {
    name: String,
    program: PathBuf,
    state: Value,
}

/// A request that is under way until it is finished: it keeps a drain waiting.
#[derive(Debug)]
pub struct Held(TcpStream);

/// How a command ended, and what it said.
#[derive(Debug)]
pub struct Said {
    /// The command, for messages.
    pub line: String,
    /// Its exit code; -1 for none.
    pub code: i32,
    /// Its standard output.
    pub stdout: String,
    /// Its standard error.
    pub stderr: String,
}

impl Fleet {
    /// Boots hosts, and starts deployd on each; `None`, aloud, where fleets are not asked for.
    ///
    /// # Panics
    /// If they don't come up.
    pub fn start(test: &str, hosts: u8) -> Option<Fleet> {
        let fleet = Fleet::boot_all(test, hosts)?;
        fleet.start_deployd();
        Some(fleet)
    }

    /// Starts deployd on each host.
    ///
    /// # Panics
    /// If it can't be started.
    pub fn start_deployd(&self) {
        for host in self.hosts() {
            self.on(&host, "systemctl enable --quiet --now deployd")
                .well();
        }
    }

    /// Boots hosts; deployd is installed there, and not started.
    ///
    /// # Panics
    /// If they don't come up.
    pub fn boot_all(test: &str, hosts: u8) -> Option<Fleet> {
        let instances = PORTS.len() as u8;
        Fleet::boot(test, Size { hosts, instances })
    }

    /// Boots hosts with that many instances each; deployd is installed there, and not started.
    ///
    /// # Panics
    /// If they don't come up.
    pub fn boot(test: &str, size: Size) -> Option<Fleet> {
        let required = env::var("DEPLOY_TEST_REQUIRE").unwrap_or_default();
        if !required.split(',').any(|name| name.trim() == "fleet") {
            missing("fleet", "only on demand: cargo xtask test --fleet");
            return None;
        }
        let program = program("xtask");
        let mut fleet = Fleet {
            name: format!("{test}-{}", process::id()),
            program,
            state: Value::Null,
        };
        let owner = process::id().to_string();
        let (hosts, instances) = (size.hosts.to_string(), size.instances.to_string());
        let up = ["up", &hosts, "--instances", &instances, "--owner", &owner];
        fleet.ask(&up).well();
        let state = fleet.dir().join("fleet.json");
        let state = fs::read_to_string(state).expect("a fleet has a state");
        fleet.state = serde_json::from_str(&state).expect("it is JSON");
        Some(fleet)
    }

    /// Returns the directory of the fleet.
    pub fn dir(&self) -> PathBuf {
        let target = target().expect("tests are below target");
        target.join("fleet/runs").join(&self.name)
    }

    /// Returns the names of the hosts.
    pub fn hosts(&self) -> Vec<String> {
        let hosts = self.state["hosts"].as_array().into_iter().flatten();
        hosts
            .filter_map(|host| host["name"].as_str().map(str::to_owned))
            .collect()
    }

    /// Returns all instances, by their hosts and ports.
    pub fn instances(&self) -> Vec<(String, u16)> {
        let ports = self.state["ports"].as_array().into_iter().flatten();
        let ports: Vec<u16> = ports
            .filter_map(|port| u16::try_from(port.as_u64()?).ok())
            .collect();
        let on = |host: String| ports.iter().map(move |port| (host.clone(), *port));
        self.hosts().into_iter().flat_map(on).collect()
    }

    /// Changes words of deployd.toml, on each host. A deployd that runs does not see it.
    ///
    /// # Panics
    /// If they are not there.
    pub fn configure(&self, changes: &[(&str, &str)]) {
        let file = "/etc/deployd/deployd.toml";
        for host in self.hosts() {
            for (words, others) in changes {
                let change =
                    format!("grep -q '{words}' {file} && sed -i 's/{words}/{others}/' {file}");
                self.on(&host, &change).well();
            }
        }
    }

    /// Runs `cargo xtask fleet`.
    ///
    /// # Panics
    /// If it can't be started.
    pub fn ask(&self, words: &[&str]) -> Said {
        let output = self.command(words).output().expect("xtask can be started");
        Said::new(words.join(" "), &output)
    }

    /// Returns `cargo xtask fleet …`, not started.
    pub fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command.args(["fleet", "--name", &self.name]).args(words);
        command.stdin(Stdio::null());
        command
    }

    /// Runs a line of shell on a host.
    pub fn on(&self, host: &str, line: &str) -> Said {
        self.ask(&["exec", host, "sh", "-c", line])
    }

    /// Runs deployctl.
    pub fn ctl(&self, line: &str) -> Said {
        let words: Vec<&str> = ["ctl"].into_iter().chain(line.split(' ')).collect();
        self.ask(&words)
    }

    /// Makes builds, and registers them: `v1`, or `v2:sick` for one that is so.
    ///
    /// # Panics
    /// If they can't be registered.
    pub fn builds(&self, builds: &[&str]) {
        for build in builds {
            let (name, kind) = build.split_once(':').unwrap_or((build, "good"));
            self.ask(&["build", name, "--kind", kind]).well();
        }
    }

    /// Deploys a build, and waits for the outcome.
    pub fn deploy(&self, build: &str) -> Said {
        self.ctl(&format!("deploy hello {build} --force --timeout 120s"))
    }

    /// Begins to deploy a build.
    ///
    /// # Panics
    /// If it is refused.
    pub fn begin(&self, build: &str) {
        self.ctl(&format!("deploy hello {build} --detach")).well();
    }

    /// Returns what a host reports, or null.
    pub fn report(&self, host: &str) -> Value {
        let said = self.ctl(&format!("host show {host} --output json"));
        let found: Value = serde_json::from_str(&said.stdout).unwrap_or_default();
        found["services"][0]["report"].clone()
    }

    /// Waits until a host reports that it serves a build.
    ///
    /// # Panics
    /// If it doesn't.
    pub fn serves(&self, host: &str, build: &str) {
        eventually(&format!("{host} serves {build}"), ROLLOUT_MAX, || {
            let report = self.report(host);
            let done = report["phase"] == "serving" && report["serving"] == build;
            if done {
                Ok(())
            } else {
                Err(report.to_string())
            }
        });
    }

    /// Returns the hosts that have a lease or wait for one, in their order.
    ///
    /// # Panics
    /// If deployctl doesn't say.
    pub fn leases(&self) -> Vec<String> {
        let said = self.ctl("inspect hello --output json").well();
        let tree: Value = serde_json::from_str(&said.stdout).expect("it is JSON");
        let znodes = tree["znodes"].as_array().into_iter().flatten();
        let mut leases: Vec<&str> = znodes
            .filter_map(|znode| znode["path"].as_str()?.split_once("/hello/leases/"))
            .map(|(_, lease)| lease)
            .collect();
        leases.sort_by_key(|lease| lease.rsplit('-').next().map(str::to_owned));
        let hosts = leases.iter().filter_map(|lease| lease.rsplit_once('-'));
        hosts.map(|(host, _)| host.to_owned()).collect()
    }

    /// Returns a property that systemd has of a unit.
    pub fn property(&self, host: &str, unit: &str, property: &str) -> String {
        let said = self.on(
            host,
            &format!("systemctl show --value -p {property} {unit}"),
        );
        said.stdout.trim().to_owned()
    }

    /// Does something in the network of a host, or of `hub`, where all hosts can be reached.
    ///
    /// # Panics
    /// If there is no such network.
    pub fn within<T: Send + 'static>(
        &self,
        network: &str,
        act: impl FnOnce() -> T + Send + 'static,
    ) -> thread::JoinHandle<T> {
        let hub = Path::new(
            self.state["network"]
                .as_str()
                .expect("a fleet has a network"),
        );
        let file = hub.with_file_name(format!("deployd-fleet-{}-{network}", self.name));
        let file = File::open(file).expect("the network is there");
        thread::spawn(move || {
            setns(file, CloneFlags::CLONE_NEWNET).expect("root may enter a network");
            act()
        })
    }

    /// Asks an instance, from another network: what it answers, or why not.
    ///
    /// # Panics
    /// If there is no such network.
    pub fn get(&self, network: &str, to: (&str, u16), path: &str) -> Result<String, String> {
        let address = self.address(to);
        let path = path.to_owned();
        let asked = self.within(network, move || get(address, &path));
        asked.join().expect("asking does not panic")
    }

    /// Begins a request, and lets the instance wait for its end.
    ///
    /// # Panics
    /// If the instance can't be reached.
    pub fn hold(&self, network: &str, to: (&str, u16)) -> Held {
        let address = self.address(to);
        let begun = self.within(network, move || {
            let mut stream = TcpStream::connect_timeout(&address, ANSWER_MAX)?;
            stream.set_read_timeout(Some(ANSWER_MAX))?;
            stream.write_all(b"GET / HTTP/1.1\r\n")?;
            Ok::<_, std::io::Error>(Held(stream))
        });
        let begun = begun.join().expect("asking does not panic");
        begun.expect("the instance can be reached")
    }

    /// Returns the address of an instance.
    ///
    /// # Panics
    /// If there is no such host.
    pub fn address(&self, (host, port): (&str, u16)) -> SocketAddr {
        let hosts = self.state["hosts"].as_array().into_iter().flatten();
        let mut named = hosts.filter(|other| other["name"] == host);
        let address = named.next().and_then(|host| host["address"].as_str());
        let address = address.unwrap_or_else(|| panic!("there is no host {host}"));
        SocketAddr::new(address.parse().expect("it is an address"), port)
    }
}

impl Drop for Fleet {
    fn drop(&mut self) {
        if thread::panicking() {
            for host in self.hosts() {
                let journal = format!("journalctl --no-pager -n {JOURNAL_LINES} -o short-precise");
                eprintln!(
                    "--- journal of {host} ---\n{}",
                    self.on(&host, &journal).stdout
                );
                eprintln!("--- its report ---\n{:#}", self.report(&host));
            }
        }
        let said = self.ask(&["down"]);
        if said.code != 0 {
            eprintln!("{said}");
        }
    }
}

impl Held {
    /// Sends the rest, and returns the body of a good answer, or what went wrong.
    ///
    /// # Errors
    /// Where the connection breaks, or the answer is not 200.
    pub fn finish(mut self) -> Result<String, String> {
        let sent = self
            .0
            .write_all(b"Host: hello\r\nConnection: close\r\n\r\n");
        sent.map_err(|error| error.to_string())?;
        read(self.0)
    }
}

impl Said {
    fn new(line: String, output: &Output) -> Said {
        Said {
            line,
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// Checks that it succeeded.
    ///
    /// # Panics
    /// If it did not.
    #[track_caller]
    pub fn well(self) -> Said {
        self.is(0)
    }

    /// Checks the exit code.
    ///
    /// # Panics
    /// If it is another.
    #[track_caller]
    pub fn is(self, code: i32) -> Said {
        assert_eq!(self.code, code, "{self}");
        self
    }
}

impl std::fmt::Display for Said {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(f, "$ {}   (exit {})", self.line, self.code)?;
        writeln!(f, "--- stdout\n{}--- stderr\n{}", self.stdout, self.stderr)
    }
}

/// Asks once, on a connection of its own: the body of a good answer, or what went wrong.
///
/// # Errors
/// Where the connection is refused or breaks, or the answer is not 200.
pub fn get(address: SocketAddr, path: &str) -> Result<String, String> {
    let told = |error: std::io::Error| error.to_string();
    let mut stream = TcpStream::connect_timeout(&address, CONNECT_MAX).map_err(told)?;
    stream.set_read_timeout(Some(ANSWER_MAX)).map_err(told)?;
    write!(
        stream,
        "GET {path} HTTP/1.1\r\nHost: hello\r\nConnection: close\r\n\r\n"
    )
    .map_err(told)?;
    read(stream)
}

fn read(mut stream: TcpStream) -> Result<String, String> {
    let mut answer = String::new();
    let received = stream.read_to_string(&mut answer);
    received.map_err(|error| error.to_string())?;
    match answer.split_once("\r\n\r\n") {
        Some((head, body)) if head.starts_with("HTTP/1.1 200 ") => Ok(body.trim().to_owned()),
        _ => Err(format!("answered {answer:?}")),
    }
}
