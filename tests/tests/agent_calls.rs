//! `kill -9` of deployd at each system call that changes a file, of a deployment and of every third
//! recovery: the files are whole at once (I1, I2, I3), and the next run ends at the target, or at
//! the last verified build, by itself (I18).
//!
//! A sample of the calls is tried, another one in each run; all of them, some hundred, with
//! `DEPLOY_TEST_LONG=1 cargo xtask test -p tests --test agent_calls`. `DEPLOY_TEST_SEED`, which each
//! run prints, gives the same sample again.

use std::env;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use deploy_core::wire;
use deploy_core::wire::report::{Phase, Report};
use tests::agent::{Agent, LIMIT, ServiceSettings, zookeeper};
use tests::archives::{Tar, gzip};
use tests::builds::{Health, contents};
use tests::calls::{self, Answer, Call, Calls};
use tests::invariants::{Files, check_order};
use tests::sample::{self, Dice};
use tests::service::Service;
use tests::witness::{Promise, Witness};

/// Between two looks at whether it was killed.
const LOOK_EVERY: Duration = Duration::from_millis(2);
/// Calls of a recovery before it is killed in turn, at most.
const RECOVERY_CALLS_MAX: u64 = 150;

/// How many calls are tried where all are too many, of good builds and of bad ones, which take
/// twice as long.
const SAMPLES: [usize; 2] = [36, 24];

/// One call of a deployment. The status file is written beside all else, now and then: only apart
/// from it, the calls are the same in each deployment and each has its number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Point {
    Deployment(u64),
    Status(u64),
}

/// How many calls there were of each.
#[derive(Debug, Default)]
struct Counted {
    deployment: AtomicU64,
    status: AtomicU64,
}

impl Counted {
    /// Counts a call.
    fn count(&self, call: &Call) -> Point {
        let status = |path: &PathBuf| path.parent().is_some_and(|dir| dir.ends_with("status"));
        match call.paths.iter().any(status) {
            true => Point::Status(self.status.fetch_add(1, Ordering::Relaxed)),
            false => Point::Deployment(self.deployment.fetch_add(1, Ordering::Relaxed)),
        }
    }

    fn points(&self) -> Vec<Point> {
        let deployment = 0..self.deployment.load(Ordering::Relaxed);
        let status = 0..self.status.load(Ordering::Relaxed);
        let deployment = deployment.map(Point::Deployment);
        deployment.chain(status.map(Point::Status)).collect()
    }
}

/// How a run of deployd was ended.
#[derive(Debug, PartialEq, Eq)]
enum End {
    Killed,
    /// It had nothing to do any more before there were so many calls.
    Done,
}

/// A service that is deployed again and again while deployd is killed.
struct Ground<'a> {
    web: Service<'a>,
    files: Files,
    calls: Calls,
    health: Health,
    /// The last one; the build is named after it.
    rollout: u64,
    /// What it is in service at.
    good: String,
}

impl Ground<'_> {
    /// Deploys a build, kills deployd instead of its `point`-th call, and the recovery instead of
    /// its `again`-th; then sees it come to its end.
    fn round(&mut self, point: Point, again: Option<Point>) -> End {
        self.rollout += 1;
        let build = self.build();
        let asked = self.web.agent.supervisor.asked("").len();
        self.kill_at(point);
        self.web.deploy_with(&build, self.rollout, self.health);
        let end = self.wait_for_end();
        if let (End::Killed, Some(again)) = (&end, again) {
            self.kill_at(again);
            self.web.agent.run_watched(&self.calls);
            self.wait_for_end();
        }
        if self.calls.let_go().is_some() {
            self.web.agent.kill();
            self.web.agent.run_watched(&self.calls);
        }
        if self.health == Health::Ok {
            self.web.serves(&build);
            check_order(&self.web.agent.supervisor.asked("")[asked..], &build);
            assert!(self.web.releases().contains(&self.good), "the way back");
            self.good = build;
        } else {
            self.web.failed(&build, &self.good);
        }
        let leases = usize::from(self.health != Health::Ok);
        assert_eq!(self.web.leases().len(), leases);
        end
    }

    fn kill_at(&self, point: Point) {
        let counted = Counted::default();
        self.calls
            .rule(move |call| match counted.count(call) == point {
                true => Answer::Kill,
                false => Answer::GoOn,
            });
    }

    /// Deploys undisturbed, and returns all calls of that.
    fn points(&mut self) -> Vec<Point> {
        self.rollout += 1;
        let build = self.build();
        let counted = Arc::new(Counted::default());
        let counting = Arc::clone(&counted);
        self.calls.rule(move |call| {
            counting.count(call);
            Answer::GoOn
        });
        self.web.deploy_with(&build, self.rollout, self.health);
        assert_eq!(self.wait_for_end(), End::Done);
        self.calls.let_go();
        if self.health == Health::Ok {
            self.good = build;
        }
        counted.points()
    }

    fn build(&self) -> String {
        format!("r{}", self.rollout)
    }

    /// Waits until deployd was killed, and looks at what is left, or until it is done.
    fn wait_for_end(&self) -> End {
        let begin = Instant::now();
        loop {
            // Asked first: it may be killed between the two.
            let running = self.web.agent.is_running();
            if let Some(call) = self.calls.killed_at() {
                self.web.agent.kill();
                let mut broken = self.files.broken();
                let current = self.files.current();
                if !matches!(&current, Ok(Some(at)) if [&self.good, &self.build()].contains(&at)) {
                    broken.push(format!("current: {current:?}"));
                }
                assert!(broken.is_empty(), "killed at {call}: {broken:#?}");
                return End::Killed;
            }
            if self.is_done() {
                return End::Done;
            }
            assert!(running, "deployd has ended by itself");
            assert!(begin.elapsed() < LIMIT, "no end in {LIMIT:?}");
            std::thread::sleep(LOOK_EVERY);
        }
    }

    fn is_done(&self) -> bool {
        let path = self.files.state.join("status/web.json");
        let report = std::fs::read(path).ok();
        let report = report.and_then(|data| wire::decode::<Report>(&data).ok());
        report.is_some_and(|report| {
            let ended = matches!(report.phase, Phase::Serving | Phase::Failed);
            report.rollout == Some(self.rollout) && ended && report.step.is_none()
        })
    }
}

