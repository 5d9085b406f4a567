//! What the user said on the command line of where to look, for commands that they may paste.
//!
//! A tip of `deployctl --context staging …` that says `deployctl rollback web` would act on another cluster: on the
//! one of the default context.

use crate::cli::{self, Globals};
use crate::connect::Address;

/// The options that every command for the same ZooKeeper needs. What the environment or the configuration says holds for
/// the next command too, and is not among them.
#[derive(Debug, Clone, Default)]
pub(crate) struct Again {
    options: Vec<(&'static str, String)>,
    verbs: Vec<String>,
}

impl Again {
    /// Returns those that were given.
    pub(crate) fn of(globals: &Globals) -> Again {
        let auth_file = globals.auth_file.as_ref();
        Again::with(|name| match name {
            "--zk" => globals.zk.as_ref().map(Address::shown),
            "--context" => globals.context.clone(),
            _ => auth_file.map(|path| path.display().to_string()),
        })
    }

    /// Returns those that have a value, by their names.
    pub(crate) fn with(value: impl Fn(&str) -> Option<String>) -> Again {
        let given = ["--zk", "--context", "--auth-file"].into_iter();
        let options = given.filter_map(|name| Some((name, quoted(&value(name)?))));
        let options: Vec<_> = options.collect();
        if options.is_empty() {
            return Again::default();
        }
        let command = cli::command();
        let verbs = command.get_subcommands();
        let verbs = verbs.map(|verb| verb.get_name().to_owned()).collect();
        Again { options, verbs }
    }

    /// Returns a text with the options at the end of each command of deployctl that is in it.
    pub(crate) fn paste(&self, text: &str) -> String {
        let mut parts = text.split(NAME);
        let mut pasteable = parts.next().unwrap_or_default().to_owned();
        for rest in parts {
            let words = rest.strip_prefix(' ').unwrap_or_default();
            let verb = words.split([' ', ',', ';', ')']).next().unwrap_or_default();
            let is_command = self.verbs.iter().any(|known| known == verb);
            let end = ENDS.iter().filter_map(|end| rest.find(end)).min();
            let (command, after) = rest.split_at(end.unwrap_or(rest.len()));
            pasteable.push_str(NAME);
            pasteable.push_str(command.trim_end());
            let missing = self
                .options
                .iter()
                .filter(|(name, _)| !command.contains(name));
            for (name, value) in missing.filter(|_| is_command) {
                pasteable.push_str(&format!(" {name} {value}"));
            }
            pasteable.push_str(&command[command.trim_end().len()..]);
            pasteable.push_str(after);
        }
        pasteable
    }
}

/// What a command begins with.
const NAME: &str = "deployctl";

/// What stands behind a command in a text.
const ENDS: [&str; 6] = [";", ",", ")", "  ", " | ", "\n"];

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
        for (text, pasteable) in [
            (
                "deployctl build list web; deployctl rollback web --to BUILD",
                "deployctl build list web --context staging; deployctl rollback web --to BUILD --context staging",
            ),
            (
                "deployctl promote web        (or: deployctl rollback web)",
                "deployctl promote web --context staging        (or: deployctl rollback web --context staging)",
            ),
            (
                "deployctl monitor | cat prints a line for each outcome",
                "deployctl monitor --context staging | cat prints a line for each outcome",
            ),
            (
                "tip: deployctl unhold web\ntip: x\n",
                "tip: deployctl unhold web --context staging\ntip: x\n",
            ),
            (
                "use a newer deployctl; or: --force",
                "use a newer deployctl; or: --force",
            ),
            ("deployctl 0.1.0", "deployctl 0.1.0"),
            ("", ""),
        ] {
            assert_eq!(staging.paste(text), pasteable);
        }
        let other = again(&["--zk", "zk1,zk2/other", "--auth-file", "/tmp/it's me"]);
        assert_eq!(
            other.paste(
                "deployctl inspect, deployctl init --acl --auth-file operators.auth   (docs)"
            ),
            "deployctl inspect --zk zk1:2181,zk2:2181/other --auth-file '/tmp/it'\\''s me', \
             deployctl init --acl --auth-file operators.auth --zk zk1:2181,zk2:2181/other   (docs)"
        );
        assert_eq!(again(&[]).paste("deployctl status"), "deployctl status");
    }
}
