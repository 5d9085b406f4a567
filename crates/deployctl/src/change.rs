//! A change of a service: a rollout number from the history, then one write by compare-and-set.
//!
//! The number comes first, so that the target can carry it. Who loses the race takes the number's
//! znode away again. A crash between the two leaves an entry without a target, which is harmless.

use deploy_core::name::{BuildName, HostName, ServiceName};
use deploy_core::percent::Percent;
use deploy_core::wire::history::Entry;
use deploy_core::wire::target::{ROLLOUT_MAX, Target};
use deploy_core::wire::{self};
use deploy_core::znode::{ServiceTree, sequence};
use deploy_zk::error::Error;
use deploy_zk::znode::{Change, Expect, Mode, Znode};

use crate::context::Context;
use crate::fleet::{Fleet, Slot};
use crate::problem::Problem;
use crate::text;

/// How many others may take a number at the same moment.
const CONTENDERS_MAX: u64 = 100;

/// Names listed in a message.
const NAMES_SHOWN_MAX: usize = 5;

/// What is written into the history.
#[derive(Default)]
pub(crate) struct Intent<'a> {
    /// `canary`, `promote`, ….
    pub(crate) kind: &'a str,
    /// The build wanted before.
    pub(crate) from: Option<BuildName>,
    /// The build wanted from now on.
    pub(crate) to: Option<BuildName>,
    /// The share of the hosts that it is wanted of, where that is not all of them.
    pub(crate) percent: Option<Percent>,
    /// The host that it is about, where it is about one.
    pub(crate) host: Option<HostName>,
    /// Why, in the user's words.
    pub(crate) why: Option<String>,
}

/// A rollout number, with the znode that it comes from.
#[derive(Debug)]
pub(crate) struct Numbered {
    /// The number.
    pub(crate) number: u64,
    /// When it was taken, as stored.
    pub(crate) at: String,
    path: String,
}

/// How a compare-and-set ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Swapped {
    /// The change is made.
    Written,
    /// Somebody was faster; this is there now.
    Lost(Option<Znode>),
}

/// Takes the next rollout number of a service: the first is #1.
///
/// Two at once can't take the same one, since a znode is created only once. A number that was
/// withdrawn may be taken again; no target ever had it.
///
/// # Errors
/// Those of the session.
pub(crate) async fn take_number(
    context: &Context,
    tree: &ServiceTree,
    intent: &Intent<'_>,
) -> Result<Numbered, Problem> {
    let (by, at) = context.signature();
    let entry = Entry {
        kind: intent.kind.to_owned(),
        from: intent.from.clone(),
        to: intent.to.clone(),
        percent: intent.percent,
        host: intent.host.clone(),
        by,
        at: at.clone(),
        why: intent.why.clone(),
        nonce: Some(format!("{:016x}", fastrand::u64(..))),
        outcome: None,
    };
    let data = wire::encode(&entry);
    let zk = &context.zk;
    zk.create_parents(&tree.rollout(1)).await?;
    let taken = zk.children(&tree.history()).await?.unwrap_or_default();
    let newest = taken.iter().filter_map(|name| sequence(name)).max();
    // Targets count as well: somebody may have tidied the history.
    let wanted = newest_wanted(context, tree).await?;
    let first = newest.max(wanted).unwrap_or(0) + 1;
    if first > ROLLOUT_MAX {
        return Err(Problem::refused(format!(
            "{ROLLOUT_MAX} is the last number of a rollout, and it is taken"
        ))
        .fact("nothing was changed"));
    }
    for number in first..first + CONTENDERS_MAX {
        let path = tree.rollout(number);
        match swap(context, &path, None, &data).await? {
            Swapped::Written => {
                return Ok(Numbered {
                    number,
                    at: at.unwrap_or_default(),
                    path,
                });
            }
            Swapped::Lost(_) => {}
        }
    }
    Err(Problem::refused(format!(
        "{CONTENDERS_MAX} others change it at the same moment"
    )))
}

async fn newest_wanted(context: &Context, tree: &ServiceTree) -> Result<Option<u64>, Problem> {
    let mut newest = None;
    for path in [tree.enabled(), tree.canary()] {
        let target = Slot::new(context.zk.get(&path).await?).wanted();
        newest = newest.max(target.and_then(|target| target.rollout));
    }
    Ok(newest)
}

