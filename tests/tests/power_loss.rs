//! Power loss at each call of a deployment that changes a file: what the disk has been told to write
//! is copied, mounted as after a reboot, and looked at. `current` names a whole release, old or new,
//! what has the name of a release is whole, the journal can be read, and all that was reported or
//! written down before is there.
//!
//! Two kinds of disks. One keeps nothing that was not synced: it finds what is reported before it is
//! durable; there the service and the state have a disk each, since a sync of one file commits all
//! names of its disk. The other keeps all names at once but not what is in the files: it finds names
//! that are given before what they name is durable.
//!
//! Of the 600 moments a third is looked at, another one in each run; all with `DEPLOY_TEST_LONG=1 cargo
//! xtask test -p tests --test power_loss`. `DEPLOY_TEST_SEED`, which each run prints, gives the same
//! sample again.

use std::fs::{self, File};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use deploy_core::name::BuildName;
use deploy_core::wire;
use deploy_core::wire::record::InService;
use deploy_core::wire::report::{Phase, Report};
use nix::unistd::syncfs;
use tempfile::TempDir;
use tests::agent::{Agent, ServiceSettings, zookeeper};
use tests::calls::{self, Answer, Call, Calls, Whose};
use tests::disk::{Image, Mounted};
use tests::invariants::{Files, MADE_BY_HOOK};
use tests::sample::{self, Dice};
use tests::supervisor::Answer as Held;
use tests::znodes::Znodes;

const IMAGE_MIB: u64 = 16;
/// A build that is undone after it was current.
const BAD: &str = "bad3";
/// One of so many moments is looked at, where all are too many.
const SHARE: u64 = 3;
/// Nothing is written by itself while a test runs.
const NOTHING_BY_ITSELF: &str = "commit=600";
const NAMES_BUT_NO_CONTENT: &str = "commit=600,data=writeback,noauto_da_alloc";
/// What the hook writes: more than fits into an inode.
const HOOK_BYTES: usize = 20_000;

/// What the disk does of itself before the power goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Before {
    Nothing,
    /// It commits its journal, because somebody has synced a file of his own.
    Commit,
}

/// The disks of an agent.
#[derive(Clone)]
struct Disks {
    service: Arc<Image>,
    state: Arc<Image>,
}

impl Disks {
    /// Makes them; `None`, aloud, where there are no loop devices.
    fn make(options: &str, before: Before) -> Option<Disks> {
        let service = Arc::new(Image::ext4(IMAGE_MIB, options)?);
        let state = match before {
            Before::Nothing => Arc::new(Image::ext4(IMAGE_MIB, options)?),
            Before::Commit => Arc::clone(&service),
        };
        Some(Disks { service, state })
    }

    /// All of them, the one that is written last first: what it says must be true of the others,
    /// which are copied later.
    fn all(&self) -> Vec<&Image> {
        match Arc::ptr_eq(&self.service, &self.state) {
            true => vec![&self.service],
            false => vec![&self.state, &self.service],
        }
    }

    /// Puts the directories of an agent on them; returns where they really are.
    fn hold(&self, agent: &Agent) -> [PathBuf; 2] {
        let places = [("srv", &self.service), ("state", &self.state)];
        places.map(|(name, disk)| {
            let (place, real) = (agent.path(name), disk.at().join(name));
            // Nothing is in it yet.
            let _ = fs::remove_dir(&place);
            fs::create_dir(&real).expect("a directory can be made on a new disk");
            symlink(&real, &place).expect("a link can be made in a new directory");
            real
        })
    }
}

/// Looks at what a power loss would leave, at any moment.
struct Reboot {
    disks: Disks,
    before: Before,
    /// Where the copies are, and where they are mounted.
    dir: TempDir,
    znodes: Znodes,
    report: String,
    old: String,
    new: String,
    seen: Arc<Mutex<Seen>>,
}

#[derive(Debug, Default)]
struct Seen {
    moments: u64,
    /// Moments at which the new release was current.
    flipped: u64,
    problems: Vec<String>,
}

impl Reboot {
    /// Looks, and keeps what is wrong.
    fn look(&self, when: &str) {
        let result = self.after_reboot();
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.moments += 1;
        match result {
            Ok((flipped, problems)) => {
                seen.flipped += u64::from(flipped);
                let told = problems
                    .iter()
                    .map(|problem| format!("before {when}: {problem}"));
                seen.problems.extend(told);
            }
            Err(error) => seen.problems.push(format!("before {when}: {error}")),
        }
    }

