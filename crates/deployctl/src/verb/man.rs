//! `man`: the manual pages, made of the same definitions as the help.

use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use clap::Args;
use clap_mangen::Man;

use crate::cli;
use crate::exit::Exit;
use crate::out::Out;
use crate::problem::Problem;

/// Show the manual page of deployctl, or of a verb
#[derive(Debug, Args)]
#[command(before_help = "  deployctl man
  deployctl man canary
  deployctl man host retry
  deployctl man --dir /usr/local/share/man/man1      writes all pages\n\n")]
pub(crate) struct ManArgs {
    /// The verb [default: the page of all]
    #[arg(value_name = "VERB")]
    verb: Vec<String>,
    /// Write every page into this directory
    #[arg(long, value_name = "DIR", conflicts_with = "verb")]
    dir: Option<PathBuf>,
}

/// Shows a page on a terminal, prints it elsewhere.
pub(crate) fn run(args: &ManArgs, out: &Out) -> Result<Exit, Problem> {
    let mut top = without_help(cli::command());
    top.build();
    if let Some(dir) = &args.dir {
        let pages = write_all(&top, ("deployctl", dir)).map_err(|error| {
            Problem::usage(format!("failed to write {}: {error}", dir.display()))
        })?;
        out.say(&format!("{pages} pages are in {}", dir.display()));
        return Ok(Exit::Done);
    }
    let mut command = &top;
    let mut name = "deployctl".to_owned();
    for verb in &args.verb {
        command = command.find_subcommand(verb).ok_or_else(|| {
            Problem::not_found(format!("no verb `{}`", crate::text::clean(verb)))
                .tip("deployctl help")
        })?;
        name = format!("{name}-{verb}");
    }
    let page = page(command, &name)
        .map_err(|error| Problem::new(Exit::Bug, format!("failed to make the page: {error}")))?;
    if !(io::stdout().is_terminal() && is_shown(&page)) {
        out.data(&String::from_utf8_lossy(&page));
    }
    Ok(Exit::Done)
}

fn write_all(command: &clap::Command, (name, dir): (&str, &Path)) -> io::Result<usize> {
    std::fs::write(dir.join(format!("{name}.1")), page(command, name)?)?;
    let mut pages = 1;
    for verb in command.get_subcommands() {
        pages += write_all(verb, (&format!("{name}-{}", verb.get_name()), dir))?;
    }
    Ok(pages)
}

/// The word `help` needs no page.
fn without_help(command: clap::Command) -> clap::Command {
    let command = command.disable_help_subcommand(true);
    command.mut_subcommands(without_help)
}

fn page(command: &clap::Command, name: &str) -> io::Result<Vec<u8>> {
    let examples = command.get_before_help().map(ToString::to_string);
    // A verb has no version of its own.
    let man = Man::new(command.clone().display_name(name.to_owned()))
        .source(concat!("deployctl ", env!("CARGO_PKG_VERSION")))
        .manual("deployctl");
    let mut page = Vec::new();
    man.render_title(&mut page)?;
    man.render_name_section(&mut page)?;
    man.render_synopsis_section(&mut page)?;
    man.render_description_section(&mut page)?;
    if let Some(examples) = examples {
        writeln!(page, ".SH EXAMPLES\n.nf")?;
        for line in examples.trim_end().lines() {
            writeln!(page, "{}", literal(line))?;
        }
        writeln!(page, ".fi")?;
    }
    man.render_options_section(&mut page)?;
    if command.has_subcommands() {
        man.render_subcommands_section(&mut page)?;
    }
    if command.get_after_help().is_some() {
        man.render_extra_section(&mut page)?;
    }
    Ok(page)
}

/// Makes a line that roff prints as it is.
fn literal(line: &str) -> String {
    let line = line.replace('\\', "\\e").replace('-', "\\-");
    match line.starts_with(['.', '\'']) {
        true => format!("\\&{line}"),
        false => line,
    }
}

/// Shows it with `man`; false where there is none.
fn is_shown(page: &[u8]) -> bool {
    let viewer = Command::new("man")
        .args(["-l", "-"])
        .stdin(Stdio::piped())
        .spawn();
    let Ok(mut viewer) = viewer else {
        return false;
    };
    if let Some(mut stdin) = viewer.stdin.take() {
        // Who leaves the page early has seen enough.
        let _ = stdin.write_all(page);
    }
    viewer.wait().is_ok_and(|status| status.success())
}
