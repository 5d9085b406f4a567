//! `deployd plan`: what the agent would do now.

use std::io::{self, Write};
use std::time::Duration;

use deploy_core::name::BuildName;
use deploy_core::plan::{Plan, Rest, plan};
use deploy_core::wanted::{Gate, Reader, Wanted, WantedTarget, wanted};
use deploy_zk::zk::Zk;
use jiff::Timestamp;
use tokio::time::{Instant, timeout};

use super::Exit;
use crate::agent::shape;
use crate::chain::Chain;
use crate::config::{Config, Service};
use crate::drains::Drains;
use crate::inputs::Inputs;
use crate::observe::{Known, Units, observe};
use crate::setup;

/// How long ZooKeeper is waited for.
const ZOOKEEPER_TIME: Duration = Duration::from_secs(10);

/// Print what the agent would do now for each service, and do nothing
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {}

/// Prints the plan of each service.
///
/// # Errors
/// Where a journal or a directory can't be read. ZooKeeper out of reach is exit 7.
pub(crate) async fn run(config: Config) -> anyhow::Result<Exit> {
    let host = setup::host(&config)?;
    let zk = Zk::start(setup::zookeeper(&config)?);
    let mut link = zk.link();
    // Only whether: what it returns locks the link, and would keep it from ever being closed.
    let waiting = timeout(ZOOKEEPER_TIME, link.wait_for(deploy_zk::link::Link::is_up));
    if waiting.await.is_err() {
        let hosts = config.zookeeper.hosts.join(",");
        eprintln!(
            "error: no ZooKeeper at {hosts} within {} s",
            ZOOKEEPER_TIME.as_secs()
        );
        return Ok(Exit::ZooKeeper);
    }
    for service in &config.services {
        one(&config, service, (&host, &zk)).await?;
    }
    zk.close(Duration::from_secs(1)).await;
    Ok(Exit::Done)
}

async fn one(
    config: &Config,
    service: &Service,
    (host, zk): (&deploy_core::name::HostName, &Zk),
) -> anyhow::Result<()> {
    let mut performer = setup::performer(config, service, (host, zk, &Drains::start()))
        .map_err(|(what, error)| error.context(what))?;
    performer.lease.look().await?;
    let tree = config.zookeeper.root.service(&service.name);
    let mut inputs = Inputs::new(zk, &tree, host);
    let deadline = Instant::now() + ZOOKEEPER_TIME;
    let wanted = loop {
        let znodes = inputs.read();
        let reader = Reader {
            service: &service.name,
            host,
            now: Timestamp::now(),
        };
        let wanted = wanted(&znodes, &reader);
        let unread = matches!(wanted.target, WantedTarget::Unknown)
            || wanted.gate == Gate::Cut
            || znodes
                .builds
                .iter()
                .any(|(_, view)| *view == deploy_core::wanted::View::Unknown);
        if !unread || Instant::now() >= deadline {
            break wanted;
        }
        let _ = timeout(Duration::from_millis(500), inputs.changed()).await;
    };
    let known = Known {
        record: performer.journal.record(),
        fetched: None,
        emptied: &performer.emptied,
        undeleted: performer.undeleted.releases(),
        lease: performer.lease.state(),
        before: &[],
        units: Units::afresh(&performer.units),
    };
    let sight = observe(service, known).await?;
    let plan = plan(&wanted, &shape(&performer), &sight.observed);
    let text = render(service, (&wanted, &plan), sight.observed.current.as_ref());
    match io::stdout().lock().write_all(text.as_bytes()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            anyhow::bail!("failed to write: {}", Chain(&error))
        }
        Ok(()) | Err(_) => Ok(()),
    }
}

/// What is said of a service.
fn render(
    service: &Service,
    (wanted, plan): (&Wanted, &Plan),
    current: Option<&BuildName>,
) -> String {
    let target = match &wanted.target {
        WantedTarget::Build(goal) => goal.build.to_string(),
        WantedTarget::Nothing => "nothing".to_owned(),
        WantedTarget::Unknown => "unknown".to_owned(),
        WantedTarget::Unreadable(_) => "unreadable".to_owned(),
    };
    let current = current.map_or("-", BuildName::as_str);
    let mut text = format!(
        "{}  {}  current {current}  target {target}\n",
        service.name,
        plan.phase()
    );
    for step in &plan.steps {
        text.push_str(&format!("  {step}\n"));
    }
    if let Rest::Blocked(problem) = &plan.rest {
        text.push_str(&format!(
            "  blocked by {}: {}\n",
            problem.object, problem.message
        ));
    } else if plan.steps.is_empty() {
        text.push_str("  nothing to do\n");
    }
    text
}