impl Numbered {
    /// Takes the entry away again: nothing came of it. What can't be removed is only an entry more.
    pub(crate) async fn withdraw(&self, context: &Context) {
        let _ = context.zk.delete(&self.path, Expect::Any).await;
    }

    /// The same, unless what was to be written under it is there, or may be.
    pub(crate) async fn withdraw_unless_written(
        &self,
        context: &Context,
        swapped: &Result<Swapped, Error>,
    ) {
        match swapped {
            Ok(Swapped::Written) => {}
            Ok(Swapped::Lost(_)) => self.withdraw(context).await,
            Err(error) => self.withdraw_after(context, error).await,
        }
    }

    /// The same after an error: only what surely was not done may lose its number.
    pub(crate) async fn withdraw_after(&self, context: &Context, error: &Error) {
        if !matches!(error, Error::Unknown(_)) {
            self.withdraw(context).await;
        }
    }
}

/// Replaces `before` by `data`, or creates the znode where there was none; only if it is what it was.
///
/// A lost answer is looked up: what is written carries a number of its own, so that it is known.
///
/// # Errors
/// Those of the session; `Unknown` only if it may have been done.
pub(crate) async fn swap(
    context: &Context,
    path: &str,
    before: Option<&Znode>,
    data: &[u8],
) -> Result<Swapped, Error> {
    let mut found = None;
    let mut mine = false;
    context
        .zk
        .update(path, |now| {
            mine = now.is_some_and(|now| now.data == data);
            found = now.cloned();
            if !mine && is_same(before, now) {
                Change::Write(data.to_vec())
            } else {
                Change::Leave
            }
        })
        .await?;
    if mine || is_same(before, found.as_ref()) {
        return Ok(Swapped::Written);
    }
    Ok(Swapped::Lost(found))
}

/// Deletes `before`, only if it is what it was. One that is gone already counts as lost.
///
/// # Errors
/// Those of the session.
pub(crate) async fn remove(
    context: &Context,
    path: &str,
    before: &Znode,
) -> Result<Swapped, Error> {
    let mut found = None;
    let mut tried = false;
    context
        .zk
        .update(path, |now| {
            found = now.cloned();
            if is_same(Some(before), now) {
                tried = true;
                Change::Delete
            } else {
                Change::Leave
            }
        })
        .await?;
    if is_same(Some(before), found.as_ref()) || tried && found.is_none() {
        return Ok(Swapped::Written);
    }
    Ok(Swapped::Lost(found))
}

/// Says that the canary stays, though the fleet's target was written: that goes on, whatever becomes of the canary hosts.
pub(crate) async fn canary_stays(
    context: &Context,
    fleet: &Fleet,
    (number, build): (u64, &BuildName),
    error: Error,
) {
    let service = &fleet.service;
    let canary = fleet.state.targets.canary.as_ref();
    let canary = canary.map(|canary| &canary.build);
    let stays = match canary {
        Some(canary) => format!("the canary stays, and its hosts on {canary}"),
        None => "the canary stays".to_owned(),
    };
    let problem = not_removed(context, error).await;
    context.out.warn(&format!(
        "#{number} of {service} is written and goes on, but {stays}: {}",
        problem.what
    ));
    let tips = problem.tips.iter();
    tips.for_each(|tip| context.out.tip(tip));
    // One of the fleet's build is what a promote leaves: a rollback would take the fleet back.
    let verb = match canary == Some(build) {
        true => "promote",
        false => "rollback",
    };
    let then = format!("to take it away when that is mended: deployctl {verb} {service}");
    context.out.tip(&then);
}

/// Returns why a znode could not be removed, with what is below it.
pub(crate) async fn not_removed(context: &Context, error: Error) -> Problem {
    let Error::NotEmpty(call) = &error else {
        return error.into();
    };
    let path = call.path.clone();
    let below = context.zk.children(&path).await;
    let below = below.ok().flatten().unwrap_or_default();
    let mut problem = Problem::from(error);
    if let Some(first) = below.first() {
        let names = text::list(below.iter().map(String::as_str), NAMES_SHOWN_MAX);
        problem.what = format!("{} ({})", problem.what, text::clean(&names));
        let znode = text::clean(&format!("{path}/{first}"));
        problem = problem.tip(format!("to delete it, in zkCli: deleteall {znode}"));
    }
    problem
}

