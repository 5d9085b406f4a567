//! Questions before what can't be undone.

use std::io::{self, BufRead, IsTerminal, Write};

use crate::context::{Consent, Context};
use crate::problem::Problem;

/// Asks, unless `--yes` was given.
///
/// # Errors
/// `Refused` where the answer is not yes, or nobody can be asked.
pub(crate) fn ask(context: &Context, what: &str) -> Result<(), Problem> {
    if context.consent == Consent::Given {
        return Ok(());
    }
    if !io::stdin().is_terminal() || !io::stderr().is_terminal() {
        return Err(Problem::refused(format!(
            "{what}, and nobody can be asked (this is not a terminal)"
        ))
        .tip("if you mean it: --yes"));
    }
    // An answer can't come where the question did not go.
    let _ = write!(io::stderr().lock(), "{what}. Go on? [y/N] ");
    let mut answer = String::new();
    let read = io::stdin().lock().read_line(&mut answer);
    if read.is_ok() && matches!(answer.trim(), "y" | "Y" | "yes") {
        return Ok(());
    }
    Err(Problem::refused("nothing was changed"))
}
