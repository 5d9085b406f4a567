//! A deployd of a test's own: configuration, process, and all that it needs around it.
//!
//! ```text
//! <temp dir>/
//!     deployd.toml     made from Settings
//!     log              what deployd said, over all its runs
//!     state/           its state_dir
//!     supervisor       the socket of restart commands and hooks
//!     srv/<service>/   current, releases/
//! ```

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak, mpsc};
use std::time::Duration;

use deploy_core::name::{HostName, ServiceName};
use deploy_core::znode::Root;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;

use crate::archives::{program, tree};
use crate::builds::Builds;
use crate::calls::{Calls, Whose};
use crate::eventually::eventually;
use crate::invariants::Files;
use crate::service::Service;
use crate::supervisor::Supervisor;
use crate::znodes::Znodes;
use crate::zookeeper::Server;
use crate::{ports, spawn_tied};

/// How long anything may take on a loaded machine, where nothing has to be waited out.
pub const LIMIT: Duration = Duration::from_secs(60);

/// Returns the ZooKeeper of this test binary, which lives as long as one of its tests uses it;
/// `None`, aloud, where there is none.
pub fn zookeeper() -> Option<Arc<Server>> {
    static SHARED: Mutex<Weak<Server>> = Mutex::new(Weak::new());
    let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(server) = shared.upgrade() {
        return Some(server);
    }
    let server = Arc::new(Server::start()?);
    *shared = Arc::downgrade(&server);
    Some(server)
}

/// What a test wants of its agent.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The host's name in ZooKeeper.
    pub host: String,
    /// Where deployd finds ZooKeeper, with commas between several; the test itself goes straight
    /// to the server.
    pub zookeeper: String,
    /// Its session timeout, in seconds.
    pub session_timeout_s: u64,
    /// Lines for `[zookeeper]`.
    pub zookeeper_more: String,
    /// Lines for `[builds]`.
    pub builds: String,
    /// Its `log.level`.
    pub log_level: &'static str,
    /// The root in ZooKeeper and the source of builds of another agent, to be its neighbour.
    pub beside: Option<(Root, String)>,
    /// The services.
    pub services: Vec<ServiceSettings>,
}

/// What a test wants of a service.
#[derive(Debug, Clone)]
pub struct ServiceSettings {
    /// Its name.
    pub name: &'static str,
    /// How many instances it has; `<name>-1` is the first unit.
    pub instances: usize,
    /// Which hooks it has, of `post_extract`, `post_install` and `post_restart`.
    pub hooks: &'static [&'static str],
    /// How long a hook may take, in seconds.
    pub hook_timeout_s: f64,
    /// More lines for `[service.restart]`.
    pub restart: String,
    /// How its instances are drained.
    pub drain: Drain,
    /// How often its probe asks: lines for `[service.probe]`.
    pub probe_pace: &'static str,
    /// How long its probe may take, in seconds.
    pub probe_timeout_s: f64,
    /// How long it is watched after the last instance, in seconds.
    pub burn_in_s: f64,
}

/// How instances are drained.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Drain {
    /// Not at all.
    None,
    /// By asking the supervisor: `traffic drain|undrain UNIT PORT`, for so many seconds at most.
    Command(u32),
}

impl ServiceSettings {
    /// Returns a service with two instances and no hooks.
    pub fn new(name: &'static str) -> ServiceSettings {
        ServiceSettings {
            name,
            instances: 2,
            hooks: &[],
            hook_timeout_s: 300.0,
            restart: String::new(),
            drain: Drain::None,
            probe_pace: "interval_s = 0.05",
            probe_timeout_s: 5.0,
            burn_in_s: 0.0,
        }
    }
}

/// A deployd and what is around it. Everything ends, and its files go, when it is dropped; after a
/// failure its log, reports and tree are shown.
pub struct Agent {
    /// Its build server.
    pub builds: Builds,
    /// Restarts its instances and answers its hooks.
    pub supervisor: Supervisor,
    /// ZooKeeper, for the test.
    pub znodes: Znodes,
    /// What it was made from.
    pub settings: Settings,
    services: Vec<(ServiceName, Vec<u16>)>,
    root: Root,
    child: Mutex<Option<Child>>,
    // Last, so that it outlives those that use it; none where the test has it.
    _server: Option<Arc<Server>>,
    dir: TempDir,
}

