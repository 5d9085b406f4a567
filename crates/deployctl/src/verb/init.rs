//! `init`: the root of the tree, and who may change what below it.

use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use deploy_zk::error::Error;
use deploy_zk::znode::Mode;
use serde_json::json;

use crate::access::{self, Access};
use crate::cli::Why;
use crate::connect::read_credentials;
use crate::context::Context;
use crate::exit::Exit;
use crate::out::Format;
use crate::problem::Problem;
use crate::text;

/// Create the deploy tree, and say who may change what below it
#[derive(Debug, Args)]
#[command(
    before_help = "  deployctl init\n  deployctl init --zk zk1,zk2,zk3/staging/deploy\n  deployctl init --acl --auth-file operators.auth --agents agents.auth\n\n"
)]
pub(crate) struct InitArgs {
    /// Let agents write only reports and leases, and who has --auth-file everything; may be repeated
    #[arg(long, requires = "agents")]
    acl: bool,
    /// File with the user:password of the agents, as their zookeeper.auth_file
    #[arg(long, value_name = "FILE", requires = "acl")]
    agents: Option<PathBuf>,
    /// What anybody else may do
    #[arg(long, value_enum, default_value = "read", requires = "acl")]
    world: World,
    #[command(flatten)]
    why: Why,
}

/// What anybody else may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum World {
    /// Read everything.
    Read,
    /// Nothing.
    None,
}

/// Creates the root with its parents, unless it exists; with `--acl`, sets the lists of all that is
/// there.
pub(crate) async fn run(args: &InitArgs, context: &Context) -> Result<Exit, Problem> {
    let access = match &args.agents {
        Some(agents) => Some(wanted(args.world, agents, context)?),
        None => None,
    };
    let root = context.root.path();
    context.zk.create_parents(root).await?;
    let created = match context.zk.create(root, b"", Mode::Persistent).await {
        Ok(()) => true,
        Err(Error::NodeExists(_)) => false,
        Err(error) => return Err(error.into()),
    };
    let protected = match &access {
        Some(access) => Some(access::protect(context, access).await?),
        None => None,
    };
    if context.out.format != Format::Text {
        context.out.json(&json!({
            "schema": "deployctl/init/1", "root": root, "created": created, "protected": protected,
        }));
        return Ok(Exit::Done);
    }
    context.out.say(&match created {
        true => format!("{root} is created; it is empty"),
        false if protected.is_some() => format!("{root} exists already"),
        false => format!("{root} exists already; nothing was changed"),
    });
    if args.why.why.is_some() {
        context
            .out
            .say("the reason is kept nowhere: only services have a history");
    }
    if let Some(znodes) = protected {
        context.out.say(&format!(
            "access is set on {}: operators everything, agents reports and leases, others {}",
            text::count(znodes, "znode"),
            match args.world {
                World::Read => "read",
                World::None => "nothing",
            }
        ));
    }
    if created {
        context
            .out
            .tip("deployctl build add web r1 --url URL --file PATH");
    }
    Ok(Exit::Done)
}

fn wanted(world: World, agents: &Path, context: &Context) -> Result<Access, Problem> {
    let agents = read_credentials(agents)?;
    let agents = agents.into_iter().next();
    let operators = context.credentials.first().cloned();
    let (Some(operators), Some(agents)) = (operators, agents) else {
        return Err(Problem::usage(
            "who the operators are is not said, and nobody could change anything",
        )
        .tip("--auth-file FILE names a file that holds user:password"));
    };
    if operators == agents {
        return Err(Problem::usage(
            "the agents have the operators' password: each of them could deploy",
        )
        .tip("give the agents a user and password of their own"));
    }
    Ok(Access {
        operators,
        agents,
        world_reads: world == World::Read,
    })
}
