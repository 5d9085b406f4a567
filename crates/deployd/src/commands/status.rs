//! `deployd status`: what the services of this host are.

use std::io::{self, Write};

use anyhow::Context as _;
use deploy_core::wire::{self, report::Report};

use super::Exit;
use crate::config::Config;
use crate::host::lock;

/// Show what the services of this host are; works without ZooKeeper
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Print the reports as JSON, as they are in ZooKeeper: one object with a list
    #[arg(long)]
    json: bool,
}

/// Prints what the agent has reported last, and whether it runs.
///
/// # Errors
/// Where a report can't be read, or standard output can't be written.
pub(crate) fn run(config: &Config, arguments: &Arguments) -> anyhow::Result<Exit> {
    let running = lock::holder(&config.state_dir);
    let mut reports = Vec::new();
    for service in &config.services {
        let path = config
            .state_dir
            .join("status")
            .join(format!("{}.json", service.name));
        match std::fs::read(&path) {
            Ok(data) => reports.push((service.name.clone(), Some(data))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                reports.push((service.name.clone(), None));
            }
            Err(error) => {
                return Err(error).with_context(|| format!("failed to read {}", path.display()));
            }
        }
    }
    let mut out = io::stdout().lock();
    let result = if arguments.json {
        let list: Vec<serde_json::Value> = reports
            .iter()
            .filter_map(|(_, data)| serde_json::from_slice(data.as_deref()?).ok())
            .collect();
        let object = serde_json::json!({ "v": 1, "running": running.is_some(), "reports": list });
        writeln!(out, "{object}")
    } else {
        match &running {
            Some(pid) => writeln!(
                out,
                "deployd {} runs (pid {pid})",
                env!("CARGO_PKG_VERSION")
            ),
            None => writeln!(out, "deployd does not run; this is what it reported last"),
        }
        .and_then(|()| {
            reports.iter().try_for_each(|(name, data)| {
                match data.as_deref().map(wire::decode::<Report>) {
                    Some(Ok(report)) => print(&mut out, &report),
                    Some(Err(error)) => writeln!(out, "{name}: {error}"),
                    None => writeln!(out, "{name}: no report yet"),
                }
            })
        })
    };
    match result {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {}
        other => other?,
    }
    Ok(Exit::Done)
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
