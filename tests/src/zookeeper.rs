//! Real ZooKeeper servers, one or three, each in a directory of its own.
//!
//! ```text
//! <temp dir>/zoo.cfg  what the server was told
//! <temp dir>/data/    its snapshots and logs, kept over a kill and a new start
//! <temp dir>/log      what it said, shown when it does not start
//! ```

use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;

use crate::eventually::eventually;
use crate::{missing, ports, spawn_tied};

mod classes;
pub mod expire;

/// How long a server may take to be ready. It takes 0.3 s, but machines are loaded.
const READY_MAX: Duration = Duration::from_secs(60);

/// How long one question to a server may take. A connection accepted during start-up is never
/// answered, so it must be short, and asked again.
const ANSWER_MAX: Duration = Duration::from_millis(200);

/// Where Debian's `libzookeeper-java` and what it needs are.
const JARS_DIR: &str = "/usr/share/java";

/// The jars that a server needs, without their version.
const JARS: [&str; 15] = [
    "zookeeper",
    "zookeeper-jute",
    "slf4j-api",
    "slf4j-simple",
    "netty-buffer",
    "netty-codec",
    "netty-common",
    "netty-handler",
    "netty-resolver",
    "netty-transport",
    "netty-transport-native-epoll",
    "netty-transport-native-unix-common",
    "snappy-java",
    "metrics-core",
    "commons-cli",
];

/// A ZooKeeper server. Killed, and its files removed, when dropped.
#[derive(Debug)]
pub struct Server {
    dir: TempDir,
    port: u16,
    child: Mutex<Option<Child>>,
    /// Lines for the command line of Java.
    options: Vec<String>,
}

/// Three servers that elect a leader.
#[derive(Debug)]
pub struct Ensemble {
    /// The servers; each can be killed and started by itself.
    pub servers: Vec<Server>,
}

impl Server {
    /// Starts a server alone and waits until it serves; `None`, aloud, where there is no ZooKeeper.
    ///
    /// Its `tickTime` is 500 ms, so session timeouts from 1 s to 10 s are granted.
    ///
    /// # Panics
    /// If it does not start, with its log.
    pub fn start() -> Option<Server> {
        is_installed().then(|| Server::start_alone(&[]))
    }

    /// Like [`Server::start`], for a server that takes requests of this size, as an operator may
    /// have told it.
    ///
    /// # Panics
    /// If it does not start, with its log.
    pub fn start_taking(bytes_max: usize) -> Option<Server> {
        let option = format!("-Djute.maxbuffer={bytes_max}");
        is_installed().then(|| Server::start_alone(&[option]))
    }

    /// Like [`Server::start`], for thousands of sessions: with Debian's `tickTime` of 2 s, all of Java's
    /// optimisations, and this much memory.
    ///
    /// # Panics
    /// If it does not start, with its log.
    pub fn start_large(heap_mib: usize) -> Option<Server> {
        let options = [
            format!("-Xmx{heap_mib}m"),
            "-XX:TieredStopAtLevel=4".to_owned(),
        ];
        is_installed().then(|| Server::start_with(&options, "tickTime=2000\n"))
    }

    fn start_alone(options: &[String]) -> Server {
        Server::start_with(options, "")
    }

    fn start_with(options: &[String], more: &str) -> Server {
        let options = [options, classes::option().as_slice()].concat();
        Server::start_just_with(&options, more)
    }

    fn start_just_with(options: &[String], more: &str) -> Server {
        // Another process may have taken the port since it was found free.
        for _ in 0..5 {
            let server = Server::prepare(ports::free(), (options, more), None);
            server.spawn();
            if server.is_ready_or_gone() {
                return server;
            }
        }
        panic!("a ZooKeeper server found its port taken five times");
    }

