//! Each event and each key.

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use deploy_core::rollout::Standing;
use deploy_core::wire::history::Outcome;
use deploy_core::wire::report::Phase;
use jiff::SignedDuration;

use super::{Effect, Event, Pulse, update};
use crate::monitor::fixture::{
    api, at_step, blank, fleet, host, model, now, reporting, service, story, web, worker,
};
use crate::monitor::model::{Model, Over, Page, Pane, Rights, Show};
use crate::monitor::source::{LinkSeen, News};
use crate::monitor::wish::{Confirm, Wish};
use crate::problem::Problem;

fn key(model: &mut Model, code: KeyCode) -> Vec<Effect> {
    update(model, Event::Key(KeyEvent::new(code, KeyModifiers::NONE)))
}

/// Presses keys: a character each; `<enter>`, `<esc>` and the like are one.
fn press(model: &mut Model, keys: &str) -> Vec<Effect> {
    let mut effects = Vec::new();
    let mut rest = keys;
    while let Some(c) = rest.chars().next() {
        let (code, len) = match rest.find('>') {
            Some(end) if c == '<' => {
                let code = match &rest[1..end] {
                    "enter" => KeyCode::Enter,
                    "esc" => KeyCode::Esc,
                    "tab" => KeyCode::Tab,
                    "down" => KeyCode::Down,
                    "up" => KeyCode::Up,
                    "pgdn" => KeyCode::PageDown,
                    "pgup" => KeyCode::PageUp,
                    "home" => KeyCode::Home,
                    "end" => KeyCode::End,
                    "back" => KeyCode::Backspace,
                    other => panic!("no key {other}"),
                };
                (code, end + 1)
            }
            _ => (KeyCode::Char(c), c.len_utf8()),
        };
        effects.extend(key(model, code));
        rest = &rest[len..];
    }
    effects
}

fn control(model: &mut Model, c: char) -> Vec<Effect> {
    update(
        model,
        Event::Key(KeyEvent::new(KeyCode::Char(c), KeyModifiers::CONTROL)),
    )
}

/// The service, the host, the pane and the page after these keys.
#[track_caller]
fn check(keys: &str, expected: &str) {
    let mut model = story((80, 24), 12);
    assert_eq!(press(&mut model, keys), []);
    let host = model.host.as_ref().map_or("-", |host| host.as_str());
    let chosen = model
        .chosen
        .as_ref()
        .map_or("-", |service| service.as_str());
    assert_eq!(
        format!("{chosen} {host} {:?} {:?}", model.pane, model.page),
        expected,
        "{keys}"
    );
}

#[test]
fn the_cursor_goes_where_the_keys_say() {
    // The failed service is chosen from the start.
    check("", "web - Services Fleet");
    check("j", "worker - Services Fleet");
    check("<down><down>", "worker - Services Fleet");
    check("k", "api - Services Fleet");
    check("<end>", "worker - Services Fleet");
    check("g", "api - Services Fleet");
    // And the failed host is first.
    check("<tab>", "web web-09 Hosts Fleet");
    check("<enter>", "web web-09 Hosts Fleet");
    check("<enter>j", "web web-12 Hosts Fleet");
    check("<enter>G", "web web-11 Hosts Fleet");
    check("<enter><pgdn><pgup>", "web web-09 Hosts Fleet");
    check("<enter>aG", "web web-06 Hosts Fleet");
    check("<enter><enter>", "web web-09 Hosts Host");
    check("<enter><enter>j", "web web-12 Hosts Host");
    check("<enter><enter><esc>", "web web-09 Hosts Fleet");
    check("<enter><enter><esc><esc>", "web - Services Fleet");
    check("<enter><enter><esc><esc><esc><esc>", "web - Services Fleet");
    check("<tab><tab>", "web web-09 Services Fleet");
}

