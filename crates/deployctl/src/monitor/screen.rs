//! The monitor on a terminal: waits for events, gives them to the model, draws, does what comes of it.

use std::io::IsTerminal;
use std::pin::Pin;
use std::time::Duration;

use crossterm::event::{Event as Input, EventStream, KeyEventKind};
use futures_util::StreamExt;
use futures_util::future::OptionFuture;
use futures_util::stream::FuturesUnordered;
use jiff::Timestamp;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc::{Receiver, channel};
use tokio::time::{Instant, Interval, MissedTickBehavior, interval, sleep, sleep_until, timeout};

use super::model::{Appearance, Glyphs, Model, Over, Page, Pane, Rights, Show};
use super::perform;
use super::prepare::prepare;
use super::source::{LinkSeen, News, Source};
use super::terminal::Screen;
use super::update::{Effect, Event, Pulse, update};
use super::wish::{Confirm, Wish};
use crate::context::{Consent, Context};
use crate::exit::Exit;
use crate::fleet::Fleet;
use crate::problem::Problem;
use crate::text;
use crate::verb::status::services_text;
use crate::wait::end::problem::failure_lines;

/// The shortest time between two frames.
const FRAME_PAUSE: Duration = Duration::from_millis(100);
/// The time goes on in these steps.
const TICK: Duration = Duration::from_secs(1);
/// ZooKeeper is asked this often whether it is there; the session alone would tell much later.
const PULSE_PAUSE: Duration = Duration::from_secs(2);
/// After this long without an answer what is shown counts as old.
const PULSE_MAX: Duration = Duration::from_secs(2);
/// How long a change that is being made may hold up the end.
const FINISH_MAX: Duration = Duration::from_secs(5);
/// Lines of a change that wait to be shown.
const TOLD_MAX: usize = 100;
/// Failed hosts that stay in the scrollback with their output.
const FAILED_LEFT_MAX: usize = 10;

type Doing<'a, T> = Pin<Box<dyn Future<Output = T> + 'a>>;

/// Everything that goes on at once. Each future goes on while the others are looked at.
struct Works<'a> {
    news: Doing<'a, (Source, Vec<News>)>,
    pulse: Doing<'a, Pulse>,
    preparing: Option<Doing<'a, Result<Confirm, Problem>>>,
    acting: Option<Doing<'a, (Wish, Result<(), Problem>)>>,
    /// More than one service may end at a time.
    recording: FuturesUnordered<Doing<'a, ()>>,
    told: Receiver<String>,
    inputs: EventStream,
    tick: Interval,
    signals: Signals,
}

/// What ends it from outside.
struct Signals {
    terminate: Signal,
    hangup: Signal,
    interrupt: Signal,
    quit: Signal,
}

/// What the wait ended with.
enum Woken {
    Events(Vec<Event>),
    Frame,
    Input(Option<std::io::Result<Input>>),
    Ended,
}

/// Shows the screen until somebody ends it, and leaves the last state in the scrollback.
///
/// # Errors
/// Where the terminal is of no use.
pub(super) async fn run(
    source: Source,
    rights: Rights,
    context: &Context,
) -> Result<Exit, Problem> {
    let broken = |error: std::io::Error| {
        Problem::usage(format!("failed to use the terminal: {error}"))
            .tip("deployctl monitor | cat prints a line for each outcome")
    };
    let signals = Signals::listen().map_err(broken)?;
    let mut screen = Screen::enter().map_err(broken)?;
    let mut model = new_model(rights, context, screen.size().map_err(broken)?);
    let ended = follow(&mut model, &mut screen, (source, signals), context).await;
    drop(screen);
    leave_behind(model, context);
    ended
}

