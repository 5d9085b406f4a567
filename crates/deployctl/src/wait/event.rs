//! What happens while something is waited for: the one stream that lines, JSON and the block on a
//! terminal are made from.

use std::collections::BTreeMap;

use deploy_core::name::{BuildName, HostName};
use deploy_core::rollout::judge::Judgement;
use deploy_core::rollout::{Host, Standing};
use deploy_core::wire::hold::Hold;
use deploy_core::wire::report::{ErrorReport, StepReport};

/// Something to tell.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Event {
    /// The first look.
    Start(Tally),
    /// A host is somewhere else than before.
    Host(Box<HostEvent>),
    /// The service is held.
    Held(Hold),
    /// The hold is over.
    Released,
    /// Nothing new; how it stands.
    Progress(Tally),
    /// The link to ZooKeeper is lost.
    LinkLost,
    /// It is back.
    LinkBack,
}

/// A host and where it is.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct HostEvent {
    /// The host.
    pub(crate) host: HostName,
    /// Where it is on the way.
    pub(crate) standing: Standing,
    /// Whether it was offline until now.
    pub(crate) is_back: bool,
    /// The word of its phase.
    pub(crate) phase: Option<String>,
    /// The step under way.
    pub(crate) step: Option<StepReport>,
    /// What is wrong.
    pub(crate) error: Option<ErrorReport>,
    /// Why its report can't be read, where it has one that can't.
    pub(crate) unreadable: Option<String>,
    /// The build that it serves.
    pub(crate) serving: Option<BuildName>,
    /// Its instances, and how many of them serve.
    pub(crate) instances: (usize, usize),
    /// Everybody.
    pub(crate) tally: Tally,
}

/// How many hosts are where.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    /// All that it is about.
    pub(crate) total: usize,
    /// Serving or staged.
    pub(crate) there: usize,
    /// On the way.
    pub(crate) working: usize,
    /// For a lease, or under hold.
    pub(crate) waiting: usize,
    /// Failed.
    pub(crate) failed: usize,
    /// Blocked.
    pub(crate) blocked: usize,
    /// Without an agent, by name.
    pub(crate) offline: Vec<HostName>,
}

impl Event {
    /// Tells whether only those want it who want everything.
    pub(crate) fn is_detail(&self) -> bool {
        match self {
            Event::Host(event) => {
                let on_the_way = matches!(
                    event.standing,
                    Standing::Working | Standing::Waiting | Standing::Unseen | Standing::Idle
                );
                on_the_way && !event.is_back && event.unreadable.is_none()
            }
            _ => false,
        }
    }
}

impl HostEvent {
    /// Tells where a host is now.
    pub(crate) fn new(
        name: &HostName,
        host: &Host,
        (standing, is_back): (Standing, bool),
        tally: &Tally,
    ) -> HostEvent {
        let report = host.report.as_ref();
        let instances = report.map_or(&[][..], |report| &report.instances);
        let serving = instances
            .iter()
            .filter(|instance| instance.state == "serving")
            .count();
        HostEvent {
            host: name.clone(),
            standing,
            is_back,
            phase: report.map(|report| report.phase.to_string()),
            step: report.and_then(|report| report.step.clone()),
            error: report.and_then(|report| report.error.clone()),
            unreadable: host.unreadable.clone(),
            serving: report.and_then(|report| report.serving.clone()),
            instances: (instances.len(), serving),
            tally: tally.clone(),
        }
    }
}

impl Tally {
    /// Counts the hosts of a judgement.
    pub(crate) fn of(judgement: &Judgement) -> Tally {
        Tally::of_standings(&judgement.hosts)
    }

    /// Counts hosts.
    pub(crate) fn of_standings(standings: &BTreeMap<HostName, Standing>) -> Tally {
        let mut tally = Tally {
            total: standings.len(),
            ..Tally::default()
        };
        for (name, standing) in standings {
            match standing {
                Standing::Done | Standing::Staged => tally.there += 1,
                Standing::Working | Standing::Unseen => tally.working += 1,
                Standing::Waiting => tally.waiting += 1,
                Standing::Failed => tally.failed += 1,
                Standing::Blocked => tally.blocked += 1,
                Standing::Offline => tally.offline.push(name.clone()),
                Standing::Idle => {}
            }
        }
        tally
    }
}