/// Which target a change writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// `enabled`.
    Enabled,
    /// `enabled/canary`.
    Canary,
}

/// Writes a target under a new rollout number, and returns the number.
///
/// # Errors
/// `Refused` where somebody was faster: then nothing was changed.
pub(crate) async fn write_target(
    context: &Context,
    fleet: &Fleet,
    place: Place,
    (intent, target): (&Intent<'_>, &Target),
) -> Result<Numbered, Problem> {
    let numbered = take_number(context, &fleet.tree, intent).await?;
    let target = signed(context, target, intent, &numbered);
    write_numbered(context, fleet, place, (&target, &numbered)).await?;
    Ok(numbered)
}

/// Writes a target that carries its number; where nothing comes of it the number is withdrawn.
///
/// # Errors
/// `Refused` where somebody was faster: then nothing was changed.
pub(crate) async fn write_numbered(
    context: &Context,
    fleet: &Fleet,
    place: Place,
    (target, numbered): (&Target, &Numbered),
) -> Result<(), Problem> {
    let swapped = put(context, fleet, place, target).await;
    numbered.withdraw_unless_written(context, &swapped).await;
    match swapped? {
        Swapped::Written => Ok(()),
        Swapped::Lost(now) => Err(somebody_was_faster(&fleet.service, now.as_ref())),
    }
}

/// Writes a target by compare-and-set against what `fleet` read.
///
/// # Errors
/// Those of the session.
pub(crate) async fn put(
    context: &Context,
    fleet: &Fleet,
    place: Place,
    target: &Target,
) -> Result<Swapped, Error> {
    let (slot, path) = match place {
        Place::Enabled => (&fleet.enabled, fleet.tree.enabled()),
        Place::Canary => (&fleet.canary, fleet.tree.canary()),
    };
    if place == Place::Canary && fleet.enabled.znode.is_none() {
        match context
            .zk
            .create(&fleet.tree.enabled(), b"", Mode::Persistent)
            .await
        {
            Ok(()) | Err(Error::NodeExists(_)) => {}
            Err(error) => return Err(error),
        }
    }
    swap(context, &path, slot.znode.as_ref(), &encoded(slot, target)).await
}

/// Returns the target with its number, who, when and why.
pub(crate) fn signed(
    context: &Context,
    target: &Target,
    intent: &Intent<'_>,
    numbered: &Numbered,
) -> Target {
    Target {
        rollout: Some(numbered.number),
        by: Some(context.by.clone()),
        at: Some(numbered.at.clone()),
        why: intent.why.clone(),
        ..target.clone()
    }
}

/// Returns the problem of who lost a race.
pub(crate) fn somebody_was_faster(service: &ServiceName, now: Option<&Znode>) -> Problem {
    let now = now.and_then(|znode| Target::read(&znode.data).ok().flatten());
    let what = match now {
        Some(Target {
            build, rollout, by, ..
        }) => {
            let number = rollout.map_or_else(String::new, |number| format!(" with #{number}"));
            format!(
                "{} was faster: {service} now wants {build}{number}",
                faster(by.as_deref())
            )
        }
        None => format!("somebody was faster: the target of {service} was taken away"),
    };
    Problem::refused(what)
        .fact("nothing was changed")
        .tip(format!("deployctl status {service}"))
}

fn faster(by: Option<&str>) -> String {
    by.map_or_else(|| "somebody".to_owned(), |by| text::person(Some(by)))
}

/// A target of the same build is rewritten, and keeps what this program doesn't know. One of another
/// build is new: nothing of the old one, as a signature of its artifact, may get into it.
fn encoded(slot: &Slot, target: &Target) -> Vec<u8> {
    match (&slot.znode, slot.wanted()) {
        (Some(znode), Some(old)) if old.build == target.build => {
            wire::encode_over(target, &znode.data)
        }
        _ => wire::encode(target),
    }
}

fn is_same(before: Option<&Znode>, now: Option<&Znode>) -> bool {
    match (before, now) {
        (None, None) => true,
        (Some(before), Some(now)) => {
            before.stat.czxid == now.stat.czxid && before.stat.version == now.stat.version
        }
        _ => false,
    }
}
