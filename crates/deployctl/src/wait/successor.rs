//! What took the place of a rollout that no target asks for any more.

use deploy_core::wire::history::Entry;

use super::Rollout;
use crate::context::Context;
use crate::exit::Exit;
use crate::fleet::history;
use crate::problem::Problem;
use crate::text::{self, clean};

/// Entries of the history that are searched.
const SEARCHED_MAX: usize = 20;

/// Says what took the place of a rollout.
pub(super) fn superseded(rollout: &Rollout, exit: Exit, after: Option<(u64, Entry)>) -> Problem {
    let service = &rollout.service;
    let what = format!("rollout {} of {service}", rollout.shown_number());
    let by = |entry: &Entry| text::by(entry.by.as_deref());
    let why = |entry: &Entry| text::because(entry.why.as_deref());
    let problem = match (&after, exit) {
        (Some((number, entry)), Exit::Failed) => Problem::new(
            exit,
            format!(
                "{what} was rolled back with #{number}{}{}",
                by(entry),
                why(entry)
            ),
        ),
        (Some((number, entry)), _) => {
            let to = entry
                .to
                .as_ref()
                .map_or_else(String::new, |to| format!(" {to}"));
            let kind = clean(&entry.kind);
            Problem::new(
                exit,
                format!(
                    "{what} was superseded by #{number}: {kind}{to}{}{}",
                    by(entry),
                    why(entry)
                ),
            )
        }
        (None, _) => Problem::new(exit, format!("{what} is not wanted any more")),
    };
    problem.tip(format!("deployctl status {service}"))
}

/// Returns the next change after this rollout.
pub(super) async fn successor(context: &Context, rollout: &Rollout) -> Option<(u64, Entry)> {
    let entries = history(&context.zk, &rollout.tree, SEARCHED_MAX)
        .await
        .ok()?;
    let after = |number: u64| rollout.number.is_none_or(|ours| number > ours);
    let mut later: Vec<(u64, Entry)> = entries
        .into_iter()
        .filter(|(number, entry)| {
            after(*number) && entry.changes_targets() && may_replace(entry, rollout)
        })
        .collect();
    // The first that undid it says more than the newest of all.
    match later.iter().rposition(|(_, entry)| undoes(entry, rollout)) {
        Some(at) => Some(later.swap_remove(at)),
        None => later.into_iter().next_back(),
    }
}

/// Tells whether a change may have taken the place of this rollout: a canary is beside the fleet's target, and what the
/// fleet gets is beside the canary's.
fn may_replace(entry: &Entry, rollout: &Rollout) -> bool {
    match (rollout.kind.as_str(), entry.kind.as_str()) {
        ("canary", kind) => !matches!(kind, "deploy" | "stage"),
        ("deploy" | "promote" | "stage", kind) => kind != "canary",
        _ => true,
    }
}

/// Tells whether a change is a rollback of this rollout.
pub(super) fn undoes(entry: &Entry, rollout: &Rollout) -> bool {
    entry.kind == "rollback" && entry.from.is_some() && entry.from == rollout.to
}
