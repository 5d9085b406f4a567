//! What is news: each host's standing is told once, when it changes.

use std::collections::BTreeMap;

use deploy_core::name::HostName;
use deploy_core::rollout::judge::Judgement;
use deploy_core::rollout::{Host, Standing};

use super::event::{Event, HostEvent, Tally};
use crate::watches::Sight;

/// Remembers what was told.
#[derive(Debug, Default)]
pub(crate) struct Teller {
    tally: Option<Tally>,
    told: BTreeMap<HostName, Told>,
    held: bool,
    link_lost: bool,
}

#[derive(Debug, Clone, PartialEq)]
struct Told {
    standing: Standing,
    /// What else makes a line worth another one.
    detail: String,
}

impl Teller {
    /// Tells what changed since the last look.
    pub(crate) fn update(&mut self, sight: &Sight, judgement: &Judgement) -> Vec<Event> {
        let tally = Tally::of(judgement);
        let mut events = Vec::new();
        if std::mem::take(&mut self.link_lost) {
            events.push(Event::LinkBack);
        }
        let is_first = self.tally.replace(tally.clone()).is_none();
        if is_first {
            events.push(Event::Start(tally.clone()));
        }
        match (&sight.hold, self.held) {
            (Some(hold), false) => events.push(Event::Held(hold.clone())),
            (None, true) => events.push(Event::Released),
            _ => {}
        }
        self.held = sight.hold.is_some();
        for (name, standing) in &judgement.hosts {
            let host = &sight.state.hosts[name];
            let told = Told {
                standing: *standing,
                detail: detail(host, *standing),
            };
            if self.told.get(name) == Some(&told) {
                continue;
            }
            let before = self.told.insert(name.clone(), told);
            // Who is offline from the start is in the first line.
            let known = is_first && *standing == Standing::Offline;
            if !known {
                let is_back = before.is_some_and(|before| before.standing == Standing::Offline);
                let event = HostEvent::new(name, host, (*standing, is_back), &tally);
                events.push(Event::Host(Box::new(event)));
            }
        }
        self.told
            .retain(|name, _| judgement.hosts.contains_key(name));
        events
    }

    /// Tells that the link is lost, once.
    pub(crate) fn link_lost(&mut self) -> Vec<Event> {
        if std::mem::replace(&mut self.link_lost, true) {
            Vec::new()
        } else {
            vec![Event::LinkLost]
        }
    }

    /// Tells whether the link is lost.
    pub(crate) fn link_is_lost(&self) -> bool {
        self.link_lost
    }

    /// Tells how it stands.
    pub(crate) fn progress(&self) -> Event {
        Event::Progress(self.tally.clone().unwrap_or_default())
    }
}

fn detail(host: &Host, standing: Standing) -> String {
    let Some(report) = &host.report else {
        return host.unreadable.clone().unwrap_or_default();
    };
    match standing {
        Standing::Blocked | Standing::Failed => report
            .error
            .as_ref()
            .map_or_else(String::new, |error| error.message.clone()),
        Standing::Working | Standing::Waiting => {
            let step = report.step.as_ref();
            let step = step.map(|step| (&step.name, step.attempt, step.done, step.total));
            format!("{} {step:?}", report.phase)
        }
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests;
