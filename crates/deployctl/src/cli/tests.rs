//! The help, and the definitions behind it.

use super::{TOP_HELP, command};
use crate::snapshot::same;

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

#[test]
fn every_help_is_as_it_was_read_last() {
    fn collect(command: &mut clap::Command, path: &str, into: &mut String) {
        let help = command.render_help();
        into.push_str(&format!("==== {path} -h\n{help}\n"));
        for verb in command.get_subcommands_mut() {
            if verb.get_name() != "help" {
                collect(verb, &format!("{path} {}", verb.get_name()), into);
            }
        }
    }
    let mut command = command().term_width(100);
    command = command.mut_args(|argument| argument.hide_env_values(true));
    command.build();
    let mut all = String::new();
    collect(&mut command, "deployctl", &mut all);
    let plain: Vec<&str> = all.lines().map(str::trim_end).collect();
    same("cli/help.txt", &format!("{}\n", plain.join("\n")));
}
