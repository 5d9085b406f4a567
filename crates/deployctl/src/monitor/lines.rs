//! The monitor elsewhere than on a terminal: a line for each outcome, or a JSON object.

use std::collections::BTreeMap;
use std::time::Duration;

use deploy_core::name::ServiceName;
use deploy_core::rollout::Standing;
use deploy_core::rollout::judge::{Judgement, Verdict, judge};
use jiff::Timestamp;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::{Instant, sleep_until};

use super::model::Rights;
use super::source::{LinkSeen, News, Source};
use crate::context::Context;
use crate::exit::Exit;
use crate::fleet::Fleet;
use crate::out::{Format, Tone, Volume};
use crate::problem::Problem;
use crate::text;
use crate::verb::watch::newest;
use crate::wait::end::problem::failure_lines;
use crate::wait::end::{End, Ending};
use crate::wait::event::{Event, Tally};
use crate::wait::tell::Teller;
use crate::wait::{Rollout, jsonl, lines, record};
use crate::watches::Sight;

/// A line is said this often although nothing happens, so that CI sees that it lives.
const HEARTBEAT: Duration = Duration::from_secs(30);

/// Failed hosts that are shown with their output.
const FAILED_SHOWN_MAX: usize = 3;

/// What was told of a service.
struct Told {
    rollout: Rollout,
    teller: Teller,
    verdict: Verdict,
}

/// Where it goes.
struct Printer<'a> {
    context: &'a Context,
    rights: Rights,
    services: BTreeMap<ServiceName, Told>,
}

/// Prints until somebody ends it.
///
/// # Errors
/// Where no signal can be waited for.
pub(super) async fn run(
    source: Source,
    rights: Rights,
    context: &Context,
) -> Result<Exit, Problem> {
    let bug = |error| Problem::new(Exit::Bug, format!("failed to wait for signals: {error}"));
    let mut interrupt = signal(SignalKind::interrupt()).map_err(bug)?;
    let mut terminate = signal(SignalKind::terminate()).map_err(bug)?;
    let mut printer = Printer {
        context,
        rights,
        services: BTreeMap::new(),
    };
    let mut heartbeat = Instant::now() + HEARTBEAT;
    let mut next = Box::pin(source.next());
    loop {
        // Cancel-safe, all of them: the look is kept, and the others only wait.
        tokio::select! {
            biased;
            _ = interrupt.recv() => return Ok(Exit::Interrupted),
            _ = terminate.recv() => return Ok(Exit::Interrupted),
            (source, news) = next.as_mut() => {
                for news in news {
                    printer.hear(news).await;
                }
                next.set(source.next());
            }
            () = sleep_until(heartbeat) => {
                heartbeat = Instant::now() + HEARTBEAT;
                printer.beat();
            }
        }
    }
}

impl Printer<'_> {
    async fn hear(&mut self, news: News) {
        match news {
            News::Fleet(fleet) => self.look(*fleet).await,
            News::Refused(service, why) => self.context.out.warn(&format!("{service}: {why}")),
            News::Gone(service) => drop(self.services.remove(&service)),
            News::Link(LinkSeen::Down) => {
                for told in self.services.values_mut() {
                    let events = told.teller.link_lost();
                    tell(self.context, &told.rollout, &events);
                }
            }
            News::Link(LinkSeen::Current | LinkSeen::Reading) => {}
        }
    }

    async fn look(&mut self, fleet: Fleet) {
        let Ok(rollout) = newest(&fleet) else {
            return;
        };
        let service = fleet.service.clone();
        let sight = Box::new(Sight {
            state: fleet.state,
            hold: fleet.hold,
        });
        let judgement = judge(&sight.state, &rollout.goal);
        let known = self.services.remove(&service);
        let known = known.filter(|told| {
            (told.rollout.number, &told.rollout.to) == (rollout.number, &rollout.to)
        });
        let is_new = known.is_none();
        let mut told = known.unwrap_or_else(|| Told {
            rollout: rollout.clone(),
            teller: Teller::default(),
            verdict: Verdict::Going,
        });
        told.rollout = rollout;
        let mut events = told.teller.update(&sight, &judgement);
        if is_new {
            // Who is there already is in the number of the first line.
            events.retain(|event| !is_old(event));
        }
        tell(self.context, &told.rollout, &events);
        let before = std::mem::replace(&mut told.verdict, judgement.verdict);
        if before != judgement.verdict
            && let Some(end) = tell_end(self.context, &told.rollout, (sight, judgement))
            && self.rights == Rights::Change
            && !is_new
        {
            // It was seen under way, so its time is known.
            record::record(self.context, &told.rollout, &end).await;
        }
        self.services.insert(service, told);
    }

    fn beat(&self) {
        let going = self.services.values();
        for told in going.filter(|told| told.verdict == Verdict::Going) {
            tell(self.context, &told.rollout, &[told.teller.progress()]);
        }
    }
}

