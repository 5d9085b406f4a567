//! `doctor`: what may be wrong with the ground that deployments stand on. It only reads.
//!
//! ```text
//! survey   the tree, read once            servers  each ZooKeeper server
//! grants   who may do what                hosts    agents, versions, signatures, disks
//! clocks   by what is written anyway      znodes   sizes, formats, leases, holds
//! ```

use clap::Args;
use deploy_core::wire::time;
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::context::Context;
use crate::exit::Exit;
use crate::out::Format;
use crate::problem::Problem;
use crate::text;

mod clocks;
mod finding;
mod grants;
mod hosts;
mod servers;
mod survey;
mod znodes;

use self::finding::{Finding, Level};
use self::survey::Survey;

const SCHEMA: &str = "deployctl/doctor/1";

/// Check ZooKeeper, access, agents, clocks and disks; nothing is changed
#[derive(Debug, Args)]
#[command(
    before_help = "  deployctl doctor
  deployctl doctor -o json | jq '.checks[] | select(.level != \"ok\")'\n\n",
    after_help = "\nEnds with 0 where nothing failed, warnings or not, and with 3 where something did."
)]
pub(crate) struct DoctorArgs {}

/// Checks, and prints a line for each.
pub(crate) async fn run(_args: &DoctorArgs, context: &Context) -> Result<Exit, Problem> {
    let root = context.root.path();
    let (servers, survey) = tokio::join!(
        servers::check(&context.servers),
        Survey::read(&context.zk, root)
    );
    let survey = survey?;
    match survey.znodes.first() {
        None => return Err(context.no_root()),
        Some(top) if top.znode.is_none() => {
            return Err(Problem::unreachable(format!(
                "not allowed to read {root} (ZooKeeper: NoAuth)"
            ))
            .tip("--auth-file FILE names a file that holds user:password"));
        }
        Some(_) => {}
    }
    let findings = examine(context, servers, &survey);
    let now = Timestamp::now();
    match context.out.format {
        Format::Text => {
            for line in findings.iter().flat_map(|found| found.lines(&context.out)) {
                context.out.data(&line);
            }
            context.out.data(&summary(&findings));
        }
        Format::Json => context.out.json(&json!({
            "schema": SCHEMA, "context": context.address, "at": time::render(now),
            "result": worst(&findings).as_str(),
            "checks": findings.iter().map(|found| found.object(&context.out)).collect::<Vec<Value>>(),
        })),
        Format::Jsonl => findings.iter().for_each(|finding| {
            let mut object = finding.object(&context.out);
            object["schema"] = SCHEMA.into();
            context.out.json(&object);
        }),
    }
    Ok(match worst(&findings) {
        Level::Ok | Level::Warn => Exit::Done,
        Level::Fail => Exit::Failed,
    })
}

fn examine(context: &Context, servers: Finding, survey: &Survey) -> Vec<Finding> {
    let now = Timestamp::now();
    let services = survey.services();
    let mut findings = vec![Finding::ok("context", &context.origin), servers];
    findings.extend(grants::check(survey));
    findings.extend(znodes::check(survey));
    findings.push(hosts::agents(&services, now));
    findings.extend(hosts::versions(&services));
    findings.extend(hosts::trust(&services));
    findings.push(clocks::check(survey, &services, now));
    findings.extend(hosts::disk(&services));
    findings.extend(hosts::blocked(&services));
    findings.push(znodes::leases(&services));
    findings.push(znodes::holds(&services, now));
    findings
}

fn worst(findings: &[Finding]) -> Level {
    let levels = findings.iter().map(|finding| finding.level);
    levels.max().unwrap_or(Level::Ok)
}

fn summary(findings: &[Finding]) -> String {
    let of = |level: Level| findings.iter().filter(|found| found.level == level).count();
    match (of(Level::Fail), of(Level::Warn)) {
        (0, 0) => "all is well".to_owned(),
        (0, warnings) => text::count(warnings, "warning"),
        (failed, 0) => format!("{failed} failed"),
        (failed, warnings) => format!("{failed} failed, {}", text::count(warnings, "warning")),
    }
}

#[cfg(test)]
mod tests;
