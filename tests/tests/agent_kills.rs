//! `kill -9` of deployd after each change that it makes: the next run ends at the target, or at
//! the last verified build, by itself.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{Duration, Instant};

use tests::agent::{Agent, LIMIT, ServiceSettings, Settings};
use tests::builds::Health;
use tests::eventually::eventually;
use tests::service::Service;
use tests::supervisor::Answer;
use tests::witness::{Promise, Witness};

/// Between two looks: a deployment makes a change every few milliseconds.
const LOOK_EVERY: Duration = Duration::from_millis(1);
/// More changes than a deployment makes.
const CHANGES_MAX: usize = 400;
/// What of a host changes in the course of a deployment.
#[derive(Debug, PartialEq, Eq)]
struct Picture {
    current: Option<String>,
    releases: Vec<String>,
    files: Vec<(String, u64)>,
}

impl Picture {
    fn take(service: &Service<'_>) -> Picture {
        let state = service.agent.path("state");
        let files = |name: &str| -> Vec<(String, u64)> {
            let entries = fs::read_dir(state.join(name))
                .into_iter()
                .flatten()
                .flatten();
            let mut files: Vec<_> = entries
                .filter_map(|entry| {
                    let name = entry.file_name().to_string_lossy().into_owned();
                    Some((name, entry.metadata().ok()?.ino()))
                })
                .collect();
            files.sort();
            files
        };
        Picture {
            current: service.current(),
            releases: service.releases(),
            files: [files("journal"), files("status")].concat(),
        }
    }
}

/// How a run of deployd was ended.
#[derive(Debug, PartialEq, Eq)]
enum End {
    Killed,
    /// It was done before there were so many changes.
    Done,
}

/// Kills deployd after its `wanted`-th change, unless `done` is true before.
fn kill_after(service: &Service<'_>, wanted: usize, done: impl Fn() -> bool) -> End {
    let mut last = Picture::take(service);
    let (mut seen, mut looks, begin) = (0, 0_u64, Instant::now());
    while seen < wanted {
        assert!(
            begin.elapsed() < LIMIT,
            "{seen} changes of {wanted} in {LIMIT:?}"
        );
        std::thread::sleep(LOOK_EVERY);
        let now = Picture::take(service);
        if now != last {
            seen += 1;
            last = now;
        }
        looks += 1;
        // Asking takes longer than looking.
        if looks % 50 == 0 && done() {
            return End::Done;
        }
    }
    service.agent.kill();
    End::Killed
}

fn quick(settings: &mut Settings) {
    settings.services[0] = ServiceSettings {
        hooks: &["post_extract", "post_install", "post_restart"],
        ..ServiceSettings::new("web")
    };
    settings.builds = "keep = 1".to_owned();
}

/// Kills deployments to builds of this health after their first change, and so on; every third time,
/// the run that comes next is killed, too.
fn kill_everywhere(health: Health) {
    let agent = Agent::start_with(|settings| {
        quick(settings);
        if health != Health::Ok {
            settings.services[0].probe_timeout_s = 0.5;
        }
    });
    let Some(agent) = agent else { return };
    let web = agent.web();
    web.deploy("r0", 1);
    web.serves("r0");
    let witness = Witness::start(&web, Promise::OneServes);
    let mut good = "r0".to_owned();
    let begin = Instant::now();
    for points in 1.. {
        let changes = points;
        assert!(changes < CHANGES_MAX, "it never ends");
        let build = format!("r{changes}");
        let rollout = changes as u64 + 1;
        let done = || {
            let report = web.report();
            report.is_some_and(|report| {
                let ended = matches!(report.phase.as_str(), "serving" | "failed");
                report.rollout == Some(rollout) && ended && report.step.is_none()
            })
        };
        let before = Picture::take(&web);
        web.deploy_with(&build, rollout, health);
        let end = kill_after(&web, changes, done);
        check_what_is_left(&web, &before);
        if end == End::Killed {
            agent.run();
            // The way back is as safe as the way there.
            if points % 3 == 0 && kill_after(&web, points % 7 + 1, done) == End::Killed {
                check_what_is_left(&web, &before);
                agent.run();
            }
        }
        if health == Health::Ok {
            web.serves(&build);
            check_order(&agent.supervisor.asked(""), &build);
            good = build;
        } else {
            web.failed(&build, &good);
        }
        assert!(
            web.releases().iter().all(|name| !name.starts_with('.')),
            "{:?}",
            web.releases()
        );
        assert_eq!(web.leases().len(), usize::from(health != Health::Ok));
        if end == End::Done {
            let seconds = begin.elapsed().as_secs();
            println!(
                "killed {health:?} builds at {} points in {seconds} s",
                points - 1
            );
            break;
        }
    }
    witness.finish();
}

