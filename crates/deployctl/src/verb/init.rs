//! `init`: the root of the tree.

use clap::Args;
use deploy_zk::error::Error;
use deploy_zk::znode::Mode;
use serde_json::json;

use crate::context::Context;
use crate::exit::Exit;
use crate::out::Format;
use crate::problem::Problem;

/// Create the deploy tree
#[derive(Debug, Args)]
#[command(before_help = "  deployctl init\n  deployctl init --zk zk1,zk2,zk3/staging/deploy\n\n")]
pub(crate) struct InitArgs {}

/// Creates the root with its parents, unless it exists.
pub(crate) async fn run(_: &InitArgs, context: &Context) -> Result<Exit, Problem> {
    let root = context.root.path();
    context.zk.create_parents(root).await?;
    let created = match context.zk.create(root, b"", Mode::Persistent).await {
        Ok(()) => true,
        Err(Error::NodeExists(_)) => false,
        Err(error) => return Err(error.into()),
    };
    if context.out.format != Format::Text {
        context
            .out
            .json(&json!({"schema": "deployctl/init/1", "root": root, "created": created}));
    } else if created {
        context.out.say(&format!("{root} is created; it is empty"));
        context
            .out
            .tip("deployctl build add web r1 --url URL --file PATH");
    } else {
        context
            .out
            .say(&format!("{root} exists already; nothing was changed"));
    }
    Ok(Exit::Done)
}
