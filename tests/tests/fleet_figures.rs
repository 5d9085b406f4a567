//! The figures of graceful restarts, which `docs/draining.md` has: requests that failed under load,
//! and how long a rollback takes. Each test prints its own: lines that begin with `figure:`.

use std::env;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tests::eventually::eventually;
use tests::fleet::balancer::{Balancer, Counted};
use tests::fleet::load::{Load, Taken};
use tests::fleet::{Fleet, ROLLOUT_MAX, Said, Size, get};

const FAILED: i32 = 3;
/// In a row; where a push is checked, one is enough.
const RUNS: usize = 3;
/// As `docs/draining.md` advises.
const CHECK_EVERY: Duration = Duration::from_millis(500);
/// Rise times inter, and a second; it is deployd's default.
const SETTLE: (&str, &str) = ("settle_s = 1", "settle_s = 2");
/// Fewer would show little.
const REQUESTS_MIN: u64 = 20_000;
/// Far above the aim of 5 s, on a machine with other things to do.
const ROLLBACK_MAX: Duration = Duration::from_secs(60);

/// What happened to the requests of one run.
struct Outcome {
    taken: Taken,
    counted: Counted,
    seconds: f64,
}

#[test]
fn no_request_fails_while_good_and_bad_builds_come_and_go() {
    let _alone = alone();
    let Some(fleet) = twelve_instances("figures-load", &[SETTLE]) else {
        return;
    };
    let runs = env::var_os("CI").map_or(RUNS, |_| 1);
    for run in 1..=runs {
        let outcome = under_load(&fleet, run);
        outcome.tell(&format!("good and bad build, run {run}"));
        let (taken, counted) = (&outcome.taken, &outcome.counted);
        assert_eq!(taken.failed, 0, "{}", taken.said);
        assert_eq!(counted.failed, 0, "{}", counted.said);
        assert!(taken.requests >= REQUESTS_MIN, "{}", taken.said);
    }
}

#[test]
fn without_a_drain_requests_fail_and_are_counted() {
    let _alone = alone();
    let none = ("method = \"iptables\"", "method = \"none\"");
    let Some(fleet) = twelve_instances("figures-none", &[SETTLE, none]) else {
        return;
    };
    let outcome = under_load(&fleet, 1);
    outcome.tell("the same with drain.method = none");
    assert!(outcome.taken.failed > 0, "{}", outcome.taken.said);
    assert!(outcome.counted.failed > 0, "{}", outcome.counted.said);
}

#[test]
fn ten_hosts_go_back_at_once() {
    let _alone = alone();
    let size = Size {
        hosts: 10,
        instances: 1,
    };
    let Some(fleet) = Fleet::boot("figures-back", size) else {
        return;
    };
    fleet.start_deployd();
    fleet.builds(&["v1:brisk", "v2:brisk"]);
    fleet.ctl("policy hello restart_concurrency=100%").well();
    fleet.deploy("v1").well();
    go_back("probe 2 x 0.2 s, settle 1 s", &fleet);

    fleet.configure(&[SETTLE, ("interval_s = 0.2", "interval_s = 1")]);
    for host in fleet.hosts() {
        fleet.on(&host, "systemctl restart deployd").well();
    }
    go_back("deployd's defaults: probe 2 x 1 s, settle 2 s", &fleet);
}

/// One at a time: who measures wants the machine for himself.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Boots three hosts of four instances each, which serve v0; one host restarts at a time.
fn twelve_instances(test: &str, changes: &[(&str, &str)]) -> Option<Fleet> {
    let size = Size {
        hosts: 3,
        instances: 4,
    };
    let fleet = Fleet::boot(test, size)?;
    fleet.configure(changes);
    fleet.start_deployd();
    fleet.builds(&["v0"]);
    fleet.ctl("policy hello restart_concurrency=100%").well();
    fleet.deploy("v0").well();
    fleet.ctl("policy hello restart_concurrency=1").well();
    Some(fleet)
}

