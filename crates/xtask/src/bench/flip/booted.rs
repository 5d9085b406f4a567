//! A host with a systemd, to be measured: a fleet of one, see docs/fleet.md.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail, ensure};
use nix::unistd::Uid;
use serde_json::Value;
use tempfile::TempDir;

use super::journey::{Journey, LOG_LEVEL};
use crate::sweep::Sweeper;
use crate::tool;

const NAME: &str = "bench-flip";
const DOWN: [&str; 4] = ["fleet", "--name", NAME, "down"];
const HOST: &str = "h1";
const BUILDS: [&str; 2] = ["v1", "v2"];
/// The port of the first instance.
const FIRST_PORT: usize = 8001;
const JOURNAL_TIME: Duration = Duration::from_secs(10);
const LOOK_TIME: Duration = Duration::from_millis(50);

/// A fleet of one host. It is ended, and removed, when dropped, and when the bench is killed.
pub(super) struct Booted {
    program: PathBuf,
    _sweeper: Sweeper,
    count: usize,
    /// Which build is deployed next.
    next: usize,
}

impl Booted {
    /// Boots the host, and deploys the first build.
    pub(super) fn start(count: usize, scratch: &Path) -> Result<Booted> {
        ensure!(Uid::effective().is_root(), "only root can boot hosts");
        let program = std::env::current_exe().context("this program has no path")?;
        let dir = TempDir::new_in(scratch).context("failed to make a directory")?;
        let (sweeper, _) = Sweeper::start(&program, dir, &DOWN)?;
        let mut booted = Booted {
            program,
            _sweeper: sweeper,
            count,
            next: 0,
        };
        // One whose sweeper was killed as well.
        let _ = booted.fleet(&["down"]);
        let (count, owner) = (count.to_string(), std::process::id().to_string());
        booted.fleet(&["up", "1", "--instances", &count, "--owner", &owner])?;
        let configure = format!(
            "sed -i -e 's/settle_s = .*/settle_s = 0/' -e 's/interval_s = .*/interval_s = 0.05/' \
             -e 's/successes = .*/successes = 1/' /etc/deployd/deployd.toml && \
             printf '[log]\\nlevel = \"{LOG_LEVEL}\"\\n' >> /etc/deployd/deployd.toml && \
             systemctl start deployd"
        );
        booted.on_host(&configure)?;
        for build in BUILDS {
            booted.fleet(&["build", build])?;
        }
        booted.deploy()?;
        Ok(booted)
    }

    /// Deploys the other build, and returns what became of that.
    pub(super) fn deploy(&mut self) -> Result<Journey> {
        let build = BUILDS[self.next];
        self.next = 1 - self.next;
        let begun = SystemTime::now().duration_since(UNIX_EPOCH);
        let begun = begun.context("the clock is before 1970")?.as_secs_f64();
        self.fleet(&["ctl", "deploy", "hello", build, "--yes", "--quiet"])?;
        let deadline = Instant::now() + JOURNAL_TIME;
        loop {
            let journey = self.journey(begun)?;
            if journey.is_over() {
                return Ok(journey);
            }
            if Instant::now() > deadline {
                bail!("build {build} did not come to serve: {journey:?}");
            }
            thread::sleep(LOOK_TIME);
        }
    }

    /// Does by hand what each instance itself needs: a restart, and one request of the probe. Returns how
    /// long that took on the host.
    pub(super) fn by_hand(&self) -> Result<Duration> {
        let mut script = "begun=$(date +%s%N)\n".to_owned();
        for port in FIRST_PORT..FIRST_PORT + self.count {
            let _ = writeln!(
                script,
                "systemctl restart hello@{port}.service && exec 3<>/dev/tcp/127.0.0.1/{port} && \
                 printf 'GET /healthz HTTP/1.0\\r\\n\\r\\n' >&3 && read -r line <&3 && \
                 [[ $line == *200* ]] || exit 1"
            );
        }
        script.push_str("echo $(($(date +%s%N) - begun))");
        let said = self.on_host(&script)?;
        let nanoseconds = said
            .trim()
            .parse()
            .context("a host says how long it took")?;
        Ok(Duration::from_nanos(nanoseconds))
    }

    /// The processor time of the agent and of all programs that it ran, but for the units that it restarts.
    pub(super) fn processor_time(&self) -> Result<Duration> {
        let said = self.on_host("cat /sys/fs/cgroup/system.slice/deployd.service/cpu.stat")?;
        let usage = said
            .lines()
            .find_map(|line| line.strip_prefix("usage_usec "));
        let usage = usage.and_then(|text| text.parse().ok());
        usage
            .map(Duration::from_micros)
            .context("the group of deployd has no cpu.stat")
    }

    fn journey(&self, since: f64) -> Result<Journey> {
        let ask = format!("journalctl --unit=deployd --output=json --since=@{since:.6}");
        let mut journey = Journey::default();
        for line in self.on_host(&ask)?.lines() {
            let entry: Value = serde_json::from_str(line).context("the journal is not JSON")?;
            let at = entry["_SOURCE_REALTIME_TIMESTAMP"].as_str();
            let at = at.and_then(|text| text.parse().ok());
            if let (Some(at), Some(message)) = (at, entry["MESSAGE"].as_str()) {
                journey.told(Duration::from_micros(at), message);
            }
        }
        Ok(journey)
    }

    fn on_host(&self, script: &str) -> Result<String> {
        self.fleet(&["exec", HOST, "bash", "-c", script])
    }

    fn fleet(&self, arguments: &[&str]) -> Result<String> {
        let mut command = Command::new(&self.program);
        command.args(["fleet", "--name", NAME]).args(arguments);
        tool::output(&mut command)
    }
}
