//! What the keys do.

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use deploy_core::name::ServiceName;

use super::Effect;
use crate::monitor::model::{Model, Over, Page, Pane, Rights, Show};
use crate::monitor::order;
use crate::monitor::panels::{Panels, is_small};
use crate::monitor::wish::{Confirm, Wish};
use crate::text::clean;

/// Characters of a filter or a reason.
const TYPED_CHARS_MAX: usize = 200;

/// How far a key moves the cursor.
enum Move {
    Up(usize),
    Down(usize),
    First,
    Last,
}

/// What a key does to a line that is typed.
enum Typed {
    Char(char),
    Back,
    Clear,
}

/// Takes a key.
pub(super) fn press(model: &mut Model, key: KeyEvent) -> Vec<Effect> {
    if key.modifiers.contains(KeyModifiers::CONTROL) {
        match key.code {
            // Whatever lies over the screen: this one always ends it.
            KeyCode::Char('c') => return vec![Effect::Quit],
            KeyCode::Char('z') => return vec![Effect::Suspend],
            KeyCode::Char('u') => typed(model, Typed::Clear),
            _ => {}
        }
        return Vec::new();
    }
    // Esc and a letter that come together look like one key. Esc is always safe, so it is what counts.
    if key.modifiers.contains(KeyModifiers::ALT) {
        return press(model, KeyEvent::from(KeyCode::Esc));
    }
    match std::mem::replace(&mut model.over, Over::Nothing) {
        Over::Nothing => command(model, key.code),
        Over::Help | Over::Message(_) => Vec::new(),
        Over::Preparing(_) if key.code == KeyCode::Esc => Vec::new(),
        Over::Preparing(wish) => {
            model.over = Over::Preparing(wish);
            Vec::new()
        }
        Over::Filter(before) => {
            filter(model, before, key.code);
            Vec::new()
        }
        Over::Confirm(confirm) => answer(model, confirm, key.code),
    }
}

/// Takes pasted text: it is typed where something is typed, and never a command.
pub(super) fn paste(model: &mut Model, text: &str) {
    for c in clean(text.trim()).chars() {
        typed(model, Typed::Char(c));
    }
}

fn typed(model: &mut Model, typed: Typed) {
    let line = match &mut model.over {
        Over::Filter(_) => &mut model.filter,
        Over::Confirm(confirm) => &mut confirm.why,
        _ => return,
    };
    match typed {
        Typed::Char(c) if line.chars().count() < TYPED_CHARS_MAX && !c.is_control() => line.push(c),
        Typed::Char(_) => {}
        Typed::Back => drop(line.pop()),
        Typed::Clear => line.clear(),
    }
}

fn typed_key(model: &mut Model, key: KeyCode) {
    match key {
        KeyCode::Char(c) => typed(model, Typed::Char(c)),
        KeyCode::Backspace => typed(model, Typed::Back),
        _ => {}
    }
}

fn filter(model: &mut Model, before: String, key: KeyCode) {
    match key {
        KeyCode::Enter => {}
        KeyCode::Esc => model.filter = before,
        key => {
            model.over = Over::Filter(before);
            typed_key(model, key);
        }
    }
}

fn answer(model: &mut Model, confirm: Box<Confirm>, key: KeyCode) -> Vec<Effect> {
    match key {
        KeyCode::Esc => Vec::new(),
        // Who is used to being asked yes or no has answered.
        KeyCode::Enter if is_no(&confirm.why) => say(model, "you said no: nothing was done"),
        KeyCode::Enter if confirm.is_complete() && !is_small(model.size) => {
            model.note = None;
            model.acting = Some(confirm.wish.clone());
            vec![Effect::Act(*confirm)]
        }
        key => {
            model.over = Over::Confirm(confirm);
            typed_key(model, key);
            Vec::new()
        }
    }
}

fn is_no(why: &str) -> bool {
    ["n", "no"].contains(&why.trim().to_lowercase().as_str())
}

fn command(model: &mut Model, key: KeyCode) -> Vec<Effect> {
    let page = Panels::of(model).host_rows().max(1);
    match key {
        KeyCode::Char('q') => return vec![Effect::Quit],
        KeyCode::Char('?') => model.over = Over::Help,
        KeyCode::Char('/') => model.over = Over::Filter(model.filter.clone()),
        KeyCode::Char('j') | KeyCode::Down => step(model, &Move::Down(1)),
        KeyCode::Char('k') | KeyCode::Up => step(model, &Move::Up(1)),
        KeyCode::PageDown => step(model, &Move::Down(page)),
        KeyCode::PageUp => step(model, &Move::Up(page)),
        KeyCode::Home | KeyCode::Char('g') => step(model, &Move::First),
        KeyCode::End | KeyCode::Char('G') => step(model, &Move::Last),
        KeyCode::Tab | KeyCode::BackTab => turn(model),
        KeyCode::Enter => enter(model),
        KeyCode::Esc => leave(model),
        KeyCode::Char('f') => model.show = toggled(model.show, Show::Trouble),
        KeyCode::Char('a') => model.show = toggled(model.show, Show::All),
        KeyCode::Char('p') => return ask(model, Wish::Promote),
        KeyCode::Char('r') => return ask(model, Wish::Rollback),
        KeyCode::Char('h') => {
            let held = model.view().and_then(|view| view.held(model.now));
            let wish = if held.is_some() {
                Wish::Unhold
            } else {
                Wish::Hold
            };
            return ask(model, wish);
        }
        KeyCode::Char('R') => return retry(model),
        _ => {}
    }
    Vec::new()
}