fn new_model(rights: Rights, context: &Context, size: (u16, u16)) -> Model {
    let now = Timestamp::now();
    Model {
        now,
        size,
        style: Appearance {
            is_colored: context.out.is_colored(),
            glyphs: glyphs(),
        },
        rights,
        place: context.address.clone(),
        by: context.by.clone(),
        link: LinkSeen::Reading,
        is_silent: false,
        answered_at: now,
        services: Default::default(),
        refused: Default::default(),
        chosen: None,
        is_picked: false,
        host: None,
        pane: Pane::Services,
        page: Page::Fleet,
        show: Show::Folded,
        filter: String::new(),
        over: Over::Nothing,
        acting: None,
        note: None,
    }
}

/// The console of the kernel has few glyphs, and a locale without UTF-8 none.
fn glyphs() -> Glyphs {
    let set = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let locale = set("LC_ALL")
        .or_else(|| set("LC_CTYPE"))
        .or_else(|| set("LANG"));
    let is_utf8 = locale.is_some_and(|locale| {
        let locale = locale.to_lowercase();
        locale.contains("utf-8") || locale.contains("utf8")
    });
    if is_utf8 && set("TERM").as_deref() != Some("linux") {
        Glyphs::Unicode
    } else {
        Glyphs::Ascii
    }
}

async fn follow(
    model: &mut Model,
    screen: &mut Screen,
    (source, signals): (Source, Signals),
    context: &Context,
) -> Result<Exit, Problem> {
    let (listener, told) = channel(TOLD_MAX);
    let acting_context = Context {
        out: context.out.told_to(listener),
        // The box was the question.
        consent: Consent::Given,
        ..context.clone()
    };
    let mut works = Works::begin(source, signals, (context, told));
    let mut next_frame = Instant::now();
    let mut is_drawn = false;
    loop {
        if !is_drawn && Instant::now() >= next_frame {
            if screen.show(model).is_err() {
                // The terminal is gone, and with it who looked.
                return Ok(Exit::Interrupted);
            }
            is_drawn = true;
            next_frame = Instant::now() + FRAME_PAUSE;
        }
        let events = match works.next((!is_drawn).then_some(next_frame), context).await {
            Woken::Frame => continue,
            Woken::Ended | Woken::Input(None | Some(Err(_))) => return Ok(Exit::Interrupted),
            Woken::Events(events) => events,
            Woken::Input(Some(Ok(input))) => event_of(input).into_iter().collect(),
        };
        is_drawn = false;
        update(model, Event::Tick(Timestamp::now()));
        for event in events {
            for effect in update(model, event) {
                match effect {
                    Effect::Quit => {
                        return works.finish().await.map(|()| Exit::Done);
                    }
                    Effect::Suspend => match screen.suspend() {
                        // It may have another size by now.
                        Ok((columns, rows)) => {
                            update(model, Event::Resize(columns, rows));
                        }
                        Err(_) => return Ok(Exit::Interrupted),
                    },
                    other => works.start(other, (context, &acting_context)),
                }
            }
        }
    }
}

fn event_of(input: Input) -> Option<Event> {
    match input {
        Input::Key(key) if key.kind != KeyEventKind::Release => Some(Event::Key(key)),
        Input::Paste(text) => Some(Event::Paste(text)),
        Input::Resize(columns, rows) => Some(Event::Resize(columns, rows)),
        _ => None,
    }
}

impl<'a> Works<'a> {
    fn begin(
        source: Source,
        signals: Signals,
        (context, told): (&'a Context, Receiver<String>),
    ) -> Works<'a> {
        let mut tick = interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Works {
            news: Box::pin(source.next()),
            pulse: Box::pin(pulse(context)),
            preparing: None,
            acting: None,
            recording: FuturesUnordered::new(),
            told,
            inputs: EventStream::new(),
            tick,
            signals,
        }
    }

