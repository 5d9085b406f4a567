//! How a wait ended, in an exit code, in words, and in JSON.

use std::time::Duration;

use deploy_core::name::HostName;
use deploy_core::rollout::judge::{Goal, Judgement, Verdict};
use deploy_core::rollout::{Host, Standing};
use deploy_core::wire::history::{Entry, Outcome};
use deploy_core::wire::time;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::event::Tally;
use super::record::recorded;
use super::successor::{successor, superseded, undoes};
use super::{Rollout, jsonl, lines};
use crate::context::Context;
use crate::exit::Exit;
use crate::out::{Format, json_line};
use crate::problem::Problem;
use crate::text::{self, count};
use crate::watches::Sight;

pub(crate) mod problem;

use problem::{failed_json, lost_sight};

/// Why waiting ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ending {
    /// Every live host is there.
    Done,
    /// Nobody is alive to do it.
    NobodyLive,
    /// A host failed.
    Failed,
    /// Another rollout took its place.
    Superseded,
    /// A rollback took its place.
    RolledBack,
    /// It took too long.
    TimedOut(Duration),
    /// It took too long, and there is no link to look.
    LostSight(Duration),
    /// By the user.
    Interrupted,
    /// The user did not want to wait.
    Detached,
}

/// The end of a wait.
#[derive(Debug)]
pub(crate) struct End {
    ending: Ending,
    seen: Option<(Box<Sight>, Judgement)>,
    /// What took its place, if something did.
    after: Option<(u64, Entry)>,
    tally: Tally,
    seconds: u64,
}

impl End {
    /// Puts the end together from what was seen last.
    pub(crate) fn new(
        rollout: &Rollout,
        ending: Ending,
        seen: Option<(Box<Sight>, Judgement)>,
        since: Timestamp,
    ) -> End {
        let begun = rollout.at.as_deref().and_then(time::parse).unwrap_or(since);
        let seconds = Timestamp::now()
            .duration_since(begun)
            .as_secs()
            .max(0)
            .unsigned_abs();
        let tally = seen
            .as_ref()
            .map(|(_, judgement)| Tally::of(judgement))
            .unwrap_or_default();
        End {
            ending,
            seen,
            after: None,
            tally,
            seconds,
        }
    }

    /// Looks up what took the place of a rollout that is not wanted any more, and whether somebody has
    /// seen this end before.
    pub(crate) async fn settle(&mut self, context: &Context, rollout: &Rollout) {
        if self.ending == Ending::Superseded {
            self.after = successor(context, rollout).await;
            if self
                .after
                .as_ref()
                .is_some_and(|(_, entry)| undoes(entry, rollout))
            {
                self.ending = Ending::RolledBack;
            }
        }
        // Who was there at the end knows how long it took. Of no end nothing is recorded, and nobody is asked.
        if let Some(result) = self.outcome()
            && let Some(outcome) = recorded(context, rollout).await
            && outcome.result == result.result
        {
            self.seconds = outcome.seconds.unwrap_or(self.seconds);
        }
    }

    /// Returns what the history is told; nothing where the end was not seen.
    pub(crate) fn outcome(&self) -> Option<Outcome> {
        let result = match self.ending {
            Ending::Done => "done",
            Ending::Failed => "failed",
            Ending::RolledBack => "rolled back",
            Ending::Superseded => "superseded",
            _ => return None,
        };
        let hosts = self.tally.there as u64;
        Some(Outcome {
            result: result.to_owned(),
            hosts,
            total: Some(self.tally.total as u64),
            seconds: Some(self.seconds),
        })
    }

    /// Returns the fields of the last event.
    pub(crate) fn fields(&self) -> Value {
        let failed: Vec<Value> = self
            .failed()
            .map(|(name, host)| failed_json(name, host))
            .collect();
        // Who has not looked does not know of any host, which is not the same as none; nor does who saw only that it is
        // not wanted any more.
        let seen = self.seen.as_ref();
        let seen = seen.filter(|(_, judgement)| judgement.verdict != Verdict::Superseded);
        let tally = seen.map(|_| &self.tally);
        json!({
            "result": self.result(), "live": tally.map(|tally| tally.total - tally.offline.len()),
            "total": tally.map(|tally| tally.total), "hosts": tally.map(jsonl::tally),
            "failed": failed, "seconds": self.seconds, "exit_code": self.exit().code(),
        })
    }

    /// Says it, to people or to machines.
    ///
    /// # Errors
    /// Every end that is not a good one.
    pub(crate) fn say(self, context: &Context, rollout: &Rollout) -> Result<Exit, Problem> {
        let now = Timestamp::now();
        match context.out.format {
            Format::Jsonl => context
                .out
                .data(&json_line(&jsonl::end(&self, rollout, now))),
            Format::Json => context.out.json(&self.object(rollout, now)),
            Format::Text => {}
        }
        match self.ending {
            Ending::Done => self.say_done(context, rollout),
            Ending::NobodyLive => self.say_nobody(context, rollout),
            Ending::Interrupted | Ending::Detached => self.say_detached(context, rollout),
            Ending::Failed => return Err(self.failure(rollout)),
            Ending::Superseded | Ending::RolledBack => {
                return Err(superseded(rollout, self.exit(), self.after));
            }
            Ending::TimedOut(limit) => return Err(self.timed_out(rollout, limit)),
            Ending::LostSight(limit) => return Err(lost_sight(rollout, limit)),
        }
        Ok(self.exit())
    }

