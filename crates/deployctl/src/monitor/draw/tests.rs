//! What is on the screen, against the files in `screens`.

use std::sync::Arc;

use jiff::SignedDuration;
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::style::{Color, Modifier};

use super::draw;
use crate::monitor::fixture::{api, blank, failed, fleet, host, model, service, story, web};
use crate::monitor::model::{Glyphs, Model, Over, Page, Pane, Rights, Show};
use crate::monitor::source::LinkSeen;
use crate::monitor::wish::{Confirm, Wish};
use crate::snapshot::same;

fn terminal(model: &Model) -> Terminal<TestBackend> {
    let (columns, rows) = model.size;
    let mut terminal = Terminal::new(TestBackend::new(columns, rows)).unwrap();
    terminal.draw(|frame| draw(model, frame)).unwrap();
    terminal
}

fn screen(model: &Model) -> String {
    let terminal = terminal(model);
    let buffer = terminal.backend().buffer();
    let rows = buffer.content.chunks(usize::from(model.size.0));
    rows.map(|row| {
        let row: String = row.iter().map(ratatui::buffer::Cell::symbol).collect();
        format!("{}\n", row.trim_end())
    })
    .collect()
}

/// Compares a screen with the file of that name.
#[track_caller]
fn check(name: &str, model: &Model) {
    same(&format!("monitor/draw/screens/{name}.txt"), &screen(model));
}

#[test]
fn each_size_with_each_number_of_hosts() {
    for (columns, rows) in [(100, 30), (80, 24), (60, 16)] {
        for hosts in [3, 12, 200, 2000] {
            check(
                &format!("{columns}x{rows}-{hosts}"),
                &story((columns, rows), hosts),
            );
        }
    }
}

#[test]
fn a_screen_too_small_for_panels_has_a_line_for_each_service() {
    check("40x8", &story((40, 8), 12));
    // Nothing to see, and no panic.
    for size in [(1, 1), (2, 3), (59, 15), (60, 2), (300, 17)] {
        screen(&story(size, 12));
    }
}

#[test]
fn one_host_with_its_instances_steps_and_output() {
    for (size, name) in [((80, 24), "host-80x24"), ((60, 16), "host-60x16")] {
        let mut model = story(size, 12);
        model.page = Page::Host;
        model.host = Some(host("web-09"));
        check(name, &model);
    }
    let mut model = story((100, 30), 12);
    model.page = Page::Host;
    model.host = Some(host("web-07"));
    check("host-100x30", &model);
}

#[test]
fn a_question_says_what_will_happen() {
    let mut model = story((80, 24), 12);
    model.over = Over::Confirm(Box::new(Confirm {
        wish: Wish::Rollback(service("web")),
        effects: vec![
            "r2431 -> r2417".to_owned(),
            "7 hosts go back, 4 never left it".to_owned(),
            "r2417 is on disk on all of them: nothing to download".to_owned(),
        ],
        if_rollout: Some(142),
        why: "healthz 500, no PAYMENTS_URL".to_owned(),
    }));
    check("confirm-80x24", &model);
    model.size = (60, 16);
    check("confirm-60x16", &model);
}

#[test]
fn help_refusals_and_the_filter() {
    let mut model = story((80, 24), 12);
    model.over = Over::Help;
    check("help-80x24", &model);
    model.over = Over::Message(vec![
        "web is held by dana until 22:00:00Z: \"queue migration\"".to_owned(),
        "  nothing was changed".to_owned(),
        "tip: ask dana; then deployctl unhold web".to_owned(),
    ]);
    check("message-80x24", &model);
    model.filter = "web-0[".to_owned();
    model.over = Over::Filter(String::new());
    check("filter-80x24", &model);
    model.filter = "!web-0*".to_owned();
    model.over = Over::Nothing;
    model.show = Show::All;
    model.pane = Pane::Hosts;
    model.host = Some(host("web-11"));
    check("filtered-80x24", &model);
}

#[test]
fn without_zookeeper_the_screen_is_dim_and_says_since_when() {
    let mut model = story((80, 24), 12);
    model.link = LinkSeen::Down;
    model.now = model.now.checked_add(SignedDuration::from_secs(8)).unwrap();
    check("lost-80x24", &model);
    let terminal = terminal(&model);
    let cells = &terminal.backend().buffer().content;
    let (title, rest) = cells.split_at(80);
    assert!(
        rest.iter()
            .all(|cell| cell.modifier.contains(Modifier::DIM))
    );
    assert!(title.iter().any(|cell| cell.fg == Color::Red));
    assert!(
        !title
            .iter()
            .all(|cell| cell.modifier.contains(Modifier::DIM))
    );
}

