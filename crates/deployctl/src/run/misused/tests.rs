//! The words of other tools.

use super::FOREIGN_WORDS;
use crate::cli::command;

#[test]
fn words_of_other_tools_are_never_words_of_ours() {
    let command = command();
    for word in FOREIGN_WORDS.iter().flat_map(|(words, _)| *words) {
        assert!(command.find_subcommand(word).is_none(), "{word}");
    }
}

#[test]
fn the_tips_name_verbs_that_exist() {
    let command = command();
    for tip in FOREIGN_WORDS.iter().flat_map(|(_, tips)| *tips) {
        let (_, after) = tip.split_once("deployctl ").expect("a tip is a command");
        let verb = after.split_whitespace().next().expect("a tip is a command");
        assert!(command.find_subcommand(verb).is_some(), "{tip}");
    }
}

#[test]
fn colours_are_said_before_anything_is_understood() {
    let color = |line: &str| super::color(&line.split(' ').map(str::to_owned).collect::<Vec<_>>());
    assert_eq!(
        color("deployctl --color never status --bogus"),
        clap::ColorChoice::Never
    );
    assert_eq!(
        color("deployctl status --color=never --help"),
        clap::ColorChoice::Never
    );
    assert_eq!(
        color("deployctl --color always status --color=never"),
        clap::ColorChoice::Never
    );
    assert_eq!(color("deployctl --color"), clap::ColorChoice::Auto);
    assert_eq!(color("deployctl status"), clap::ColorChoice::Auto);
}
