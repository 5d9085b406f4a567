//! `host retry`.

use deploy_core::name::HostName;
use deploy_core::rollout::judge::Goal;
use deploy_core::wire::retry::Retry;
use deploy_core::wire::{self};
use deploy_zk::znode::{Change, Updated};

use super::{RetryArgs, fleets_of};
use crate::context::Context;
use crate::exit::Exit;
use crate::fleet::Fleet;
use crate::problem::Problem;
use crate::text;
use crate::verb::gate;
use crate::wait::{Lines, Rollout, outcome};

/// Writes the wish, and waits for what becomes of it.
pub(crate) async fn run(args: &RetryArgs, context: &Context) -> Result<Exit, Problem> {
    let host = &args.of.host;
    let mut fleets = fleets_of(context, &args.of).await?;
    let failed = |fleet: &Fleet| fleet.state.has_failed(host);
    if fleets.len() > 1 && fleets.iter().any(failed) {
        fleets.retain(failed);
    }
    if fleets.len() > 1 {
        let names = text::list(fleets.iter().map(|fleet| fleet.service.as_str()), 10);
        return Err(Problem::usage(format!("{host} runs {names}; say which"))
            .tip(format!("deployctl host retry {host} {}", fleets[0].service)));
    }
    let fleet = &fleets[0];
    let service = &fleet.service;
    if !failed(fleet) {
        let standing = fleet.state.standings()[host].as_str();
        return Err(Problem::refused(format!(
            "{service} has not failed on {host}: it is {standing}"
        ))
        .fact("what is blocked is tried again by itself")
        .tip(format!("deployctl host show {host} {service}")));
    }
    let target = fleet.state.targets.followed(fleet.state.hosts[host].role);
    let Some(target) = target else {
        return Err(Problem::refused(format!(
            "{service} has no target for {host}"
        )));
    };
    let (by, at) = context.signature();
    let wish = Retry {
        rollout: target.rollout,
        by: by.clone(),
        at: at.clone(),
        why: args.why.why.clone(),
    };
    let since_mzxid = write(context, (fleet, host), &wish).await?;
    let rollout = Rollout {
        service: service.clone(),
        tree: fleet.tree.clone(),
        // The outcome of one host is not that of the rollout.
        number: None,
        kind: "retry".to_owned(),
        from: None,
        to: Some(target.build.clone()),
        by,
        at,
        why: args.why.why.clone(),
        goal: Goal::Retried {
            host: host.clone(),
            rollout: target.rollout,
            since_mzxid,
        },
    };
    outcome(context, &rollout, args.waits.patience(), Lines::Stderr).await
}

/// Writes the wish over the one before; returns which one it is.
async fn write(
    context: &Context,
    (fleet, host): (&Fleet, &HostName),
    wish: &Retry,
) -> Result<i64, Problem> {
    let service = &fleet.service;
    let path = fleet.tree.retry(host);
    context.zk.create_parents(&path).await?;
    let mut newer = None;
    let updated = context.zk.update(&path, |znode| {
        let old = znode.map_or(&[][..], |znode| &znode.data);
        newer = znode
            .and_then(|znode| wire::decode::<Retry>(&znode.data).err())
            .and_then(|error| gate::newer(format!("the retry of {service} on {host}"), &error));
        match newer {
            Some(_) => Change::Leave,
            None => Change::Write(wire::encode_over(wish, old)),
        }
    });
    let updated = updated.await?;
    if let Some(problem) = newer {
        return Err(problem.tip("use a newer deployctl"));
    }
    Ok(match updated {
        Updated::Written(stat) => stat.mzxid,
        Updated::Deleted | Updated::Left => 0,
    })
}