    fn prepare(port: u16, (options, more): (&[String], &str), my_id: Option<usize>) -> Server {
        let dir = tempfile::Builder::new()
            .prefix("deploy-test-zk-")
            .tempdir()
            .expect("a temporary directory can be made");
        let data = dir.path().join("data");
        fs::create_dir(&data).expect("a directory can be made in a new one");
        if let Some(id) = my_id {
            fs::write(data.join("myid"), id.to_string()).expect("a file can be written");
        }
        // forceSync and preAllocSize spare the disk: nobody pulls the plug in these tests.
        let config = format!(
            "tickTime=500\ndataDir={}\nclientPort={port}\nclientPortAddress=127.0.0.1\n\
             admin.enableServer=false\nmaxClientCnxns=0\n4lw.commands.whitelist=*\n\
             forceSync=no\npreAllocSize=1024\n{more}",
            data.display()
        );
        fs::write(dir.path().join("zoo.cfg"), config).expect("a file can be written");
        Server {
            dir,
            port,
            child: Mutex::new(None),
            options: options.to_vec(),
        }
    }

    /// Returns its port on the loopback interface.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Returns `host:port`.
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Kills it as a power cut would, and waits for its end. Its data stays.
    pub fn kill(&mut self) {
        self.end();
    }

    /// Kills it and starts it again, with the same data on the same port, as [`Server::kill`] and
    /// [`Server::start_again`] do, for those who share it.
    ///
    /// # Panics
    /// If it does not start, with its log.
    pub fn restart(&self) {
        self.end();
        self.spawn();
        self.wait_ready();
    }

    /// Asks it to stop, and waits for its end. Its data stays.
    pub fn stop(&mut self) {
        if let Some(mut child) = self.child().take() {
            signal(&child, Signal::SIGTERM);
            let _ = child.wait();
        }
    }

    /// Starts it again, with the same data on the same port, and waits until it serves.
    ///
    /// # Panics
    /// If it does not start, with its log.
    pub fn start_again(&mut self) {
        self.launch();
        assert!(
            self.is_ready_or_gone(),
            "the port {} was taken meanwhile",
            self.port
        );
    }

    /// Starts it again without waiting.
    pub fn launch(&mut self) {
        self.kill();
        self.spawn();
    }

    /// Kills it and takes its data away, as a disk that breaks does.
    pub fn lose_data(&mut self) {
        self.kill();
        fs::remove_dir_all(self.dir.path().join("data/version-2"))
            .expect("its data can be removed");
    }

    /// Stops it in its tracks; its connections stay open.
    pub fn pause(&self) {
        signal(
            self.child()
                .as_ref()
                .expect("only a running server can be paused"),
            Signal::SIGSTOP,
        );
    }

    /// Lets it go on after [`Server::pause`].
    pub fn resume(&self) {
        signal(
            self.child()
                .as_ref()
                .expect("only a running server can go on"),
            Signal::SIGCONT,
        );
    }

    /// Asks it one of the four-letter words, as `srvr` or `dump`.
    pub fn ask(&self, word: &str) -> Option<String> {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, self.port));
        let mut stream = TcpStream::connect_timeout(&address, ANSWER_MAX).ok()?;
        stream.set_read_timeout(Some(ANSWER_MAX)).ok()?;
        stream.write_all(word.as_bytes()).ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        Some(answer).filter(|answer| !answer.is_empty())
    }

    /// Tells whether it serves, and not only listens.
    pub fn is_ready(&self) -> bool {
        self.mode().is_some()
    }

    /// Returns `standalone`, `leader`, `follower` or `read-only`, if it serves.
    pub fn mode(&self) -> Option<String> {
        let answer = self.ask("srvr")?;
        answer
            .lines()
            .find_map(|line| line.strip_prefix("Mode: "))
            .map(str::to_owned)
    }

    /// Waits until it serves.
    ///
    /// # Panics
    /// If it does not, with its log.
    pub fn wait_ready(&self) {
        eventually(
            &format!("ZooKeeper on port {} serves", self.port),
            READY_MAX,
            || {
                if self.is_ready() {
                    Ok(())
                } else {
                    Err(self.log_tail())
                }
            },
        );
    }

    /// Returns the last lines of its log.
    pub fn log_tail(&self) -> String {
        let log = fs::read_to_string(self.dir.path().join("log")).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(30)..].join("\n")
    }

    /// Waits until it serves; false if it ended because its port is taken.
    fn is_ready_or_gone(&self) -> bool {
        eventually(
            &format!("ZooKeeper on port {} serves", self.port),
            READY_MAX,
            || {
                if self.is_ready() {
                    return Ok(true);
                }
                let mut child = self.child();
                let child = child.as_mut().expect("it was just started");
                match child.try_wait().expect("a child can be waited for") {
                    None => Err(self.log_tail()),
                    Some(_) if self.log_tail().contains("already in use") => Ok(false),
                    Some(status) => panic!("ZooKeeper ended with {status}:\n{}", self.log_tail()),
                }
            },
        )
    }

    fn child(&self) -> MutexGuard<'_, Option<Child>> {
        self.child.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn end(&self) {
        if let Some(mut child) = self.child().take() {
            // Fails only if it is dead already.
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    fn spawn(&self) {
        let log = File::options()
            .create(true)
            .append(true)
            .open(self.dir.path().join("log"))
            .expect("a log can be opened");
        let errors = log.try_clone().expect("a file can be opened twice");
        let mut command = Command::new("java");
        command
            .args([
                "-Xmx64m",
                "-XX:+UseSerialGC",
                "-XX:TieredStopAtLevel=1",
                // A server that has lost the others then serves reads to who asks for that.
                "-Dreadonlymode.enabled=true",
            ])
            .args(&self.options)
            .arg("-cp")
            .arg(class_path())
            .arg("org.apache.zookeeper.server.quorum.QuorumPeerMain")
            .arg(self.dir.path().join("zoo.cfg"))
            .current_dir(self.dir.path())
            .stdin(Stdio::null())
            .stdout(log)
            .stderr(errors);
        *self.child() = Some(spawn_tied(command));
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!(
                "--- log of ZooKeeper on port {} ---\n{}",
                self.port,
                self.log_tail()
            );
        }
        self.kill();
    }
}

