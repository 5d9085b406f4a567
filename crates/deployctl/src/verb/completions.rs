//! `completions`: for a shell.

use clap::Args;
use clap_complete::{Shell, generate};

use crate::cli;
use crate::exit::Exit;
use crate::out::Out;

/// Print the completions of a shell
#[derive(Debug, Args)]
#[command(
    before_help = "  deployctl completions bash > ~/.local/share/bash-completion/completions/deployctl
  deployctl completions zsh > ~/.zfunc/_deployctl\n\n"
)]
pub(crate) struct CompletionsArgs {
    /// The shell
    #[arg(value_name = "SHELL")]
    shell: Shell,
}

/// Prints them.
pub(crate) fn run(args: &CompletionsArgs, out: &Out) -> Exit {
    let mut script = Vec::new();
    generate(args.shell, &mut cli::command(), "deployctl", &mut script);
    out.data(&String::from_utf8_lossy(&script));
    Exit::Done
}
