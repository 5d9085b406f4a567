//! The monitor: services, hosts and failures as they change.
//!
//! `source` follows ZooKeeper. On a terminal, events go through `update(model, event)` and what comes
//! of it is drawn by `draw(model)`, both pure; elsewhere each outcome is a line. What changes the fleet
//! is a verb of deployctl, run as if it had been typed.

use std::io::IsTerminal;

use crate::context::Context;
use crate::exit::Exit;
use crate::out::Format;
use crate::problem::Problem;

mod draw;
mod lines;
mod model;
mod order;
mod panels;
mod perform;
mod prepare;
mod screen;
pub(crate) mod source;
mod terminal;
mod update;
mod wish;

#[cfg(test)]
mod fixture;

use self::model::Rights;
use self::source::{Source, Wanted};

/// What is to be watched, and what may be done.
pub(crate) struct Request {
    /// Which services.
    pub(crate) wanted: Wanted,
    /// `--read-only`.
    pub(crate) read_only: bool,
}

/// Shows it until somebody ends it.
///
/// # Errors
/// Where the terminal is of no use.
pub(crate) async fn run(request: Request, context: &Context) -> Result<Exit, Problem> {
    let rights = if request.read_only {
        Rights::Look
    } else {
        Rights::Change
    };
    let source = Source::start(context, request.wanted);
    let is_terminal = std::io::stdin().is_terminal() && std::io::stdout().is_terminal();
    let is_dumb = std::env::var_os("TERM").is_none_or(|term| term.is_empty() || term == "dumb");
    if is_terminal && !is_dumb && context.out.format == Format::Text {
        screen::run(source, rights, context).await
    } else {
        lines::run(source, rights, context).await
    }
}
