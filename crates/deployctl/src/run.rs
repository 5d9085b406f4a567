//! From the arguments to the exit code.

use clap::FromArgMatches;
use clap::error::{ContextKind, ContextValue, ErrorKind};

use crate::cli::{self, Cli, Globals, Verb};
use crate::connect::{connect, read_credentials};
use crate::context::{Consent, Context, whoami};
use crate::exit::Exit;
use crate::out::{Out, Volume};
use crate::problem::Problem;
use crate::verb;

/// How long it may take to say goodbye to ZooKeeper.
const CLOSE_MAX: std::time::Duration = std::time::Duration::from_millis(500);

/// The words of other tools, and what they are here. They are never accepted: it would be a guess.
const FOREIGN_WORDS: [(&[&str], &[&str]); 7] = [
    (
        &["abort", "cancel", "revert", "undo", "undo-rollout"],
        &[
            "to stop a rollout and go back: deployctl rollback SERVICE",
            "to freeze it where it is: deployctl hold SERVICE -m \"why\"",
        ],
    ),
    (
        &["pause", "lock", "suspend", "stop", "freeze"],
        &["to let nothing new start: deployctl hold SERVICE -m \"why\""],
    ),
    (
        &["resume", "continue", "unlock", "start"],
        &["to end a hold: deployctl unhold SERVICE"],
    ),
    (
        &["nodes", "hosts", "list", "ls"],
        &["deployctl host list", "deployctl status"],
    ),
    (
        &["run", "push", "release", "apply", "install"],
        &[
            "to test a build: deployctl canary SERVICE BUILD",
            "to put it on every host: deployctl deploy SERVICE BUILD",
        ],
    ),
    (
        &["tail", "logs", "log"],
        &["the last lines of a failed host: deployctl host show HOST"],
    ),
    (&["builds", "versions"], &["deployctl build list SERVICE"]),
];

/// Runs deployctl with the arguments of this process.
pub(crate) fn run() -> Exit {
    std::panic::set_hook(Box::new(|panic| {
        eprintln!(
            "error: this is a bug in deployctl {}: {panic}",
            env!("CARGO_PKG_VERSION")
        );
        std::process::exit(i32::from(Exit::Bug.code()));
    }));
    let matches = cli::command().try_get_matches();
    let cli = match matches.and_then(|matches| Cli::from_arg_matches(&matches)) {
        Ok(cli) => cli,
        Err(error) => return misused(&error),
    };
    let globals = &cli.globals;
    let volume = match (globals.quiet, globals.verbose) {
        (true, _) => Volume::Quiet,
        (_, true) => Volume::Verbose,
        _ => Volume::Normal,
    };
    let out = Out::new(globals.output, volume, globals.color);
    if let Verb::Completions(args) = &cli.verb {
        return verb::completions::run(args, &out);
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let ended = match runtime {
        Ok(runtime) => runtime.block_on(perform(cli, &out)),
        Err(error) => Err(Problem::new(Exit::Bug, format!("failed to start: {error}"))),
    };
    ended.unwrap_or_else(|problem| {
        out.problem(&problem);
        problem.exit
    })
}

async fn perform(cli: Cli, out: &Out) -> Result<Exit, Problem> {
    let Globals {
        zk, auth_file, yes, ..
    } = cli.globals;
    let address = zk.ok_or_else(|| {
        Problem::usage("no ZooKeeper is named")
            .tip("--zk zk1,zk2,zk3/deploy, or export DEPLOYCTL_ZK=zk1,zk2,zk3/deploy")
    })?;
    // What is wrong with the arguments is said without asking anybody.
    verb::check(&cli.verb)?;
    let credentials = match &auth_file {
        Some(path) => read_credentials(path)?,
        None => Vec::new(),
    };
    let zk = connect(&address, &credentials, out).await?;
    let context = Context {
        zk,
        credentials,
        address: address.shown(),
        servers: address.servers.clone(),
        origin: address.shown(),
        root: address.root,
        out: out.clone(),
        by: whoami(),
        consent: if yes { Consent::Given } else { Consent::Ask },
    };
    let ended = verb::run(&cli.verb, &context).await;
    context.zk.close(CLOSE_MAX).await;
    ended
}

/// Prints what clap says, and what the word is called here.
fn misused(error: &clap::Error) -> Exit {
    let printed = error.print();
    if matches!(
        error.kind(),
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion
    ) {
        return Exit::Done;
    }
    // Nobody is left to be told that stderr is gone.
    let _ = printed;
    if error.kind() == ErrorKind::InvalidSubcommand
        && let Some(ContextValue::String(word)) = error.get(ContextKind::InvalidSubcommand)
    {
        for tip in tips_for(word) {
            eprintln!("  tip: {tip}");
        }
    }
    Exit::Usage
}

fn tips_for(word: &str) -> &'static [&'static str] {
    FOREIGN_WORDS
        .iter()
        .find(|(words, _)| words.contains(&word))
        .map_or(&[], |(_, tips)| *tips)
}

#[cfg(test)]
mod tests;
