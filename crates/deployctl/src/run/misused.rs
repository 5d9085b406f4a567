//! What is said where the arguments make no sense: the words of other tools, and what they are here.

use clap::ColorChoice;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use deploy_core::name::{BuildName, ServiceName};

use crate::again::Again;
use crate::exit::Exit;
use crate::out;
use crate::text::clean;

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

/// Returns the words after the name of the program, for people: a file may have a name that is no UTF-8.
pub(super) fn typed() -> Vec<String> {
    let words = std::env::args_os().skip(1);
    words
        .map(|word| word.to_string_lossy().into_owned())
        .collect()
}

/// Returns what `--color` says, wherever it stands, for what is said where the arguments are not understood.
pub(super) fn color(typed: &[String]) -> ColorChoice {
    match value(typed, "--color") {
        Some("never") => ColorChoice::Never,
        Some("always") => ColorChoice::Always,
        _ => ColorChoice::Auto,
    }
}

/// Returns the last value of an option, wherever it stands.
fn value<'a>(typed: &'a [String], option: &str) -> Option<&'a str> {
    let mut value = None;
    for (at, word) in typed.iter().enumerate() {
        match word.strip_prefix(option) {
            Some("") => value = typed.get(at + 1).map(String::as_str).or(value),
            Some(rest) => value = rest.strip_prefix('=').or(value),
            None => {}
        }
    }
    value
}

/// Prints what clap says, and what the word is called here.
pub(super) fn tell(error: &clap::Error) -> Exit {
    if let Some((said, tips)) = ours(error) {
        let typed = typed();
        let again = Again::with(|name| value(&typed, name).map(clean));
        eprintln!("error: {said}");
        tips.iter()
            .for_each(|tip| eprintln!("  tip: {}", again.paste(tip)));
        return Exit::Usage;
    }
    let printed = error.print();
    if matches!(
        error.kind(),
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion
    ) {
        out::finish(printed);
        return match out::is_lost() {
            true => Exit::Bug,
            false => Exit::Done,
        };
    }
    // Nobody is left to be told that stderr is gone.
    let _ = printed;
    Exit::Usage
}

/// Returns what is said instead of what clap says, and the tips: what is spelled alike may mean the opposite, as
/// `undo` is not `unhold`.
fn ours(error: &clap::Error) -> Option<(String, Vec<String>)> {
    let word = |kind| match error.get(kind) {
        Some(ContextValue::String(word)) => Some(word.clone()),
        _ => None,
    };
    let typed = typed();
    let (said, tips) = match error.kind() {
        ErrorKind::InvalidSubcommand => {
            let word = word(ContextKind::InvalidSubcommand)?;
            let typed: Vec<String> = typed
                .into_iter()
                .skip_while(|typed| *typed != word)
                .collect();
            let said = format!("unrecognized subcommand '{}'", clean(&word));
            (said, tips_for(&word, &typed))
        }
        ErrorKind::UnknownArgument => {
            let word = word(ContextKind::InvalidArg)?;
            let said = format!("unexpected argument '{}' found", clean(&word));
            (said, tip_for_argument(&word, &typed).into_iter().collect())
        }
        _ => return None,
    };
    (!tips.is_empty()).then_some((said, tips))
}

/// Returns how that is written here which was typed as an argument that does not exist.
fn tip_for_argument(word: &str, typed: &[String]) -> Option<String> {
    match word {
        "--json" | "--jsonl" => Some(format!("the form of the data: --output {}", &word[2..])),
        _ if word.starts_with('-') => None,
        _ => {
            let at = typed.iter().position(|typed| typed == "rollback")?;
            let service = typed
                .get(at + 1)
                .filter(|typed| ServiceName::parse(typed).is_ok())?;
            BuildName::parse(word).ok()?;
            Some(format!(
                "without a build it goes back to the last good one; to this: deployctl rollback {service} --to {word}"
            ))
        }
    }
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
