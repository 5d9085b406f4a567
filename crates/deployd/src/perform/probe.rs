//! Waits until instances work, and watches them for a while.

use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::{Instant, sleep};

use super::patience::Patience;
use super::restart::died;
use super::{Performer, Progress, StepError, of_the_build};
use crate::chain::Chain;
use crate::config::{CHECK_TIME_MIN, Check, Instance, Probe, RestartMethod, Service};
use crate::host::probe::{self, Wanted};
use crate::host::process::{How, Job, Leftovers, run};
use crate::host::systemd::journal;
use crate::observe::{Seen, Units, Up, look_at};

/// How soon an instance that has not answered well is asked again, at first; then half as often each
/// time, until it is the interval. One that needs a moment to start must not wait for a whole one.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
/// The longest that one check may take.
const CHECK_TIME_MAX: Duration = Duration::from_secs(10);

impl Performer {
    /// Waits until each of these instances has answered well often enough in a row. Asking again
    /// after a crash harms nobody.
    pub(super) async fn probe(&mut self, batch: &[usize]) -> Result<(), StepError> {
        let instances = self.instances(batch);
        let asked = instances
            .iter()
            .map(|instance| self.await_working(instance));
        for result in join_all(asked).await {
            result?;
        }
        self.note(|record| {
            instances
                .iter()
                .for_each(|instance| record.prove(&instance.unit))
        })
    }

    async fn await_working(&self, instance: &Instance) -> Result<(), StepError> {
        let wanted = &self.service.probe;
        let Some(check) = &wanted.check else {
            return Ok(());
        };
        let mut patience = Patience::new(wanted.timeout);
        let mut heard = Heard::default();
        let mut until_well = FIRST_PAUSE.min(wanted.interval);
        loop {
            let began = Instant::now();
            let limit = patience.left().min(CHECK_TIME_MAX);
            match patience.during(self.ask(check, instance, limit)).await {
                Ok(()) => heard.well(),
                Err(why) if began.elapsed() < limit => heard.wrong(why),
                Err(why) => heard.cut_short(why),
            }
            if heard.in_a_row >= wanted.successes {
                return Ok(());
            }
            let interval = if heard.in_a_row > 0 {
                wanted.interval
            } else {
                let interval = until_well;
                until_well = (until_well * 2).min(wanted.interval);
                interval
            };
            // A check without time to answer says nothing. Looked at again after the sleep, which takes
            // longer than asked for on a busy host.
            let pause = interval.saturating_sub(began.elapsed());
            if pause + CHECK_TIME_MIN >= patience.left() {
                break;
            }
            patience.during(sleep(pause)).await;
            if CHECK_TIME_MIN >= patience.left() {
                break;
            }
        }
        let message = format!("{} {}", instance.unit, heard.told(wanted));
        Err(of_the_build(message, log(&self.service, instance).await))
    }

    async fn ask(&self, check: &Check, instance: &Instance, limit: Duration) -> Result<(), String> {
        match check {
            Check::Http { url, status, body } => {
                let wanted = Wanted {
                    status: *status,
                    word: body,
                };
                probe::http(&self.probes, &instance.fill(url), wanted, limit).await
            }
            Check::Tcp(address) => {
                probe::tcp(&instance.fill(address), self.probe_source, limit).await
            }
            Check::Command(arguments) => {
                let arguments: Vec<_> = arguments.iter().map(|text| instance.fill(text)).collect();
                let job = Job {
                    arguments: &arguments,
                    dir: &self.service.dir,
                    user: None,
                    environment: &[],
                    limit,
                    leftovers: Leftovers::Killed,
                    input: "",
                };
                match run(&job).await {
                    Ok(ended) if ended.how == How::Well => Ok(()),
                    Ok(ended) => {
                        let said = ended.tail.last().map(|line| format!(": {line}"));
                        let said = said.unwrap_or_default();
                        Err(format!("`{}`: {}{said}", arguments.join(" "), ended.how))
                    }
                    Err(error) => Err(Chain(&error).to_string()),
                }
            }
        }
    }