#[test]
fn many_services_fold_and_what_failed_is_on_top() {
    let mut fleets: Vec<_> = (0..20)
        .map(|index| fleet(&format!("idle-{index:02}")))
        .collect();
    fleets.push(api());
    let mut broken = web(12);
    broken.service = service("zz");
    broken.state.service = service("zz");
    fleets.push(broken);
    check("services-80x24", &model((80, 24), fleets));
}

#[test]
fn a_policy_that_cant_be_read_is_no_number_of_leases() {
    let mut web = web(12);
    web.policy = Err("the policy can't be read: `many`".to_owned());
    let mut model = model((120, 30), vec![web]);
    let text = screen(&model);
    let line = text.lines().find(|line| line.contains("r2417 -> r2431"));
    let line = line.unwrap();
    assert!(line.contains("% ?  "), "{text}");
    assert!(line.contains("the policy can't be read"), "{text}");
    model.host = Some(host("web-09"));
    model.page = Page::Host;
    let text = screen(&model);
    assert!(text.contains("?   the policy can't be read"), "{text}");
}

#[test]
fn nothing_there_yet() {
    check("reading-80x24", &blank(80, 24));
    check("empty-80x24", &model((80, 24), Vec::new()));
    check("idle-80x24", &model((80, 24), vec![fleet("web")]));
}

#[test]
fn glyphs_where_the_terminal_has_them_and_no_rights() {
    let mut model = story((100, 30), 12);
    model.style.glyphs = Glyphs::Unicode;
    model.rights = Rights::Look;
    check("unicode-100x30", &model);
}

#[test]
fn without_colours_there_is_none() {
    let mut model = story((80, 24), 12);
    model.style.is_colored = false;
    let terminal = terminal(&model);
    let cells = &terminal.backend().buffer().content;
    assert!(
        cells
            .iter()
            .all(|cell| cell.fg == Color::Reset && cell.bg == Color::Reset)
    );
}

#[test]
fn nothing_that_others_wrote_steers_the_terminal() {
    let hostile = "\u{1b}]0;x\u{7}\u{202e}\r\n\t\u{9b}2J\u{0}";
    let mut fleet = web(12);
    let mut bad = failed("web-09", 22);
    if let Some(report) = bad.report.as_mut().map(Arc::make_mut) {
        let error = report.error.as_mut().unwrap();
        error.message = hostile.repeat(100);
        error.step = hostile.to_owned();
        error.kind = hostile.to_owned();
        error.log = vec![hostile.repeat(1000)];
        report.agent = hostile.to_owned();
        report.instances[0].unit = hostile.to_owned();
        report.instances[0].state = hostile.to_owned();
    }
    fleet.state.hosts.insert(host("web-09"), bad);
    for (_, entry) in &mut fleet.history {
        entry.kind = hostile.to_owned();
        entry.why = Some(hostile.to_owned());
        entry.by = Some(hostile.to_owned());
    }
    for page in [Page::Fleet, Page::Host] {
        let mut model = model((100, 30), vec![fleet.clone()]);
        model.page = page;
        model.host = Some(host("web-09"));
        let seen = screen(&model);
        let is_bad = |c: char| c != '\n' && (c.is_control() || c == '\u{202e}');
        assert!(!seen.contains(is_bad), "{seen:?}");
        assert!(seen.contains("\\u{1b}]0;x"), "it is shown, escaped\n{seen}");
    }
}

/// The time of a frame is for people to read, and no claim: `--nocapture` shows it.
#[test]
fn the_time_of_a_frame_with_two_thousand_hosts() {
    let mut model = story((100, 30), 2000);
    let mut terminal = Terminal::new(TestBackend::new(100, 30)).unwrap();
    const FRAMES: usize = 15;
    let mut draws = Vec::new();
    let mut news = Vec::new();
    for _ in 0..FRAMES {
        let fleet = web(2000);
        let start = std::time::Instant::now();
        crate::monitor::update::update(
            &mut model,
            crate::monitor::update::Event::News(crate::monitor::source::News::Fleet(Box::new(
                fleet,
            ))),
        );
        news.push(start.elapsed());
        let start = std::time::Instant::now();
        terminal.draw(|frame| draw(&model, frame)).unwrap();
        draws.push(start.elapsed());
    }
    draws.sort();
    news.sort();
    println!(
        "2,000 hosts at 100x30: a frame takes {:?} (median of {FRAMES}, worst {:?})",
        draws[FRAMES / 2],
        draws[FRAMES - 1]
    );
    println!(
        "2,000 hosts: news of the service takes {:?} (median of {FRAMES}, worst {:?})",
        news[FRAMES / 2],
        news[FRAMES - 1]
    );
}
