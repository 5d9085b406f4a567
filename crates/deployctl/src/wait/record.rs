//! The outcome in the history: written by the first deployctl that sees the end.

use deploy_core::rollout::course::course;
use deploy_core::wire::history::{Entry, Outcome};
use deploy_core::wire::{self};
use deploy_core::znode::ServiceTree;
use deploy_zk::znode::Change;

use super::Rollout;
use super::end::End;
use crate::context::Context;
use crate::fleet::Fleet;

/// Records how a rollout ended, if it did and nobody has recorded it yet.
///
/// What can't be recorded is no reason to say anything else than what was seen.
pub(crate) async fn record(context: &Context, rollout: &Rollout, end: &End) {
    if let (Some(number), Some(outcome)) = (rollout.number, end.outcome()) {
        note(context, (&rollout.tree, number), outcome).await;
    }
}

/// Records what was at an end before a change took its place: nobody may have watched, and later it can't be
/// seen any more.
pub(crate) async fn note_ended(context: &Context, before: &Fleet) {
    let newest = before.last_change().map(|(number, _)| *number);
    let open = before.history.iter();
    let open = open.filter(|(_, entry)| entry.outcome.is_none());
    for (number, entry) in open {
        let course = course(&before.state, newest, (*number, entry));
        let ended = course.filter(|course| ["done", "failed"].contains(&course.result.as_str()));
        let Some(course) = ended else { continue };
        let outcome = Outcome {
            result: course.result,
            hosts: course.there.unwrap_or(0),
            total: course.total,
            seconds: None,
        };
        note(context, (&before.tree, *number), outcome).await;
    }
}

/// Returns the outcome that somebody has recorded.
pub(super) async fn recorded(context: &Context, rollout: &Rollout) -> Option<Outcome> {
    let path = rollout.tree.rollout(rollout.number?);
    let znode = context.zk.get(&path).await.ok().flatten()?;
    wire::decode::<Entry>(&znode.data).ok()?.outcome
}

/// Writes the outcome of a rollout, unless there is one.
pub(crate) async fn note(context: &Context, (tree, number): (&ServiceTree, u64), outcome: Outcome) {
    let path = tree.rollout(number);
    let noting = context.zk.update(&path, |znode| {
        let Some(znode) = znode else {
            return Change::Leave;
        };
        match wire::decode::<Entry>(&znode.data) {
            Ok(entry) if entry.outcome.is_none() && entry.changes_targets() => {
                let entry = Entry {
                    outcome: Some(outcome.clone()),
                    ..entry
                };
                Change::Write(wire::encode_over(&entry, &znode.data))
            }
            _ => Change::Leave,
        }
    });
    // Another deployctl that watches has its turn.
    let _ = noting.await;
}
