//! `build`: the builds that may be deployed.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use deploy_core::artifact::Digest;
use deploy_core::name::ServiceName;

use crate::cli::{OfBuild, Why};
use crate::context::Context;
use crate::exit::Exit;
use crate::problem::Problem;

mod add;
mod bad;
mod list;
mod show;
mod signature;

/// What can be done with builds.
#[derive(Debug, Subcommand)]
pub(crate) enum BuildVerb {
    /// Register a build, so that it can be deployed
    #[command(
        before_help = "  deployctl build add web r2431 --url https://builds.internal/web/r2431.tar.gz --file r2431.tar.gz
  deployctl build add web r2431 --url https://… --sha256 9f86d0… --size 209715200\n\n"
    )]
    Add(AddArgs),
    /// List the builds of a service, newest first
    #[command(before_help = "  deployctl build list web\n\n")]
    List(ListArgs),
    /// Show a build, and where it is
    #[command(before_help = "  deployctl build show web r2431\n\n")]
    Show(OfBuild),
    /// Mark a build as bad, so that nobody deploys it by mistake
    #[command(
        before_help = "  deployctl build bad web r2431 -m \"leaks memory\"\n  deployctl build bad web r2431 --undo\n\n"
    )]
    Bad(BadArgs),
}

/// Tells whether it changes anything.
pub(crate) fn is_change(verb: &BuildVerb) -> bool {
    matches!(verb, BuildVerb::Add(_) | BuildVerb::Bad(_))
}

/// What to register.
#[derive(Debug, Args)]
pub(crate) struct AddArgs {
    #[command(flatten)]
    of: OfBuild,
    /// Where the archive is: an http or https URL
    #[arg(long, value_name = "URL", value_parser = parse_url)]
    url: String,
    /// The archive itself: its digest and size are computed, and PATH.minisig is looked at if it is there
    #[arg(long, value_name = "PATH", conflicts_with = "sha256")]
    file: Option<PathBuf>,
    /// The SHA-256 of the archive, in 64 hexadecimal digits
    #[arg(long, value_name = "HEX", value_parser = Digest::parse)]
    sha256: Option<Digest>,
    /// Bytes of the archive
    #[arg(long, value_name = "N")]
    size: Option<u64>,
    #[command(flatten)]
    why: Why,
}

/// Whose builds.
#[derive(Debug, Args)]
pub(crate) struct ListArgs {
    /// The service
    #[arg(value_name = "SERVICE", value_parser = ServiceName::parse)]
    service: ServiceName,
    /// How many to show
    #[arg(short = 'n', long, value_name = "N", default_value = "20")]
    number: usize,
}

/// What is bad.
#[derive(Debug, Args)]
pub(crate) struct BadArgs {
    #[command(flatten)]
    of: OfBuild,
    #[command(flatten)]
    why: Why,
    /// Take the mark away
    #[arg(long)]
    undo: bool,
}

/// Checks what is to be registered.
pub(crate) fn check(verb: &BuildVerb) -> Result<(), Problem> {
    match verb {
        BuildVerb::Add(args) => add::check(args),
        _ => Ok(()),
    }
}

/// Does it.
pub(crate) async fn run(verb: &BuildVerb, context: &Context) -> Result<Exit, Problem> {
    match verb {
        BuildVerb::Add(args) => add::run(args, context).await,
        BuildVerb::List(args) => list::run(args, context).await,
        BuildVerb::Show(args) => show::run(args, context).await,
        BuildVerb::Bad(args) => bad::run(args, context).await,
    }
}

fn parse_url(text: &str) -> Result<String, String> {
    let url = url::Url::parse(text).map_err(|error| error.to_string())?;
    if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none() {
        return Err("an http or https URL is wanted".to_owned());
    }
    Ok(text.to_owned())
}
