//! From the arguments to the exit code.

use clap::FromArgMatches;

use crate::again::Again;
use crate::cli::{self, Cli, Verb};
use crate::complete;
use crate::connect::{connect, read_credentials};
use crate::context::{Consent, Context, whoami};
use crate::exit::Exit;
use crate::out::{self, Out, Volume};
use crate::place::{Said, choose};
use crate::problem::Problem;
use crate::text::clean;
use crate::verb;

mod misused;

/// How long it may take to say goodbye to ZooKeeper.
const CLOSE_MAX: std::time::Duration = std::time::Duration::from_millis(500);

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
    // Help and errors of usage are said before the options are known.
    let command = cli::command().color(misused::color(&misused::typed()));
    let matches = command.try_get_matches();
    let cli = match matches.and_then(|matches| Cli::from_arg_matches(&matches)) {
        Ok(cli) => cli,
        Err(error) => return misused::tell(&error),
    };
    let globals = &cli.globals;
    let volume = match (globals.quiet, globals.verbose) {
        (true, _) => Volume::Quiet,
        (_, true) => Volume::Verbose,
        _ => Volume::Normal,
    };
    // The others are asked for how a change ends, which their exit code says.
    let is_for_its_data = !verb::is_change(&cli.verb) && !matches!(cli.verb, Verb::Watch(_));
    let out = Out::new(globals.output, volume, globals.color).saying(Again::of(globals));
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let ended = match runtime {
        Ok(runtime) => runtime.block_on(perform(cli, &out)),
        Err(error) => Err(Problem::new(Exit::Bug, format!("failed to start: {error}"))),
    };
    let exit = ended.unwrap_or_else(|problem| {
        out.problem(&problem);
        problem.exit
    });
    match exit {
        Exit::Done if is_for_its_data && out::is_lost() => Exit::Bug,
        exit => exit,
    }
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
