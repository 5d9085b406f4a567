//! Waiting for the outcome of a rollout.
//!
//! `deploy_core::rollout::judge` says how it stands, `tell` says what is news, `lines` and `events`
//! put that into words. Nothing here changes the rollout: who stops waiting, detaches.

use std::time::Duration;

use deploy_core::name::{BuildName, ServiceName};
use deploy_core::rollout::judge::{Goal, Judgement, Verdict, judge};
use deploy_core::rollout::vanished::Vanished;
use deploy_core::znode::ServiceTree;
use jiff::{SignedDuration, Timestamp};
use tokio::time::{Instant, sleep, sleep_until};

use crate::context::Context;
use crate::exit::Exit;
use crate::out::{Format, Volume, json_line};
use crate::problem::Problem;
use crate::signals::Signals;
use crate::text;
use crate::watches::{Look, Sight, Watches};

mod block;
pub(crate) mod end;
pub(crate) mod event;
pub(crate) mod jsonl;
pub(crate) mod lines;
pub(crate) mod record;
mod screen;
mod successor;
pub(crate) mod tell;

use self::block::Block;
use self::end::{End, Ending};
use self::event::Event;
use self::screen::Screen;
use self::tell::Teller;

/// A line is said this often although nothing happens, so that CI sees that it lives.
pub(crate) const HEARTBEAT: Duration = Duration::from_secs(30);
/// The shortest time between two looks: a large fleet reports hundreds of times a second.
const LOOK_PAUSE: Duration = Duration::from_millis(50);
/// How long another target must stand to have superseded a rollout: a promote that finds the canary taken away at the same
/// moment puts back the target of the fleet that it has just written.
const SUPERSEDED_AFTER: Duration = Duration::from_secs(1);

/// A rollout to wait for.
#[derive(Debug, Clone)]
pub(crate) struct Rollout {
    /// The service.
    pub(crate) service: ServiceName,
    /// Its tree.
    pub(crate) tree: ServiceTree,
    /// The number in the history; a target written by hand has none.
    pub(crate) number: Option<u64>,
    /// `canary`, `promote`, ….
    pub(crate) kind: String,
    /// The build before.
    pub(crate) from: Option<BuildName>,
    /// The build that is wanted.
    pub(crate) to: Option<BuildName>,
    /// Who wanted it.
    pub(crate) by: Option<String>,
    /// When, as stored.
    pub(crate) at: Option<String>,
    /// Why.
    pub(crate) why: Option<String>,
    /// What is waited for.
    pub(crate) goal: Goal,
}

/// How long to wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Patience {
    /// Not at all.
    Detach,
    /// That long.
    Until(SignedDuration),
}

/// Where lines of progress go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lines {
    /// They accompany a change.
    Stderr,
    /// They are what was asked for.
    Stdout,
}

impl Rollout {
    /// Returns what was done, as a terminal may see it: the word comes from the history.
    pub(crate) fn shown_kind(&self) -> String {
        text::clean(&self.kind)
    }

    /// Returns `#142`, or `by hand`. Of one host it is the rollout that the host tries again.
    pub(crate) fn shown_number(&self) -> String {
        let number = match &self.goal {
            Goal::Retried { rollout, .. } => *rollout,
            _ => self.number,
        };
        number.map_or_else(|| "by hand".to_owned(), |number| format!("#{number}"))
    }

    /// Returns `r1 -> r2`, or the one build there is.
    pub(crate) fn shown_builds(&self) -> String {
        match (&self.from, &self.to) {
            (Some(from), Some(to)) if from != to => format!("{from} -> {to}"),
            (_, Some(to)) => to.to_string(),
            (Some(from), None) => format!("{from} -> nothing"),
            (None, None) => "-".to_owned(),
        }
    }
}

/// Waits for the outcome, says what happens meanwhile, records the outcome, and says that.
///
/// # Errors
/// `Failed`, `TimedOut`, `Superseded`, `Unreachable`: as [`Problem`]s with their exit code.
pub(crate) async fn outcome(
    context: &Context,
    rollout: &Rollout,
    patience: Patience,
    lines: Lines,
) -> Result<Exit, Problem> {
    let mut wait = Wait {
        context,
        rollout,
        lines,
        teller: Teller::default(),
        last: None,
        superseded_at: None,
        vanished: Vanished::default(),
        since: Timestamp::now(),
        signals: Signals::listen()?,
        block: Block::default(),
        screen: match patience {
            Patience::Detach => None,
            Patience::Until(_) => Screen::open(lines, &context.out),
        },
    };
    let ending = match patience {
        Patience::Detach => Ending::Detached,
        Patience::Until(limit) => wait.run(limit).await?,
    };
    let mut end = End::new(rollout, ending, wait.last.take(), wait.since);
    let settling = async {
        end.settle(context, rollout).await;
        record::record(context, rollout, &end).await;
    };
    // What was seen is said in any case. Cancel-safe: what is dropped was only read, or is a compare-and-set that was sent
    // or was not, and another deployctl that sees the end records it.
    tokio::select! {
        biased;
        () = wait.signals.any() => {}
        () = settling => {}
    }
    end.say(context, rollout)
}

