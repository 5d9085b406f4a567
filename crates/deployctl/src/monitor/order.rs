//! Which hosts and services are listed, and in which order: failures first where not all fit.

use deploy_core::name::{HostName, ServiceName};
use deploy_core::rollout::Standing;
use deploy_core::rollout::phase::ServicePhase;

use super::model::{Model, ServiceView, Show};
use super::panels::{Panels, is_wide};

/// At most so many hosts keep their places: people look for "their" host by position.
const NATURAL_MAX: usize = 12;

/// The hosts that are listed, and those that are not.
#[derive(Debug, Default)]
pub(crate) struct Listed<'a> {
    /// In the order of the screen.
    pub(crate) hosts: Vec<(&'a HostName, Standing)>,
    /// Fine, and folded into one line.
    pub(crate) folded: Vec<(&'a HostName, Standing)>,
}

/// Lists the hosts of a service for as many rows.
pub(crate) fn hosts<'a>(model: &Model, view: &'a ServiceView, rows: usize) -> Listed<'a> {
    let all = view
        .standings
        .iter()
        .map(|(name, standing)| (name, *standing));
    let all = all.filter(|(name, _)| matches(&model.filter, name.as_str()));
    let mut hosts: Vec<(&HostName, Standing)> = match model.show {
        Show::Trouble => all.filter(|(_, standing)| is_trouble(*standing)).collect(),
        Show::Folded | Show::All => all.collect(),
    };
    let fits = hosts.len() <= rows;
    if !(fits && hosts.len() <= NATURAL_MAX && is_wide(model.size)) {
        // Stable: by name within the same urgency.
        hosts.sort_by_key(|(_, standing)| standing.urgency());
    }
    let mut folded = Vec::new();
    if !fits && model.show == Show::Folded {
        let first_fine = hosts.partition_point(|(_, standing)| !standing.is_there());
        // A row is for the line that counts them.
        let shown = first_fine.max(rows.saturating_sub(1)).min(hosts.len());
        folded = hosts.split_off(shown);
    }
    Listed { hosts, folded }
}

/// Lists the hosts as they are on the screen.
pub(crate) fn hosts_on_screen(model: &Model) -> Vec<HostName> {
    let Some(view) = model.view() else {
        return Vec::new();
    };
    let rows = Panels::of(model).host_rows();
    let listed = hosts(model, view, rows).hosts;
    listed.into_iter().map(|(name, _)| name.clone()).collect()
}

/// Returns the host on the screen that needs somebody most.
pub(crate) fn most_urgent(model: &Model) -> Option<HostName> {
    let view = model.view()?;
    let names = hosts_on_screen(model).into_iter();
    names.min_by_key(|name| view.standings.get(name).map(|standing| standing.urgency()))
}

/// Lists the services for as many rows: by name where all fit, else what needs somebody first.
pub(crate) fn services(model: &Model, rows: usize) -> Vec<&ServiceName> {
    let mut names: Vec<&ServiceName> = model.services.keys().chain(model.refused.keys()).collect();
    if names.len() > rows {
        names.sort_by_key(|name| {
            let view = model.services.get(*name);
            view.map_or(0, |view| phase_urgency(view.phase(model.now)))
        });
    } else {
        names.sort();
    }
    names
}

/// Tells whether somebody has to look at the host.
pub(crate) fn is_trouble(standing: Standing) -> bool {
    matches!(
        standing,
        Standing::Failed | Standing::Blocked | Standing::Offline
    )
}

/// The smallest is what needs somebody first.
pub(crate) fn phase_urgency(phase: ServicePhase) -> u8 {
    match phase {
        ServicePhase::Failed => 1,
        ServicePhase::Blocked => 2,
        ServicePhase::Rolling => 3,
        ServicePhase::Held => 4,
        ServicePhase::Offline => 5,
        ServicePhase::Canary => 6,
        ServicePhase::Partial => 7,
        ServicePhase::Staged => 8,
        ServicePhase::Done => 9,
        ServicePhase::Idle => 10,
    }
}

/// Tells whether a name matches a filter: a part of the name, or a pattern with `*` and `?`; a `!`
/// in front turns it round.
pub(crate) fn matches(filter: &str, name: &str) -> bool {
    let (pattern, wanted) = match filter.strip_prefix('!') {
        Some(rest) => (rest, false),
        None => (filter, true),
    };
    if pattern.is_empty() {
        return true;
    }
    let is_glob = pattern.contains(['*', '?']);
    let found = if is_glob {
        glob(pattern.as_bytes(), name.as_bytes())
    } else {
        name.contains(pattern)
    };
    found == wanted
}

/// `*` is any run of characters, `?` one. Goes back to the last star only, so it is never slow.
fn glob(pattern: &[u8], name: &[u8]) -> bool {
    let (mut at, mut from) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while from < name.len() {
        match pattern.get(at) {
            Some(b'*') => {
                star = Some((at, from));
                at += 1;
            }
            Some(c) if *c == b'?' || *c == name[from] => {
                at += 1;
                from += 1;
            }
            _ => {
                let Some((star_at, eaten)) = star else {
                    return false;
                };
                star = Some((star_at, eaten + 1));
                at = star_at + 1;
                from = eaten + 1;
            }
        }
    }
    pattern[at..].iter().all(|c| *c == b'*')
}

/// Returns the part of a list that is shown around the cursor.
pub(crate) fn window(len: usize, cursor: Option<usize>, rows: usize) -> std::ops::Range<usize> {
    let middle = cursor.unwrap_or(0).saturating_sub(rows / 2);
    let start = middle.min(len.saturating_sub(rows));
    start..(start + rows).min(len)
}

#[cfg(test)]
mod tests;