impl Agent {
    /// Makes one with the service `web`, and starts it; `None`, aloud, where there is no ZooKeeper.
    pub fn start() -> Option<Agent> {
        Agent::start_with(|_| {})
    }

    /// Like [`Agent::start`], with settings changed by `change`.
    pub fn start_with(change: impl FnOnce(&mut Settings)) -> Option<Agent> {
        let agent = Agent::prepare(zookeeper()?, change);
        agent.run();
        Some(agent)
    }

    /// Makes another host of the same fleet, and doesn't start it.
    pub fn neighbour(&self, change: impl FnOnce(&mut Settings)) -> Agent {
        let beside = |settings: &mut Settings| {
            settings.services = self.settings.services.clone();
            settings.beside = Some((self.root.clone(), self.builds.source()));
            change(settings);
        };
        match &self._server {
            Some(server) => Agent::prepare(Arc::clone(server), beside),
            None => Agent::prepare_at(&self.settings.zookeeper, beside),
        }
    }

    /// Makes one on a ZooKeeper, and doesn't start it.
    ///
    /// # Panics
    /// If a directory or a file can't be made.
    pub fn prepare(server: Arc<Server>, change: impl FnOnce(&mut Settings)) -> Agent {
        let mut agent = Agent::prepare_at(&server.address(), change);
        agent._server = Some(server);
        agent
    }

    /// Makes one on servers that the test keeps, `host:port` with commas between several, and
    /// doesn't start it.
    ///
    /// # Panics
    /// If a directory or a file can't be made.
    pub fn prepare_at(zookeeper: &str, change: impl FnOnce(&mut Settings)) -> Agent {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let dir = tempfile::Builder::new()
            .prefix("deploy-test-agent-")
            .tempdir()
            .expect("a temporary directory can be made");
        fs::create_dir(dir.path().join("srv")).expect("a directory can be made in a new one");
        let mut settings = Settings {
            host: "h1".to_owned(),
            zookeeper: zookeeper.to_owned(),
            session_timeout_s: 4,
            zookeeper_more: String::new(),
            builds: String::new(),
            log_level: "debug",
            beside: None,
            services: vec![ServiceSettings::new("web")],
        };
        change(&mut settings);
        let named = |service: &ServiceSettings| {
            let name = ServiceName::parse(service.name).expect("tests use good names");
            (
                name,
                (0..service.instances).map(|_| ports::free()).collect(),
            )
        };
        let agent = Agent {
            builds: Builds::start(),
            supervisor: Supervisor::start(dir.path()),
            znodes: Znodes::connect(zookeeper),
            services: settings.services.iter().map(named).collect(),
            root: match &settings.beside {
                Some((root, _)) => root.clone(),
                None => Root::parse(&format!("/test-{number}")).expect("a root"),
            },
            settings,
            child: Mutex::new(None),
            _server: None,
            dir,
        };
        fs::write(agent.config(), agent.config_text()).expect("a file can be written");
        agent
    }

    /// Starts deployd.
    ///
    /// # Panics
    /// If it runs already.
    pub fn run(&self) {
        let mut command = self.command(&["run"]);
        self.log_to(&mut command);
        self.adopt(command);
    }

    /// Starts deployd where each change of a file is seen by `calls`.
    ///
    /// # Panics
    /// If it runs already, or can't be watched.
    pub fn run_watched(&self, calls: &Calls) {
        let mut command = self.command(&["run"]);
        self.log_to(&mut command);
        calls.watch(&mut command);
        self.adopt(command);
    }

    /// Returns the calls that change its files: those of deployd, below `srv` and `state`.
    pub fn calls(&self) -> Calls {
        Calls::below(&[&self.path("srv"), &self.path("state")], Whose::Own)
    }

    /// Returns where the files of the service `web` are.
    pub fn files(&self) -> Files {
        Files {
            dir: self.path("srv/web"),
            state: self.path("state"),
            service: "web".to_owned(),
        }
    }

    /// Sends what a command says on standard error to the log.
    ///
    /// # Panics
    /// If the log can't be opened.
    pub fn log_to(&self, command: &mut Command) {
        let log = File::options()
            .create(true)
            .append(true)
            .open(self.path("log"));
        command.stderr(log.expect("a log can be opened"));
    }

