//! `host role`.

use deploy_core::wire;
use deploy_core::wire::role::{Assignment, Role};
use deploy_zk::error::Error;
use deploy_zk::znode::{Change, Updated};
use serde_json::json;

use super::{RoleArgs, RoleWord};
use crate::context::Context;
use crate::exit::Exit;
use crate::fleet::{Fleet, role_of};
use crate::out::Format;
use crate::problem::Problem;

/// Writes the role. A host that nobody knows yet may have one before its first start.
pub(crate) async fn run(args: &RoleArgs, context: &Context) -> Result<Exit, Problem> {
    let fleet = Fleet::read(context, &args.service).await?;
    let role = match args.role {
        RoleWord::Fleet => Role::Fleet,
        RoleWord::Canary => Role::Canary,
    };
    let path = fleet.tree.role(&args.host);
    let (host, service) = (&args.host, &args.service);
    let has_reported = fleet
        .state
        .hosts
        .get(host)
        .is_some_and(|host| host.report.is_some() || host.alive);
    let mut before = Role::Fleet;
    let decide = |znode: Option<&deploy_zk::znode::Znode>| {
        let old = znode.map_or(&[][..], |znode| &znode.data);
        before = role_of(znode.map(|znode| znode.data.as_slice()));
        // One that can't be read is written anew, whatever it counts as.
        let is_readable = znode.is_none_or(|znode| wire::decode::<Assignment>(&znode.data).is_ok());
        if before == role && is_readable {
            return Change::Leave;
        }
        Change::Write(wire::encode_over(&Assignment { role }, old))
    };
    context.zk.create_parents(&path).await?;
    let updated: Result<Updated, Error> = context.zk.update(&path, decide).await;
    let changed = updated? != Updated::Left;
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
