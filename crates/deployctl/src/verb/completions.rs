//! `completions`: for a shell.

use clap::Args;
use clap_complete::env::Shells;

use crate::complete::VARIABLE;
use crate::exit::Exit;
use crate::out::Out;
use crate::problem::Problem;

/// Print the completions of a shell: verbs, options, and live services, builds and hosts
#[derive(Debug, Args)]
#[command(
    before_help = "  deployctl completions bash > ~/.local/share/bash-completion/completions/deployctl
  deployctl completions zsh > ~/.zfunc/_deployctl
  deployctl completions fish > ~/.config/fish/completions/deployctl.fish\n\n"
)]
pub(crate) struct CompletionsArgs {
    /// The shell: bash, elvish, fish, powershell, or zsh
    #[arg(value_name = "SHELL", value_parser = ["bash", "elvish", "fish", "powershell", "zsh"], hide_possible_values = true)]
    shell: String,
}

/// Prints them: a function of the shell that asks deployctl each time.
pub(crate) fn run(args: &CompletionsArgs, out: &Out) -> Result<Exit, Problem> {
    let mut script = Vec::new();
    let shells = Shells::builtins();
    let written = match shells.completer(&args.shell) {
        Some(shell) => {
            shell.write_registration(VARIABLE, "deployctl", "deployctl", "deployctl", &mut script)
        }
        None => Ok(()),
    };
    let bug = |error| {
        Problem::new(
            Exit::Bug,
            format!("failed to write the completions: {error}"),
        )
    };
    written.map_err(bug)?;
    out.data(&String::from_utf8_lossy(&script));
    Ok(Exit::Done)
}
