//! `unhold`: the hold ends.

use clap::Args;
use deploy_core::wire::hold::Hold;
use serde_json::json;

use crate::change::{Intent, Swapped, remove, take_number};
use crate::cli::{OfService, Why};
use crate::context::Context;
use crate::exit::Exit;
use crate::out::Format;
use crate::problem::Problem;
use crate::text;

/// End the hold of a service
#[derive(Debug, Args)]
#[command(before_help = "  deployctl unhold web\n\n")]
pub(crate) struct UnholdArgs {
    #[command(flatten)]
    of: OfService,
    #[command(flatten)]
    why: Why,
}

/// Deletes `hold`, if there is one.
pub(crate) async fn run(args: &UnholdArgs, context: &Context) -> Result<Exit, Problem> {
    let service = &args.of.service;
    let tree = context.service(service).await?;
    let Some(before) = context.zk.get(&tree.hold()).await? else {
        say(context, service.as_str(), None);
        return Ok(Exit::Done);
    };
    let intent = Intent {
        kind: "unhold",
        why: args.why.why.clone(),
        ..Intent::default()
    };
    let numbered = take_number(context, &tree, &intent).await?;
    let removed = remove(context, &tree.hold(), &before).await;
    numbered.withdraw_unless_written(context, &removed).await;
    match removed? {
        Swapped::Written => say(
            context,
            service.as_str(),
            Some((&Hold::read(&before.data), numbered.number)),
        ),
        Swapped::Lost(None) => say(context, service.as_str(), None),
        Swapped::Lost(Some(now)) => {
            let hold = Hold::read(&now.data);
            let (by, why) = (
                text::by(hold.by.as_deref()),
                text::because(hold.why.as_deref()),
            );
            return Err(
                Problem::refused(format!("{service} was held anew{by}{why}"))
                    .fact("nothing was changed"),
            );
        }
    }
    Ok(Exit::Done)
}

fn say(context: &Context, service: &str, ended: Option<(&Hold, u64)>) {
    if context.out.format != Format::Text {
        context.out.json(&json!({
            "schema": "deployctl/hold/1", "service": service, "held": false,
            "rollout": ended.map(|(_, number)| number),
        }));
        return;
    }
    match ended {
        Some((hold, number)) => {
            let (by, why) = (
                text::by(hold.by.as_deref()),
                text::because(hold.why.as_deref()),
            );
            context.out.say(&format!(
                "{service} is held no more (#{number}); it was{by}{why}"
            ));
        }
        None => context.out.say(&format!("{service} is not held")),
    }
}