    fn after_reboot(&self) -> Result<(bool, Vec<String>), String> {
        // What is told before the power goes must be there after it.
        let told = self.znodes.get(&self.report);
        let told = told.and_then(|znode| wire::decode::<Report>(&znode.data).ok());
        let text = |error: std::io::Error| error.to_string();
        if self.before == Before::Commit {
            let file = self.disks.service.at().join("somebody-elses");
            let synced = File::create(file).and_then(|file| file.sync_all());
            synced.map_err(text)?;
        }
        // Files that never were before: `mount` takes the loop device that still has a file of the same name, and with
        // it what the kernel remembers of that. Dropped after what is mounted.
        let copies = TempDir::new_in(self.dir.path()).map_err(text)?;
        let mut mounted = Vec::new();
        for (number, disk) in self.disks.all().into_iter().enumerate() {
            let at = self.dir.path().join(format!("mnt{number}"));
            let copy = copies.path().join(format!("copy{number}"));
            disk.copy(&copy).map_err(text)?;
            mounted.push(Mounted::image(&copy, ("noatime", &at))?);
        }
        // The state is on the first one, the service on the last.
        let files = Files {
            dir: self
                .dir
                .path()
                .join(format!("mnt{}", mounted.len() - 1))
                .join("srv/web"),
            state: self.dir.path().join("mnt0/state"),
            service: "web".to_owned(),
        };
        let mut problems = files.broken();
        let current = files.current().ok().flatten();
        if ![Some(&self.old), Some(&self.new)].contains(&current.as_ref()) {
            problems.push(format!("current is {current:?}"));
        }
        if let Some(told) = told {
            problems.extend(self.untrue(&files, &told));
        }
        problems.extend(not_there(&files));
        Ok((current.as_ref() == Some(&self.new), problems))
    }

    /// What a report has said and is not so.
    fn untrue(&self, files: &Files, told: &Report) -> Vec<String> {
        let mut problems = Vec::new();
        let is_new = |build: &Option<BuildName>| {
            let build = build.as_ref().map(BuildName::as_str);
            build == Some(self.new.as_str())
        };
        let current = files.current().ok().flatten();
        let journal = files.journal().unwrap_or_default();
        let known = |builds: &[BuildName]| builds.iter().any(|it| it.as_str() == self.new);
        // A bad build is current for a while and then deleted, and a report may be older than that.
        if self.stays()
            && known(&told.releases)
            && !files.dir.join("releases").join(&self.new).exists()
        {
            problems.push(format!("{} was reported to be here", self.new));
        }
        let serving = told.phase == Phase::Serving && is_new(&told.target);
        if serving && !known(&journal.verified) {
            problems.push(format!("{} was reported in service", self.new));
        }
        if self.stays() && is_new(&told.current) && current.as_ref() != Some(&self.new) {
            problems.push(format!(
                "{} was reported current, not {current:?}",
                self.new
            ));
        }
        let failed = told.phase == Phase::Failed && is_new(&told.target);
        if failed
            && !journal
                .rejected
                .keys()
                .any(|build| build.as_str() == self.new)
        {
            problems.push(format!("{} was reported to have failed", self.new));
        }
        problems
    }

    /// Whether the new build stays current.
    fn stays(&self) -> bool {
        self.new != BAD
    }
}

/// What the journal says and is not so.
fn not_there(files: &Files) -> Vec<String> {
    let mut problems = Vec::new();
    let journal = files.journal().unwrap_or_default();
    if let InService::At(build) = &journal.service
        && files.current().ok().flatten().as_deref() != Some(build.as_str())
    {
        problems.push(format!("the journal says in service at {build}"));
    }
    for build in &journal.prepared {
        let release = files.dir.join("releases").join(build.as_str());
        let made = fs::read(release.join(MADE_BY_HOOK)).unwrap_or_default();
        if release.exists() && made != made_by_hook() {
            problems.push(format!(
                "{build} is prepared, and {} bytes of that are there",
                made.len()
            ));
        }
    }
    problems
}

fn made_by_hook() -> Vec<u8> {
    b"wheels "
        .iter()
        .copied()
        .cycle()
        .take(HOOK_BYTES)
        .collect()
}