impl Ensemble {
    /// Starts three servers and waits until all serve; `None`, aloud, where there is no ZooKeeper.
    ///
    /// # Panics
    /// If they do not start, with a log.
    pub fn start() -> Option<Ensemble> {
        if !is_installed() {
            return None;
        }
        let peers: Vec<String> = (1..=3)
            .map(|id| {
                format!(
                    "server.{id}=127.0.0.1:{}:{}\n",
                    ports::free(),
                    ports::free()
                )
            })
            .collect();
        let options = classes::option();
        let more = format!("initLimit=20\nsyncLimit=10\n{}", peers.concat());
        let servers: Vec<Server> = (1..=3)
            .map(|id| Server::prepare(ports::free(), (options.as_slice(), &more), Some(id)))
            .collect();
        // All at once: each waits for the others.
        servers.iter().for_each(Server::spawn);
        servers.iter().for_each(Server::wait_ready);
        Some(Ensemble { servers })
    }

    /// Returns `host:port` of each server.
    pub fn addresses(&self) -> Vec<String> {
        self.servers.iter().map(Server::address).collect()
    }

    /// Returns the index of the leader, waiting for one to be elected.
    pub fn leader(&self) -> usize {
        eventually("a leader is elected", READY_MAX, || {
            let modes: Vec<_> = self.servers.iter().map(Server::mode).collect();
            modes
                .iter()
                .position(|mode| mode.as_deref() == Some("leader"))
                .ok_or(modes)
        })
    }
}

fn signal(child: &Child, signal: Signal) {
    let pid = i32::try_from(child.id()).expect("a process id fits");
    // Fails only if it is dead already, which the test will notice.
    let _ = kill(Pid::from_raw(pid), signal);
}

fn is_installed() -> bool {
    // Asking takes a tenth of what a server takes.
    static JAVA: LazyLock<bool> = LazyLock::new(|| {
        let java = Command::new("java").arg("-version").output();
        java.is_ok_and(|output| output.status.success())
    });
    if !*JAVA {
        missing(
            "zookeeper",
            "java can't be run (Debian: default-jre-headless)",
        );
        return false;
    }
    if !Path::new(JARS_DIR).join("zookeeper.jar").exists() {
        missing(
            "zookeeper",
            "no zookeeper.jar in /usr/share/java (Debian: libzookeeper-java)",
        );
        return false;
    }
    true
}

fn class_path() -> String {
    let jars: Vec<String> = JARS
        .iter()
        .map(|name| Path::new(JARS_DIR).join(format!("{name}.jar")))
        .filter(|jar| jar.exists())
        .map(|jar: PathBuf| jar.display().to_string())
        .collect();
    jars.join(":")
}
