//! The real deployctl on a real ZooKeeper, with agents played by the test: each writes the report
//! and the sign of life that a deployd would.
#![expect(
    dead_code,
    unreachable_pub,
    reason = "each test binary compiles this module and uses a part of it"
)]

use std::path::PathBuf;
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use deploy_core::name::{BuildName, HostName, ServiceName};
use deploy_core::wire::history::Entry;
use deploy_core::wire::report::{ErrorReport, InstanceReport, Phase, Report};
use deploy_core::wire::role::{Assignment, Role};
use deploy_core::wire::target::Target;
use deploy_core::wire::{self};
use deploy_core::znode::{Root, ServiceTree, sequence};
use deploy_zk::config::Config;
use deploy_zk::ephemeral::Ephemeral;
use deploy_zk::zk::Zk;
use deploy_zk::znode::{Change, Expect};
use serde_json::Value;
use tempfile::TempDir;
use tests::eventually::{eventually_async, eventually_in};
use tests::pty::Pty;
use tests::zookeeper::Server;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};
use tokio::time::{Instant, timeout, timeout_at};

/// How long anything may take on a loaded machine before it counts as hung.
pub const HANG: Duration = Duration::from_secs(60);

/// A deploy tree of its own on a server that the tests of a binary share.
pub struct Rig {
    pub server: Arc<Server>,
    pub zk: Zk,
    pub root: Root,
    dir: TempDir,
}

/// What a deployctl left behind.
#[derive(Debug)]
pub struct Ran {
    pub line: String,
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

/// A deployctl at work.
pub struct Running {
    line: String,
    child: Child,
    stdout: Lines<BufReader<ChildStdout>>,
    seen: String,
}

/// Something that reports for a host.
pub struct Agent {
    zk: Zk,
    tree: ServiceTree,
    service: ServiceName,
    pub host: HostName,
    alive: Option<Ephemeral>,
}

impl Rig {
    /// Starts one with an empty tree; `None`, aloud, where there is no ZooKeeper.
    pub async fn start(name: &str) -> Option<Rig> {
        let server = shared_server()?;
        let mut config = Config::new(&[&server.address()]);
        config.session_timeout = Duration::from_secs(8);
        config.op_timeout = HANG;
        let zk = Zk::start(config);
        let root = Root::parse(&format!("/{name}/deploy")).expect("names of tests are plain");
        let rig = Rig {
            server,
            zk,
            root,
            dir: tempfile::tempdir().expect("a directory can be made"),
        };
        rig.ctl("init").await.is(0);
        Some(rig)
    }

    /// Starts one with the service `web`, builds r1 and r2, and live agents.
    pub async fn with_agents(name: &str, hosts: &[(&str, Role)]) -> Option<(Rig, Vec<Agent>)> {
        let rig = Rig::start(name).await?;
        for build in ["r1", "r2"] {
            rig.add_build("web", build).await;
        }
        let mut agents = Vec::new();
        for (host, role) in hosts {
            agents.push(rig.agent("web", host, *role).await);
        }
        Some((rig, agents))
    }

    /// Registers a build.
    pub async fn add_build(&self, service: &str, build: &str) {
        let digest = "ab".repeat(32);
        self.ctl(&format!(
            "build add {service} {build} --url https://builds/{build}.tar.gz --sha256 {digest} --size 1000"
        ))
        .await
        .is(0);
    }

    /// Returns a live agent without a report.
    pub async fn agent(&self, service: &str, host: &str, role: Role) -> Agent {
        let service = ServiceName::parse(service).expect("services of tests are names");
        let host = HostName::parse(host).expect("hosts of tests are names");
        let tree = self.root.service(&service);
        if role == Role::Canary {
            let path = tree.role(&host);
            self.zk
                .create_parents(&path)
                .await
                .expect("ZooKeeper is healthy");
            let data = wire::encode(&Assignment::of_role(role));
            let write = self.zk.update(&path, |_| Change::Write(data.clone()));
            write.await.expect("ZooKeeper is healthy");
        }
        let mut agent = Agent {
            zk: self.zk.clone(),
            tree,
            service,
            host,
            alive: None,
        };
        agent.come().await;
        agent
    }

    /// Runs a deployctl to its end.
    pub async fn ctl(&self, line: &str) -> Ran {
        self.ctl_with(line, &[]).await
    }

    /// Runs a deployctl with environment variables to its end.
    pub async fn ctl_with(&self, line: &str, variables: &[(&str, &str)]) -> Ran {
        let mut command = self.command(line);
        command.envs(variables.iter().copied());
        run(command, line).await
    }

