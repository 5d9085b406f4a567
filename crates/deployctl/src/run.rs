//! From the arguments to the exit code.

use clap::FromArgMatches;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use deploy_core::name::{BuildName, ServiceName};

use crate::cli::{self, Cli, Verb};
use crate::complete;
use crate::connect::{connect, read_credentials};
use crate::context::{Consent, Context, whoami};
use crate::exit::Exit;
use crate::out::{Out, Volume};
use crate::place::{Said, choose};
use crate::problem::Problem;
use crate::text::clean;
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
    complete::answer(cli::command);
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
    match &cli.verb {
        Verb::Completions(args) => return verb::completions::run(args, out),
        Verb::Man(args) => return verb::man::run(args, out),
        _ => {}
    }
    // What is wrong with the arguments is said without asking anybody.
    verb::check(&cli.verb)?;
    let place = choose(Said::of(&cli.globals)?)?;
    let credentials = match &place.auth_file {
        Some(path) => read_credentials(path)?,
        None => Vec::new(),
    };
    let zk = connect(&place.address, &credentials, out)
        .await
        .map_err(|problem| match &place.name {
            Some(_) => problem.fact(format!("context {}", place.described())),
            None => problem,
        })?;
    if let Some(name) = &place.name
        && verb::is_change(&cli.verb)
    {
        out.say(&format!("on {}: {}", clean(name), place.address.shown()));
    }
    let context = Context {
        zk,
        credentials,
        address: place.shown(),
        name: place.name.clone(),
        servers: place.address.servers.clone(),
        origin: place.described(),
        root: place.address.root,
        out: out.clone(),
        by: whoami(),
        consent: match cli.globals.yes {
            true => Consent::Given,
            false => Consent::Ask,
        },
    };
    let ended = verb::run(&cli.verb, &context).await;
    context.zk.close(CLOSE_MAX).await;
    ended
}

/// Prints what clap says, and what the word is called here.
fn misused(error: &clap::Error) -> Exit {
    if error.kind() == ErrorKind::InvalidSubcommand
        && let Some(ContextValue::String(word)) = error.get(ContextKind::InvalidSubcommand)
    {
        let typed: Vec<String> = std::env::args().skip_while(|typed| typed != word).collect();
        let tips = tips_for(word, &typed);
        if !tips.is_empty() {
            // What is spelled alike may mean the opposite: `undo` is not `unhold`.
            eprintln!("error: unrecognized subcommand '{}'", clean(word));
            tips.iter().for_each(|tip| eprintln!("  tip: {tip}"));
            return Exit::Usage;
        }
    }
    let printed = error.print();
    if matches!(
        error.kind(),
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion
    ) {
        return Exit::Done;
    }
    // Nobody is left to be told that stderr is gone.
    let _ = printed;
    Exit::Usage
}

/// Returns what the word is called here, with the service and the build that were typed after it.
fn tips_for(word: &str, typed: &[String]) -> Vec<String> {
    let tips = FOREIGN_WORDS
        .iter()
        .find(|(words, _)| words.contains(&word));
    let tips = tips.map_or(&[][..], |(_, tips)| *tips);
    let service = typed.get(1).filter(|word| ServiceName::parse(word).is_ok());
    let build = typed.get(2).filter(|word| BuildName::parse(word).is_ok());
    let filled = |tip: &&str| match (service, build) {
        (Some(service), Some(build)) => tip.replace("SERVICE", service).replace("BUILD", build),
        (Some(service), None) => tip.replace("SERVICE", service),
        (None, _) => (*tip).to_owned(),
    };
    tips.iter().map(filled).collect()
}

#[cfg(test)]
mod tests;