/// Kills deployments to builds of this health.
fn kill_everywhere(health: Health) {
    let Some(server) = zookeeper().filter(|_| calls::available()) else {
        return;
    };
    let agent = Agent::prepare(server, |settings| {
        settings.services[0] = ServiceSettings {
            hooks: &["post_extract", "post_install", "post_restart"],
            probe_timeout_s: if health == Health::Ok { 20.0 } else { 0.5 },
            ..ServiceSettings::new("web")
        };
        settings.builds = "keep = 1".to_owned();
    });
    let calls = agent.calls();
    agent.run_watched(&calls);
    let web = agent.web();
    web.deploy("r1", 1);
    web.serves("r1");
    let mut ground = Ground {
        web: agent.web(),
        files: agent.files(),
        calls: calls.clone(),
        health,
        rollout: 1,
        good: "r1".to_owned(),
    };
    let witness = Witness::start(&web, Promise::OneServes);
    let all = ground.points();
    let (begin, seed) = (Instant::now(), sample::seed());
    let mut dice = Dice(seed);
    let size = match sample::is_long() {
        true => all.len(),
        false => SAMPLES[usize::from(health != Health::Ok)],
    };
    println!(
        "{health:?} builds make {} calls; DEPLOY_TEST_SEED={seed}",
        all.len()
    );
    let mut killed = 0;
    for (index, point) in dice.spread(size, all.len()).into_iter().enumerate() {
        let again = (index % 3 == 2).then(|| Point::Deployment(dice.below(RECOVERY_CALLS_MAX)));
        killed += usize::from(ground.round(all[point], again) == End::Killed);
    }
    let seconds = begin.elapsed().as_secs_f64();
    println!("killed {health:?} builds at {killed} points in {seconds:.1} s");
    witness.finish();
    let leftovers = ground.files.leftovers();
    assert!(leftovers.is_empty(), "left over: {leftovers:#?}");
    check_places(&calls, &agent.path("log"));
}

/// Nothing was changed outside its directories (I3).
fn check_places(calls: &Calls, log: &Path) {
    let mut strays = calls.strays();
    // What a restart command writes goes to a file without a name there.
    let nameless = env::temp_dir();
    strays.retain(|call| {
        let own = |path: &Path| path == log || path == nameless || path.starts_with("/dev");
        !call.paths.iter().all(|path| own(path))
    });
    assert!(strays.is_empty(), "{strays:#?}");
}

#[test]
fn a_good_build_comes_through_a_kill_at_every_call() {
    kill_everywhere(Health::Ok);
}

#[test]
fn a_bad_build_is_undone_through_a_kill_at_every_call() {
    kill_everywhere(Health::Sick);
}

/// What durability costs: one sync of the file system for all files of a release, however many,
/// and some of single files for the journal and for names.
#[test]
fn a_release_of_many_files_is_synced_once() {
    const FILES: usize = 6_000;
    let Some(server) = zookeeper().filter(|_| calls::available()) else {
        return;
    };
    let agent = Agent::prepare(server, |_| {});
    let (web, calls) = (agent.web(), agent.calls());
    agent.run_watched(&calls);
    web.deploy("r1", 1);
    web.serves("r1");
    let small = contents("r2", Health::Ok).into_iter();
    let tar = small.fold(Tar::new(), |tar, (name, bytes)| tar.file(name, &bytes));
    let tar = (0..FILES - 3).fold(tar, |tar, number| {
        tar.file(&format!("lib/{}/{number}.py", number % 100), b"import this")
    });
    let artifact = agent.builds.add_archive("r2", gzip(&tar.end()));
    calls.let_go();
    web.enable(&web.target("r2", 2, &artifact));
    web.serves("r2");
    let counts = calls.counts();
    let count = |name: &str| counts.get(name).copied().unwrap_or(0);
    let (all, one) = (count("syncfs"), count("fsync") + count("fdatasync"));
    println!("syncs of a deployment of {FILES} files: {all} syncfs, {one} fsync; {counts:?}");
    assert_eq!(all, 1, "{counts:?}");
    assert!(one < 60, "{counts:?}");
    assert!(count("openat") >= FILES as u64, "{counts:?}");
}