    /// Starts a deployctl on a terminal.
    pub fn spawn_on_terminal(&self, line: &str, size: (u16, u16)) -> Pty {
        Pty::spawn(self.command(line).as_std(), size)
    }

    /// Starts a deployctl.
    pub fn spawn(&self, line: &str) -> Running {
        let mut child = self
            .command(line)
            .spawn()
            .expect("deployctl can be started");
        let stdout = child.stdout.take().expect("its stdout is a pipe");
        Running {
            line: line.to_owned(),
            child,
            stdout: BufReader::new(stdout).lines(),
            seen: String::new(),
        }
    }

    pub fn tree(&self, service: &str) -> ServiceTree {
        self.root
            .service(&ServiceName::parse(service).expect("services of tests are names"))
    }

    /// Returns the file name of a file with this content.
    pub fn file(&self, name: &str, content: &[u8]) -> String {
        let path = self.dir.path().join(name);
        std::fs::write(&path, content).expect("a file can be written");
        path.display().to_string()
    }

    /// Reads JSON from a znode.
    pub async fn json(&self, path: &str) -> Value {
        let znode = self.zk.get(path).await.expect("ZooKeeper is healthy");
        let znode = znode.unwrap_or_else(|| panic!("{path} does not exist"));
        serde_json::from_slice(&znode.data).unwrap_or_else(|e| panic!("{path}: {e}"))
    }

    pub async fn exists(&self, path: &str) -> bool {
        self.zk
            .get(path)
            .await
            .expect("ZooKeeper is healthy")
            .is_some()
    }

    /// Writes a znode, whatever is there.
    pub async fn write(&self, path: &str, data: &[u8]) {
        self.zk
            .create_parents(path)
            .await
            .expect("ZooKeeper is healthy");
        self.zk
            .update(path, |_| Change::Write(data.to_vec()))
            .await
            .expect("ZooKeeper is healthy");
    }

    /// Returns the numbers and entries of the history, oldest first.
    pub async fn history(&self, service: &str) -> Vec<(u64, Entry)> {
        let tree = self.tree(service);
        let names = self
            .zk
            .children(&tree.history())
            .await
            .expect("ZooKeeper is healthy");
        let mut entries = Vec::new();
        for name in names.unwrap_or_default() {
            let path = format!("{}/{name}", tree.history());
            if let Some(znode) = self.zk.get(&path).await.expect("ZooKeeper is healthy") {
                let entry = wire::decode(&znode.data).expect("the history can be read");
                entries.push((sequence(&name).expect("it is numbered"), entry));
            }
        }
        entries
    }

    /// Returns a deployctl that is not started yet, for this tree.
    pub fn command(&self, line: &str) -> Command {
        let mut command = bare_command(line);
        command.env(
            "DEPLOYCTL_ZK",
            format!("{}{}", self.server.address(), self.root.path()),
        );
        command
    }
}

/// Returns deployctl with arguments, split at spaces outside of single quotes, and no environment.
pub fn bare_command(line: &str) -> Command {
    let mut command = Command::new(program());
    command
        .args(words(line))
        .env_clear()
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    command
}

/// Runs a command to its end.
pub async fn run(mut command: Command, line: &str) -> Ran {
    let output = timeout(HANG, command.output())
        .await
        .unwrap_or_else(|_| panic!("deployctl {line}: hangs"))
        .expect("deployctl can be started");
    Ran {
        line: line.to_owned(),
        code: output.status.code().unwrap_or(-1),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

impl Ran {
    /// Checks the exit code.
    #[track_caller]
    pub fn is(self, code: i32) -> Ran {
        assert_eq!(self.code, code, "{self}");
        self
    }

    /// Checks that stderr has each of these, in this order.
    #[track_caller]
    pub fn says(self, parts: &[&str]) -> Ran {
        let mut rest = self.stderr.as_str();
        for part in parts {
            match rest.find(part) {
                Some(at) => rest = &rest[at + part.len()..],
                None => panic!("{part:?} is not on stderr (or not in this place)\n{self}"),
            }
        }
        self
    }

    /// Checks that stdout has each of these, in this order.
    #[track_caller]
    pub fn prints(self, parts: &[&str]) -> Ran {
        let mut rest = self.stdout.as_str();
        for part in parts {
            match rest.find(part) {
                Some(at) => rest = &rest[at + part.len()..],
                None => panic!("{part:?} is not on stdout (or not in this place)\n{self}"),
            }
        }
        self
    }

    /// Returns stdout as JSON.
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}\n{self}"))
    }

    /// Returns each line of stdout as JSON.
    #[track_caller]
    pub fn events(&self) -> Vec<Value> {
        let parse = |line: &str| {
            serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}\n{self}"))
        };
        self.stdout.lines().map(parse).collect()
    }
}

