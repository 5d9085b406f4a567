//! Lets no new connections to instances in, waits for the old ones, and lets them in again.

use std::time::Duration;

use deploy_core::verdict::Failure;
use jiff::Timestamp;
use tokio::time::{Instant, sleep};

use super::hook::MARK;
use super::program::{Program, run_beside, run_in_time};
use super::{Performer, StepError, passing};
use crate::config::{DrainAction, DrainMethod, Instance, Service};
use crate::host::firewall::{self, Found, Refusal, Rule};
use crate::host::process::{Job, Leftovers};
use crate::host::sockets::{Connections, connections};

/// How often connections are counted.
const COUNT_TIME: Duration = Duration::from_millis(50);
/// Characters of a rule's comment, of 255 that there may be.
const TAG_CHARS_MAX: usize = 200;
/// After the longest time that a restart may take, a rule ends by itself, should nobody be left
/// to take it away.
const MARGIN: Duration = Duration::from_secs(120);

impl Performer {
    /// Lets no new connections in, and waits until all old ones are idle, or the time is over. The
    /// journal says before that the host leaves service. Done again after a crash or a failure halfway, from which nobody knows
    /// that it had come to its end: the rules are replaced as a whole, the command is called again.
    pub(super) async fn drain(&mut self, batch: &[usize]) -> Result<(), StepError> {
        let instances = self.instances(batch);
        self.forget_emptied(&instances);
        self.write(|record| {
            record.leave();
            instances
                .iter()
                .for_each(|instance| record.drain(&instance.unit));
        })?;
        match self.service.drain.method.clone() {
            DrainMethod::None => {}
            DrainMethod::Command(arguments) => {
                for instance in &instances {
                    self.tell(&arguments, Word::Drain, instance).await?;
                }
            }
            DrainMethod::Iptables(action) => {
                self.refuse(&instances, action).await?;
                self.await_idle(&instances).await?;
            }
        }
        self.emptied
            .extend(instances.into_iter().map(|instance| instance.unit));
        Ok(())
    }

    /// Lets new connections in again, and waits until the load balancer has seen it.
    pub(super) async fn undrain(&mut self, batch: &[usize]) -> Result<(), StepError> {
        let instances = self.instances(batch);
        self.forget_emptied(&instances);
        match self.service.drain.method.clone() {
            DrainMethod::None => {}
            DrainMethod::Command(arguments) => {
                for instance in &instances {
                    self.tell(&arguments, Word::Undrain, instance).await?;
                }
            }
            DrainMethod::Iptables(_) => {
                self.drained
                    .retain(|rule| !instances.iter().any(|i| i.port == Some(rule.port)));
                // By the clock as it is now: it may have been set.
                let until = rule_ends(&self.service);
                self.drained.iter_mut().for_each(|rule| rule.until = until);
                let rules = self.drained.clone();
                let set = self.drains.set(&self.service.name, rules).await;
                set.map_err(|error| passing(&error))?;
            }
        }
        self.note(|record| instances.iter().for_each(|i| record.undrain(&i.unit)))?;
        tracing::info!(service = %self.service.name, units = ?units(&instances), "undrained");
        if self.service.drain.method != DrainMethod::None {
            sleep(self.service.drain.settle).await;
        }
        Ok(())
    }

    /// Lets the traffic of all drained instances in where a program does that, as `ExecStopPost=deployd undrain` does for the
    /// rules of the packet filter: nobody knows when somebody comes back for them. Each is tried once.
    pub(crate) async fn open_all(&mut self) {
        let DrainMethod::Command(arguments) = self.service.drain.method.clone() else {
            return;
        };
        let units = &self.journal.record().units;
        let drained = |i: &&Instance| units.get(&i.unit).is_some_and(|unit| unit.drained);
        let drained: Vec<_> = self
            .service
            .instances
            .iter()
            .filter(drained)
            .cloned()
            .collect();
        for instance in drained {
            let told = self.tell(&arguments, Word::Undrain, &instance).await;
            let noted = told.and_then(|()| self.note(|record| record.undrain(&instance.unit)));
            if let Err(error) = noted {
                tracing::error!(service = %self.service.name, unit = %instance.unit, error = %error.message, "it stays drained");
            }
        }
    }

    /// Takes over rules that an earlier run has left on our ports: they stay until the plan says that the instances are in
    /// service.
    ///
    /// # Errors
    /// Where the journal can't be written.
    pub(crate) fn adopt_rules(&mut self, rules: Vec<Rule>) -> Result<(), StepError> {
        let ours = |instance: &&Instance| rules.iter().any(|rule| Some(rule.port) == instance.port);
        let units = self.service.instances.iter().filter(ours);
        let units: Vec<_> = units.map(|instance| instance.unit.clone()).collect();
        self.drained = rules;
        if units.is_empty() {
            return Ok(());
        }
        self.write(|record| units.iter().for_each(|unit| record.drain(unit)))
    }

    fn forget_emptied(&mut self, instances: &[Instance]) {
        let emptied = &mut self.emptied;
        emptied.retain(|unit| !instances.iter().any(|instance| instance.unit == *unit));
    }

