//! `deployd pages`: the manual page and the completions, for who makes packages.

use std::io::{self, Write};

use clap::Command;
use clap_complete::{Shell, generate};
use clap_mangen::Man;
use clap_mangen::roff::{Roff, bold, roman};

use super::Exit;

/// Print the manual page, or the completions of a shell
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// What
    #[arg(value_enum)]
    page: Page,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Page {
    Man,
    Bash,
    Fish,
    Zsh,
}

/// Prints it.
///
/// # Errors
/// Where standard output can't be written.
pub(crate) fn run(arguments: &Arguments, mut command: Command) -> anyhow::Result<Exit> {
    let mut text = Vec::new();
    let shell = match arguments.page {
        Page::Man => {
            manual(command.clone(), &mut text)?;
            None
        }
        Page::Bash => Some(Shell::Bash),
        Page::Fish => Some(Shell::Fish),
        Page::Zsh => Some(Shell::Zsh),
    };
    if let Some(shell) = shell {
        generate(shell, &mut command, "deployd", &mut text);
    }
    io::stdout().lock().write_all(&text)?;
    Ok(Exit::Done)
}

/// All on one page: who looks for an option searches it.
fn manual(mut command: Command, into: &mut Vec<u8>) -> io::Result<()> {
    command.build();
    let man = Man::new(command.clone()).section("8").manual("deployd");
    man.render_title(into)?;
    man.render_name_section(into)?;
    man.render_synopsis_section(into)?;
    man.render_options_section(into)?;
    let mut roff = Roff::new();
    roff.control("SH", ["COMMANDS"]);
    for part in command.get_subcommands().filter(|part| !part.is_hide_set()) {
        if part.get_name() == "help" {
            continue;
        }
        roff.control("SS", [format!("deployd {}", part.get_name()).as_str()]);
        let about = part.get_about().map(ToString::to_string);
        roff.text([roman(about.unwrap_or_default())]);
        let own = |argument: &&clap::Arg| !argument.is_global_set() && argument.get_id() != "help";
        for argument in part.get_arguments().filter(own) {
            roff.control("TP", []);
            roff.text([bold(argument.to_string())]);
            let help = argument.get_help().map(ToString::to_string);
            roff.text([roman(help.unwrap_or_default())]);
        }
    }
    for (title, lines) in SECTIONS {
        roff.control("SH", [*title]);
        for (what, says) in *lines {
            roff.control("TP", []);
            roff.text([bold(*what)]);
            roff.text([roman(*says)]);
        }
    }
    into.write_all(roff.render().as_bytes())
}

/// What the command line doesn't know of itself: a title, and its entries.
type Section = (&'static str, &'static [(&'static str, &'static str)]);

const SECTIONS: &[Section] = &[
    (
        "FILES",
        &[
            (
                "/etc/deployd/deployd.toml",
                "The configuration; /etc/deployd/deployd.toml.example has every key.",
            ),
            (
                "/var/lib/deployd/",
                "Journals, downloads, the last reports, the lock, and agent.sock, at which a running deployd is asked.",
            ),
        ],
    ),
    (
        "SIGNALS",
        &[
            (
                "SIGTERM, SIGINT",
                "End: a host that is out of service comes back first, in at most 75 s. The services are left alone.",
            ),
            (
                "SIGHUP",
                "Follow the configuration as it is now. A wrong one changes nothing.",
            ),
        ],
    ),
    (
        "EXIT STATUS",
        &[
            ("0", "Done."),
            ("1", "It can't be done, and the message says why."),
            ("2", "The command line or the configuration is wrong."),
            (
                "3",
                "With run --once: the target failed, or can't be reached.",
            ),
            (
                "5",
                "Refused: another deployd runs here, or none where one is asked.",
            ),
            ("7", "ZooKeeper could not be reached."),
        ],
    ),
    (
        "SEE ALSO",
        &[(
            "deployctl(1), systemctl(1), journalctl(1)",
            "/usr/share/doc/deployd/ has the pages for operators.",
        )],
    ),
];