    /// Waits for what comes next; a frame that is due at `frame` is one of it.
    async fn next(&mut self, frame: Option<Instant>, context: &'a Context) -> Woken {
        let frame = OptionFuture::from(frame.map(sleep_until));
        // Cancel-safe, all of them: the works are kept, and the others only wait.
        tokio::select! {
            biased;
            () = self.signals.any() => Woken::Ended,
            input = self.inputs.next() => Woken::Input(input),
            Some(()) = frame => Woken::Frame,
            Some(prepared) = OptionFuture::from(self.preparing.as_mut()) => {
                self.preparing = None;
                Woken::Events(vec![Event::Prepared(Box::new(prepared))])
            }
            Some(line) = self.told.recv() => Woken::Events(vec![Event::Told(line)]),
            Some((wish, acted)) = OptionFuture::from(self.acting.as_mut()) => {
                self.acting = None;
                Woken::Events(vec![Event::Acted(wish, acted)])
            }
            Some(()) = self.recording.next() => Woken::Events(Vec::new()),
            (source, news) = self.news.as_mut() => {
                self.news = Box::pin(source.next());
                Woken::Events(news.into_iter().map(Event::News).collect())
            }
            pulse = self.pulse.as_mut() => {
                self.pulse = Box::pin(self::pulse(context));
                Woken::Events(vec![Event::Pulse(pulse)])
            }
            _ = self.tick.tick() => Woken::Events(Vec::new()),
        }
    }

    /// Waits for the change that was confirmed: it was asked for before the end was.
    async fn finish(&mut self) -> Result<(), Problem> {
        let Some(acting) = self.acting.as_mut() else {
            return Ok(());
        };
        match timeout(FINISH_MAX, acting).await {
            Ok((_, acted)) => acted,
            Err(_) => Err(Problem::unreachable(
                "ended before the change was made: it may have been done or not",
            )
            .tip("look first: deployctl history")),
        }
    }

    fn start(&mut self, effect: Effect, (context, acting): (&'a Context, &'a Context)) {
        match effect {
            Effect::Prepare(wish) => self.preparing = Some(Box::pin(prepare(wish, context))),
            Effect::Act(confirm) => self.acting = Some(Box::pin(perform::act(confirm, acting))),
            Effect::Record(service, number, outcome) => {
                let recording = perform::record((service, number), outcome, context);
                self.recording.push(Box::pin(recording));
            }
            Effect::Quit | Effect::Suspend => {}
        }
    }
}

async fn pulse(context: &Context) -> Pulse {
    sleep(PULSE_PAUSE).await;
    match timeout(PULSE_MAX, context.zk.get(context.root.path())).await {
        Ok(Ok(_)) => Pulse::Answered,
        Ok(Err(_)) | Err(_) => Pulse::Silent,
    }
}

impl Signals {
    fn listen() -> std::io::Result<Signals> {
        Ok(Signals {
            terminate: signal(SignalKind::terminate())?,
            hangup: signal(SignalKind::hangup())?,
            interrupt: signal(SignalKind::interrupt())?,
            quit: signal(SignalKind::quit())?,
        })
    }

    async fn any(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.hangup.recv() => {}
            _ = self.interrupt.recv() => {}
            _ = self.quit.recv() => {}
        }
    }
}

/// Prints how it was last, in plain lines.
fn leave_behind(model: Model, context: &Context) {
    let out = &context.out;
    let stale = model.stale_since();
    let clock = text::clock(stale.unwrap_or(model.now));
    let lost = if stale.is_some() {
        ", when ZooKeeper was last there"
    } else {
        ""
    };
    if std::io::stdout().is_terminal() {
        out.data(&format!("{}  as of {clock}{lost}", context.address));
    }
    let fleets: Vec<Fleet> = model
        .services
        .into_values()
        .map(|view| view.fleet)
        .collect();
    out.data(&services_text(&fleets, model.now));
    let failed = fleets.iter().flat_map(|fleet| {
        let standings = fleet.state.standings().into_iter();
        let failed =
            standings.filter(|(_, standing)| *standing == deploy_core::rollout::Standing::Failed);
        failed.map(|(name, _)| failure_lines(&name, &fleet.state.hosts[&name]))
    });
    for line in failed.take(FAILED_LEFT_MAX).flatten() {
        out.data(&line);
    }
}
