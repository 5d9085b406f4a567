//! What the user said on the command line of where to look, for commands that they may paste.
//!
//! A tip of `deployctl --context staging …` that says `deployctl rollback web` would act on another cluster: on the
//! one of the default context.

use crate::cli::{self, Globals};

/// The options that every command for the same ZooKeeper needs. What the environment or the configuration says holds for
/// the next command too, and is not among them.
#[derive(Debug, Clone, Default)]
pub(crate) struct Again {
    options: String,
    verbs: Vec<String>,
}

impl Again {
    /// Returns those that were given.
    pub(crate) fn of(globals: &Globals) -> Again {
        let given = [
            ("--zk", globals.zk.as_ref().map(|address| address.shown())),
            ("--context", globals.context.clone()),
            (
                "--auth-file",
                globals
                    .auth_file
                    .as_ref()
                    .map(|path| path.display().to_string()),
            ),
        ];
        let options = given
            .into_iter()
            .filter_map(|(name, value)| Some(format!(" {name} {}", quoted(&value?))))
            .collect();
        let command = cli::command();
        let verbs = command.get_subcommands();
        let verbs = verbs.map(|verb| verb.get_name().to_owned()).collect();
        Again { options, verbs }
    }

    /// Returns a text with the options in each command of deployctl that is in it.
    pub(crate) fn paste(&self, text: &str) -> String {
        const NAME: &str = "deployctl";
        let is_verb = |rest: &str| {
            let word = rest
                .trim_start_matches(' ')
                .split([' ', ',', ';', ')'])
                .next();
            rest.starts_with(' ') && word.is_some_and(|word| self.verbs.iter().any(|it| it == word))
        };
        let mut parts = text.split(NAME);
        let mut pasteable = parts.next().unwrap_or_default().to_owned();
        for rest in parts {
            pasteable.push_str(NAME);
            if is_verb(rest) {
                pasteable.push_str(&self.options);
            }
            pasteable.push_str(rest);
        }
        pasteable
    }
}

/// Returns a word as a shell takes it for one.
fn quoted(word: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_./:,@%+=[]".contains(c);
    match !word.is_empty() && word.chars().all(is_plain) {
        true => word.to_owned(),
        false => format!("'{}'", word.replace('\'', r"'\''")),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::Again;
    use crate::cli::Cli;

    fn again(options: &[&str]) -> Again {
        let words = ["deployctl", "status"].iter().chain(options);
        Again::of(&Cli::parse_from(words).globals)
    }

    #[test]
    fn commands_are_for_the_same_zookeeper() {
        let staging = again(&["--context", "staging"]);
        assert_eq!(
            staging.paste("deployctl build list web; deployctl rollback web --to BUILD"),
            "deployctl --context staging build list web; deployctl --context staging rollback web --to BUILD"
        );
        for plain in [
            "use a newer deployctl; or write over it: --force",
            "deployctl 0.1.0",
            "--force",
            "",
        ] {
            assert_eq!(staging.paste(plain), plain);
        }
        let both = again(&["--zk", "zk1,zk2/other", "--auth-file", "/tmp/it's me"]);
        assert_eq!(
            both.paste("look first: deployctl inspect, deployctl history"),
            "look first: deployctl --zk zk1:2181,zk2:2181/other --auth-file '/tmp/it'\\''s me' inspect, \
             deployctl --zk zk1:2181,zk2:2181/other --auth-file '/tmp/it'\\''s me' history"
        );
        assert_eq!(again(&[]).paste("deployctl status"), "deployctl status");
    }
}
