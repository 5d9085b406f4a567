//! `host forget`.

use deploy_core::name::HostName;
use deploy_zk::error::Error;
use deploy_zk::znode::Expect;
use serde_json::json;

use super::{ForgetArgs, fleets_of};
use crate::change::{Intent, take_number};
use crate::context::Context;
use crate::exit::Exit;
use crate::fleet::Fleet;
use crate::out::Format;
use crate::problem::Problem;
use crate::text;
use crate::verb::ask::ask;

/// Removes the report, the role, the wish and the leases of a host whose agent is gone.
pub(crate) async fn run(args: &ForgetArgs, context: &Context) -> Result<Exit, Problem> {
    let fleets = fleets_of(context, &args.of).await?;
    let host = &args.of.host;
    let is_live = |fleet: &&Fleet| fleet.state.hosts[host].alive;
    if let Some(fleet) = fleets.iter().find(is_live) {
        let problem = Problem::refused(format!("{host} is live, it would come back at once"))
            .fact("nothing was changed")
            .tip(format!(
                "stop its deployd first; what it says: deployctl host show {host} {}",
                fleet.service
            ));
        // It may have been moved from one service to another.
        let gone = fleets.iter().find(|fleet| !is_live(fleet));
        return Err(match gone {
            Some(gone) => problem.tip(format!(
                "what it has left of {0}: deployctl host forget {host} {0}",
                gone.service
            )),
            None => problem,
        });
    }
    let services = text::list(fleets.iter().map(|fleet| fleet.service.as_str()), 10);
    ask(
        context,
        &format!("this removes the report, the role and the leases of {host} ({services})"),
    )?;
    for fleet in &fleets {
        let intent = Intent {
            kind: "forget",
            host: Some(host.clone()),
            why: args.why.why.clone(),
            ..Intent::default()
        };
        let numbered = take_number(context, &fleet.tree, &intent).await?;
        if let Err(problem) = forget(context, fleet, host).await {
            // Where ZooKeeper says no, or nothing, some of it may be done.
            if problem.exit == Exit::Refused {
                numbered.withdraw(context).await;
            }
            return Err(problem);
        }
    }
    if context.out.format != Format::Text {
        let services: Vec<_> = fleets.iter().map(|fleet| &fleet.service).collect();
        context
            .out
            .json(&json!({"schema": "deployctl/forget/1", "host": host, "services": services}));
    }
    context.out.say(&format!(
        "{host} is forgotten ({services}); it is known again when its agent starts"
    ));
    Ok(Exit::Done)
}

/// The report goes last: until then the host is known, and it can be done again.
async fn forget(context: &Context, fleet: &Fleet, host: &HostName) -> Result<(), Problem> {
    let tree = &fleet.tree;
    let leases = fleet
        .leases
        .iter()
        .filter(|lease| lease.host == host.as_str());
    let leases = leases.map(|lease| format!("{}/{}", tree.leases(), lease.name));
    for path in leases.chain([tree.retry(host), tree.role(host), tree.host(host)]) {
        match context.zk.delete(&path, Expect::Any).await {
            Ok(()) | Err(Error::NoNode(_)) => {}
            // `alive` is below the report.
            Err(Error::NotEmpty(_)) => {
                return Err(Problem::refused(format!("{host} is live again")));
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}