#[test]
fn what_is_listed_follows_f_a_and_the_filter() {
    let mut model = story((80, 24), 12);
    press(&mut model, "f");
    assert_eq!(model.show, Show::Trouble);
    press(&mut model, "a");
    assert_eq!(model.show, Show::All);
    press(&mut model, "a");
    assert_eq!(model.show, Show::Folded);
    press(&mut model, "/web-1x<back>");
    assert_eq!(model.filter, "web-1");
    assert!(matches!(model.over, Over::Filter(_)));
    press(&mut model, "<enter>/2<esc>");
    assert_eq!(
        (model.filter.as_str(), &model.over),
        ("web-1", &Over::Nothing)
    );
    press(&mut model, "<tab>");
    assert_eq!(model.host, Some(host("web-12")));
    press(&mut model, "<tab><esc>");
    assert_eq!(model.filter, "");
    press(&mut model, "/abc");
    control(&mut model, 'u');
    assert_eq!(model.filter, "");
    // Keys of commands are letters here.
    press(&mut model, "qr?");
    assert_eq!(model.filter, "qr?");
}

#[test]
fn it_ends_and_it_stops() {
    let mut model = story((80, 24), 12);
    assert_eq!(press(&mut model, "q"), [Effect::Quit]);
    assert_eq!(control(&mut model, 'c'), [Effect::Quit]);
    assert_eq!(control(&mut model, 'z'), [Effect::Suspend]);
    assert_eq!(control(&mut model, 'x'), []);
    press(&mut model, "/");
    assert_eq!(control(&mut model, 'c'), [Effect::Quit]);
    let mut model = story((80, 24), 12);
    press(&mut model, "?");
    assert_eq!(model.over, Over::Help);
    assert_eq!(press(&mut model, "q"), [], "a key only closes the help");
    assert_eq!(model.over, Over::Nothing);
}

#[test]
fn each_change_is_prepared_and_none_is_made_by_one_key() {
    for (keys, wish) in [
        ("p", Wish::Promote(service("web"))),
        ("r", Wish::Rollback(service("web"))),
        ("h", Wish::Hold(service("web"))),
        ("jh", Wish::Unhold(service("worker"))),
        ("<tab>R", Wish::Retry(service("web"), host("web-09"))),
        ("R", Wish::Retry(service("web"), host("web-09"))),
    ] {
        // Also where hosts are in their natural order.
        let mut model = story((100, 30), 12);
        assert_eq!(
            press(&mut model, keys),
            [Effect::Prepare(wish.clone())],
            "{keys}"
        );
        assert_eq!(model.over, Over::Preparing(wish), "{keys}");
        assert_eq!(press(&mut model, "<enter>yr"), [], "nothing is asked yet");
        press(&mut model, "<esc>");
        assert_eq!(model.over, Over::Nothing);
    }
    let mut model = story((80, 24), 12);
    press(&mut model, "<tab>j");
    assert_eq!(press(&mut model, "R"), []);
    assert_eq!(
        model.over,
        Over::Message(vec!["web-12 has not failed: it is offline".to_owned()])
    );
}

fn confirm(wish: Wish) -> Confirm {
    Confirm {
        wish,
        effects: vec!["r2431 -> r2417".to_owned()],
        if_rollout: Some(142),
        why: String::new(),
    }
}

fn prepared(model: &mut Model, wish: Wish) {
    model.over = Over::Preparing(wish.clone());
    update(model, Event::Prepared(Box::new(Ok(confirm(wish)))));
}

/// The words of the command that these keys confirm; none where nothing is done.
#[track_caller]
fn check_act(wish: Wish, keys: &str, expected: &str) {
    let mut model = story((80, 24), 12);
    prepared(&mut model, wish);
    let effects = press(&mut model, keys);
    let command = match effects.as_slice() {
        [] => String::new(),
        [Effect::Act(confirm)] => confirm.command().join(" "),
        other => panic!("{other:?}"),
    };
    assert_eq!(command, expected, "{keys}");
}

#[test]
fn a_confirmed_wish_is_the_verb_that_would_have_been_typed() {
    let web = || service("web");
    check_act(
        Wish::Rollback(web()),
        "<enter>",
        "rollback web --if-rollout=142 --detach",
    );
    check_act(
        Wish::Rollback(web()),
        "-h 500<enter>",
        "rollback web --if-rollout=142 --detach --message=-h 500",
    );
    check_act(
        Wish::Promote(web()),
        "<enter>",
        "promote web --if-rollout=142 --detach",
    );
    check_act(Wish::Hold(web()), "<enter>", "");
    check_act(Wish::Hold(web()), " <enter>", "");
    check_act(Wish::Hold(web()), "why<enter>", "hold web --message=why");
    check_act(Wish::Unhold(web()), "<enter>", "unhold web");
    let retry = Wish::Retry(web(), host("web-09"));
    check_act(retry, "<enter>", "host retry web-09 web --detach");
    check_act(Wish::Rollback(web()), "<esc>", "");
    check_act(Wish::Rollback(web()), "q<esc><enter>", "");
}

