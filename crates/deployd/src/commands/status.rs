//! `deployd status`: what the services of this host are.

use std::io::{self, Write};

use anyhow::Context as _;
use deploy_core::wire::report::Report;
use serde_json::{Value, json};

use super::Exit;
use crate::config::Config;
use crate::face::ask;
use crate::host::lock;

/// Show what the services of this host are; works without ZooKeeper
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Print the reports as JSON, as they are in ZooKeeper: one object with a list
    #[arg(long)]
    json: bool,
}

/// What is known of the agent and of its services.
struct Known {
    /// What the agent says of itself; `None` where it doesn't run, or doesn't answer.
    agent: Option<Value>,
    /// The process that holds the lock.
    pid: Option<String>,
    /// The services, and what was reported of each.
    reports: Vec<(String, Option<Value>)>,
}

/// Prints what the agent says, or, where it doesn't run, what it has reported last.
///
/// # Errors
/// Where a report can't be read, or standard output can't be written.
pub(crate) async fn run(config: &Config, arguments: &Arguments) -> anyhow::Result<Exit> {
    let known = look(config).await?;
    let mut out = io::stdout().lock();
    let result = match arguments.json {
        true => writeln!(out, "{}", as_json(known)),
        false => print_all(&mut out, &known),
    };
    match result {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {}
        other => other?,
    }
    Ok(Exit::Done)
}

async fn look(config: &Config) -> anyhow::Result<Known> {
    let pid = lock::holder(&config.state_dir);
    let agent = match &pid {
        Some(_) => ask::get(&config.state_dir, "/v1/status").await.ok(),
        None => None,
    };
    let agent = agent.and_then(|text| serde_json::from_str(&text).ok());
    let agent: Option<Value> = agent.filter(Value::is_object);
    let said = |name: &str| {
        let reports = agent.as_ref()?.get("reports")?.as_array()?;
        let own = |report: &&Value| report.get("service").and_then(Value::as_str) == Some(name);
        reports.iter().find(own).cloned()
    };
    let mut reports = Vec::new();
    for service in &config.services {
        let name = service.name.to_string();
        let report = match said(&name) {
            Some(report) => Some(report),
            None => read(config, &name)?,
        };
        reports.push((name, report));
    }
    Ok(Known {
        agent,
        pid,
        reports,
    })
}

/// What the agent has written down of a service.
fn read(config: &Config, name: &str) -> anyhow::Result<Option<Value>> {
    let file = format!("{name}.json");
    let path = config.state_dir.join("status").join(file);
    match std::fs::read(&path) {
        Ok(data) => Ok(serde_json::from_slice(&data).ok()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| format!("failed to read {}", path.display())),
    }
}

fn as_json(known: Known) -> Value {
    let reports: Vec<Value> = known
        .reports
        .into_iter()
        .filter_map(|(_, report)| report)
        .collect();
    let mut object = known.agent.unwrap_or_else(|| json!({ "v": 1 }));
    object["running"] = json!(known.pid.is_some());
    object["reports"] = json!(reports);
    object
}

fn print_all(out: &mut impl Write, known: &Known) -> io::Result<()> {
    match (&known.pid, &known.agent) {
        (Some(pid), Some(agent)) => {
            let text = |key: &str| agent.get(key).and_then(Value::as_str).unwrap_or("-");
            let (version, zookeeper, level) = (text("agent"), text("zookeeper"), text("log_level"));
            writeln!(
                out,
                "deployd {version} runs (pid {pid}); ZooKeeper {zookeeper}; logs {level}"
            )
        }
        (Some(pid), None) => writeln!(
            out,
            "deployd runs (pid {pid}), and does not answer; this is what it reported last"
        ),
        (None, _) => writeln!(out, "deployd does not run; this is what it reported last"),
    }?;
    known.reports.iter().try_for_each(|(name, report)| {
        // What the agent itself says may be more than is in a znode.
        let decoded = report.clone().map(serde_json::from_value::<Report>);
        match decoded {
            Some(Ok(report)) => print(out, &report),
            Some(Err(error)) => writeln!(out, "{name}: the report can't be read: {error}"),
            None => writeln!(out, "{name}: no report yet"),
        }
    })
}

fn print(out: &mut impl Write, report: &Report) -> io::Result<()> {
    let name = |build: &Option<deploy_core::name::BuildName>| {
        build.as_ref().map_or("-".to_owned(), ToString::to_string)
    };
    let rollout = report
        .rollout
        .map(|number| format!(" #{number}"))
        .unwrap_or_default();
    writeln!(
        out,
        "{}  {}  target {}{rollout}  current {}  serving {}  at {}",
        report.service,
        report.phase,
        name(&report.target),
        name(&report.current),
        name(&report.serving),
        report.at.as_deref().unwrap_or("-"),
    )?;
    for instance in &report.instances {
        let port = instance
            .port
            .map(|port| format!(":{port}"))
            .unwrap_or_default();
        writeln!(
            out,
            "  {}{port}  {}  {}",
            instance.unit,
            name(&instance.build),
            instance.state
        )?;
    }
    if let Some(error) = &report.error {
        writeln!(out, "  {} {}: {}", error.kind, error.step, error.message)?;
        error
            .log
            .iter()
            .try_for_each(|line| writeln!(out, "    | {line}"))?;
    }
    Ok(())
}
