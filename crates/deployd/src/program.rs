//! The command line of deployd.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{CommandFactory, Parser};

use crate::chain::Chain;
use crate::commands::{self, Exit};
use crate::{config, log};

/// Deploy the builds that ZooKeeper names to this host
#[derive(Debug, Parser)]
#[command(version)]
struct Cli {
    /// The configuration
    #[arg(long, global = true, value_name = "FILE", default_value = config::DEFAULT_PATH)]
    config: PathBuf,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    Run(commands::run::Arguments),
    Check(commands::check::Arguments),
    Plan(commands::plan::Arguments),
    Status(commands::status::Arguments),
    Reload(commands::reload::Arguments),
    LogLevel(commands::log_level::Arguments),
    Undrain(commands::undrain::Arguments),
    Fetch(commands::fetch::Arguments),
    Unpack(commands::unpack::Arguments),
    #[command(hide = true)]
    Pages(commands::pages::Arguments),
}

/// Does what the command line says, and returns how it ended.
pub async fn run() -> ExitCode {
    let cli = Cli::parse();
    match dispatch(cli).await {
        Ok(exit) => exit.into(),
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn dispatch(cli: Cli) -> anyhow::Result<Exit> {
    let load = || match config::load(&cli.config) {
        Ok(config) => Some(config),
        Err(error) => {
            eprintln!("error: {}", Chain(&error));
            None
        }
    };
    match cli.command {
        Command::Check(arguments) => Ok(commands::check::run(&cli.config, &arguments)),
        Command::Fetch(arguments) => commands::fetch::run(arguments).await.map(|()| Exit::Done),
        Command::Unpack(arguments) => commands::unpack::run(arguments).await.map(|()| Exit::Done),
        Command::Run(arguments) => {
            let Some(config) = load() else {
                return Ok(Exit::Usage);
            };
            let level = log::start(&config.log);
            commands::run::run((config, &cli.config), level, &arguments).await
        }
        Command::Pages(arguments) => commands::pages::run(&arguments, Cli::command()),
        Command::Undrain(_) => commands::undrain::run().await,
        Command::Plan(_) => {
            let Some(config) = load() else {
                return Ok(Exit::Usage);
            };
            commands::plan::run(config).await
        }
        Command::Status(arguments) => {
            let Some(config) = load() else {
                return Ok(Exit::Usage);
            };
            commands::status::run(&config, &arguments).await
        }
        Command::Reload(_) => commands::reload::run(&cli.config).await,
        Command::LogLevel(arguments) => {
            let Some(config) = load() else {
                return Ok(Exit::Usage);
            };
            commands::log_level::run(&config, &arguments).await
        }
    }
}