fn is_old(event: &Event) -> bool {
    match event {
        Event::Host(event) => {
            event.standing.is_there()
                || matches!(event.standing, Standing::Idle | Standing::Offline)
        }
        _ => false,
    }
}

fn tell(context: &Context, rollout: &Rollout, told: &[Event]) {
    let (out, now) = (&context.out, Timestamp::now());
    for event in told {
        if out.format == Format::Jsonl {
            out.data(&jsonl::event(event, rollout, now).to_string());
        } else if !event.is_detail() || out.volume >= Volume::Verbose {
            let lines = lines::text(event, rollout, (out, now));
            lines.iter().for_each(|line| out.data(line));
        }
    }
}

/// Tells the end of a rollout, if it is one.
fn tell_end(context: &Context, rollout: &Rollout, seen: (Box<Sight>, Judgement)) -> Option<End> {
    let ending = match seen.1.verdict {
        Verdict::Done => Ending::Done,
        Verdict::Failed => Ending::Failed,
        Verdict::NobodyLive => Ending::NobodyLive,
        Verdict::Going | Verdict::Superseded => return None,
    };
    let (out, now) = (&context.out, Timestamp::now());
    let lines = end_lines(context, rollout, (&seen.0, &seen.1));
    let end = End::new(rollout, ending, Some(seen), now);
    if out.format == Format::Jsonl {
        out.data(&jsonl::end(&end, rollout, now).to_string());
    } else {
        lines.iter().for_each(|line| out.data(line));
    }
    Some(end)
}

/// The outcome of a rollout, and of what failed the last lines of output.
fn end_lines(
    context: &Context,
    rollout: &Rollout,
    (sight, judgement): (&Sight, &Judgement),
) -> Vec<String> {
    let (out, now) = (&context.out, Timestamp::now());
    let tally = Tally::of(judgement);
    let (word, tone) = match judgement.verdict {
        Verdict::Done => ("done", Tone::Good),
        Verdict::NobodyLive => ("nobody", Tone::Warn),
        _ => ("FAILED", Tone::Bad),
    };
    let to = rollout.to.as_ref().map_or("nothing", |to| to.as_str());
    let rest = match lines::rest(&tally) {
        rest if rest.is_empty() => rest,
        rest => format!(", {rest}"),
    };
    let head = format!(
        "{} {} {}",
        text::clock(now),
        rollout.shown_number(),
        rollout.service
    );
    let kind = text::clean(&rollout.kind);
    let word = out.paint(word, tone);
    let mut lines = vec![format!(
        "{head}  {kind:<9} {word} {to} {}{rest}",
        lines::share(&tally)
    )];
    let failed = judgement
        .hosts
        .iter()
        .filter(|(_, standing)| **standing == Standing::Failed);
    for (name, _) in failed.take(FAILED_SHOWN_MAX) {
        lines.extend(
            failure_lines(name, &sight.state.hosts[name])
                .into_iter()
                .map(|line| format!("  {line}")),
        );
    }
    lines
}
