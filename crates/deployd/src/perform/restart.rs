//! Restarts instances.

use std::time::Duration;

use deploy_core::name::BuildName;
use deploy_core::observed::Runs;
use deploy_core::verdict::Failure;
use deploy_core::wire::record::{Record, Started};
use futures_util::future::join_all;
use tokio::time::{Instant, sleep};

use super::program::{Program, Programs};
use super::{Performer, StepError, of_the_build, passing};
use crate::chain::Chain;
use crate::config::{Instance, RestartMethod, Service};
use crate::host::process::{Job, Leftovers};
use crate::host::systemd::answers::Answers;
use crate::host::systemd::{self, SystemdError, Verb, journal};
use crate::host::tree::Current;
use crate::observe::{Seen, Units, Up, look};

/// How soon it is looked again whether the processes of the build before have ended, at first and at
/// most.
const LOOK_TIMES: (Duration, Duration) = (Duration::from_millis(20), Duration::from_millis(200));
/// How long a unit without a probe must stay up to count as started: `active` alone is no
/// success, many programs die of their configuration a moment later.
const STAY_UP: Duration = Duration::from_secs(1);

impl Performer {
    /// Restarts a batch, all of it at a time. Done again after a crash halfway: an instance that
    /// is restarted twice is only slower.
    pub(super) async fn restart(
        &mut self,
        batch: &[usize],
        number: Option<u64>,
    ) -> Result<(), StepError> {
        let build = match self.tree().read_current() {
            Ok(Current::Release(name)) => {
                BuildName::try_from(name).map_err(|error| passing(&error))?
            }
            Ok(found) => {
                let message = format!("current is {found:?}: there is nothing to restart into");
                return Err(of_the_build(message, Vec::new()));
            }
            Err(error) => return Err(passing(&error)),
        };
        let instances = self.instances(batch);
        self.write(|record| instances.iter().for_each(|i| record.restart(&i.unit)))?;
        let host = (&self.programs, &self.units);
        let restarts = instances
            .iter()
            .map(|instance| restart_one((&self.service, host), instance, &build));
        let mut first_error = None;
        let mut records = Vec::new();
        for (instance, result) in instances.iter().zip(join_all(restarts).await) {
            match result {
                Ok(seen) => {
                    let started = Started {
                        build: build.clone(),
                        identity: seen.identity,
                    };
                    records.push((instance.unit.clone(), started));
                }
                Err(error) => first_error = first_error.or(Some(error)),
            }
        }
        self.note(|record| {
            for (unit, started) in records {
                record.restarted(&unit, started, number);
            }
        })?;
        first_error.map_or(Ok(()), Err)
    }
}

/// Returns what was seen of the instance after its restart. It is looked at with nothing in mind:
/// what is remembered of the start before can't be taken for this one.
async fn restart_one(
    (service, (programs, units)): (&Service, (&Programs, &Answers)),
    instance: &Instance,
    build: &BuildName,
) -> Result<Seen, StepError> {
    let of = (service, units);
    let unit = &instance.unit;
    let limit = service.restart.timeout;
    tracing::info!(service = %service.name, %unit, "restarting {unit}");
    match &service.restart.method {
        RestartMethod::Systemd => {
            let seen = restart_unit(of, instance).await?;
            await_only((build, seen), of, instance).await
        }
        RestartMethod::Reload => {
            let changed = systemd::change(Verb::Reload, unit, limit).await;
            if let Err(error) = changed {
                return Err(not_changed(unit, &error, Vec::new()).await);
            }
            let seen = look_afresh(of, instance).await;
            await_only((build, seen), of, instance).await
        }
        RestartMethod::Command(arguments) => {
            let arguments: Vec<_> = arguments.iter().map(|text| instance.fill(text)).collect();
            let job = Job {
                arguments: &arguments,
                dir: &service.dir,
                user: None,
                environment: &[],
                limit,
                leftovers: Leftovers::Live,
                input: "",
            };
            let program = Program {
                job,
                what: format!("restart of {unit} by `{}`", arguments.join(" ")),
                failure: Failure::OfTheBuild,
            };
            programs.restart(&program).await?;
            Ok(look_afresh(of, instance).await)
        }
        RestartMethod::None => Ok(look_afresh(of, instance).await),
    }
}

async fn look_afresh((service, units): (&Service, &Answers), instance: &Instance) -> Seen {
    let of = (service, Units::afresh(units));
    look(of, instance, &Record::default()).await
}

async fn restart_unit(
    of @ (service, _): (&Service, &Answers),
    instance: &Instance,
) -> Result<Seen, StepError> {
    let unit = &instance.unit;
    let changed = systemd::change(Verb::Restart, unit, service.restart.timeout).await;
    if let Err(error) = changed {
        return Err(not_changed(unit, &error, journal::log(unit).await).await);
    }
    let first = look_afresh(of, instance).await;
    let now = if service.probe.check.is_none() && first.up == Up::Yes {
        sleep(STAY_UP).await;
        look_afresh(of, instance).await
    } else {
        first.clone()
    };
    if died(&first, &now) {
        let message = format!("{unit} was started and did not stay up");
        return Err(of_the_build(message, journal::log(unit).await));
    }
    Ok(now)
}

/// Why a unit could not be restarted or reloaded: it is the build's fault, unless systemd does not answer at all.
async fn not_changed(unit: &str, error: &SystemdError, log: Vec<String>) -> StepError {
    let answers = systemd::show(unit).await.is_ok();
    match error {
        SystemdError::Failed { .. } if answers => of_the_build(Chain(error).to_string(), log),
        _ => passing(error),
    }
}

/// Waits until no process of another build is left in a unit: a reload may let the old ones finish
/// what they do, and `KillMode=process` leaves them behind. Begins with what was `seen` last.
async fn await_only(
    (build, mut seen): (&BuildName, Seen),
    of @ (service, _): (&Service, &Answers),
    instance: &Instance,
) -> Result<Seen, StepError> {
    let (unit, limit) = (&instance.unit, service.restart.timeout);
    let deadline = Instant::now() + limit;
    let mut pause = LOOK_TIMES.0;
    loop {
        let old = match &seen.runs {
            Runs::Build(old) if old != build => old,
            Runs::Build(_) | Runs::Something | Runs::Nothing => return Ok(seen),
        };
        if Instant::now() >= deadline {
            let seconds = limit.as_secs_f64();
            let message = format!(
                "{unit} still has processes of build {old} {seconds} s after its restart; see \
                 `systemctl status {unit}` and its KillMode="
            );
            return Err(of_the_build(message, Vec::new()));
        }
        sleep(pause).await;
        pause = (pause * 2).min(LOOK_TIMES.1);
        seen = look_afresh(of, instance).await;
    }
}

/// Tells whether an instance is not the one that it was.
pub(super) fn died(before: &Seen, now: &Seen) -> bool {
    now.up == Up::No
        || before.up == Up::No
        || before.restarts != now.restarts
        || (before.identity.is_some() && before.identity != now.identity)
}