#[test]
fn changes_are_made_one_at_a_time() {
    let mut model = story((80, 24), 12);
    let wish = Wish::Promote(service("web"));
    prepared(&mut model, wish.clone());
    press(&mut model, "<enter>");
    assert_eq!(press(&mut model, "r"), []);
    let line = "one at a time: PROMOTE THE CANARY OF web is under way";
    assert_eq!(model.over, Over::Message(vec![line.to_owned()]));
    update(&mut model, Event::Acted(wish, Ok(())));
    press(&mut model, "<esc>");
    assert_eq!(press(&mut model, "r").len(), 1);
}

#[test]
fn who_answers_no_has_said_no() {
    let mut model = story((80, 24), 12);
    prepared(&mut model, Wish::Rollback(service("web")));
    assert_eq!(press(&mut model, "n<enter>"), []);
    assert!(matches!(model.over, Over::Message(_)), "{:?}", model.over);
}

#[test]
fn what_can_not_be_shown_is_not_asked() {
    let mut model = story((80, 12), 12);
    for keys in ["p", "r", "h", "<tab>R"] {
        assert_eq!(press(&mut model, keys), []);
        assert_eq!(model.over, Over::Nothing);
    }
    // The screen may shrink while the question is there.
    let mut model = story((80, 24), 12);
    prepared(&mut model, Wish::Rollback(service("web")));
    update(&mut model, Event::Resize(80, 10));
    assert_eq!(press(&mut model, "<enter>"), []);
    update(&mut model, Event::Resize(80, 24));
    assert_eq!(press(&mut model, "<enter>").len(), 1);
}

#[test]
fn who_pressed_esc_meanwhile_is_not_asked() {
    let mut model = story((80, 24), 12);
    press(&mut model, "r<esc>");
    let answer = confirm(Wish::Rollback(service("web")));
    update(&mut model, Event::Prepared(Box::new(Ok(answer))));
    assert_eq!(model.over, Over::Nothing);
}

#[test]
fn esc_and_a_letter_that_come_together_are_esc() {
    let mut model = story((80, 24), 12);
    prepared(&mut model, Wish::Rollback(service("web")));
    let together = KeyEvent::new(KeyCode::Char('p'), KeyModifiers::ALT);
    assert_eq!(update(&mut model, Event::Key(together)), []);
    assert_eq!(model.over, Over::Nothing);
}

#[test]
fn pasted_text_is_a_reason_and_never_a_command() {
    let mut model = story((80, 24), 12);
    assert_eq!(update(&mut model, Event::Paste("qr\n".to_owned())), []);
    assert_eq!(model.over, Over::Nothing);
    prepared(&mut model, Wish::Hold(service("web")));
    assert_eq!(
        update(&mut model, Event::Paste("a\nb\u{1b}".to_owned())),
        []
    );
    let Over::Confirm(confirm) = &model.over else {
        panic!("{:?}", model.over);
    };
    assert_eq!(confirm.why, "a\\nb\\u{1b}");
    update(&mut model, Event::Paste("x".repeat(10_000)));
    let Over::Confirm(confirm) = &model.over else {
        panic!("{:?}", model.over);
    };
    assert_eq!(confirm.why.chars().count(), 200);
}

#[test]
fn read_only_and_a_lost_view_change_nothing() {
    let mut model = story((80, 24), 12);
    model.rights = Rights::Look;
    for keys in ["p", "r", "h", "<tab>R"] {
        assert_eq!(press(&mut model, keys), []);
        let Over::Message(lines) = &model.over else {
            panic!("{:?}", model.over);
        };
        assert!(lines[0].contains("--read-only"), "{lines:?}");
        press(&mut model, "<esc>");
    }
    let mut model = story((80, 24), 12);
    update(&mut model, Event::News(News::Link(LinkSeen::Down)));
    assert_eq!(press(&mut model, "r"), []);
    assert!(matches!(model.over, Over::Message(_)));
}

