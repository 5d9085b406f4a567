//! One service of an agent under test: what is asked of it, and what it is.

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use deploy_core::artifact::Artifact;
use deploy_core::name::{BuildName, HostName};
use deploy_core::wire;
use deploy_core::wire::record::Record;
use deploy_core::wire::report::{Phase, Report};
use deploy_core::znode::ServiceTree;
use serde_json::{Value, json};

use crate::agent::{Agent, LIMIT};
use crate::builds::Health;
use crate::eventually::eventually;
use crate::supervisor::get;

/// One service of an agent.
pub struct Service<'a> {
    /// Its agent.
    pub agent: &'a Agent,
    /// Its znodes.
    pub znodes: ServiceTree,
    /// The host.
    pub host: HostName,
    /// Where `current` and `releases/` are.
    pub dir: PathBuf,
    /// The ports of its instances.
    pub ports: &'a [u16],
}

impl Service<'_> {
    /// Returns a target for `enabled`, without options: version, build, rollout, artifact.
    pub fn target(&self, build: &str, rollout: u64, artifact: &Artifact) -> Value {
        json!({ "v": 1, "build": build, "rollout": rollout, "artifact": artifact })
    }

    /// Puts a build that works on the shelf and makes it the target; returns its artifact.
    pub fn deploy(&self, build: &str, rollout: u64) -> Artifact {
        self.deploy_with(build, rollout, Health::Ok)
    }

    /// Puts a build on the shelf and makes it the target; returns its artifact.
    pub fn deploy_with(&self, build: &str, rollout: u64, health: Health) -> Artifact {
        let artifact = self.agent.builds.add(build, health);
        self.enable(&self.target(build, rollout, &artifact));
        artifact
    }

    /// Writes `enabled`.
    pub fn enable(&self, target: &Value) {
        self.put(&self.znodes.enabled(), target.to_string());
    }

    /// Writes a znode.
    pub fn put(&self, path: &str, data: impl AsRef<[u8]>) {
        self.agent.znodes.put(path, data);
    }

    /// Removes a znode.
    pub fn delete(&self, path: &str) {
        self.agent.znodes.delete(path);
    }

    /// Returns the report in ZooKeeper, if there is one.
    ///
    /// # Panics
    /// If what is there is none.
    pub fn report(&self) -> Option<Report> {
        let znode = self.agent.znodes.get(&self.znodes.host(&self.host))?;
        if znode.data.is_empty() {
            return None;
        }
        let text = String::from_utf8_lossy(&znode.data).into_owned();
        let report = wire::decode::<Report>(&znode.data);
        Some(report.unwrap_or_else(|error| panic!("{error}: {text}")))
    }

    /// Waits for a report that is as wanted, and returns it.
    ///
    /// # Panics
    /// If none comes.
    #[track_caller]
    pub fn until(&self, what: &str, wanted: impl FnMut(&Report) -> bool) -> Report {
        self.until_within(what, LIMIT, wanted)
    }

    /// Like [`Service::until`], with a limit of its own.
    #[track_caller]
    pub fn until_within(
        &self,
        what: &str,
        limit: Duration,
        mut wanted: impl FnMut(&Report) -> bool,
    ) -> Report {
        eventually(what, limit, || match self.report() {
            Some(report) if wanted(&report) => Ok(report),
            report => Err(Box::new(report)),
        })
    }

    /// Waits until the host serves a build and has nothing more to do: the report says so, and so
    /// do the symlink and the instances.
    #[track_caller]
    pub fn serves(&self, build: &str) -> Report {
        self.serves_within(build, LIMIT)
    }

    /// Like [`Service::serves`], with a limit of its own.
    #[track_caller]
    pub fn serves_within(&self, build: &str, limit: Duration) -> Report {
        let name = named(build);
        let report = self.until_within(&format!("{build} is served"), limit, |report| {
            report.phase == Phase::Serving
                && report.target == name
                && report.serving == name
                && !report.lease
                && report.step.is_none()
        });
        self.is_at(build);
        report
    }

    /// Waits until the target has failed here and the host is back at a build.
    #[track_caller]
    pub fn failed(&self, target: &str, at: &str) -> Report {
        let (target, back) = (named(target), named(at));
        // The report alone may be that of an earlier failure.
        self.until("the target failed here", |report| {
            report.phase == Phase::Failed
                && report.target == target
                && report.current == back
                && report.serving == back
                && report.step.is_none()
                && self.differs_from(at).is_none()
        })
    }

    /// Waits until the report says that something is wrong whose message has all of these words.
    #[track_caller]
    pub fn blocked(&self, words: &[&str]) -> Report {
        self.until(&format!("blocked with {words:?}"), |report| {
            let said = report
                .error
                .as_ref()
                .map(|e| format!("{} {}", e.step, e.message));
            let said = said.unwrap_or_default();
            report.phase == Phase::Blocked && words.iter().all(|word| said.contains(word))
        })
    }

    /// Makes the agent look at everything again, and returns what it saw: it tells whoever asks it of
    /// each look, ZooKeeper of changes only.
    #[track_caller]
    pub fn looks_again(&self) -> Report {
        let at = self.said().and_then(|report| report.at);
        let enabled = self.znodes.enabled();
        let target = self.agent.znodes.get(&enabled).map(|znode| znode.data);
        let target = target.unwrap_or_default();
        let mut written: Option<Instant> = None;
        eventually("a report of a later look", LIMIT, || {
            // Reports have whole seconds: one look may not be seen.
            if written.is_none_or(|at| at.elapsed() > Duration::from_secs(1)) {
                self.put(&enabled, &target);
                written = Some(Instant::now());
            }
            match self.said() {
                Some(report) if report.at != at => Ok(report),
                report => Err(format!("{report:?}")),
            }
        })
    }

    /// Returns what `deployd status` says of it.
    fn said(&self) -> Option<Report> {
        let output = self.agent.output(&["status", "--json"]);
        let status: Value = serde_json::from_slice(&output.stdout).ok()?;
        let name = self.dir.file_name()?.to_str();
        let mut reports = status["reports"].as_array()?.iter();
        let own = reports.find(|report| report["service"].as_str() == name)?;
        wire::decode(own.to_string().as_bytes()).ok()
    }

    /// Asserts that `current` and every instance are at a build.
    #[track_caller]
    pub fn is_at(&self, build: &str) {
        assert_eq!(self.differs_from(build), None);
    }

    /// Says what of `current` and the instances is not at a build.
    pub fn differs_from(&self, build: &str) -> Option<String> {
        let current = self.current();
        if current.as_deref() != Some(build) {
            return Some(format!("current is {current:?}, not {build}"));
        }
        let mut answers = self.ports.iter().map(|port| (port, get(*port, "/")));
        let other = answers.find(|(_, answer)| *answer != Ok((200, build.to_owned())));
        other.map(|(port, answer)| format!("port {port}: {answer:?}, not {build}"))
    }

    /// Returns the name of the release that `current` points to, if it is a symlink.
    pub fn current(&self) -> Option<String> {
        let target = fs::read_link(self.dir.join("current")).ok()?;
        let name = target.strip_prefix("releases").ok()?;
        Some(name.to_str()?.to_owned())
    }

    /// Returns the names in `releases/`, also those that are no releases.
    pub fn releases(&self) -> Vec<String> {
        let entries = fs::read_dir(self.dir.join("releases"))
            .into_iter()
            .flatten()
            .flatten();
        let mut names: Vec<_> = entries
            .map(|entry| entry.file_name().to_string_lossy().into_owned())
            .collect();
        names.sort();
        names
    }

    /// Returns the process of each instance.
    pub fn pids(&self) -> Vec<Option<u32>> {
        let name = self
            .dir
            .file_name()
            .expect("it has one")
            .to_string_lossy()
            .into_owned();
        let units = (1..=self.ports.len()).map(|number| format!("{name}-{number}"));
        units.map(|unit| self.agent.supervisor.pid(&unit)).collect()
    }

    /// Returns the names in the restart queue.
    pub fn leases(&self) -> Vec<String> {
        self.agent.znodes.children(&self.znodes.leases())
    }

    /// Returns the journal.
    ///
    /// # Panics
    /// If it can't be read.
    pub fn journal(&self) -> Record {
        let name = self.dir.file_name().expect("it has one").to_string_lossy();
        let path = self
            .agent
            .path("state/journal")
            .join(format!("{name}.json"));
        let data = fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        wire::decode(&data).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    }
}

/// Returns a build name as reports have it.
///
/// # Panics
/// If it is none.
pub fn named(build: &str) -> Option<BuildName> {
    Some(BuildName::parse(build).expect("tests use good names"))
}
