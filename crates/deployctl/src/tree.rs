//! A walk through a tree of znodes, level by level, many at a time.

use std::collections::VecDeque;

use deploy_zk::error::Error;
use deploy_zk::path;
use futures_util::future::join_all;

/// Znodes asked for at a time.
const BATCH: usize = 64;

/// What a walk found.
#[derive(Debug)]
pub(crate) struct Walk<T> {
    /// Of each znode its path and what it was visited for, parents first.
    pub(crate) found: Vec<(String, T)>,
    /// Whether there is more than was asked for.
    pub(crate) is_cut: bool,
}

/// Visits `top` and what is below it, about `max` znodes at most. A visit returns what it found and
/// the names of the children; nothing where the znode does not exist.
///
/// # Errors
/// The first of a visit.
pub(crate) async fn walk<T, F>(
    top: &str,
    max: usize,
    visit: impl Fn(String) -> F,
) -> Result<Walk<T>, Error>
where
    F: Future<Output = Result<Option<(T, Vec<String>)>, Error>>,
{
    let mut found = Vec::new();
    let mut queue = VecDeque::from([top.to_owned()]);
    while !queue.is_empty() && found.len() < max {
        let batch: Vec<String> = queue.drain(..queue.len().min(BATCH)).collect();
        let visits = batch.into_iter().map(|path| {
            let visiting = visit(path.clone());
            async move { (path, visiting.await) }
        });
        for (path, visited) in join_all(visits).await {
            if let Some((what, children)) = visited? {
                queue.extend(children.iter().map(|name| path::join(&path, name)));
                found.push((path, what));
            }
        }
    }
    // A path is below its parent, not behind a sibling with a sign that sorts before the slash.
    found.sort_by(|a, b| a.0.split('/').cmp(b.0.split('/')));
    Ok(Walk {
        found,
        is_cut: !queue.is_empty(),
    })
}
