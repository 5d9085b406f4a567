//! What is answered to what.

use std::time::Duration;

use deploy_core::wire::{self, report::Report};
use deploy_zk::link::Link;
use deploy_zk::zk::Zk;
use futures_util::future::select_all;
use hyper::StatusCode;
use serde_json::{Value, json};
use tokio::sync::{mpsc, oneshot, watch};

use crate::crew::Reports;
use crate::log;
use crate::metrics::{self, Metrics, Now, is_converged};

/// By which way somebody asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Door {
    /// The socket, which only root and deployd's own user can open.
    Socket,
    /// The address of the metrics.
    Metrics,
}

/// What the answers are made of.
#[derive(Clone)]
pub(crate) struct View {
    /// What is said of each service.
    pub(crate) reports: watch::Receiver<Reports>,
    /// The session.
    pub(crate) zk: Zk,
    /// What is counted.
    pub(crate) metrics: Metrics,
    /// What is logged.
    pub(crate) level: watch::Receiver<String>,
    /// To who changes things.
    pub(crate) orders: mpsc::Sender<Order>,
}

/// Something that somebody asks to change.
#[derive(Debug)]
pub(crate) struct Order {
    /// What.
    pub(crate) wish: Wish,
    /// Where the outcome goes: what has changed, or why nothing has.
    pub(crate) reply: oneshot::Sender<Result<String, String>>,
}

/// What somebody asks to change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Wish {
    /// Follow the configuration as it is in the file now.
    Reload,
    /// Log this for a while.
    Log(String, Duration),
}

/// What somebody asks.
#[derive(Debug)]
pub(crate) struct Asked {
    /// `GET`, …
    pub(crate) method: String,
    /// `/metrics`, …
    pub(crate) path: String,
    /// What came with it.
    pub(crate) body: Vec<u8>,
}

/// What is answered.
#[derive(Debug)]
pub(crate) struct Answer {
    /// The status.
    pub(crate) status: StatusCode,
    /// The type of the text.
    pub(crate) kind: &'static str,
    /// The text.
    pub(crate) text: String,
}

impl Answer {
    /// Plain text.
    pub(crate) fn plain(status: u16, text: impl Into<String>) -> Answer {
        Answer {
            status: StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR),
            kind: "text/plain; charset=utf-8",
            text: text.into(),
        }
    }

    fn json(value: &Value) -> Answer {
        Answer {
            kind: "application/json",
            ..Answer::plain(200, format!("{value}\n"))
        }
    }
}

/// Answers.
pub(crate) async fn answer(asked: &Asked, (view, door): (&View, Door)) -> Answer {
    match (asked.method.as_str(), asked.path.as_str(), door) {
        ("GET", "/metrics", _) => Answer {
            kind: metrics::CONTENT_TYPE,
            ..Answer::plain(200, view.metrics())
        },
        // Whoever answers is alive: this runs beside the agents, on the same threads.
        ("GET", "/healthz", _) => Answer::plain(200, "ok\n"),
        ("GET", "/readyz", _) => view.ready(),
        ("GET", "/v1/status", Door::Socket) => Answer::json(&view.status()),
        ("POST", "/v1/reload", Door::Socket) => view.order(Wish::Reload).await,
        ("POST", "/v1/log-level", Door::Socket) => match log_wish(&asked.body) {
            Some(wish) => view.order(wish).await,
            None => Answer::plain(400, "expected {\"level\": \"debug\", \"for_s\": 600}\n"),
        },
        _ => Answer::plain(404, "GET /metrics, /healthz or /readyz\n"),
    }
}

fn log_wish(body: &[u8]) -> Option<Wish> {
    let value: Value = serde_json::from_slice(body).ok()?;
    let level = value.get("level")?.as_str()?;
    let time = Duration::from_secs(value.get("for_s")?.as_u64()?);
    let allowed = !time.is_zero() && time <= log::TIME_MAX;
    allowed.then(|| Wish::Log(level.to_owned(), time))
}

impl View {
    fn reported(&self) -> Vec<Report> {
        let reports = self.reports.borrow();
        let newest = reports.values().map(|report| report.borrow().clone());
        newest.flatten().collect()
    }

    fn metrics(&self) -> String {
        self.metrics.render(&Now {
            reports: &self.reported(),
            link: &self.zk.link().borrow(),
            session: self.zk.stats(),
        })
    }