#[test]
fn a_refusal_is_shown_and_so_is_what_a_change_told() {
    let mut model = story((80, 24), 12);
    let problem = || {
        Problem::refused("web is held")
            .fact("nothing was changed")
            .tip("deployctl unhold web")
    };
    let lines = [
        "web is held",
        "  nothing was changed",
        "tip: deployctl unhold web",
    ];
    model.over = Over::Preparing(Wish::Promote(service("web")));
    update(&mut model, Event::Prepared(Box::new(Err(problem()))));
    assert_eq!(model.over, Over::Message(lines.map(str::to_owned).to_vec()));
    press(&mut model, "x");
    update(
        &mut model,
        Event::Acted(Wish::Promote(service("web")), Err(problem())),
    );
    assert_eq!(model.over, Over::Message(lines.map(str::to_owned).to_vec()));
    press(&mut model, "x");
    update(
        &mut model,
        Event::Acted(Wish::Promote(service("web")), Ok(())),
    );
    let note = |model: &Model| model.note.as_ref().map(|(_, line)| line.clone());
    assert_eq!(
        note(&model).as_deref(),
        Some("PROMOTE THE CANARY OF web: done")
    );
    update(&mut model, Event::Told("#143".to_owned()));
    update(
        &mut model,
        Event::Acted(Wish::Promote(service("web")), Ok(())),
    );
    update(
        &mut model,
        Event::Told("tip: deployctl watch web".to_owned()),
    );
    assert_eq!(note(&model).as_deref(), Some("#143"));
    let later = |seconds| {
        now()
            .checked_add(SignedDuration::from_secs(seconds))
            .unwrap()
    };
    update(&mut model, Event::Tick(later(14)));
    assert_eq!(note(&model).as_deref(), Some("#143"));
    update(&mut model, Event::Tick(later(15)));
    assert_eq!(model.note, None);
}

#[test]
fn the_data_is_old_from_the_last_answer_on() {
    let later = |seconds| {
        now()
            .checked_add(SignedDuration::from_secs(seconds))
            .unwrap()
    };
    let mut model = story((80, 24), 12);
    assert_eq!(model.stale_since(), None);
    update(&mut model, Event::Tick(later(3)));
    update(&mut model, Event::Pulse(Pulse::Answered));
    update(&mut model, Event::Tick(later(7)));
    update(&mut model, Event::Pulse(Pulse::Silent));
    assert_eq!(model.stale_since(), Some(later(3)));
    update(&mut model, Event::News(News::Link(LinkSeen::Down)));
    update(&mut model, Event::News(News::Link(LinkSeen::Reading)));
    update(&mut model, Event::Pulse(Pulse::Answered));
    assert_eq!(
        model.stale_since(),
        Some(later(3)),
        "not everything was read again"
    );
    update(&mut model, Event::News(News::Link(LinkSeen::Current)));
    assert_eq!(model.stale_since(), None);
    // Nothing to be old, before anything was read.
    assert_eq!(blank(80, 24).stale_since(), None);
}

#[test]
fn services_and_hosts_come_and_go() {
    let mut model = model((80, 24), vec![api(), worker()]);
    assert_eq!(
        model.chosen,
        Some(service("worker")),
        "a hold comes before a canary"
    );
    update(&mut model, Event::News(News::Gone(service("worker"))));
    assert_eq!(model.chosen, Some(service("api")));
    update(
        &mut model,
        Event::News(News::Refused(service("api"), "not allowed".to_owned())),
    );
    assert_eq!(model.chosen, Some(service("api")));
    assert!(model.view().is_none());
    update(&mut model, Event::News(News::Gone(service("api"))));
    assert_eq!(model.chosen, None);
    // A host whose page is open is forgotten.
    let mut model = story((80, 24), 12);
    press(&mut model, "<enter><enter>");
    assert_eq!((model.page, model.pane), (Page::Host, Pane::Hosts));
    let mut without = web(12);
    without.state.hosts.remove(&host("web-09"));
    update(&mut model, Event::News(News::Fleet(Box::new(without))));
    assert_eq!((model.page, &model.host), (Page::Fleet, &None));
    update(&mut model, Event::Resize(60, 16));
    assert_eq!(model.size, (60, 16));
}

