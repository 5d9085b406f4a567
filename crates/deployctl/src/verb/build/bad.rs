//! `build bad`.

use deploy_core::wire::build::{Bad, Build};
use deploy_core::wire::target::Target;
use deploy_core::wire::{self};
use deploy_zk::znode::{Change, Updated};
use serde_json::json;

use super::BadArgs;
use crate::context::Context;
use crate::exit::Exit;
use crate::fleet::Fleet;
use crate::out::Format;
use crate::problem::Problem;
use crate::verb::gate::registered;

/// Writes the mark, or takes it away.
pub(crate) async fn run(args: &BadArgs, context: &Context) -> Result<Exit, Problem> {
    let fleet = Fleet::read(context, &args.of.service).await?;
    let (service, name) = (&args.of.service, &args.of.build);
    registered(context, &fleet, name).await?;
    let (by, at) = context.signature();
    let wanted = (!args.undo).then_some(Bad {
        by,
        at,
        why: args.why.why.clone(),
    });
    let path = fleet.tree.build(name);
    // As it is now: whoever marked it first stays named.
    let mut mark = wanted.clone();
    let updated = context.zk.update(&path, |znode| {
        let Some(znode) = znode else {
            return Change::Leave;
        };
        match wire::decode::<Build>(&znode.data) {
            Ok(build) if build.bad.is_some() == wanted.is_some() => {
                mark = build.bad;
                Change::Leave
            }
            Ok(build) => {
                mark = wanted.clone();
                let build = Build {
                    bad: wanted.clone(),
                    ..build
                };
                Change::Write(wire::encode_over(&build, &znode.data))
            }
            _ => Change::Leave,
        }
    });
    let changed = updated.await? != Updated::Left;
    if context.out.format != Format::Text {
        context.out.json(&json!({
            "schema": "deployctl/build/1", "service": service, "build": name,
            "bad": mark, "changed": changed,
        }));
        return Ok(Exit::Done);
    }
    context.out.say(&match (wanted.is_some(), changed) {
        (true, true) => format!("build {name} of {service} is marked bad"),
        (true, false) => format!("build {name} of {service} is marked bad already"),
        (false, true) => format!("build {name} of {service} is marked bad no more"),
        (false, false) => format!("build {name} of {service} is not marked bad"),
    });
    let wants =
        |target: &Option<Target>| target.as_ref().is_some_and(|target| target.build == *name);
    let targets = &fleet.state.targets;
    if wanted.is_some() && (wants(&targets.enabled) || wants(&targets.canary)) {
        context
            .out
            .warn(&format!("{service} still wants it; the mark moves no host"));
        context.out.tip(&format!("deployctl rollback {service}"));
    }
    Ok(Exit::Done)
}