/// At every instant the journal can be read and `current` is a release that was there.
fn check_what_is_left(web: &Service<'_>, before: &Picture) {
    web.journal();
    let current = web.current().expect("current is a symlink to a release");
    let new = Some(&current) != before.current.as_ref();
    assert!(
        web.dir
            .join("releases")
            .join(&current)
            .join("ballast")
            .exists()
    );
    assert!(
        !new || web
            .journal()
            .prepared
            .iter()
            .any(|build| build.as_str() == current)
    );
}

/// Killed or not: prepared, then installed, then restarted, then the last hook.
#[track_caller]
fn check_order(asked: &[String], build: &str) {
    let first = |from: usize, what: &str| {
        let found = asked[from..].iter().position(|line| line.starts_with(what));
        from + found.unwrap_or_else(|| panic!("no `{what}` in {:?}", &asked[from..]))
    };
    let hook = |name: &str| {
        let line = format!("hook web {name} {build}");
        asked
            .iter()
            .position(|asked| *asked == line)
            .unwrap_or_else(|| panic!("no `{line}`"))
    };
    let prepared = hook("post_extract");
    let order = [
        hook("post_install"),
        first(prepared, "restart web-"),
        hook("post_restart"),
    ];
    assert!(order.is_sorted(), "{:?}", &asked[prepared..]);
}

#[test]
fn a_good_build_comes_through_every_kill() {
    kill_everywhere(Health::Ok);
}

#[test]
fn a_bad_build_is_undone_through_every_kill() {
    kill_everywhere(Health::Sick);
}

#[test]
fn killed_inside_hooks_and_restarts() {
    let Some(agent) = Agent::start_with(quick) else {
        return;
    };
    let web = agent.web();
    web.deploy("r0", 1);
    web.serves("r0");
    let witness = Witness::start(&web, Promise::OneServes);
    let hooks = [
        "hook web post_extract",
        "hook web post_install",
        "hook web post_restart",
    ];
    for (rollout, hook) in (2..).zip(hooks) {
        let asked = agent.supervisor.asked(hook).len();
        agent.supervisor.on(hook, Answer::HoldBefore);
        let build = format!("r{rollout}");
        web.deploy(&build, rollout);
        agent.supervisor.wait_asked(hook, asked);
        let first = clients(&agent);
        agent.kill();
        assert_eq!(clients(&agent), first, "it has a life of its own");
        agent.run();
        agent.supervisor.wait_asked(hook, asked + 1);
        let second = clients(&agent);
        assert_eq!((first.len(), second.len()), (1, 1), "{hook}: one at a time");
        assert_ne!(first, second, "{hook}: that of the dead run is gone");
        agent.supervisor.let_go();
        web.serves(&build);
    }
    let restarts = ["restart web-1", "restart web-2"];
    let answers = [Answer::HoldBefore, Answer::HoldAfter];
    let all = restarts
        .iter()
        .flat_map(|restart| answers.iter().map(move |a| (*restart, a)));
    for (rollout, (restart, answer)) in (10..).zip(all) {
        let asked = agent.supervisor.asked(restart).len();
        agent.supervisor.on(restart, answer.clone());
        let build = format!("r{rollout}");
        web.deploy(&build, rollout);
        agent.supervisor.wait_asked(restart, asked);
        agent.kill();
        agent.supervisor.let_go();
        eventually("the command ends by itself", LIMIT, || {
            match clients(&agent) {
                left if left.is_empty() => Ok(()),
                left => Err(left),
            }
        });
        agent.run();
        web.serves(&build);
    }
    witness.finish();
}

#[test]
fn half_written_files_of_dead_runs_do_not_pile_up() {
    let Some(agent) = Agent::start() else { return };
    let web = agent.web();
    web.deploy("r1", 1);
    web.serves("r1");
    agent.kill();
    let places = [
        agent.path("state"),
        agent.path("state/journal"),
        agent.path("state/status"),
        web.dir.clone(),
        web.dir.join("releases"),
    ];
    let left = places.map(|place| place.join(".deployd-tmp-7-1"));
    for path in &left {
        fs::write(path, "{").expect("space");
    }
    agent.run();
    eventually("they are removed", LIMIT, || {
        let still: Vec<_> = left.iter().filter(|path| path.exists()).collect();
        if still.is_empty() { Ok(()) } else { Err(still) }
    });
    web.deploy("r2", 2);
    web.serves("r2");
}

/// The processes of hooks and restart commands.
fn clients(agent: &Agent) -> Vec<String> {
    let socket = agent.path("supervisor").display().to_string();
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let mut found: Vec<_> = entries
        .filter(|entry| has(&entry.path(), &socket))
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    found.sort();
    found
}

fn has(process: &Path, word: &str) -> bool {
    let line = fs::read(process.join("cmdline")).unwrap_or_default();
    String::from_utf8_lossy(&line).contains(word)
}