fn toggled(now: Show, wanted: Show) -> Show {
    if now == wanted { Show::Folded } else { wanted }
}

fn turn(model: &mut Model) {
    model.is_picked = true;
    model.pane = match model.pane {
        Pane::Services => Pane::Hosts,
        Pane::Hosts => Pane::Services,
    };
    if model.pane == Pane::Hosts && model.host.is_none() {
        model.host = order::most_urgent(model);
    }
}

fn enter(model: &mut Model) {
    match (model.page, model.pane) {
        (Page::Host, _) => {}
        (Page::Fleet, Pane::Services) => turn(model),
        (Page::Fleet, Pane::Hosts) if model.host.is_some() => model.page = Page::Host,
        (Page::Fleet, Pane::Hosts) => {}
    }
}

/// One thing at a time, the innermost first. At the outermost it does nothing: `q` ends.
fn leave(model: &mut Model) {
    model.note = None;
    if model.page == Page::Host {
        model.page = Page::Fleet;
    } else if !model.filter.is_empty() {
        model.filter.clear();
    } else if model.show != Show::Folded {
        model.show = Show::Folded;
    } else if model.pane == Pane::Hosts {
        model.pane = Pane::Services;
        model.host = None;
    }
}

fn step(model: &mut Model, how: &Move) {
    model.is_picked = true;
    if model.pane == Pane::Hosts || model.page == Page::Host {
        let names = order::hosts_on_screen(model);
        let at = names
            .iter()
            .position(|name| Some(name) == model.host.as_ref());
        if let Some(to) = moved(names.len(), at, how) {
            model.host = Some(names[to].clone());
        }
        return;
    }
    let rows = Panels::of(model).services.saturating_sub(1);
    let names: Vec<ServiceName> = order::services(model, rows).into_iter().cloned().collect();
    let at = names
        .iter()
        .position(|name| Some(name) == model.chosen.as_ref());
    if let Some(to) = moved(names.len(), at, how) {
        model.chosen = Some(names[to].clone());
        model.host = None;
    }
}

fn moved(len: usize, at: Option<usize>, how: &Move) -> Option<usize> {
    let last = len.checked_sub(1)?;
    let to = match (how, at) {
        (Move::First, _) | (Move::Down(_) | Move::Up(_), None) => 0,
        (Move::Last, _) => last,
        (Move::Up(rows), Some(at)) => at.saturating_sub(*rows),
        (Move::Down(rows), Some(at)) => at.saturating_add(*rows),
    };
    Some(to.min(last))
}

fn ask(model: &mut Model, wish: impl FnOnce(ServiceName) -> Wish) -> Vec<Effect> {
    let Some(service) = model.view().map(|view| view.fleet.service.clone()) else {
        return Vec::new();
    };
    prepare(model, wish(service))
}

fn retry(model: &mut Model) -> Vec<Effect> {
    let chosen = model.view().and_then(|view| {
        // Nobody is chosen: who needs it most.
        let host = model.host.clone().or_else(|| order::most_urgent(model))?;
        let standing = *view.standings.get(&host)?;
        let service = &view.fleet.service;
        Some(match view.fleet.state.has_failed(&host) {
            true => Ok(Wish::Retry(service.clone(), host)),
            false => Err(format!(
                "{host} has not failed: it is {}",
                standing.as_str()
            )),
        })
    });
    match chosen {
        Some(Ok(wish)) => prepare(model, wish),
        Some(Err(why)) => say(model, why),
        None => say(model, "there is no host to try anything"),
    }
}

fn prepare(model: &mut Model, wish: Wish) -> Vec<Effect> {
    if is_small(model.size) {
        // Nobody would see the question; the screen says so.
        return Vec::new();
    }
    if model.rights == Rights::Look {
        return say(
            model,
            "this monitor was started with --read-only: it changes nothing",
        );
    }
    if model.stale_since().is_some() {
        return say(
            model,
            "ZooKeeper is not there: what is shown may be out of date, and nothing can be changed",
        );
    }
    if let Some(acting) = &model.acting {
        let line = format!("one at a time: {} is under way", acting.title());
        return say(model, line);
    }
    model.over = Over::Preparing(wish.clone());
    vec![Effect::Prepare(wish)]
}

fn say(model: &mut Model, line: impl Into<String>) -> Vec<Effect> {
    model.over = Over::Message(vec![line.into()]);
    Vec::new()
}
