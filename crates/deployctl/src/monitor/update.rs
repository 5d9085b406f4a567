//! What an event does to the model, and what is to be done about it. Pure.

use crossterm::event::KeyEvent;
use deploy_core::name::{HostName, ServiceName};
use deploy_core::rollout::judge::{Verdict, judge};
use deploy_core::wire::history::Outcome;
use deploy_core::wire::time;
use jiff::Timestamp;

use super::model::{Model, Over, Rights, ServiceView};
use super::order::phase_urgency;
use super::source::{LinkSeen, News};
use super::wish::{Confirm, Wish};
use crate::problem::Problem;

mod keys;

/// For so long a line that a change told is in place of the keys.
const NOTE_S: i64 = 15;

/// What happens.
#[derive(Debug)]
pub(crate) enum Event {
    /// Time goes on.
    Tick(Timestamp),
    /// The screen has another size: columns and rows.
    Resize(u16, u16),
    /// A key.
    Key(KeyEvent),
    /// Text was pasted: keys of no command.
    Paste(String),
    /// Something changed in ZooKeeper.
    News(News),
    /// ZooKeeper answered, or did not in time.
    Pulse(Pulse),
    /// What a wish would do.
    Prepared(Box<Result<Confirm, Problem>>),
    /// A line that a change told.
    Told(String),
    /// A change is made, or was refused.
    Acted(Wish, Result<(), Problem>),
}

/// Whether ZooKeeper answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pulse {
    /// It does.
    Answered,
    /// It did not within the time.
    Silent,
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Effect {
    /// Restore the terminal and end.
    Quit,
    /// Restore the terminal and stop, until the shell says otherwise.
    Suspend,
    /// Read what a wish would do.
    Prepare(Wish),
    /// Do it.
    Act(Confirm),
    /// Write into the history how a rollout ended that was seen to end.
    Record(ServiceName, u64, Outcome),
}

/// Takes an event in.
pub(crate) fn update(model: &mut Model, event: Event) -> Vec<Effect> {
    match event {
        Event::Tick(now) => tick(model, now),
        Event::Resize(columns, rows) => model.size = (columns, rows),
        Event::Key(key) => return keys::press(model, key),
        Event::Paste(text) => keys::paste(model, &text),
        Event::News(news) => return hear(model, news),
        Event::Pulse(pulse) => feel(model, pulse),
        Event::Prepared(prepared) => prepare(model, *prepared),
        // What to type next is on the screen already.
        Event::Told(line) if line.starts_with("tip:") => {}
        Event::Told(line) => model.note = Some((model.now, line)),
        Event::Acted(wish, Ok(())) => {
            model.acting = None;
            let done = format!("{}: done", wish.title());
            // What the change itself told says more.
            model.note.get_or_insert((model.now, done));
        }
        Event::Acted(_, Err(problem)) => {
            model.acting = None;
            model.over = Over::Message(lines_of(&problem));
        }
    }
    Vec::new()
}

fn tick(model: &mut Model, now: Timestamp) {
    model.now = now;
    let is_old = |at: Timestamp| now.duration_since(at).as_secs() >= NOTE_S;
    model.note.take_if(|(at, _)| is_old(*at));
}

fn hear(model: &mut Model, news: News) -> Vec<Effect> {
    let mut effects = Vec::new();
    match news {
        News::Fleet(fleet) => {
            let name = fleet.service.clone();
            let before = model.services.remove(&name);
            let was = before.as_ref().and_then(verdict);
            let view = ServiceView::new(*fleet, before, model.now);
            effects.extend(ended(&view, was, model));
            model.refused.remove(&name);
            model.services.insert(name, view);
        }
        News::Refused(name, why) => {
            model.services.remove(&name);
            model.refused.insert(name, why);
        }
        News::Gone(name) => {
            model.services.remove(&name);
            model.refused.remove(&name);
        }
        News::Link(link) => {
            model.link = link;
        }
    }
    if model.link == LinkSeen::Current {
        model.answered_at = model.now;
        model.is_silent = false;
        choose(model);
    }
    if model
        .chosen
        .as_ref()
        .is_some_and(|name| !is_known(model, name))
    {
        model.chosen = first_choice(model);
    }
    forget_host(model);
    effects
}

