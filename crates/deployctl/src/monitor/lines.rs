//! The monitor elsewhere than on a terminal: a line for each outcome, or a JSON object.

use std::collections::BTreeMap;

use deploy_core::name::ServiceName;
use deploy_core::rollout::Standing;
use deploy_core::rollout::judge::{Judgement, Verdict, judge};
use deploy_core::rollout::vanished::Vanished;
use deploy_core::wire::history::Outcome;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use jiff::Timestamp;
use tokio::time::{Instant, sleep_until};

use super::model::Rights;
use super::perform;
use super::source::{LinkSeen, News, Source};
use crate::context::Context;
use crate::exit::Exit;
use crate::fleet::Fleet;
use crate::out::{Format, Reader, Tone, Volume, json_line};
use crate::problem::Problem;
use crate::signals::Signals;
use crate::text;
use crate::verb::watch::newest;
use crate::wait::end::problem::{FAILED_SHOWN_MAX, failure_lines};
use crate::wait::end::{End, Ending};
use crate::wait::event::{Event, Tally};
use crate::wait::tell::Teller;
use crate::wait::{HEARTBEAT, Rollout, jsonl, lines};
use crate::watches::Sight;

/// What was told of a service.
struct Told {
    rollout: Rollout,
    teller: Teller,
    vanished: Vanished,
    verdict: Verdict,
}

/// What comes of news.
#[derive(Default)]
struct Heard {
    lines: Vec<String>,
    /// A rollout that was seen to end, for the history.
    ended: Option<(ServiceName, u64, Outcome)>,
}

/// Knows what was told, and says what is to be told now.
struct Printer<'a> {
    context: &'a Context,
    rights: Rights,
    services: BTreeMap<ServiceName, Told>,
}

/// Prints until somebody ends it, or has closed the pipe.
///
/// # Errors
/// Where no signal can be waited for.
pub(super) async fn run(
    source: Source,
    rights: Rights,
    context: &Context,
) -> Result<Exit, Problem> {
    let mut signals = Signals::listen()?;
    let mut printer = Printer {
        context,
        rights,
        services: BTreeMap::new(),
    };
    let mut heartbeat = Instant::now() + HEARTBEAT;
    let mut next = Box::pin(source.next());
    // Beside all else: without ZooKeeper each of them takes its time.
    let mut recording = FuturesUnordered::new();
    loop {
        // Cancel-safe, all of them: the look and what is recorded are kept, and the others only wait.
        let heard: Vec<Heard> = tokio::select! {
            biased;
            () = signals.any() => return Ok(Exit::Interrupted),
            Some(()) = recording.next() => Vec::new(),
            (source, news) = next.as_mut() => {
                next.set(source.next());
                news.into_iter().map(|news| printer.hear(news)).collect()
            }
            () = sleep_until(heartbeat) => {
                heartbeat = Instant::now() + HEARTBEAT;
                vec![printer.beat()]
            }
        };
        for Heard { lines, ended } in heard {
            for line in lines {
                if context.out.data_to_reader(&line) == Reader::Gone {
                    return Ok(Exit::Done);
                }
            }
            if let Some((service, number, outcome)) = ended {
                recording.push(perform::record((service, number), outcome, context));
            }
        }
    }
}

impl Printer<'_> {
    fn hear(&mut self, news: News) -> Heard {
        match news {
            News::Fleet(fleet) => return self.look(*fleet),
            News::Refused(service, why) => self.context.out.warn(&format!("{service}: {why}")),
            News::Gone(service) => drop(self.services.remove(&service)),
            News::Link(LinkSeen::Down) => {
                let told = self.services.values_mut();
                let lines = told.flat_map(|told| {
                    let events = told.teller.link_lost();
                    lines_of(self.context, &told.rollout, &events)
                });
                return Heard::of(lines.collect());
            }
            News::Link(LinkSeen::Current | LinkSeen::Reading) => {}
        }
        Heard::default()
    }

    fn look(&mut self, fleet: Fleet) -> Heard {
        let Ok(rollout) = newest(&fleet) else {
            return Heard::default();
        };
        let service = fleet.service.clone();
        let sight = Box::new(Sight {
            state: fleet.state,
            hold: fleet.hold,
        });
        let mut judgement = judge(&sight.state, &rollout.goal);
        let known = self.services.remove(&service);
        let known = known.filter(|told| {
            (told.rollout.number, &told.rollout.to) == (rollout.number, &rollout.to)
        });
        let is_new = known.is_none();
        let mut told = known.unwrap_or_else(|| Told {
            rollout: rollout.clone(),
            teller: Teller::default(),
            vanished: Vanished::default(),
            verdict: Verdict::Going,
        });
        told.rollout = rollout;
        told.vanished.revise(&mut judgement, Timestamp::now());
        let mut events = told.teller.update(&sight, &judgement);
        if is_new {
            // Who is there already is in the number of the first line.
            events.retain(|event| !is_old(event));
        }
        let mut heard = Heard::of(lines_of(self.context, &told.rollout, &events));
        let before = std::mem::replace(&mut told.verdict, judgement.verdict);
        if before != judgement.verdict
            && let Some(ending) = ending(judgement.verdict)
        {
            let (lines, end) = end(self.context, &told.rollout, (ending, sight, judgement));
            heard.lines.extend(lines);
            // It was seen under way, so its time is known.
            if self.rights == Rights::Change
                && !is_new
                && let (Some(number), Some(outcome)) = (told.rollout.number, end.outcome())
            {
                heard.ended = Some((service.clone(), number, outcome));
            }
        }
        self.services.insert(service, told);
        heard
    }

    fn beat(&self) -> Heard {
        let going = self.services.values();
        let going = going.filter(|told| told.verdict == Verdict::Going);
        let lines =
            going.flat_map(|told| lines_of(self.context, &told.rollout, &[told.teller.progress()]));
        Heard::of(lines.collect())
    }
}

impl Heard {
    fn of(lines: Vec<String>) -> Heard {
        Heard { lines, ended: None }
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

fn lines_of(context: &Context, rollout: &Rollout, events: &[Event]) -> Vec<String> {
    let (out, now) = (&context.out, Timestamp::now());
    let lines = events.iter().flat_map(|event| {
        if out.format == Format::Jsonl {
            vec![json_line(&jsonl::event(event, rollout, now))]
        } else if !event.is_detail() || out.volume >= Volume::Verbose {
            lines::text(event, rollout, (out, now))
        } else {
            Vec::new()
        }
    });
    lines.collect()
}

/// Returns how a rollout has ended, if it has.
fn ending(verdict: Verdict) -> Option<Ending> {
    match verdict {
        Verdict::Done => Some(Ending::Done),
        Verdict::Failed => Some(Ending::Failed),
        Verdict::NobodyLive => Some(Ending::NobodyLive),
        Verdict::Going | Verdict::Superseded => None,
    }
}

/// Returns the end of a rollout, and the lines that tell it.
fn end(
    context: &Context,
    rollout: &Rollout,
    (ending, sight, judgement): (Ending, Box<Sight>, Judgement),
) -> (Vec<String>, End) {
    let now = Timestamp::now();
    let lines = end_lines(context, rollout, (&sight, &judgement));
    let end = End::new(rollout, ending, Some((sight, judgement)), now);
    match context.out.format {
        Format::Jsonl => (vec![json_line(&jsonl::end(&end, rollout, now))], end),
        _ => (lines, end),
    }
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
