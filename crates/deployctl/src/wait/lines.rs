//! Events as lines for people and CI logs.

use deploy_core::rollout::Standing;
use deploy_core::wire::report::StepReport;
use jiff::Timestamp;

use super::Rollout;
use super::event::{Event, HostEvent, Tally};
use crate::out::{Out, Tone};
use crate::text::{self, clean};

/// Returns the lines of an event.
pub(crate) fn text(event: &Event, rollout: &Rollout, (out, now): (&Out, Timestamp)) -> Vec<String> {
    let (subject, word, detail) = match event {
        Event::Start(tally) => (
            rollout.shown_kind(),
            rollout.shown_builds(),
            start(rollout, tally),
        ),
        Event::Host(event) => host(event, out),
        Event::Held(hold) => {
            let until = hold.until.as_deref().map_or_else(String::new, |until| {
                format!(" until {}", text::when(Some(until), now))
            });
            let by = text::by(hold.by.as_deref());
            let why = text::because(hold.why.as_deref());
            (
                "hold".to_owned(),
                out.paint("held", Tone::Warn),
                format!("{by}{until}{why}"),
            )
        }
        Event::Released => ("hold".to_owned(), "over".to_owned(), String::new()),
        Event::Progress(tally) => ("rolling".to_owned(), share(tally), rest(tally)),
        Event::LinkLost => (
            "ZooKeeper".to_owned(),
            out.paint("lost", Tone::Warn),
            "the rollout goes on; waiting for the connection".to_owned(),
        ),
        Event::LinkBack => ("ZooKeeper".to_owned(), "back".to_owned(), String::new()),
    };
    let head = format!(
        "{} {} {}",
        text::clock(now),
        rollout.shown_number(),
        rollout.service
    );
    let line = format!("{head}  {subject:<9} {} {}", pad(&word, 9), detail.trim());
    vec![line.trim_end().to_owned()]
}

/// Returns `9/12`.
pub(crate) fn share(tally: &Tally) -> String {
    format!("{}/{}", tally.there, tally.total)
}

/// Returns what the hosts that are not there do: `2 working, 1 waiting, 1 offline (web-12)`.
pub(crate) fn rest(tally: &Tally) -> String {
    /// Names listed.
    const NAMES_MAX: usize = 5;
    let parts = [
        (tally.working, "working"),
        (tally.waiting, "waiting"),
        (tally.blocked, "blocked"),
        (tally.failed, "failed"),
        (tally.offline.len(), "offline"),
    ];
    let parts = parts.iter().filter(|(number, _)| *number > 0);
    let mut rest = parts
        .map(|(number, what)| format!("{number} {what}"))
        .collect::<Vec<_>>()
        .join(", ");
    if !tally.offline.is_empty() {
        let names = tally.offline.iter().map(|name| name.as_str());
        rest.push_str(&format!(" ({})", text::list(names, NAMES_MAX)));
    }
    rest
}

fn start(rollout: &Rollout, tally: &Tally) -> String {
    let hosts = match rest(&Tally {
        working: 0,
        waiting: 0,
        ..tally.clone()
    }) {
        rest if rest.is_empty() => text::count(tally.total, "host"),
        rest => format!("{}, {rest}", text::count(tally.total, "host")),
    };
    let why = rollout
        .why
        .as_deref()
        .map_or_else(String::new, |why| format!(" \"{}\"", clean(why)));
    format!("{}{why} ({hosts})", text::by(rollout.by.as_deref()))
}

fn host(event: &HostEvent, out: &Out) -> (String, String, String) {
    let subject = event.host.to_string();
    let message = || {
        event
            .error
            .as_ref()
            .map_or_else(String::new, |error| clean(&error.message))
    };
    let (word, detail) = match event.standing {
        Standing::Done => {
            let build = event
                .serving
                .as_ref()
                .map_or_else(String::new, ToString::to_string);
            let instances = match event.instances {
                (0, _) => String::new(),
                (all, serving) => format!(", {serving}/{all} instances"),
            };
            let share = share(&event.tally);
            (
                out.paint("serving", Tone::Good),
                format!("{build}{instances}  {share}"),
            )
        }
        Standing::Staged => (out.paint("staged", Tone::Good), share(&event.tally)),
        Standing::Failed => {
            let step = event.error.as_ref().map_or("", |error| error.step.as_str());
            (
                out.paint("FAILED", Tone::Bad),
                format!("{}: {}", clean(step), message()),
            )
        }
        Standing::Blocked => (out.paint("blocked", Tone::Warn), message()),
        Standing::Offline => (
            out.paint("offline", Tone::Warn),
            "its agent is gone".to_owned(),
        ),
        Standing::Working | Standing::Waiting => (
            phase(event),
            event.step.as_ref().map_or_else(String::new, step),
        ),
        Standing::Unseen if event.unreadable.is_some() => (
            event.standing.as_str().to_owned(),
            clean(event.unreadable.as_deref().unwrap_or_default()),
        ),
        Standing::Unseen if event.is_back => ("back".to_owned(), String::new()),
        Standing::Unseen | Standing::Idle => (event.standing.as_str().to_owned(), String::new()),
    };
    (subject, word, detail)
}

fn phase(event: &HostEvent) -> String {
    event
        .phase
        .as_deref()
        .map_or_else(|| event.standing.as_str().to_owned(), clean)
}

/// Returns how far a step is: `restart 1 of 4, attempt 2: draining`.
pub(crate) fn step(step: &StepReport) -> String {
    let progress = match (step.done, step.total) {
        (Some(done), Some(total)) => format!(" {done} of {total}"),
        (Some(done), None) => format!(" {done}"),
        _ => String::new(),
    };
    let attempt = if step.attempt > 1 {
        format!(", attempt {}", step.attempt)
    } else {
        String::new()
    };
    let detail = step
        .detail
        .as_deref()
        .map_or_else(String::new, |detail| format!(": {}", clean(detail)));
    format!("{}{progress}{attempt}{detail}", clean(&step.name))
}

/// Colours have no width.
fn pad(word: &str, width: usize) -> String {
    let mut shown = 0;
    let mut in_escape = false;
    for c in word.chars() {
        match c {
            '\x1b' => in_escape = true,
            'm' if in_escape => in_escape = false,
            _ if in_escape => {}
            _ => shown += 1,
        }
    }
    format!("{word}{}", " ".repeat(width.saturating_sub(shown)))
}