/// A rollout over twelve instances, one after the other, takes a minute; on a machine that builds
/// something meanwhile, several.
fn deploy(fleet: &Fleet, build: &str) -> Said {
    fleet.ctl(&format!("deploy hello {build} --timeout 600s"))
}

/// Deploys a good build, and a bad one that is rolled back, while clients ask all the time.
fn under_load(fleet: &Fleet, run: usize) -> Outcome {
    let (good, bad) = (format!("good-{run}"), format!("bad-{run}"));
    fleet.builds(&[&good, &format!("{bad}:sick")]);
    let balancer = Balancer::start(fleet, CHECK_EVERY);
    let load = Load::start(fleet);
    let began = Instant::now();

    deploy(fleet, &good).well();
    deploy(fleet, &bad).is(FAILED);
    let failed = |host: &String| fleet.report(host)["phase"] == "failed";
    let failed: Vec<String> = fleet.hosts().into_iter().filter(failed).collect();
    assert_eq!(failed.len(), 1, "a bad build stops at the first host");
    fleet.ctl("rollback hello --timeout 120s").well();
    for host in fleet.hosts() {
        fleet.serves(&host, &good);
    }

    let seconds = began.elapsed().as_secs_f64();
    let taken = load.stop();
    let counted = balancer.count(fleet);
    Outcome {
        taken,
        counted,
        seconds,
    }
}

impl Outcome {
    fn tell(&self, what: &str) {
        let Outcome {
            taken,
            counted,
            seconds,
        } = self;
        println!(
            "figure: 3x4, keep-alive and close, {what}: {} requests, {} failed ({} seen by wrk, \
             {} by haproxy), slowest {:.0} ms, {} redispatched, {seconds:.0} s",
            taken.requests,
            taken.failed + counted.failed,
            taken.failed,
            counted.failed,
            taken.slowest_ms,
            counted.redispatched,
        );
    }
}

/// Rolls v2 back some times, and tells how long it took.
fn go_back(what: &str, fleet: &Fleet) {
    let mut times: Vec<(Duration, Duration)> = Vec::new();
    for _ in 0..RUNS {
        fleet.deploy("v2").well();
        times.push(roll_back(fleet));
    }
    times.sort_by_key(|(_, serving)| *serving);
    let (answered, serving) = times[RUNS / 2];
    let all: Vec<String> = times
        .iter()
        .map(|(_, serving)| format!("{:.1}", serving.as_secs_f64()))
        .collect();
    println!(
        "figure: rollback of 10 hosts, {what}: all answer v1 after {:.1} s, all reported serving \
         after {:.1} s (median of {})",
        answered.as_secs_f64(),
        serving.as_secs_f64(),
        all.join(", "),
    );
    assert!(serving < ROLLBACK_MAX, "{serving:?}");
}

/// Rolls back to v1, and returns how long it took until all instances answered it, and until all
/// hosts had reported that they serve it.
fn roll_back(fleet: &Fleet) -> (Duration, Duration) {
    let instances = fleet.instances();
    let addresses: Vec<_> = instances
        .iter()
        .map(|(host, port)| fleet.address((host, *port)))
        .collect();
    let began = Instant::now();
    let answered = fleet.within("hub", move || {
        eventually("every instance answers v1", ROLLOUT_MAX, || {
            let answers = addresses.iter().map(|address| get(*address, "/"));
            let mut others = answers.filter(|answer| !is_v1(answer));
            others.next().map_or(Ok(()), Err)
        });
        began.elapsed()
    });
    // It returns when the last report says so.
    fleet.ctl("rollback hello --timeout 120s").well();
    let serving = began.elapsed();
    let answered = answered.join().expect("every instance answers v1");
    for host in fleet.hosts() {
        let report = fleet.report(&host);
        assert_eq!(report["phase"], "serving", "{report:#}");
        assert_eq!(report["serving"], "v1", "{report:#}");
    }
    (answered, serving)
}

fn is_v1(answer: &Result<String, String>) -> bool {
    answer.as_ref().is_ok_and(|body| body.starts_with("v1 "))
}
