//! Completions of live names: services, builds, hosts and contexts, asked of ZooKeeper.
//!
//! Whatever goes wrong, it is silent and quick: somebody is at a prompt.

use std::ffi::OsStr;
use std::time::Duration;

use clap::{Arg, Command};
use clap_complete::engine::{ArgValueCompleter, CompletionCandidate};
use clap_complete::env::CompleteEnv;
use deploy_core::name::ServiceName;
use deploy_core::znode::Root;
use deploy_zk::error::Error;
use deploy_zk::zk::Zk;

use crate::config;
use crate::connect::{Address, connect, read_credentials};
use crate::out::{Color, Format, Out, Volume};
use crate::place::{Said, choose};

/// The variable that the shell's function sets.
pub(crate) const VARIABLE: &str = "DEPLOYCTL_COMPLETE";
/// In all.
const ANSWER_MAX: Duration = Duration::from_millis(1500);
/// To say goodbye.
const CLOSE_MAX: Duration = Duration::from_millis(100);
/// Candidates offered.
const NAMES_MAX: usize = 1000;

/// What an argument names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wanted {
    Services,
    Builds,
    Hosts,
}

/// Answers the shell and ends the process, if it is the shell that asks.
pub(crate) fn answer(command: fn() -> Command) {
    // Sixteen options in a row hide the three names that are wanted.
    let is_option = std::env::args_os()
        .next_back()
        .is_some_and(|word| word.to_string_lossy().starts_with('-'));
    let taught = move || match is_option {
        true => command(),
        false => without_options(command()),
    };
    CompleteEnv::with_factory(taught)
        .var(VARIABLE)
        .bin("deployctl")
        .complete();
}

fn without_options(command: Command) -> Command {
    command
        .disable_help_flag(true)
        .disable_version_flag(true)
        .mut_args(|argument| match argument.is_positional() {
            true => argument,
            false => argument.hide(true),
        })
        .mut_subcommands(without_options)
}

/// Teaches the arguments of a command where their values come from, by what they are called.
pub(crate) fn teach(command: Command) -> Command {
    command.mut_args(|argument| {
        let names = argument.get_value_names().unwrap_or_default();
        let wanted = match names.first().map(|name| name.as_str()) {
            Some("SERVICE") => Wanted::Services,
            Some("BUILD") => Wanted::Builds,
            Some("HOST") => Wanted::Hosts,
            Some("CONTEXT") => return with(argument, |_| contexts()),
            _ => return argument,
        };
        with(argument, move |_| names_of(wanted))
    })
}

fn with(argument: Arg, names: impl Fn(&OsStr) -> Vec<String> + Send + Sync + 'static) -> Arg {
    let candidates = move |current: &OsStr| {
        let begun = current.to_string_lossy().into_owned();
        let names = names(current).into_iter();
        names
            .filter(|name| name.starts_with(&begun))
            .take(NAMES_MAX)
            .map(CompletionCandidate::new)
            .collect()
    };
    argument.add(ArgValueCompleter::new(candidates))
}

fn contexts() -> Vec<String> {
    let config = config::path().and_then(|path| config::load(&path).ok());
    config.map_or_else(Vec::new, |config| config.contexts.into_keys().collect())
}

/// Asks ZooKeeper; nothing where it does not answer in time.
fn names_of(wanted: Wanted) -> Vec<String> {
    let words = std::env::args_os().skip_while(|word| word != "--");
    let words: Vec<String> = words
        .map(|word| word.to_string_lossy().into_owned())
        .collect();
    let asked = || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .ok()?;
        let asking = async { tokio::time::timeout(ANSWER_MAX, ask(&words, wanted)).await };
        runtime.block_on(asking).ok().flatten()
    };
    asked().unwrap_or_default()
}

async fn ask(words: &[String], wanted: Wanted) -> Option<Vec<String>> {
    let place = choose(said(words)?).ok()?;
    let credentials = match &place.auth_file {
        Some(file) => read_credentials(file).ok()?,
        None => Vec::new(),
    };
    let out = Out::new(Format::Text, Volume::Quiet, Color::Never);
    let zk = connect(&place.address, &credentials, &out).await.ok()?;
    let names = read(&zk, &place.address.root, (words, wanted)).await.ok();
    zk.close(CLOSE_MAX).await;
    names
}

/// What the words on the line and the environment say about where.
fn said(words: &[String]) -> Option<Said> {
    let flag = |name: &str| {
        let value_of = |(index, word): (usize, &String)| match word.strip_prefix(name) {
            Some("") => words.get(index + 1).cloned(),
            Some(rest) => rest.strip_prefix('=').map(str::to_owned),
            None => None,
        };
        words.iter().enumerate().find_map(value_of)
    };
    let flags = Said {
        zk_flag: flag("--zk").and_then(|text| Address::parse(&text).ok()),
        context_flag: flag("--context"),
        auth_file: flag("--auth-file").map(Into::into),
        ..Said::default()
    };
    flags.with_environment().ok()
}

async fn read(
    zk: &Zk,
    root: &Root,
    (words, wanted): (&[String], Wanted),
) -> Result<Vec<String>, Error> {
    let services = zk.children(root.path()).await?.unwrap_or_default();
    if wanted == Wanted::Services {
        return Ok(services);
    }
    // The service is a word on the line; where there is none yet, a host of any will do.
    let named = services.iter().filter(|service| words.contains(service));
    let named: Vec<&String> = named.take(1).collect();
    let chosen = match (named.is_empty(), wanted) {
        (true, Wanted::Hosts) => services.iter().collect(),
        _ => named,
    };
    let mut names = Vec::new();
    for service in chosen {
        let Ok(service) = ServiceName::parse(service) else {
            continue;
        };
        let tree = root.service(&service);
        let path = match wanted {
            Wanted::Builds => tree.builds(),
            Wanted::Hosts | Wanted::Services => tree.hosts(),
        };
        names.extend(zk.children(&path).await?.unwrap_or_default());
    }
    names.sort();
    names.dedup();
    Ok(names)
}
