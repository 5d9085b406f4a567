//! `inspect --watch`: a line for each znode that comes, changes or goes.
//!
//! Every znode has a watch of its own. What changes twice in a moment is told once, as it is then.

use std::collections::BTreeMap;

use deploy_zk::path;
use deploy_zk::seen::{Seen, View};
use deploy_zk::zk::Zk;
use deploy_zk::znode::Znode;
use jiff::Timestamp;
use tokio::sync::watch::Receiver;

use super::{Row, object, shown};
use crate::context::Context;
use crate::exit::Exit;
use crate::out::{Format, Reader, json_line};
use crate::problem::Problem;
use crate::signals::Signals;
use crate::text;

/// Znodes followed: each costs ZooKeeper two watches.
const ZNODES_MAX: usize = 2000;

/// A znode under watch.
struct Followed {
    znode: Receiver<Seen<Znode>>,
    children: Receiver<Seen<Vec<String>>>,
    /// The transaction that was told last.
    told: Option<i64>,
}

/// What became of a znode.
#[derive(Debug, Clone, Copy)]
enum Fate {
    Created,
    Changed,
    Deleted,
}

/// Follows what was printed, and what comes below `top`, until somebody has seen enough.
pub(super) async fn run(context: &Context, top: &str, rows: Vec<Row>) -> Result<Exit, Problem> {
    if rows.len() > ZNODES_MAX {
        return Err(Problem::refused(format!(
            "{top} has {} znodes, and {ZNODES_MAX} can be followed",
            rows.len()
        ))
        .tip("a part of it: deployctl inspect web/hosts --watch"));
    }
    let mut znodes: BTreeMap<String, Followed> = rows
        .into_iter()
        .map(|row| {
            let followed = follow(&context.zk, &row.path, Some(row.znode.stat.mzxid));
            (row.path, followed)
        })
        .collect();
    let mut signals = Signals::listen()?;
    let link = context.zk.link();
    let mut bell = context.zk.bell();
    let mut is_lost = false;
    let mut is_full = false;
    loop {
        bell.silence();
        let is_up = link.borrow().is_up();
        if is_lost == is_up {
            is_lost = !is_up;
            context.out.say(match is_lost {
                true => "ZooKeeper is lost; waiting for the connection",
                false => "ZooKeeper is back",
            });
        }
        let (news, left_out) = look(&context.zk, &mut znodes)?;
        if left_out > 0 && !is_full {
            is_full = true;
            context.out.warn(&format!(
                "{ZNODES_MAX} znodes are followed, and no more can be: what comes now is not, {left_out} so far"
            ));
        }
        for (path, fate) in news {
            let znode = znodes.get(&path).and_then(present);
            if say(context, (&path, fate), znode.as_ref()) == Reader::Gone {
                return Ok(Exit::Done);
            }
            if matches!(fate, Fate::Deleted) && path != top {
                znodes.remove(&path);
            }
        }
        // Cancel-safe, all of them: they only wait.
        tokio::select! {
            biased;
            () = signals.any() => return Ok(Exit::Interrupted),
            () = bell.rings() => {}
        }
    }
}

fn follow(zk: &Zk, path: &str, told: Option<i64>) -> Followed {
    Followed {
        znode: zk.watch_present(path),
        children: zk.watch_children(path),
        told,
    }
}

fn present(followed: &Followed) -> Option<Znode> {
    followed.znode.borrow().view.present().cloned()
}

/// Returns what is news, and follows what has come; how many can't be followed stands beside.
fn look(
    zk: &Zk,
    znodes: &mut BTreeMap<String, Followed>,
) -> Result<(Vec<(String, Fate)>, usize), Problem> {
    let mut news = Vec::new();
    let mut come = Vec::new();
    for (path, followed) in znodes.iter_mut() {
        let seen = followed.znode.borrow_and_update();
        if let Some(error) = &seen.refused {
            return Err(error.clone().into());
        }
        let now = match &seen.view {
            View::Unknown => followed.told,
            View::Absent => None,
            View::Present(znode) => Some(znode.stat.mzxid),
        };
        match (followed.told, now) {
            (None, Some(_)) => news.push((path.clone(), Fate::Created)),
            (Some(told), Some(now)) if told != now => news.push((path.clone(), Fate::Changed)),
            (Some(_), None) => news.push((path.clone(), Fate::Deleted)),
            _ => {}
        }
        followed.told = now;
        drop(seen);
        let children = followed.children.borrow_and_update();
        let names = children.view.present().into_iter().flatten();
        come.extend(names.map(|name| path::join(path, name)));
    }
    come.retain(|path| !znodes.contains_key(path));
    let room = ZNODES_MAX.saturating_sub(znodes.len());
    let left_out = come.len().saturating_sub(room);
    for path in come.into_iter().take(room) {
        let followed = follow(zk, &path, None);
        znodes.insert(path, followed);
    }
    Ok((news, left_out))
}

fn say(context: &Context, (path, fate): (&str, Fate), znode: Option<&Znode>) -> Reader {
    let now = Timestamp::now();
    let word = match fate {
        Fate::Created => "created",
        Fate::Changed => "changed",
        Fate::Deleted => "deleted",
    };
    if context.out.format == Format::Text {
        let what = znode.map_or_else(String::new, |znode| {
            format!("  v{}  {}", znode.stat.version, shown(&znode.data))
        });
        let line = format!("{} {word}  {}{what}", text::clock(now), text::clean(path));
        return context.out.data_to_reader(line.trim_end());
    }
    let mut event = match znode {
        Some(znode) => object(&Row {
            path: path.to_owned(),
            znode: znode.clone(),
        }),
        None => serde_json::json!({ "path": path }),
    };
    event["schema"] = super::SCHEMA.into();
    event["type"] = format!("znode.{word}").into();
    event["at"] = deploy_core::wire::time::render(now).into();
    context.out.data_to_reader(&json_line(&event))
}