struct Wait<'a> {
    context: &'a Context,
    rollout: &'a Rollout,
    lines: Lines,
    teller: Teller,
    last: Option<(Box<Sight>, Judgement)>,
    /// When something else is superseding it, unless that is taken back.
    superseded_at: Option<Instant>,
    /// Who was at work, and is not live now.
    vanished: Vanished,
    since: Timestamp,
    signals: Signals,
    block: Block,
    /// Where the block is drawn; nowhere, where nobody looks.
    screen: Option<Screen>,
}

/// What ended the pause between two looks.
enum Woken {
    News,
    Frame,
    Heartbeat,
    TimedOut,
    Interrupted,
}

impl Wait<'_> {
    async fn run(&mut self, limit: SignedDuration) -> Result<Ending, Problem> {
        let limit = Duration::try_from(limit).unwrap_or(Duration::ZERO);
        let deadline = Instant::now() + limit;
        let mut heartbeat = Instant::now() + HEARTBEAT;
        let mut bell = self.context.zk.bell();
        let mut watches =
            Watches::start(&self.context.zk, &self.rollout.tree, &self.rollout.service);
        loop {
            bell.silence();
            if let Some(ending) = self.look(&mut watches)? {
                self.draw();
                return Ok(ending);
            }
            let frame = self.screen.as_ref().map(Screen::due);
            let back_by = self.back_by();
            // Cancel-safe, all of them: they only wait.
            let woken = tokio::select! {
                biased;
                () = self.signals.any() => Woken::Interrupted,
                () = sleep_until(deadline) => Woken::TimedOut,
                () = sleep_until(heartbeat) => Woken::Heartbeat,
                () = sleep_until(frame.unwrap_or(deadline)) => Woken::Frame,
                () = sleep_until(self.superseded_at.unwrap_or(deadline)) => Woken::News,
                () = sleep_until(back_by.unwrap_or(deadline)) => Woken::News,
                () = async { bell.rings().await; sleep(LOOK_PAUSE).await } => Woken::News,
            };
            match woken {
                Woken::News => {}
                Woken::Frame => self.draw(),
                Woken::Heartbeat => {
                    heartbeat = Instant::now() + HEARTBEAT;
                    let progress = [self.teller.progress()];
                    self.tell(&progress);
                }
                Woken::TimedOut if self.teller.link_is_lost() => {
                    return Ok(Ending::LostSight(limit));
                }
                Woken::TimedOut => return Ok(Ending::TimedOut(limit)),
                Woken::Interrupted => return Ok(Ending::Interrupted),
            }
        }
    }

    /// When whoever is awaited has been away for too long.
    fn back_by(&self) -> Option<Instant> {
        let now = Timestamp::now();
        let left = self.vanished.back_by(now)?.duration_since(now);
        Some(Instant::now() + Duration::try_from(left).ok()?)
    }

    /// Looks at the service, tells what is new, and returns the end if it is one.
    fn look(&mut self, watches: &mut Watches) -> Result<Option<Ending>, Problem> {
        // Who can't look now judges anew later.
        let superseded_at = self.superseded_at.take();
        let sight = match watches.look() {
            Look::Current(sight) => sight,
            Look::Loading => return Ok(None),
            Look::Down => {
                let events = self.teller.link_lost();
                self.tell(&events);
                return Ok(None);
            }
            Look::Refused(error) => return Err(error.into()),
        };
        let mut judgement = judge(&sight.state, &self.rollout.goal);
        self.vanished.revise(&mut judgement, Timestamp::now());
        if judgement.verdict == Verdict::Superseded {
            let at = superseded_at.unwrap_or_else(|| Instant::now() + SUPERSEDED_AFTER);
            self.superseded_at = Some(at);
        } else {
            // What is not wanted any more is about no host; the end says what took its place.
            let events = self.teller.update(&sight, &judgement);
            self.tell(&events);
        }
        let ending = match judgement.verdict {
            Verdict::Going => None,
            Verdict::Done => Some(Ending::Done),
            Verdict::Failed => Some(Ending::Failed),
            Verdict::Superseded => self
                .superseded_at
                .is_some_and(|at| at <= Instant::now())
                .then_some(Ending::Superseded),
            Verdict::NobodyLive => Some(Ending::NobodyLive),
        };
        // A superseded rollout is about no host any more; what was seen before says more.
        if judgement.verdict != Verdict::Superseded || self.last.is_none() {
            self.last = Some((sight, judgement));
        }
        Ok(ending)
    }

    fn tell(&mut self, events: &[Event]) {
        let now = Timestamp::now();
        if let Some(screen) = &mut self.screen {
            for event in events {
                self.block.update(event, now);
                screen.touch();
            }
            return;
        }
        for event in events {
            match self.context.out.format {
                Format::Jsonl => {
                    self.context
                        .out
                        .data(&json_line(&jsonl::event(event, self.rollout, now)))
                }
                Format::Json => {}
                Format::Text => self.say(event, now),
            }
        }
    }

    /// Draws the block as it stands.
    fn draw(&mut self) {
        let out = &self.context.out;
        if let Some(screen) = &mut self.screen {
            let now = Timestamp::now();
            let lines = self.block.draw(self.rollout, screen.room(), (out, now));
            screen.draw(&lines);
        }
    }

    fn say(&self, event: &Event, now: Timestamp) {
        let out = &self.context.out;
        if event.is_detail() && out.volume < Volume::Verbose {
            return;
        }
        for line in lines::text(event, self.rollout, (out, now)) {
            match self.lines {
                Lines::Stdout => out.data(&line),
                Lines::Stderr => out.say(&line),
            }
        }
    }
}