/// Lets the power go at each call of a good deployment and of a bad one.
fn lose_power(options: &str, before: Before) {
    let Some(server) = zookeeper().filter(|_| calls::available()) else {
        return;
    };
    // Dropped after the agent, which uses them.
    let Some(disks) = Disks::make(options, before) else {
        return;
    };
    let agent = Agent::prepare(server, |settings| {
        settings.services[0] = ServiceSettings {
            hooks: &["post_extract", "post_install"],
            // Looking takes its time.
            probe_timeout_s: 20.0,
            ..ServiceSettings::new("web")
        };
        settings.builds = "keep = 1".to_owned();
    });
    let [srv, state] = disks.hold(&agent);
    let roots = [srv, state, agent.path("srv"), agent.path("state")];
    let roots: Vec<&Path> = roots.iter().map(PathBuf::as_path).collect();
    let calls = Calls::below(&roots, Whose::Own);
    agent.run_watched(&calls);
    deploy(&agent, "good1", 1);
    agent.web().serves("good1");
    for disk in disks.all() {
        let root = File::open(disk.at()).expect("it is mounted");
        syncfs(&root).expect("a healthy disk");
    }
    let bad = Held::Fail("it does not fit here".to_owned());
    agent
        .supervisor
        .on(&format!("hook web post_install {BAD}"), bad);
    for (rollout, (build, old)) in (2..).zip([("good2", "good1"), (BAD, "good2")]) {
        let (begin, seed) = (Instant::now(), sample::seed());
        let mut dice = Dice(seed);
        let seen = Arc::new(Mutex::new(Seen::default()));
        let reboot = Reboot::new((&agent, &disks, before), (old, build), &seen);
        calls.rule(move |call: &Call| {
            if sample::is_long() || dice.below(SHARE) == 0 {
                reboot.look(&call.to_string());
            }
            Answer::GoOn
        });
        deploy(&agent, build, rollout);
        match build {
            BAD => drop(agent.web().failed(build, old)),
            _ => drop(agent.web().serves(build)),
        }
        calls.let_go();
        Reboot::new((&agent, &disks, before), (old, build), &seen).look("the end");
        let seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
        let (moments, seconds) = (seen.moments, begin.elapsed().as_secs_f64());
        println!(
            "DEPLOY_TEST_SEED={seed}: power lost at {moments} moments of {build}, {options}, in {seconds:.1} s"
        );
        assert!(seen.problems.is_empty(), "{:#?}", seen.problems);
        // A bad one is current for a moment only, which a sample may miss.
        assert!(
            moments > 10 && (build == BAD || seen.flipped > 0),
            "{seen:?}"
        );
    }
}

impl Reboot {
    fn new(
        (agent, disks, before): (&Agent, &Disks, Before),
        (old, new): (&str, &str),
        seen: &Arc<Mutex<Seen>>,
    ) -> Reboot {
        let dir = tempfile::tempdir().expect("a temporary directory can be made");
        for name in ["mnt0", "mnt1"] {
            fs::create_dir(dir.path().join(name)).expect("a directory can be made in a new one");
        }
        let web = agent.web();
        Reboot {
            disks: disks.clone(),
            before,
            dir,
            znodes: agent.znodes.clone(),
            report: web.znodes.host(&web.host),
            old: old.to_owned(),
            new: new.to_owned(),
            seen: Arc::clone(seen),
        }
    }
}

/// Deploys, with a hook that writes into the release.
fn deploy(agent: &Agent, build: &str, rollout: u64) {
    let web = agent.web();
    let hook = format!("hook web post_extract {build}");
    agent.supervisor.on(&hook, Held::HoldBefore);
    web.deploy(build, rollout);
    agent.supervisor.wait_asked(&hook, 0);
    let file = web.dir.join("releases").join(build).join(MADE_BY_HOOK);
    fs::write(file, made_by_hook()).expect("a hook may write into its release");
    // What is told of the release must be true before the hook has ended.
    web.until("the release is told of", |report| {
        report.phase == Phase::Preparing && report.releases.iter().any(|it| it.as_str() == build)
    });
    agent.supervisor.let_go_of(&hook);
}

#[test]
fn nothing_is_reported_that_a_power_loss_undoes() {
    lose_power(NOTHING_BY_ITSELF, Before::Nothing);
}

#[test]
fn no_name_is_given_to_what_a_power_loss_empties() {
    lose_power(NAMES_BUT_NO_CONTENT, Before::Commit);
}
