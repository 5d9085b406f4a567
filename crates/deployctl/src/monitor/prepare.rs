//! What a wish will do, read from ZooKeeper at the moment it is asked: the text of the question.

use deploy_core::name::{BuildName, HostName};
use deploy_core::rollout::Standing;
use deploy_core::rollout::version::Version;

use super::wish::{Confirm, Wish};
use crate::context::Context;
use crate::fleet::{Fleet, HISTORY_MAX};
use crate::problem::Problem;
use crate::text::{self, count};
use crate::verb::gate::Force;
use crate::verb::promote;
use crate::verb::rollback::{self, Way};

/// Reads what a wish will do.
///
/// # Errors
/// Why it would be refused.
pub(super) async fn prepare(wish: Wish, context: &Context) -> Result<Confirm, Problem> {
    let fleet = Fleet::read_back(context, wish.service(), HISTORY_MAX).await?;
    let effects = match &wish {
        Wish::Promote(_) => promotion(context, &fleet).await?,
        Wish::Rollback(_) => way_back(context, &fleet).await?,
        Wish::Hold(_) => hold(&fleet),
        Wish::Unhold(_) => unhold(&fleet)?,
        Wish::Retry(_, host) => retry(&fleet, host)?,
    };
    Ok(Confirm {
        // What was made by hand has no number to bind it to.
        if_rollout: match fleet.version() {
            Version::Rollout(number) => Some(number),
            Version::Nothing | Version::ByHand => None,
        },
        wish,
        effects,
        why: String::new(),
    })
}

async fn promotion(context: &Context, fleet: &Fleet) -> Result<Vec<String>, Problem> {
    let canary = promote::promotable(context, fleet, Force::Off).await?;
    let enabled = fleet.state.targets.enabled.as_ref();
    let from = enabled.map_or("nothing", |target| target.build.as_str());
    let number = canary
        .rollout
        .map_or_else(String::new, |number| format!(" (#{number})"));
    let (there, change) = split(fleet, &canary.build);
    let mut effects = vec![
        format!("{from} -> {}{number}", canary.build),
        format!("{} change, {there} serve it already", count(change, "host")),
        pace(fleet),
    ];
    effects.extend(offline(fleet));
    Ok(effects)
}

async fn way_back(context: &Context, fleet: &Fleet) -> Result<Vec<String>, Problem> {
    let targets = &fleet.state.targets;
    let enabled = targets.enabled.as_ref().map(|target| &target.build);
    let mut effects = Vec::new();
    match rollback::way_back(context, fleet).await? {
        Way::Canary => {
            let canary = targets
                .canary
                .as_ref()
                .map_or("?", |canary| canary.build.as_str());
            let to = enabled.map_or("nothing", BuildName::as_str);
            let hosts = fleet.state.canary_hosts().count();
            effects.push(format!(
                "the canary {canary} is taken away, the fleet stays on {to}"
            ));
            effects.push(format!("{} go back to {to}", count(hosts, "canary host")));
            effects.push(format!("{canary} is marked bad"));
        }
        Way::Fleet(target) => {
            let from = enabled.map_or("nothing", BuildName::as_str);
            let (there, change) = split(fleet, &target.build);
            effects.push(format!("{from} -> {}", target.build));
            effects.push(format!(
                "{} go back, {there} never left it",
                count(change, "host")
            ));
            effects.push(on_disk(fleet, &target.build));
            effects.push(pace(fleet));
            effects.extend(enabled.map(|from| format!("{from} is marked bad")));
        }
        Way::Already => {
            let enabled = targets.enabled.as_ref();
            let to = enabled.map_or("?", |target| target.build.as_str());
            effects.push(format!(
                "it goes back to {to} already: nothing more would happen"
            ));
        }
    }
    effects.extend(offline(fleet));
    if let Some(hold) = &fleet.hold {
        let by = text::by(hold.by.as_deref());
        effects.push(format!(
            "it is held{by}: no host goes back before the hold ends (h)"
        ));
    }
    Ok(effects)
}

