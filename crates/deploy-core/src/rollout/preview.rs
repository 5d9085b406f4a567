//! What a change would do, before it is made: to which hosts, and what they must fetch.

use std::collections::BTreeMap;

use super::choose::previous_of;
use super::{Host, State};
use crate::name::{BuildName, HostName};
use crate::percent::Percent;
use crate::wire::role::Role;

/// A change that may be made.
#[derive(Debug, Clone, PartialEq)]
pub struct Wish {
    /// The build.
    pub build: BuildName,
    /// The share of the hosts that activate it.
    pub percent: Percent,
    /// Whom it is for.
    pub audience: Audience,
}

/// Whom a change is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Audience {
    /// `enabled/canary`: the hosts with the role canary.
    Canary,
    /// `enabled`: all that follow it. While there is a canary, its hosts don't.
    Fleet,
    /// `enabled`, with the canary taken away: all.
    Everybody,
}

/// What it would do.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Preview {
    /// Live hosts that would come to serve the build, with what each serves now.
    pub moves: BTreeMap<HostName, Option<BuildName>>,
    /// Live hosts that serve it already, and would go on.
    pub stays: Vec<HostName>,
    /// Live hosts outside the percent that would only make it ready.
    pub stages: Vec<HostName>,
    /// Live hosts outside the percent that would be taken to the build before, with what each serves
    /// now.
    pub returns: BTreeMap<HostName, Option<BuildName>>,
    /// The build before: what hosts outside the percent are on.
    pub previous: Option<BuildName>,
    /// Hosts without an agent: it would be for them when they are back.
    pub offline: Vec<HostName>,
    /// Live hosts that would have to fetch it first.
    pub fetches: Vec<HostName>,
    /// Instances that would be restarted, as far as hosts have told how many they have.
    pub instances: usize,
}

/// Tells what a change would do.
pub fn preview(state: &State, wish: &Wish) -> Preview {
    let previous = previous_of(state, &wish.build).map(|previous| previous.build);
    let mut preview = Preview {
        previous: previous.filter(|_| wish.percent < Percent::ALL),
        ..Preview::default()
    };
    for (name, host) in &state.hosts {
        if !is_for(state, wish.audience, host.role) {
            continue;
        }
        if !host.alive {
            preview.offline.push(name.clone());
            continue;
        }
        if !has_on_disk(host, &wish.build) {
            preview.fetches.push(name.clone());
        }
        let report = host.report.as_ref();
        let serving = report.and_then(|report| report.serving.clone());
        let is_in = wish.percent.includes(&state.service, &wish.build, name);
        // Without a build before, who is outside stays as it is.
        let to = match is_in {
            true => Some(&wish.build),
            false => preview.previous.as_ref(),
        };
        // A host outside that has not said what it serves may be there already.
        let is_to_change = serving.as_ref() != to && to.is_some() && (is_in || serving.is_some());
        if is_to_change {
            preview.instances += report.map_or(0, |report| report.instances.len());
            let going = match is_in {
                true => &mut preview.moves,
                false => &mut preview.returns,
            };
            going.insert(name.clone(), serving);
        } else if serving.as_ref() == Some(&wish.build) {
            preview.stays.push(name.clone());
        } else {
            preview.stages.push(name.clone());
        }
    }
    preview
}

impl Preview {
    /// Returns the hosts that serve the build and would be taken away from it.
    pub fn taken_back(&self, build: &BuildName) -> impl Iterator<Item = &HostName> {
        let returns = self.returns.iter();
        returns
            .filter(move |(_, serving)| serving.as_ref() == Some(build))
            .map(|(name, _)| name)
    }
}

fn is_for(state: &State, audience: Audience, role: Role) -> bool {
    match audience {
        Audience::Canary => role == Role::Canary,
        Audience::Fleet => role == Role::Fleet || state.targets.canary.is_none(),
        Audience::Everybody => true,
    }
}

fn has_on_disk(host: &Host, build: &BuildName) -> bool {
    let report = host.report.as_ref();
    report.is_some_and(|report| {
        report.releases.contains(build) || report.serving.as_ref() == Some(build)
    })
}

#[cfg(test)]
mod tests;