/// Until somebody chose, the choice goes to what needs somebody more than the one before. Not before
/// everything is known: else it would be who is read first.
fn choose(model: &mut Model) {
    let urgency = |name: &ServiceName| {
        let view = model.services.get(name);
        view.map_or(u8::MAX, |view| phase_urgency(view.phase(model.now)))
    };
    let first = first_choice(model);
    let is_worse = match (&first, &model.chosen) {
        (Some(first), Some(chosen)) => urgency(first) < urgency(chosen),
        (Some(_), None) => true,
        (None, _) => false,
    };
    if is_worse && !model.is_picked {
        model.chosen = first;
    }
}

/// The service that needs somebody most.
fn first_choice(model: &Model) -> Option<ServiceName> {
    let views = model.services.iter();
    let worst = views.min_by_key(|(_, view)| phase_urgency(view.phase(model.now)));
    worst.map(|(name, _)| name.clone())
}

fn is_known(model: &Model, name: &ServiceName) -> bool {
    model.services.contains_key(name) || model.refused.contains_key(name)
}

fn forget_host(model: &mut Model) {
    let is_there = |host: &HostName| {
        let view = model.view();
        view.is_some_and(|view| view.standings.contains_key(host))
    };
    if model.host.as_ref().is_some_and(|host| !is_there(host)) {
        model.host = None;
        model.page = super::model::Page::Fleet;
    }
}

fn feel(model: &mut Model, pulse: Pulse) {
    model.is_silent = pulse == Pulse::Silent;
    if pulse == Pulse::Answered && model.link == LinkSeen::Current {
        model.answered_at = model.now;
    }
}

fn prepare(model: &mut Model, prepared: Result<Confirm, Problem>) {
    // Who pressed `esc` meanwhile is not asked.
    if !matches!(model.over, Over::Preparing(_)) {
        return;
    }
    model.over = match prepared {
        Ok(confirm) => Over::Confirm(Box::new(confirm)),
        Err(problem) => Over::Message(lines_of(&problem)),
    };
}

fn lines_of(problem: &Problem) -> Vec<String> {
    let mut lines = vec![problem.what.clone()];
    lines.extend(problem.facts.iter().map(|fact| format!("  {fact}")));
    lines.extend(problem.tips.iter().map(|tip| format!("tip: {tip}")));
    lines
}

/// Returns the end of a rollout that was seen under way: nobody else may be there to record it.
fn ended(view: &ServiceView, was: Option<(u64, Verdict)>, model: &Model) -> Option<Effect> {
    let (number, now) = verdict(view)?;
    let result = match now {
        Verdict::Done => "done",
        Verdict::Failed => "failed",
        Verdict::Going | Verdict::Superseded | Verdict::NobodyLive => return None,
    };
    let is_fresh = was == Some((number, Verdict::Going)) && model.rights == Rights::Change;
    let begun = view.rollout.as_ref()?.at.as_deref().and_then(time::parse)?;
    let entry = view
        .fleet
        .history
        .iter()
        .find(|(found, _)| *found == number);
    let is_open = entry.is_some_and(|(_, entry)| entry.outcome.is_none());
    // Those that it is about: a canary is not about the others.
    let judgement = judge(&view.fleet.state, &view.rollout.as_ref()?.goal);
    let there = judgement.hosts.values().filter(|host| host.is_there());
    (is_fresh && is_open).then(|| {
        Effect::Record(
            view.fleet.service.clone(),
            number,
            Outcome {
                result: result.to_owned(),
                hosts: there.count() as u64,
                total: Some(judgement.hosts.len() as u64),
                seconds: Some(model.age_s(begun)),
            },
        )
    })
}

fn verdict(view: &ServiceView) -> Option<(u64, Verdict)> {
    let rollout = view.rollout.as_ref()?;
    Some((
        rollout.number?,
        judge(&view.fleet.state, &rollout.goal).verdict,
    ))
}

#[cfg(test)]
mod tests;
