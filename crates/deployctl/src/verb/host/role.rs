//! `host role`.

use deploy_core::wire::role::{Assignment, Role};
use deploy_core::wire::{self, WireError};
use deploy_zk::znode::{Change, Updated, Znode};
use serde_json::json;

use super::{RoleArgs, RoleWord};
use crate::context::Context;
use crate::exit::Exit;
use crate::fleet::Fleet;
use crate::out::Format;
use crate::problem::Problem;
use crate::text;
use crate::verb::gate::{self, Force};

/// Writes the role. A host that nobody knows yet may have one before its first start.
pub(crate) async fn run(args: &RoleArgs, context: &Context) -> Result<Exit, Problem> {
    let fleet = Fleet::read(context, &args.service).await?;
    let role = match args.role {
        RoleWord::Fleet => Role::Fleet,
        RoleWord::Canary => Role::Canary,
    };
    let (host, service) = (&args.host, &args.service);
    let has_reported = fleet
        .state
        .hosts
        .get(host)
        .is_some_and(|host| host.report.is_some() || host.alive);
    let (before, changed) = assign(args, context, (&fleet, role)).await?;
    if context.out.format != Format::Text {
        context.out.json(&json!({
            "schema": "deployctl/role/1", "host": host, "service": service, "role": role,
            "changed": changed,
        }));
    }
    if !has_reported {
        context.out.warn(&format!(
            "{host} never reported for {service}; it gets the role when it does"
        ));
    }
    if context.out.format == Format::Text {
        context.out.say(&match changed {
            true => format!("{host} has the role {role} of {service}; it was {before}"),
            false => {
                format!("{host} has the role {role} of {service} already; nothing was changed")
            }
        });
        if let (true, Some(target)) = (changed, fleet.state.targets.followed(role)) {
            context.out.say(&format!("it follows {} now", target.build));
        }
    }
    Ok(Exit::Done)
}

/// Writes the role, unless it is there already. Returns what it was, and whether it was changed. One
/// that can't be read is written anew; of a newer format, only with `--force`.
async fn assign(
    args: &RoleArgs,
    context: &Context,
    (fleet, role): (&Fleet, Role),
) -> Result<(String, bool), Problem> {
    let (path, force) = (fleet.tree.role(&args.host), Force::of(&args.force));
    let (by, at) = context.signature();
    let why = args.why.why.clone();
    let assignment = Assignment { role, by, at, why };
    let mut before = Ok(Role::Fleet);
    let decide = |znode: Option<&Znode>| {
        let old = znode.map_or(&[][..], |znode| &znode.data);
        before = match znode {
            Some(znode) => wire::decode::<Assignment>(&znode.data).map(|found| found.role),
            None => Ok(Role::Fleet),
        };
        match &before {
            Ok(before) if *before == role => Change::Leave,
            Err(WireError::Newer { .. }) if force == Force::Off => Change::Leave,
            _ => Change::Write(wire::encode_over(&assignment, old)),
        }
    };
    context.zk.create_parents(&path).await?;
    let changed = context.zk.update(&path, decide).await? != Updated::Left;
    let what = format!("the role of {} for {}", args.host, args.service);
    if let Some(problem) = before
        .as_ref()
        .err()
        .and_then(|error| gate::newer(what, error))
    {
        let problem = problem.tip("use a newer deployctl; or write over it: --force");
        gate::unless_forced(context, force, problem)?;
    }
    let before = before.map_or_else(
        |error| format!("of no use: {}", text::clean(&error.to_string())),
        |role| role.to_string(),
    );
    Ok((before, changed))
}