    async fn refuse(
        &mut self,
        instances: &[Instance],
        action: DrainAction,
    ) -> Result<(), StepError> {
        let mut rules = self.drained.clone();
        let until = rule_ends(&self.service);
        rules.iter_mut().for_each(|rule| rule.until = until);
        rules.retain(|rule| !instances.iter().any(|i| i.port == Some(rule.port)));
        rules.extend(rules_of(&self.service, instances, action));
        let set = self.drains.set(&self.service.name, rules.clone()).await;
        set.map_err(|error| passing(&error))?;
        self.drained = rules;
        tracing::info!(service = %self.service.name, units = ?units(instances), "drained: no new connections");
        Ok(())
    }

    async fn await_idle(&mut self, instances: &[Instance]) -> Result<(), StepError> {
        let deadline = Instant::now() + self.service.drain.timeout;
        loop {
            let open = open(instances).map_err(|error| passing(&error))?;
            self.progress
                .send_modify(|progress| progress.connections = Some(open.all));
            if open.busy == 0 {
                return Ok(());
            }
            if Instant::now() >= deadline {
                let seconds = self.service.drain.timeout.as_secs_f64();
                self.metrics.drain_timeout(&self.service.name);
                tracing::warn!(service = %self.service.name, units = ?units(instances), connections = open.busy, seconds, "not drained in time, restarting anyway");
                return Ok(());
            }
            sleep(COUNT_TIME).await;
        }
    }

    /// Has a program drain an instance, or undrain it. A drain waits itself for connections to end, so one that takes too
    /// long says of them what we would have counted.
    async fn tell(
        &self,
        arguments: &[String],
        word: Word,
        instance: &Instance,
    ) -> Result<(), StepError> {
        let port = instance
            .port
            .map(|port| port.to_string())
            .unwrap_or_default();
        let verb = match word {
            Word::Drain => "drain",
            Word::Undrain => "undrain",
        };
        let mut all = arguments.to_vec();
        all.extend([verb.to_owned(), instance.unit.clone(), port]);
        let job = Job {
            arguments: &all,
            dir: &self.service.dir,
            user: None,
            environment: &[(MARK, self.state_dir.display().to_string())],
            limit: self.service.drain.timeout.max(Duration::from_secs(1)),
            leftovers: Leftovers::Killed,
            input: "",
        };
        let program = Program {
            job,
            what: format!("{verb} of {} by `{}`", instance.unit, all.join(" ")),
            failure: Failure::Passing,
        };
        if word == Word::Undrain {
            return run_beside(&program).await;
        }
        if !run_in_time(&program).await? {
            let seconds = program.job.limit.as_secs_f64();
            self.metrics.drain_timeout(&self.service.name);
            tracing::warn!(service = %self.service.name, seconds, "{}: killed, it did not end in time, restarting anyway", program.what);
        }
        Ok(())
    }
}

/// The rules of an earlier run on the ports of a service, as they are now: it has none where another method drains it.
pub(crate) fn left_rules(service: &Service, found: &[Found]) -> Vec<Rule> {
    let DrainMethod::Iptables(action) = service.drain.method else {
        return Vec::new();
    };
    let ours = |instance: &&Instance| found.iter().any(|rule| Some(rule.port) == instance.port);
    let instances: Vec<_> = service.instances.iter().filter(ours).cloned().collect();
    rules_of(service, &instances, action)
}

fn rules_of(service: &Service, instances: &[Instance], action: DrainAction) -> Vec<Rule> {
    let until = rule_ends(service);
    let rule = |instance: &Instance| {
        Some(Rule {
            port: instance.port?,
            refusal: match action {
                DrainAction::Reject => Refusal::Reset,
                DrainAction::Drop => Refusal::Drop,
            },
            tag: tag(service.name.as_str(), &instance.unit),
            until,
        })
    };
    instances.iter().filter_map(rule).collect()
}

fn rule_ends(service: &Service) -> Timestamp {
    let longest = service.drain.timeout + service.restart.timeout + service.probe.timeout;
    Timestamp::now()
        .checked_add(longest * 2 + MARGIN)
        .unwrap_or(Timestamp::MAX)
}

/// What the program of `method = "command"` is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Word {
    /// Let no new connections in, and wait until the old ones are done.
    Drain,
    /// Let them in.
    Undrain,
}

/// What a rule is for; comments of the packet filter are short.
fn tag(service: &str, unit: &str) -> String {
    let plain = |c: char| {
        if c.is_ascii_alphanumeric() || ":-_.@/".contains(c) {
            c
        } else {
            '_'
        }
    };
    format!("{service}/{unit}")
        .chars()
        .map(plain)
        .take(TAG_CHARS_MAX)
        .collect()
}

fn open(instances: &[Instance]) -> std::io::Result<Connections> {
    let source = firewall::PROBE_SOURCE
        .parse()
        .map_or([0; 4], |ip: std::net::Ipv4Addr| ip.octets());
    let mut open = Connections::default();
    for port in instances.iter().filter_map(|instance| instance.port) {
        let found = connections(port, source)?;
        open.all += found.all;
        open.busy += found.busy;
    }
    Ok(open)
}

fn units(instances: &[Instance]) -> Vec<&str> {
    instances
        .iter()
        .map(|instance| instance.unit.as_str())
        .collect()
}
