//! deployd: brings one host to the builds that ZooKeeper names.

use std::process::ExitCode;

use clap::Parser;

mod commands;
mod host;

/// Deploy the builds that ZooKeeper names to this host
#[derive(Debug, Parser)]
#[command(version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    Fetch(commands::fetch::Arguments),
    Unpack(commands::unpack::Arguments),
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let done = match Cli::parse().command {
        Command::Fetch(arguments) => commands::fetch::run(arguments).await,
        Command::Unpack(arguments) => commands::unpack::run(arguments).await,
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
