//! What the monitor knows, and what is on the screen: values only, no file, no clock.

use std::collections::{BTreeMap, VecDeque};

use deploy_core::name::{HostName, ServiceName};
use deploy_core::rollout::phase::{Held, ServicePhase, service_phase};
use deploy_core::rollout::{Host, Standing};
use deploy_core::wire::hold::Hold;
use deploy_core::wire::report::{Phase, Report};
use deploy_core::wire::time;
use jiff::Timestamp;

use super::source::LinkSeen;
use super::wish::{Confirm, Wish};
use crate::fleet::Fleet;
use crate::verb::watch::newest;
use crate::wait::Rollout;
use crate::wait::event::Tally;

/// States of a host that are remembered.
const SEEN_MAX: usize = 16;

/// Everything that decides what is on the screen.
pub(crate) struct Model {
    /// The time.
    pub(crate) now: Timestamp,
    /// Columns and rows of the screen.
    pub(crate) size: (u16, u16),
    /// Colours and glyphs.
    pub(crate) style: Appearance,
    /// Whether it may change anything.
    pub(crate) rights: Rights,
    /// ZooKeeper's address and root.
    pub(crate) place: String,
    /// Who looks.
    pub(crate) by: String,
    /// How good the view is.
    pub(crate) link: LinkSeen,
    /// Whether ZooKeeper owes us an answer.
    pub(crate) is_silent: bool,
    /// When ZooKeeper last answered.
    pub(crate) answered_at: Timestamp,
    /// The services.
    pub(crate) services: BTreeMap<ServiceName, ServiceView>,
    /// Services that may not be read, and why.
    pub(crate) refused: BTreeMap<ServiceName, String>,
    /// The service whose hosts are shown.
    pub(crate) chosen: Option<ServiceName>,
    /// Whether somebody chose the service; until then it is the one that needs somebody most.
    pub(crate) is_picked: bool,
    /// The host that the cursor is on.
    pub(crate) host: Option<HostName>,
    /// Where the arrows go.
    pub(crate) pane: Pane,
    /// What the screen is about.
    pub(crate) page: Page,
    /// Which hosts are listed.
    pub(crate) show: Show,
    /// Which names are listed.
    pub(crate) filter: String,
    /// What lies over the screen, and takes the keys.
    pub(crate) over: Over,
    /// The change that is being made.
    pub(crate) acting: Option<Wish>,
    /// The last line that a change told, and when.
    pub(crate) note: Option<(Timestamp, String)>,
}

/// How it may look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Appearance {
    /// Whether there are colours; the words say the same.
    pub(crate) is_colored: bool,
    /// Which glyphs the terminal has.
    pub(crate) glyphs: Glyphs,
}

/// Which glyphs the terminal has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Glyphs {
    /// Only ASCII.
    Ascii,
    /// All.
    Unicode,
}

/// Whether it may change anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rights {
    /// It may.
    Change,
    /// `--read-only`.
    Look,
}

/// Where the arrows go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pane {
    /// To the services.
    Services,
    /// To the hosts of the chosen one.
    Hosts,
}

/// What the screen is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Page {
    /// Services and hosts.
    Fleet,
    /// The host that the cursor is on.
    Host,
}

/// Which hosts are listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Show {
    /// All where they fit; else those that are fine are folded into a line.
    Folded,
    /// All.
    All,
    /// Those that failed, are blocked or offline.
    Trouble,
}

/// What lies over the screen, and takes the keys.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Over {
    /// Nothing.
    Nothing,
    /// The keys and marks.
    Help,
    /// The filter is typed; this was it before.
    Filter(String),
    /// What a wish would do is being read.
    Preparing(Wish),
    /// What it would do, and the question.
    Confirm(Box<Confirm>),
    /// Lines that somebody has to see, as why something was refused.
    Message(Vec<String>),
}

/// A service.
#[derive(Debug)]
pub(crate) struct ServiceView {
    /// Everything that was read.
    pub(crate) fleet: Fleet,
    /// How far each host is.
    pub(crate) standings: BTreeMap<HostName, Standing>,
    /// How many hosts are where.
    pub(crate) tally: Tally,
    /// How it is, but for a hold.
    pub(crate) phase: ServicePhase,
    /// The rollout that the targets come from.
    pub(crate) rollout: Option<Rollout>,
    /// Since when each host is as it is, and what was seen of it.
    pub(crate) tracks: BTreeMap<HostName, Track>,
}