impl std::fmt::Display for Ran {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(f, "$ deployctl {}   (exit {})", self.line, self.code)?;
        writeln!(f, "--- stdout\n{}--- stderr\n{}", self.stdout, self.stderr)
    }
}

impl Running {
    /// Waits for a line of stdout that has `part`.
    pub async fn sees(&mut self, part: &str) -> String {
        let limit = Instant::now() + 3 * HANG; // For all lines: other ones may go on coming.
        loop {
            let next = timeout_at(limit.min(Instant::now() + HANG), self.stdout.next_line()).await;
            let line = match next {
                Ok(Ok(Some(line))) => line,
                other => {
                    let mut stderr = String::new();
                    if let (Some(pipe), Ok(_)) = (&mut self.child.stderr, &other) {
                        let _ = pipe.read_to_string(&mut stderr).await;
                    }
                    panic!(
                        "{}: no {part:?} ({other:?}) in\n{}{stderr}",
                        self.line, self.seen
                    );
                }
            };
            self.seen.extend([&line, "\n"]);
            if line.contains(part) {
                return line;
            }
        }
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: nix::sys::signal::Signal) {
        let pid = self.child.id().expect("it runs");
        let pid = nix::unistd::Pid::from_raw(i32::try_from(pid).expect("a process id fits"));
        nix::sys::signal::kill(pid, signal).expect("it runs");
    }

    /// Stops reading; its stdout goes with the second half.
    pub fn into_child(self) -> (Child, Lines<BufReader<ChildStdout>>) {
        (self.child, self.stdout)
    }

    /// Waits for its end.
    pub async fn end(mut self) -> Ran {
        let mut stdout = self.seen;
        let mut stderr = String::new();
        let mut pipe = self.child.stderr.take().expect("its stderr is a pipe");
        let reading = async {
            while let Ok(Some(line)) = self.stdout.next_line().await {
                stdout.extend([&line, "\n"]);
            }
        };
        let both = async {
            let _ = tokio::join!(reading, pipe.read_to_string(&mut stderr));
            self.child.wait().await.expect("it is our child")
        };
        let status = timeout(HANG, both)
            .await
            .unwrap_or_else(|_| panic!("deployctl {}: hangs", self.line));
        Ran {
            line: self.line,
            code: status.code().unwrap_or(-1),
            stdout,
            stderr,
        }
    }
}