    fn exit(&self) -> Exit {
        match self.ending {
            Ending::Done | Ending::NobodyLive | Ending::Detached => Exit::Done,
            Ending::Failed | Ending::RolledBack => Exit::Failed,
            Ending::Superseded => Exit::Superseded,
            Ending::TimedOut(_) => Exit::TimedOut,
            Ending::LostSight(_) => Exit::Unreachable,
            Ending::Interrupted => Exit::Interrupted,
        }
    }

    fn result(&self) -> &'static str {
        match self.ending {
            Ending::Done => "done",
            Ending::NobodyLive => "nobody_live",
            Ending::Failed => "failed",
            Ending::RolledBack => "rolled_back",
            Ending::Superseded => "superseded",
            Ending::TimedOut(_) => "timed_out",
            Ending::LostSight(_) => "unreachable",
            Ending::Interrupted => "interrupted",
            Ending::Detached => "detached",
        }
    }

    fn object(&self, rollout: &Rollout, now: Timestamp) -> Value {
        let mut object = json!({
            "schema": "deployctl/rollout/1", "at": time::render(now), "service": rollout.service,
            "rollout": rollout.number, "kind": rollout.kind, "from": rollout.from, "to": rollout.to,
        });
        if let (Value::Object(object), Value::Object(fields)) = (&mut object, self.fields()) {
            object.extend(fields);
        }
        object
    }

    fn say_done(&self, context: &Context, rollout: &Rollout) {
        let offline = match lines::rest(&self.tally) {
            rest if rest.is_empty() => rest,
            rest => format!("; {rest}"),
        };
        let staged = self.count(Standing::Staged);
        let what = match (&rollout.to, staged) {
            // Of canary hosts too, which serve another build.
            _ if rollout.kind == "restart" => {
                format!(
                    "{} of {} are through",
                    self.tally.there - staged,
                    self.hosts()
                )
            }
            (Some(to), 0) => format!("{to} is served by {} of {}", self.tally.there, self.hosts()),
            (Some(to), staged) => format!(
                "{to} is served by {} of {}, {staged} have it staged",
                self.tally.there - staged,
                self.hosts()
            ),
            (None, _) => "nothing is wanted".to_owned(),
        };
        let took = text::seconds(self.seconds);
        context.out.say(&format!(
            "{} {}: {} done, {what} after {took}{offline}",
            rollout.service,
            rollout.shown_number(),
            rollout.shown_kind(),
        ));
        if let Some(tip) = self.next_step(rollout, staged) {
            context.out.tip(&tip);
        }
    }

    fn say_nobody(&self, context: &Context, rollout: &Rollout) {
        let service = &rollout.service;
        let why = match self.tally.total {
            0 => "no host follows this target".to_owned(),
            _ => format!("none of {} is live", self.hosts()),
        };
        context.out.warn(&format!(
            "{why}: {} of {service} is written, and nothing runs it yet",
            rollout.shown_number()
        ));
        context.out.tip(&format!(
            "hosts follow it as soon as they are live: deployctl watch {service}"
        ));
    }

    fn say_detached(&self, context: &Context, rollout: &Rollout) {
        let (service, number) = (&rollout.service, rollout.shown_number());
        let kind = rollout.shown_kind();
        context.out.say(&match self.ending {
            Ending::Interrupted => {
                format!("detached: {kind} {number} of {service} goes on")
            }
            _ => format!("{service} {}  {kind} {number}", rollout.shown_builds()),
        });
        context.out.tip(&watch_again(rollout));
    }

    fn next_step(&self, rollout: &Rollout, staged: usize) -> Option<String> {
        let service = &rollout.service;
        let to = rollout.to.as_ref()?;
        match rollout.kind.as_str() {
            "canary" => {
                let when = self.until_promotable();
                Some(format!(
                    "{when}deployctl promote {service}        (or: deployctl rollback {service})"
                ))
            }
            "deploy" | "stage" if staged > 0 => {
                Some(format!("for every host: deployctl deploy {service} {to}"))
            }
            _ => None,
        }
    }

    /// Returns what `promote` would refuse now; nobody waits for a canary host that is offline.
    fn until_promotable(&self) -> &'static str {
        let is_held = self
            .seen
            .as_ref()
            .is_some_and(|(sight, _)| sight.hold.is_some());
        match (self.tally.there < self.tally.total, is_held) {
            (true, _) => "when every canary host serves it: ",
            (false, true) => "when the hold is over: ",
            (false, false) => "",
        }
    }

    fn failed(&self) -> impl Iterator<Item = (&HostName, &Host)> {
        self.with(Standing::Failed)
    }

    fn with(&self, wanted: Standing) -> impl Iterator<Item = (&HostName, &Host)> {
        let seen = self.seen.iter();
        seen.flat_map(move |(sight, judgement)| {
            let hosts = judgement
                .hosts
                .iter()
                .filter(move |(_, standing)| **standing == wanted);
            hosts.filter_map(|(name, _)| sight.state.hosts.get_key_value(name))
        })
    }

    fn count(&self, wanted: Standing) -> usize {
        self.with(wanted).count()
    }

    fn hosts(&self) -> String {
        count(self.tally.total, "host")
    }
}

fn watch_again(rollout: &Rollout) -> String {
    match (&rollout.goal, rollout.number) {
        (Goal::Retried { host, .. }, _) => {
            format!("deployctl host show {host} {}", rollout.service)
        }
        (_, Some(number)) => format!("deployctl watch {} --rollout {number}", rollout.service),
        (_, None) => format!("deployctl watch {}", rollout.service),
    }
}
