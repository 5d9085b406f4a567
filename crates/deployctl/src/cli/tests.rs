//! The help, and the definitions behind it.

use super::{TOP_HELP, command};

#[test]
fn the_command_line_makes_sense_to_clap() {
    command().debug_assert();
}

#[test]
fn the_first_page_names_every_verb_and_no_other() {
    let mut named: Vec<String> = TOP_HELP
        .lines()
        .filter(|line| !line.starts_with("  deployctl"))
        .filter_map(|line| line.get(8..)?.split_whitespace().next().map(str::to_owned))
        .filter(|word| word != "help")
        .collect();
    named.sort();
    let mut verbs: Vec<String> = command()
        .get_subcommands()
        .map(|verb| verb.get_name().to_owned())
        .collect();
    verbs.sort();
    assert_eq!(named, verbs);
}

#[test]
fn every_verb_leads_with_examples() {
    fn check(command: &clap::Command, path: &str) {
        for verb in command.get_subcommands() {
            let path = format!("{path} {}", verb.get_name());
            check(verb, &path);
            let examples = verb
                .get_before_help()
                .map(ToString::to_string)
                .unwrap_or_default();
            assert!(
                examples.contains(&path),
                "{path} has no example: {examples:?}"
            );
            let about = verb.get_about().expect("it says what it does").to_string();
            assert!(!about.ends_with('.'), "{path}: {about}");
        }
    }
    check(&command(), "deployctl");
}