fn hold(fleet: &Fleet) -> Vec<String> {
    let standings = fleet.state.standings();
    let busy = standings
        .values()
        .filter(|standing| **standing == Standing::Working);
    let mut effects = vec![
        "nothing new starts until somebody ends the hold".to_owned(),
        format!(
            "{} finish what they have begun",
            count(busy.count(), "host")
        ),
    ];
    effects.extend(fleet.hold.as_ref().map(|hold| {
        let (by, why) = (
            text::by(hold.by.as_deref()),
            text::because(hold.why.as_deref()),
        );
        format!("it replaces the hold{by}{why}")
    }));
    effects
}

fn unhold(fleet: &Fleet) -> Result<Vec<String>, Problem> {
    let Some(hold) = &fleet.hold else {
        return Err(Problem::refused(format!("{} is not held", fleet.service)));
    };
    let (by, why) = (
        text::by(hold.by.as_deref()),
        text::because(hold.why.as_deref()),
    );
    let standings = fleet.state.standings();
    let away = standings.values().filter(|standing| {
        !standing.is_there()
            && !matches!(
                standing,
                Standing::Offline | Standing::Failed | Standing::Idle
            )
    });
    Ok(vec![
        format!("it was held{by}{why}"),
        format!("{} go on with their rollout", count(away.count(), "host")),
    ])
}

fn retry(fleet: &Fleet, host: &HostName) -> Result<Vec<String>, Problem> {
    let service = &fleet.service;
    let known = fleet.state.hosts.get(host);
    let Some(known) = known else {
        return Err(Problem::not_found(format!("no host `{host}` of {service}")));
    };
    let target = fleet.state.targets.followed(known.role);
    let Some(target) = target else {
        return Err(Problem::refused(format!(
            "{service} has no target for {host}"
        )));
    };
    if !fleet.state.has_failed(host) {
        let is = fleet.state.standing(host, known, Some(target)).as_str();
        return Err(Problem::refused(format!(
            "{service} has not failed on {host}: it is {is}"
        )));
    }
    let number = target
        .rollout
        .map_or_else(String::new, |number| format!(" (#{number})"));
    Ok(vec![
        format!("{host} tries {}{number} once more", target.build),
        "it may be out of service for as long as that takes".to_owned(),
    ])
}

/// Counts hosts that serve a build already and hosts that don't, the offline ones left out.
fn split(fleet: &Fleet, build: &BuildName) -> (usize, usize) {
    let live = fleet.state.hosts.values().filter(|host| host.alive);
    let (there, away): (Vec<_>, Vec<_>) = live.partition(|host| {
        let report = host.report.as_ref();
        report.is_some_and(|report| report.serving.as_ref() == Some(build))
    });
    (there.len(), away.len())
}

fn on_disk(fleet: &Fleet, build: &BuildName) -> String {
    let live = fleet.state.hosts.values().filter(|host| host.alive);
    let reports: Vec<_> = live.filter_map(|host| host.report.as_ref()).collect();
    let having = reports
        .iter()
        .filter(|report| report.releases.contains(build))
        .count();
    if having == reports.len() {
        format!("{build} is on disk on all of them: nothing to download")
    } else {
        format!(
            "{build} is on disk on {having} of {}",
            count(reports.len(), "host")
        )
    }
}

fn pace(fleet: &Fleet) -> String {
    match &fleet.policy {
        Ok(policy) => format!(
            "{} at a time (restart_concurrency {})",
            count(fleet.lease_limit_of(policy), "host"),
            policy.restart_concurrency
        ),
        Err(why) => format!("no host is granted a lease: {why}"),
    }
}

fn offline(fleet: &Fleet) -> Option<String> {
    let offline = fleet
        .state
        .hosts
        .values()
        .filter(|host| !host.alive)
        .count();
    (offline > 0).then(|| format!("{} offline, to follow on return", count(offline, "host")))
}
