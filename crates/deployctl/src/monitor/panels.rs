//! How many rows each part of the screen gets. Failures come before everything, history goes first.

use super::draw::failures;
use super::model::{Model, ServiceView};

/// Below these there is only a line for each service.
pub(crate) const SMALL: (u16, u16) = (60, 16);
/// Title, rule and keys.
const FRAME_ROWS: usize = 3;
/// The rows of history that are worth a panel on a large screen.
const HISTORY_ROWS: usize = 6;

/// Rows of each panel, their headings included; 0 where it is left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Panels {
    /// The services.
    pub(crate) services: usize,
    /// The chosen service and its hosts: a rule, a heading, a row each.
    pub(crate) hosts: usize,
    /// What failed.
    pub(crate) failures: usize,
    /// What happened lately.
    pub(crate) history: usize,
}

/// Tells whether there is only room for a line for each service.
pub(crate) fn is_small((columns, rows): (u16, u16)) -> bool {
    columns < SMALL.0 || rows < SMALL.1
}

/// Tells whether there is room for everything of a host in its row.
pub(crate) fn is_wide((columns, _): (u16, u16)) -> bool {
    columns >= 100
}

impl Panels {
    /// Divides the screen.
    pub(crate) fn of(model: &Model) -> Panels {
        let rows = usize::from(model.size.1).saturating_sub(FRAME_ROWS);
        let services = model.services.len() + model.refused.len();
        // A quarter of the screen; the rest of the services is in the last line.
        let services = 1 + services.clamp(1, (rows / 4).max(2));
        let mut left = Left(rows.saturating_sub(services));
        let view = model.view();
        let all_hosts = 2 + view.map_or(1, |view| view.standings.len().max(1));
        let failed = view.map_or(0, |view| wanted_by_failures(view, model));
        let past = history_len(model);
        // First what each needs to be of use, then what it would like.
        let hosts = left.take(all_hosts.min(5));
        let failures = left.take(failed.min(3));
        let history = left.take(if past == 0 || rows < 18 { 0 } else { 2 });
        let hosts = hosts + left.take(all_hosts.min(9) - hosts.min(all_hosts.min(9)));
        let failures = failures + left.take(failed.min(5).saturating_sub(failures));
        let history_more = if history == 0 {
            0
        } else {
            (1 + past).min(4).saturating_sub(history)
        };
        let history = history + left.take(history_more);
        let hosts = hosts + left.take(all_hosts.saturating_sub(hosts));
        let failures = failures + left.take(failed.saturating_sub(failures));
        let history_more = (1 + past.min(HISTORY_ROWS)).saturating_sub(history);
        let history = history
            + left.take(if past == 0 || history_more + history < 2 {
                0
            } else {
                history_more
            });
        Panels {
            services,
            hosts,
            failures,
            history: if history < 2 { 0 } else { history },
        }
    }

    /// Returns how many hosts can be listed.
    pub(crate) fn host_rows(self) -> usize {
        self.hosts.saturating_sub(2)
    }
}

/// Rows that nobody has yet.
struct Left(usize);

impl Left {
    fn take(&mut self, wanted: usize) -> usize {
        let taken = wanted.min(self.0);
        self.0 -= taken;
        taken
    }
}

fn wanted_by_failures(view: &ServiceView, model: &Model) -> usize {
    match failures::lines_wanted(view, model) {
        0 => 0,
        lines => 1 + lines,
    }
}

fn history_len(model: &Model) -> usize {
    let entries = model.services.values().map(|view| view.fleet.history.len());
    entries.sum()
}