    /// Starts a command as the deployd of this fixture.
    ///
    /// # Panics
    /// If there is one already.
    pub fn adopt(&self, command: Command) {
        let mut child = self.child();
        assert!(child.is_none(), "deployd runs already");
        *child = Some(spawn_tied(command));
    }

    /// Returns a command of deployd with this configuration.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(program("deployd"));
        command
            .args(arguments)
            .arg("--config")
            .arg(self.config())
            .env_remove("JOURNAL_STREAM")
            .stdin(Stdio::null())
            .stdout(Stdio::null());
        command
    }

    /// Runs a command of deployd to its end, and returns what it said.
    ///
    /// # Panics
    /// If it can't be started, or doesn't end.
    #[track_caller]
    pub fn output(&self, arguments: &[&str]) -> Output {
        let mut command = self.command(arguments);
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let child = spawn_tied(command);
        let pid = i32::try_from(child.id()).expect("a process id fits");
        let (sender, output) = mpsc::channel();
        std::thread::spawn(move || sender.send(child.wait_with_output()));
        let output = output.recv_timeout(LIMIT);
        if output.is_err() {
            // Fails only if it has just ended.
            let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
        }
        let output = output.unwrap_or_else(|_| panic!("deployd {arguments:?} doesn't end"));
        output.expect("a child can be waited for")
    }

    /// Returns the process of deployd.
    ///
    /// # Panics
    /// If it doesn't run.
    pub fn pid(&self) -> u32 {
        let child = self.child();
        child.as_ref().expect("deployd runs").id()
    }

    /// Sends SIGTERM.
    pub fn terminate(&self) {
        self.signal(Signal::SIGTERM);
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) {
        if let Some(pid) = self.process() {
            // Fails only if it is dead already, which the test will notice.
            let _ = kill(pid, signal);
        }
    }

    /// Returns the process that was started last, and not waited for yet.
    pub fn process(&self) -> Option<Pid> {
        let child = self.child();
        let id = child.as_ref()?.id();
        Some(Pid::from_raw(i32::try_from(id).expect("a process id fits")))
    }

    /// Waits for the end of deployd, and returns its exit code.
    ///
    /// # Panics
    /// If it doesn't end, or didn't run.
    #[track_caller]
    pub fn wait(&self) -> Option<i32> {
        let status = eventually("deployd ends", LIMIT, || {
            // It stays ours until it has ended: others may have to signal it, as to let it go on.
            let mut place = self.child();
            let child = place.as_mut().expect("deployd runs");
            let ended = child.try_wait().expect("a child can be waited for");
            if ended.is_some() {
                *place = None;
            }
            ended.ok_or("it runs")
        });
        status.code()
    }

    /// Stops it as systemd does, and returns its exit code.
    pub fn stop(&self) -> Option<i32> {
        self.terminate();
        self.wait()
    }

    /// Kills it as the kernel does when memory is short.
    pub fn kill(&self) {
        if let Some(mut child) = self.child().take() {
            // Fails only if it is dead already.
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Tells whether it runs.
    pub fn is_running(&self) -> bool {
        let mut child = self.child();
        child
            .as_mut()
            .is_some_and(|child| matches!(child.try_wait(), Ok(None)))
    }

    fn child(&self) -> std::sync::MutexGuard<'_, Option<Child>> {
        self.child.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the root of its tree in ZooKeeper.
    pub fn root(&self) -> &Root {
        &self.root
    }

    /// Returns the service `web`.
    pub fn web(&self) -> Service<'_> {
        self.service("web")
    }

    /// Returns a service.
    ///
    /// # Panics
    /// If there is none of this name.
    pub fn service(&self, name: &str) -> Service<'_> {
        let found = self
            .services
            .iter()
            .find(|(known, _)| known.as_str() == name);
        let (name, ports) = found.expect("it was configured");
        Service {
            agent: self,
            znodes: self.root.service(name),
            host: HostName::parse(&self.settings.host).expect("tests use good names"),
            dir: self.path("srv").join(name.as_str()),
            ports,
        }
    }

    /// Returns a path in its directory.
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Returns where its configuration is.
    pub fn config(&self) -> PathBuf {
        self.path("deployd.toml")
    }

    /// Returns all that deployd has logged.
    pub fn log(&self) -> String {
        fs::read_to_string(self.path("log")).unwrap_or_default()
    }

    /// Waits until a line of the log has all of these words.
    ///
    /// # Panics
    /// If that doesn't happen.
    #[track_caller]
    pub fn logs(&self, words: &[&str]) {
        eventually(&format!("a log line with {words:?}"), LIMIT, || {
            let log = self.log();
            let found = log
                .lines()
                .any(|line| words.iter().all(|word| line.contains(word)));
            if found { Ok(()) } else { Err("no such line") }
        });
    }

    /// Returns the text of `deployd.toml`.
    pub fn config_text(&self) -> String {
        let Settings {
            host,
            zookeeper,
            builds,
            ..
        } = &self.settings;
        let hosts: Vec<&str> = zookeeper.split(',').collect();
        let mut text = format!(
            "[agent]\nhost = \"{host}\"\nstate_dir = {state:?}\n\n\
             [zookeeper]\nhosts = {hosts:?}\nroot = \"{root}\"\nsession_timeout_s = {timeout}\n{more}\n\
             [builds]\nsources = [\"{source}\"]\nallow_http = true\nmin_free_bytes = 0\n{builds}\n\
             [log]\nlevel = \"{level}\"\nformat = \"json\"\n",
            state = self.path("state"),
            root = self.root.path(),
            timeout = self.settings.session_timeout_s,
            level = self.settings.log_level,
            more = self.settings.zookeeper_more,
            source = match &self.settings.beside {
                Some((_, source)) => source.clone(),
                None => self.builds.source(),
            },
        );
        for service in &self.settings.services {
            text += &self.service_text(service);
        }
        text
    }

    fn service_text(&self, settings: &ServiceSettings) -> String {
        let service = self.service(settings.name);
        let dir = service.dir.display().to_string();
        let instances: Vec<String> = (1..)
            .zip(service.ports)
            .map(|(number, port)| {
                format!("{{ unit = \"{}-{number}\", port = {port} }}", settings.name)
            })
            .collect();
        let hooks: String = settings
            .hooks
            .iter()
            .map(|hook| {
                let command = self.supervisor.command(&["hook", settings.name, hook]);
                format!("  {hook} = {command}\n")
            })
            .collect();
        let restart = ["restart", "{unit}", "{port}", &dir];
        let drain = match settings.drain {
            Drain::None => "method = \"none\"".to_owned(),
            Drain::Command(timeout_s) => {
                let command = self.supervisor.command(&["traffic"]);
                format!(
                    "method = \"command\"\ncommand = {command}\ntimeout_s = {timeout_s}\nsettle_s = 0"
                )
            }
        };
        format!(
            "\n[[service]]\nname = \"{name}\"\ndir = {dir:?}\ninstances = [{instances}]\n\
             [service.hooks]\ntimeout_s = {hook_timeout}\n{hooks}[service.restart]\nmethod = \"command\"\ncommand = {restart}\n\
             {more}\n[service.drain]\n{drain}\n[service.probe]\n\
             http = \"http://127.0.0.1:{{port}}/healthz\"\n{pace}\n\
             timeout_s = {timeout}\nburn_in_s = {burn_in}\n",
            name = settings.name,
            pace = settings.probe_pace,
            instances = instances.join(", "),
            restart = self.supervisor.command(&restart),
            more = settings.restart,
            hook_timeout = settings.hook_timeout_s,
            timeout = settings.probe_timeout_s,
            burn_in = settings.burn_in_s,
        )
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = self.log();
            let lines: Vec<&str> = log.lines().collect();
            let tail = lines[lines.len().saturating_sub(60)..].join("\n");
            let host = &self.settings.host;
            eprintln!("--- log of deployd on {host} ---\n{tail}");
            for name in fs::read_dir(self.path("state/status"))
                .into_iter()
                .flatten()
                .flatten()
            {
                let report = fs::read_to_string(name.path()).unwrap_or_default();
                eprintln!("--- {} ---\n{report}", name.file_name().display());
            }
            eprintln!("--- tree ---\n{}", shown(&self.path("srv")));
            eprintln!("--- asked ---\n{}", self.supervisor.asked("").join("\n"));
            eprintln!("--- said by instances ---\n{}", self.supervisor.said());
        }
        self.kill();
    }
}

fn shown(dir: &Path) -> String {
    if dir.exists() {
        tree(dir)
    } else {
        "nothing".to_owned()
    }
}