impl Agent {
    /// Its session begins.
    pub async fn come(&mut self) {
        let alive = self
            .zk
            .ephemeral(&self.tree.alive(&self.host), br#"{"v":1,"agent":"0.1.0"}"#);
        let what = format!("{} is alive", self.host);
        eventually_in(&what, HANG, &mut alive.status(), |status| *status).await;
        self.alive = Some(alive);
    }

    /// Its session ends.
    pub async fn go(&mut self) {
        self.alive = None;
        let path = self.tree.alive(&self.host);
        eventually_async("the agent is gone", HANG, || async {
            match self.zk.get(&path).await {
                Ok(None) => Ok(()),
                other => Err(other),
            }
        })
        .await;
    }

    /// Returns the target that it follows, once it has number `rollout`.
    pub async fn target(&self, rollout: u64) -> Target {
        eventually_async(
            &format!("{} has target #{rollout}", self.host),
            HANG,
            || async {
                let target = self.followed().await;
                match target {
                    Some(target) if target.rollout == Some(rollout) => Ok(target),
                    other => Err(other),
                }
            },
        )
        .await
    }

    /// Reports a phase of the target that it follows, whatever it is.
    pub async fn reports(&self, phase: Phase) {
        let target = self.followed().await.expect("a target is there");
        self.writes(&self.report(phase, &target)).await;
    }

    /// Waits for the rollout, and serves it.
    pub async fn serves(&self, rollout: u64) {
        let target = self.target(rollout).await;
        self.writes(&self.report(Phase::Serving, &target)).await;
    }

    /// Waits for the rollout, and fails it.
    pub async fn fails(&self, rollout: u64) {
        let target = self.target(rollout).await;
        let mut report = self.report(Phase::Failed, &target);
        report.serving = target.previous.map(|previous| previous.build);
        report.error = Some(ErrorReport {
            step: "probe".to_owned(),
            kind: "rejected".to_owned(),
            message: "127.0.0.1:8001/healthz -> 500".to_owned(),
            log: vec![
                "19:41:44 ERROR KeyError: 'PAYMENTS_URL'".to_owned(),
                "exit\u{1b}[31m 3".to_owned(),
            ],
        });
        self.writes(&report).await;
    }

    /// Serves whatever it follows, as soon as it is wanted, for as long as the test runs.
    pub fn serves_always(self) {
        tokio::spawn(async move {
            let mut changes = [
                self.zk.watch(&self.tree.enabled()),
                self.zk.watch(&self.tree.canary()),
                self.zk.watch(&self.tree.role(&self.host)),
            ];
            loop {
                if let Some(target) = self.followed().await {
                    let is_in = target
                        .percent
                        .includes(&self.service, &target.build, &self.host);
                    let phase = if is_in { Phase::Serving } else { Phase::Staged };
                    self.writes(&self.report(phase, &target)).await;
                }
                let [enabled, canary, role] = &mut changes;
                tokio::select! {
                    changed = enabled.changed() => drop(changed),
                    changed = canary.changed() => drop(changed),
                    changed = role.changed() => drop(changed),
                }
            }
        });
    }

    /// Returns the report of a phase.
    pub fn report(&self, phase: Phase, target: &Target) -> Report {
        let serves = phase == Phase::Serving;
        let before = target
            .previous
            .as_ref()
            .map(|previous| previous.build.clone());
        let serving = if serves {
            Some(target.build.clone())
        } else {
            before
        };
        Report {
            host: self.host.clone(),
            service: self.service.clone(),
            role: None,
            agent: "0.1.0".to_owned(),
            phase,
            rollout: target.rollout,
            target: Some(target.build.clone()),
            current: Some(target.build.clone()),
            serving: serving.clone(),
            previous: None,
            step: None,
            instances: vec![InstanceReport {
                unit: "web@8001.service".to_owned(),
                port: Some(8001),
                build: serving,
                state: "serving".to_owned(),
                connections: None,
            }],
            lease: false,
            trust: None,
            releases: vec![target.build.clone()],
            error: None,
            disk_free: Some(12_884_901_888),
            at: None,
        }
    }

    /// Writes a report.
    pub async fn writes(&self, report: &Report) {
        let data = wire::encode(report);
        let path = self.tree.host(&self.host);
        let write = self.zk.update(&path, |_| Change::Write(data.clone()));
        write.await.expect("ZooKeeper is healthy");
    }

    async fn followed(&self) -> Option<Target> {
        let read = async |path: String| {
            let znode = self.zk.get(&path).await.expect("ZooKeeper is healthy");
            znode.and_then(|znode| Target::read(&znode.data).ok().flatten())
        };
        let role = self
            .zk
            .get(&self.tree.role(&self.host))
            .await
            .expect("ZooKeeper is healthy");
        let role = role.and_then(|znode| wire::decode::<Assignment>(&znode.data).ok());
        if role.is_some_and(|assignment| assignment.role == Role::Canary)
            && let Some(target) = read(self.tree.canary()).await
        {
            return Some(target);
        }
        read(self.tree.enabled()).await
    }
}

/// Returns a name of a build.
pub fn build(name: &str) -> BuildName {
    BuildName::parse(name).expect("builds of tests are names")
}

/// Deletes a znode, whatever it is.
pub async fn delete(zk: &Zk, path: &str) {
    zk.delete(path, Expect::Any)
        .await
        .expect("ZooKeeper is healthy");
}

/// The server lives as long as some test has it, so that it is killed at the end.
fn shared_server() -> Option<Arc<Server>> {
    static SHARED: Mutex<Weak<Server>> = Mutex::new(Weak::new());
    let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(server) = shared.upgrade() {
        return Some(server);
    }
    let server = Arc::new(Server::start()?);
    *shared = Arc::downgrade(&server);
    Some(server)
}

fn program() -> PathBuf {
    let test = std::env::current_exe().expect("a process knows its program");
    let profile = test
        .parent()
        .and_then(|deps| deps.parent())
        .expect("it is in target/<profile>/deps");
    let program = profile.join("deployctl");
    assert!(
        program.exists(),
        "{} is missing: cargo build -p deployctl",
        program.display()
    );
    program
}

fn words(line: &str) -> Vec<String> {
    let mut words = vec![];
    for (index, part) in line.split('\'').enumerate() {
        if index % 2 == 1 {
            words.push(part.to_owned());
        } else {
            words.extend(part.split_whitespace().map(str::to_owned));
        }
    }
    words
}