#[test]
fn the_time_in_a_state_begins_with_the_state() {
    let mut model = story((80, 24), 12);
    let track = |model: &Model| model.view().unwrap().tracks[&host("web-08")].clone();
    assert_eq!(track(&model).word, "fetch");
    let before = track(&model).since;
    // Progress is no new state.
    let mut next = web(12);
    let fetching = at_step(reporting("web-08", Phase::Fetching, 0), "fetch", (3, 4));
    next.state.hosts.insert(host("web-08"), fetching);
    update(&mut model, Event::News(News::Fleet(Box::new(next.clone()))));
    assert_eq!(track(&model).since, before);
    let later = now().checked_add(SignedDuration::from_secs(5)).unwrap();
    update(&mut model, Event::Tick(later));
    let extracting = at_step(reporting("web-08", Phase::Extracting, 0), "extract", (0, 4));
    next.state.hosts.insert(host("web-08"), extracting);
    update(&mut model, Event::News(News::Fleet(Box::new(next))));
    assert_eq!(
        (track(&model).word.as_str(), track(&model).since),
        ("extract", Some(later))
    );
    assert_eq!(track(&model).seen[0].1, "fetch");
}

/// `web` with two hosts that are at this phase of #142.
fn rollout(phase: Phase) -> News {
    let mut fleet = web(3);
    fleet.state.hosts.clear();
    for name in ["web-01", "web-02"] {
        fleet
            .state
            .hosts
            .insert(host(name), reporting(name, phase.clone(), 0));
    }
    News::Fleet(Box::new(fleet))
}

#[test]
fn the_end_of_a_rollout_that_was_seen_under_way_is_recorded_once() {
    let mut model = blank(80, 24);
    assert_eq!(
        update(&mut model, Event::News(rollout(Phase::Fetching))),
        []
    );
    let ended = update(&mut model, Event::News(rollout(Phase::Serving)));
    let outcome = Outcome {
        result: "done".to_owned(),
        hosts: 2,
        total: Some(2),
        seconds: Some(245),
    };
    assert_eq!(ended, [Effect::Record(service("web"), 142, outcome)]);
    assert_eq!(update(&mut model, Event::News(rollout(Phase::Serving))), []);
    // Who comes later does not know when it ended.
    let mut model = blank(80, 24);
    assert_eq!(update(&mut model, Event::News(rollout(Phase::Serving))), []);
    // And who only looks writes nothing.
    let mut model = blank(80, 24);
    model.rights = Rights::Look;
    update(&mut model, Event::News(rollout(Phase::Fetching)));
    assert_eq!(update(&mut model, Event::News(rollout(Phase::Serving))), []);
}

#[test]
fn the_choice_follows_the_trouble_until_somebody_chose() {
    let mut model = model((80, 24), vec![api(), fleet("web")]);
    assert_eq!(model.chosen, Some(service("api")));
    update(&mut model, Event::News(News::Fleet(Box::new(web(12)))));
    assert_eq!(model.chosen, Some(service("web")));
    // What is no worse changes nothing.
    update(&mut model, Event::News(News::Fleet(Box::new(worker()))));
    assert_eq!(model.chosen, Some(service("web")));
    press(&mut model, "g");
    assert_eq!(model.chosen, Some(service("api")));
    update(&mut model, Event::News(News::Fleet(Box::new(web(12)))));
    assert_eq!(model.chosen, Some(service("api")));
}

#[test]
fn the_first_choice_waits_until_everything_is_read() {
    let mut model = blank(80, 24);
    update(&mut model, Event::News(News::Fleet(Box::new(fleet("aa")))));
    assert_eq!(model.chosen, None);
    update(&mut model, Event::News(News::Fleet(Box::new(web(12)))));
    update(&mut model, Event::News(News::Link(LinkSeen::Current)));
    assert_eq!(model.chosen, Some(service("web")));
    let view = model.view().unwrap();
    assert_eq!(view.standings[&host("web-09")], Standing::Failed);
}