    /// Services of which nothing was reported yet. Whoever holds these locks asks for no others.
    fn unseen(&self) -> Vec<String> {
        let reports = self.reports.borrow();
        let unseen = reports
            .iter()
            .filter(|(_, report)| report.borrow().is_none());
        unseen
            .map(|(name, _)| format!("{name}: not looked at yet\n"))
            .collect()
    }

    /// Ready is who follows its targets: connected, and nothing left to do.
    fn ready(&self) -> Answer {
        let link = self.zk.link();
        let mut why: Vec<String> = Vec::new();
        if !link.borrow().is_up() {
            why.push(format!("zookeeper: {}\n", *link.borrow()));
        }
        why.extend(self.unseen());
        let behind = self
            .reported()
            .into_iter()
            .filter(|report| !is_converged(report));
        why.extend(behind.map(|report| format!("{}: {}\n", report.service, report.phase)));
        match why.is_empty() {
            true => Answer::plain(200, "ready\n"),
            false => Answer::plain(503, why.concat()),
        }
    }

    /// What `deployd status --json` prints.
    fn status(&self) -> Value {
        let as_stored =
            |report: &Report| serde_json::from_slice::<Value>(&wire::encode(report)).ok();
        let reports: Vec<Value> = self.reported().iter().filter_map(as_stored).collect();
        json!({
            "v": 1,
            "running": true,
            "pid": std::process::id(),
            "agent": env!("CARGO_PKG_VERSION"),
            "zookeeper": self.zk.link().borrow().to_string(),
            "log_level": *self.level.borrow(),
            "reports": reports,
        })
    }

    /// Completes when something changes that [`View::line`] tells, from now on. Cancel-safe.
    pub(crate) fn next_change(&self) -> impl Future<Output = ()> + use<> {
        let (mut services, mut link) = (self.reports.clone(), self.zk.link());
        services.mark_unchanged();
        link.mark_unchanged();
        let mut reports: Vec<_> = services.borrow().values().cloned().collect();
        reports.iter_mut().for_each(watch::Receiver::mark_unchanged);
        async move {
            let told = reports.iter_mut().map(|report| Box::pin(report.changed()));
            let told: Vec<_> = told.collect();
            let told = async {
                match told.is_empty() {
                    true => std::future::pending().await,
                    false => drop(select_all(told).await),
                }
            };
            // Cancel-safe: they only wait for a version of a watch.
            tokio::select! {
                () = told => {}
                _ = services.changed() => {}
                _ = link.changed() => {}
            }
        }
    }

    /// One line for `systemctl status`.
    pub(crate) fn line(&self) -> String {
        let mut parts: Vec<String> = self.reported().iter().map(of_service).collect();
        parts.push(match &*self.zk.link().borrow() {
            Link::Up { .. } => "zk ok".to_owned(),
            link => format!("zk {link}"),
        });
        parts.join("; ")
    }

    async fn order(&self, wish: Wish) -> Answer {
        let (reply, outcome) = oneshot::channel();
        let order = Order { wish, reply };
        if self.orders.send(order).await.is_err() {
            return Answer::plain(503, "deployd is about to end\n");
        }
        match outcome.await {
            Ok(Ok(text)) => Answer::plain(200, text),
            Ok(Err(text)) => Answer::plain(422, text),
            Err(_) => Answer::plain(503, "deployd is about to end\n"),
        }
    }
}

/// `web: r2417 -> r2431, restarting 1 of 4 (draining 41 connections)`.
fn of_service(report: &Report) -> String {
    let current = report.current.as_ref();
    let current = current.map_or("no build", |build| build.as_str());
    let target = report.target.as_ref();
    let target = target.filter(|target| Some(*target) != report.current.as_ref());
    let target = target
        .map(|target| format!(" -> {target}"))
        .unwrap_or_default();
    let step = report.step.as_ref();
    let done = step.and_then(|step| Some((step.done?, step.total?)));
    let done = done
        .map(|(done, total)| format!(" {done} of {total}"))
        .unwrap_or_default();
    let open: u64 = report
        .instances
        .iter()
        .filter_map(|instance| instance.connections)
        .sum();
    let open = match open {
        0 => String::new(),
        open => format!(" (draining {open} connections)"),
    };
    let Report { service, phase, .. } = report;
    format!("{service}: {current}{target}, {phase}{done}{open}")
}