    /// Watches all instances: none may die, be restarted, or fail its probe.
    pub(super) async fn burn_in(&mut self) -> Result<(), StepError> {
        let time = self.service.probe.burn_in;
        let mut patience = Patience::new(time);
        let first = patience.during(self.look_at_all()).await;
        while !patience.left().is_zero() {
            let pause = self.service.probe.interval.min(patience.left());
            patience.during(sleep(pause)).await;
            self.progress.send_replace(Progress {
                done: time.saturating_sub(patience.left()).as_secs(),
                total: time.as_secs(),
                connections: None,
            });
            let now = patience.during(self.look_at_all()).await;
            for ((instance, before), now) in self.service.instances.iter().zip(&first).zip(&now) {
                let gaps = patience.gaps();
                let works = self.still_works(instance, before, now);
                if let Err(error) = patience.during(works).await {
                    // Who was asked by somebody who then stood still is asked again.
                    if patience.gaps() == gaps {
                        return Err(error);
                    }
                    patience
                        .during(self.still_works(instance, before, now))
                        .await?;
                }
            }
        }
        Ok(())
    }

    async fn look_at_all(&self) -> Vec<Seen> {
        let record = self.journal.record();
        let units = Units::afresh(&self.units);
        look_at((&self.service, units), &self.service.instances, record).await
    }

    async fn still_works(
        &self,
        instance: &Instance,
        before: &Seen,
        now: &Seen,
    ) -> Result<(), StepError> {
        let unit = &instance.unit;
        let gone = if before.up == Up::Unknown {
            now.up == Up::No
        } else {
            died(before, now)
        };
        if gone && self.service.restart.method != RestartMethod::None {
            let message = format!("{unit} died or was restarted during the burn-in");
            return Err(of_the_build(message, log(&self.service, instance).await));
        }
        let Some(check) = &self.service.probe.check else {
            return Ok(());
        };
        let Err(why) = self.ask(check, instance, CHECK_TIME_MAX).await else {
            return Ok(());
        };
        let message = format!("{unit} did not pass its probe during the burn-in: {why}");
        Err(of_the_build(message, log(&self.service, instance).await))
    }
}

/// What an instance has answered so far.
#[derive(Debug, Default)]
struct Heard {
    /// Good answers in a row, up to the last one.
    in_a_row: u32,
    /// Whether it has ever answered well: what was wrong before that was the start's.
    was_well: bool,
    /// What was wrong last; empty: nothing since the first good answer.
    last: String,
    /// What it answered last in time: the deadline cuts the last check short.
    answered: String,
}

impl Heard {
    fn well(&mut self) {
        if !self.was_well {
            self.last.clear();
        }
        self.was_well = true;
        self.in_a_row += 1;
        "a good answer".clone_into(&mut self.answered);
    }

    fn wrong(&mut self, why: String) {
        self.answered.clone_from(&why);
        self.cut_short(why);
    }

    fn cut_short(&mut self, why: String) {
        self.in_a_row = 0;
        self.last = why;
    }

    /// Why that is not enough.
    fn told(&self, wanted: &Probe) -> String {
        let (seconds, last, answered) = (wanted.timeout.as_secs_f64(), &self.last, &self.answered);
        if self.in_a_row > 0 {
            let (well, of) = (self.in_a_row, wanted.successes);
            let before = match last.is_empty() {
                true => String::new(),
                false => format!("; before that: {last}"),
            };
            format!("answered well {well} of {of} times in a row in {seconds} s{before}")
        } else if answered.is_empty() || answered == last {
            format!("did not pass its probe in {seconds} s: {last}")
        } else {
            format!("did not pass its probe in {seconds} s: {last}; before that: {answered}")
        }
    }
}

/// The last lines that an instance has logged, where systemd keeps them.
async fn log(service: &Service, instance: &Instance) -> Vec<String> {
    match service.restart.method {
        RestartMethod::Systemd | RestartMethod::Reload => journal::log(&instance.unit).await,
        RestartMethod::Command(_) | RestartMethod::None => Vec::new(),
    }
}
