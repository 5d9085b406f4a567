//! What is counted, and what a scrape gets: OpenMetrics text.
//!
//! What is counted is kept; what is so now is read from the reports at each scrape, so that it can't differ from them.

use std::sync::atomic::AtomicU64;
use std::time::Duration;

use deploy_core::name::{BuildName, ServiceName};
use deploy_core::step::Step;
use deploy_core::wire::report::{Phase, Report};
use deploy_zk::link::Link;
use deploy_zk::stats::Stats;
use jiff::Timestamp;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

/// The type of what a scrape gets.
pub(crate) const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Upper bounds, in seconds: from a flip to a long drain or download.
const STEP_BOUNDS_S: [f64; 9] = [0.05, 0.2, 1.0, 3.0, 10.0, 30.0, 60.0, 300.0, 1800.0];

/// A gauge that need not be whole.
type Real = Gauge<f64, AtomicU64>;

/// What is counted, from the start of deployd.
#[derive(Debug, Clone)]
pub(crate) struct Metrics {
    steps: Family<StepEnd, Counter>,
    step_seconds: Family<StepOf, Histogram, fn() -> Histogram>,
    drain_timeouts: Family<Of, Counter>,
    download_bytes: Family<Of, Counter>,
}

/// How a step ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It is done.
    Done,
    /// It failed.
    Failed,
    /// It was dropped: something else is wanted, or deployd ends.
    Dropped,
}

/// What is so now.
#[derive(Debug)]
pub(crate) struct Now<'a> {
    /// What was reported last.
    pub(crate) reports: &'a [Report],
    /// The link to ZooKeeper.
    pub(crate) link: &'a Link,
    /// What the session has been through.
    pub(crate) session: Stats,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Of {
    service: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct StepOf {
    service: String,
    step: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct StepEnd {
    service: String,
    step: &'static str,
    result: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct BuildOf {
    service: String,
    build: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct PhaseOf {
    service: String,
    phase: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Version {
    version: &'static str,
}

impl Metrics {
    /// Counts from zero.
    pub(crate) fn new() -> Metrics {
        Metrics {
            steps: Family::default(),
            step_seconds: Family::new_with_constructor(|| Histogram::new(STEP_BOUNDS_S)),
            drain_timeouts: Family::default(),
            download_bytes: Family::default(),
        }
    }

    /// Counts a step that has ended.
    pub(crate) fn step(
        &self,
        service: &ServiceName,
        step: &Step,
        (outcome, took): (Outcome, Duration),
    ) {
        let (service, step) = (service.to_string(), step.name());
        let result = match outcome {
            Outcome::Done => "done",
            Outcome::Failed => "failed",
            Outcome::Dropped => "dropped",
        };
        let of = StepOf {
            service: service.clone(),
            step,
        };
        self.step_seconds
            .get_or_create(&of)
            .observe(took.as_secs_f64());
        let end = StepEnd {
            service,
            step,
            result,
        };
        self.steps.get_or_create(&end).inc();
    }

    /// Counts connections that did not end in time.
    pub(crate) fn drain_timeout(&self, service: &ServiceName) {
        self.drain_timeouts.get_or_create(&of(service)).inc();
    }

    /// Counts what was downloaded and verified.
    pub(crate) fn downloaded(&self, service: &ServiceName, bytes: u64) {
        self.download_bytes
            .get_or_create(&of(service))
            .inc_by(bytes);
    }

    /// Returns what a scrape gets.
    pub(crate) fn render(&self, now: &Now<'_>) -> String {
        let mut registry = Registry::with_prefix("deployd");
        let version = Version {
            version: env!("CARGO_PKG_VERSION"),
        };
        let build_info: Family<Version, Gauge> = Family::default();
        build_info.get_or_create(&version).set(1);
        registry.register("build_info", "The version of deployd", build_info);
        register_session(&mut registry, now);
        register_reports(&mut registry, now.reports);
        registry.register("steps", "Steps that have ended", self.steps.clone());
        let help = "How long steps took, in seconds";
        registry.register("step_duration_seconds", help, self.step_seconds.clone());
        let help = "Drains whose connections did not end in time";
        registry.register("drain_timeouts", help, self.drain_timeouts.clone());
        let help = "Bytes of artifacts downloaded and verified";
        registry.register("download_bytes", help, self.download_bytes.clone());
        let mut text = String::new();
        encode(&mut text, &registry).expect("writing to a string can't fail");
        text
    }
}

fn register_session(registry: &mut Registry, now: &Now<'_>) {
    let connected: Gauge = Gauge::default();
    connected.set(i64::from(now.link.is_up()));
    registry.register(
        "zookeeper_connected",
        "Whether ZooKeeper answers",
        connected,
    );
    let reconnects: Counter = Counter::default();
    reconnects.inc_by(now.session.reconnects);
    let help = "Times the link came up again";
    registry.register("zookeeper_reconnects", help, reconnects);
    let requests: Counter = Counter::default();
    requests.inc_by(now.session.requests);
    registry.register("zookeeper_requests", "Requests sent to ZooKeeper", requests);
}

/// Registers what the reports say.
fn register_reports(registry: &mut Registry, reports: &[Report]) {
    let converged: Family<Of, Gauge> = Family::default();
    let phase: Family<PhaseOf, Gauge> = Family::default();
    let wanted: Family<BuildOf, Gauge> = Family::default();
    let running: Family<BuildOf, Gauge> = Family::default();
    let lease: Family<Of, Gauge> = Family::default();
    let disk_free: Family<Of, Gauge> = Family::default();
    let seen: Family<Of, Real> = Family::default();
    for report in reports {
        let of = of(&report.service);
        let set = |family: &Family<BuildOf, Gauge>, build: &Option<BuildName>| {
            if let Some(build) = build {
                family.get_or_create(&build_of(report, build)).set(1);
            }
        };
        set(&wanted, &report.target);
        set(&running, &report.serving);
        converged
            .get_or_create(&of)
            .set(i64::from(is_converged(report)));
        let now = PhaseOf {
            service: report.service.to_string(),
            phase: report.phase.to_string(),
        };
        phase.get_or_create(&now).set(1);
        lease.get_or_create(&of).set(i64::from(report.lease));
        if let Some(bytes) = report.disk_free {
            let bytes = i64::try_from(bytes).unwrap_or(i64::MAX);
            disk_free.get_or_create(&of).set(bytes);
        }
        let at = report.at.as_deref().and_then(|at| at.parse().ok());
        if let Some(at) = at.map(Timestamp::as_millisecond) {
            seen.get_or_create(&of).set(at as f64 / 1000.0);
        }
    }
    registry.register(
        "converged",
        "Whether the service is at its target",
        converged,
    );
    registry.register("phase", "1 for what the service is doing", phase);
    registry.register("wanted_build", "1 for the build that is wanted", wanted);
    registry.register(
        "running_build",
        "1 for the build that every instance runs",
        running,
    );
    registry.register("lease", "Whether this host may be out of service", lease);
    registry.register(
        "disk_free_bytes",
        "Bytes free where releases are",
        disk_free,
    );
    let help = "When the service was last looked at";
    registry.register("last_look_timestamp_seconds", help, seen);
}

/// Whether there is nothing to do.
pub(crate) fn is_converged(report: &Report) -> bool {
    matches!(report.phase, Phase::Serving | Phase::Staged | Phase::Idle)
}

fn of(service: &ServiceName) -> Of {
    Of {
        service: service.to_string(),
    }
}

fn build_of(report: &Report, build: &BuildName) -> BuildOf {
    BuildOf {
        service: report.service.to_string(),
        build: build.to_string(),
    }
}