/// What was seen of a host since the monitor runs.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Track {
    /// How it is, in a word or three.
    pub(crate) word: String,
    /// Since when, as far as anybody knows.
    pub(crate) since: Option<Timestamp>,
    /// The states before, oldest first, each with when it was seen first.
    pub(crate) seen: VecDeque<(Timestamp, String)>,
}

impl Model {
    /// Returns the chosen service.
    pub(crate) fn view(&self) -> Option<&ServiceView> {
        self.services.get(self.chosen.as_ref()?)
    }

    /// Returns since when the data is old, if it is.
    pub(crate) fn stale_since(&self) -> Option<Timestamp> {
        let is_stale = self.is_silent || self.link != LinkSeen::Current;
        (is_stale && !self.services.is_empty()).then_some(self.answered_at)
    }

    /// Returns how long ago a time was, in seconds; a clock that is ahead counts as now.
    pub(crate) fn age_s(&self, at: Timestamp) -> u64 {
        self.now.duration_since(at).as_secs().max(0).unsigned_abs()
    }
}

impl ServiceView {
    /// Puts a service together; `before` is what was shown until now.
    pub(crate) fn new(fleet: Fleet, before: Option<ServiceView>, now: Timestamp) -> ServiceView {
        let standings = fleet.state.standings();
        let mut tracks = before.map(|before| before.tracks).unwrap_or_default();
        tracks.retain(|name, _| standings.contains_key(name));
        for (name, standing) in &standings {
            let host = &fleet.state.hosts[name];
            let word = state_word(host, *standing);
            match tracks.get_mut(name) {
                Some(track) if track.word == word => {}
                Some(track) => track.turn(word, now),
                None => drop(tracks.insert(name.clone(), Track::first(word, host, *standing))),
            }
        }
        ServiceView {
            tally: Tally::of_standings(&standings),
            phase: service_phase(&fleet.state, Held::No),
            rollout: newest(&fleet).ok(),
            standings,
            tracks,
            fleet,
        }
    }

    /// Returns the hold that is in force.
    pub(crate) fn held(&self, now: Timestamp) -> Option<&Hold> {
        self.fleet.hold.as_ref().filter(|hold| hold.holds(now))
    }

    /// Returns how it is.
    pub(crate) fn phase(&self, now: Timestamp) -> ServicePhase {
        if self.held(now).is_some() {
            ServicePhase::Held
        } else {
            self.phase
        }
    }
}

impl Track {
    /// What a host was before the monitor came is known from its report alone.
    fn first(word: String, host: &Host, standing: Standing) -> Track {
        let report = host
            .report
            .as_ref()
            .filter(|_| standing != Standing::Offline);
        let step = report.and_then(|report| report.step.as_ref());
        let since = step
            .and_then(|step| step.since.as_deref())
            .or_else(|| report.and_then(|report| report.at.as_deref()));
        Track {
            word,
            since: since.and_then(time::parse),
            seen: VecDeque::new(),
        }
    }

    fn turn(&mut self, word: String, now: Timestamp) {
        let before = std::mem::replace(&mut self.word, word);
        let since = self.since.replace(now).unwrap_or(now);
        if self.seen.len() == SEEN_MAX {
            self.seen.pop_front();
        }
        self.seen.push_back((since, before));
    }
}

/// Returns whether a host that failed is back in service, in words.
pub(crate) fn back(report: Option<&Report>) -> &'static str {
    match report.map(|report| &report.phase) {
        Some(Phase::RollingBack) => "not back",
        _ => "put back",
    }
}

/// Returns how a host is: its step while it works, else its standing.
pub(crate) fn state_word(host: &Host, standing: Standing) -> String {
    let report = host.report.as_ref();
    let error = report.and_then(|report| report.error.as_ref());
    match (standing, report) {
        (Standing::Working, Some(report)) => match &report.step {
            Some(step) => step.name.clone(),
            None => report.phase.to_string(),
        },
        (Standing::Failed, _) => format!("FAILED {}", error.map_or("", |error| &error.step)),
        (Standing::Blocked, _) => format!("BLOCKED {}", error.map_or("", |error| &error.step)),
        (Standing::Offline, _) => "OFFLINE".to_owned(),
        _ => standing.as_str().to_owned(),
    }
    .trim_end()
    .to_owned()
}
