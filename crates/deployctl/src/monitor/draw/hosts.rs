//! The chosen service and its hosts, a row each.

use deploy_core::name::HostName;
use deploy_core::rollout::{Host, Standing};
use deploy_core::wire::report::{Report, StepReport};
use deploy_core::wire::time;
use ratatui::text::Line;

use super::paint::{Ink, Row, fit_name};
use crate::monitor::model::{Model, Pane, ServiceView, Show, back};
use crate::monitor::order;
use crate::monitor::panels::is_wide;
use crate::text::{self, clean};

/// Rollouts with fewer hosts there say nothing about how long the rest takes.
const THERE_MIN: usize = 2;

/// The widths of the columns; 0 leaves one out.
struct Widths {
    host: usize,
    role: usize,
    build: usize,
    state: usize,
    progress: usize,
    instances: usize,
    detail: usize,
}

impl Widths {
    fn of(model: &Model, view: &ServiceView) -> Widths {
        let columns = usize::from(model.size.0);
        let (host_max, build_max, state) = match columns {
            100.. => (22, 14, 19),
            80.. => (14, 9, 17),
            _ => (14, 9, 16),
        };
        let longest = view.standings.keys().map(|name| name.as_str().len()).max();
        let host = longest.unwrap_or(0).clamp(6, host_max);
        let reports = view
            .fleet
            .state
            .hosts
            .values()
            .filter_map(|host| host.report.as_deref());
        let builds = reports.filter_map(|report| report.serving.as_ref());
        let build = builds
            .map(|build| build.as_str().len())
            .max()
            .unwrap_or(0)
            .clamp(5, build_max);
        let (role, instances) = if columns >= 80 { (6, 5) } else { (0, 0) };
        // The cursor, the time at the end, and a gap after each column.
        let gaps = if columns >= 80 { 6 } else { 4 };
        let used = 1 + host + role + build + state + instances + 7 + gaps;
        let left = columns.saturating_sub(used);
        let (progress, detail) = if is_wide(model.size) {
            (22, left.saturating_sub(23))
        } else {
            (left, 0)
        };
        Widths {
            host,
            role,
            build,
            state,
            progress,
            instances,
            detail,
        }
    }
}

/// Returns the panel.
pub(super) fn lines(model: &Model, rows: usize) -> Vec<Line<'static>> {
    let columns = usize::from(model.size.0);
    let Some(view) = model.view() else {
        return Vec::new();
    };
    let widths = Widths::of(model, view);
    let mut lines = vec![
        model.style.rule(&title(model, view), columns, Ink::Head),
        heading(model, &widths),
    ];
    let rows = rows.saturating_sub(2);
    let listed = order::hosts(model, view, rows);
    let has_rest = !listed.folded.is_empty() || listed.hosts.len() > rows;
    let room = if has_rest {
        rows.saturating_sub(1)
    } else {
        rows
    };
    let cursor = listed
        .hosts
        .iter()
        .position(|(name, _)| Some(*name) == model.host.as_ref());
    let window = order::window(listed.hosts.len(), cursor, room);
    let mut rest = listed.folded;
    rest.extend_from_slice(&listed.hosts[window.end..]);
    rest.extend_from_slice(&listed.hosts[..window.start]);
    for (name, standing) in &listed.hosts[window] {
        lines.push(row(model, view, (name, *standing), &widths));
    }
    if listed.hosts.is_empty() && rest.is_empty() {
        lines.push(Row::new(model.style).text(nobody(model), Ink::Faint).line());
    }
    if has_rest && rows > 0 {
        lines.push(folded(model, &rest));
    }
    lines
}

fn nobody(model: &Model) -> &'static str {
    match (model.show, model.filter.is_empty()) {
        (_, false) => " no host matches the filter (esc clears it)",
        (Show::Trouble, _) => " no host failed, is blocked or offline (f shows the others)",
        _ => " no host has reported yet",
    }
}

/// `web  #142 promote r2417 -> r2431 by alice "checkout fix"  4m05s, ~2m40s left`.
fn title(model: &Model, view: &ServiceView) -> String {
    let mut parts = vec![view.fleet.service.to_string()];
    if !model.filter.is_empty() {
        parts.push(format!("/{}", clean(&model.filter)));
    }
    if let Some(hold) = view.held(model.now) {
        let until = hold.until.as_deref().map_or_else(String::new, |until| {
            format!(" until {}", text::when(Some(until), model.now))
        });
        let (by, why) = (
            text::by(hold.by.as_deref()),
            text::because(hold.why.as_deref()),
        );
        parts.push(format!("HELD{by}{until}{why}"));
    }
    if let Some(rollout) = &view.rollout {
        let why = rollout.why.as_deref().filter(|why| !why.is_empty());
        let why = why.map_or_else(String::new, |why| format!(" \"{}\"", clean(why)));
        let (number, kind) = (rollout.shown_number(), rollout.shown_kind());
        let (builds, by) = (rollout.shown_builds(), text::by(rollout.by.as_deref()));
        let age = age(model, view).map_or_else(String::new, |age| format!("  {age}"));
        // The time is seen even where the reason is long.
        parts.push(format!("{number} {kind} {builds}{by}{age}{why}"));
    }
    parts.join("  ")
}

fn age(model: &Model, view: &ServiceView) -> Option<String> {
    let rollout = view.rollout.as_ref()?;
    let begun = time::parse(rollout.at.as_deref()?)?;
    let age_s = model.age_s(begun);
    let age = text::seconds(age_s);
    let tally = &view.tally;
    let rest = tally.working + tally.waiting;
    if rest == 0 {
        return Some(format!("{age} ago"));
    }
    let is_moving = tally.there >= THERE_MIN && tally.failed == 0 && view.held(model.now).is_none();
    Some(if is_moving && tally.working > 0 {
        let left = age_s.saturating_mul(rest as u64) / tally.there as u64;
        format!("{age}, ~{} left", text::seconds(left))
    } else {
        age
    })
}

fn heading(model: &Model, widths: &Widths) -> Line<'static> {
    let mut row = Row::new(model.style)
        .text(" ", Ink::Head)
        .cell("HOST", widths.host, Ink::Head);
    if widths.role > 0 {
        row = row.cell("ROLE", widths.role, Ink::Head);
    }
    row = row
        .cell("BUILD", widths.build, Ink::Head)
        .cell("STATE", widths.state, Ink::Head)
        .cell("PROGRESS", widths.progress, Ink::Head);
    if widths.instances > 0 {
        row = row.cell("INST", widths.instances, Ink::Head);
    }
    row = row.right("SINCE", 6, Ink::Head);
    if widths.detail > 0 {
        row = row.text("DETAIL", Ink::Head);
    }
    row.line()
}

fn row(
    model: &Model,
    view: &ServiceView,
    (name, standing): (&HostName, Standing),
    widths: &Widths,
) -> Line<'static> {
    let host = &view.fleet.state.hosts[name];
    let report = host.report.as_deref();
    let is_chosen = model.host.as_ref() == Some(name);
    let (mark, ink) = model.style.mark(standing);
    let word = view.tracks.get(name).map_or("", |track| &track.word);
    let step = working_step(standing, report);
    let state = format!(
        "{mark} {}{}",
        clean(word),
        step.map_or_else(String::new, counted)
    );
    let serving = report.and_then(|report| report.serving.as_ref());
    let build = serving.map_or_else(|| "-".to_owned(), ToString::to_string);
    let mut row = Row::new(model.style)
        .text(if is_chosen { ">" } else { " " }, Ink::Head)
        .text(
            format!("{} ", fit_name(model.style, name.as_str(), widths.host)),
            if order::is_trouble(standing) {
                ink
            } else {
                Ink::Plain
            },
        );
    if widths.role > 0 {
        row = row.cell(&host.role.to_string(), widths.role, Ink::Plain);
    }
    row = row
        .cell(&build, widths.build, Ink::Plain)
        .cell(&state, widths.state, ink);
    row = progress(row, (model, view), (name, host, standing), widths.progress);
    if widths.instances > 0 {
        row = row.cell(&instances(host), widths.instances, Ink::Plain);
    }
    row = row.right(&since(model, view, name), 6, Ink::Plain);
    if widths.detail > 0 {
        row = row.cell(&detail(report, standing), widths.detail, Ink::Faint);
    }
    if is_chosen && model.pane == Pane::Hosts {
        row.line_under_cursor(usize::from(model.size.0))
    } else {
        row.line()
    }
}

fn working_step(standing: Standing, report: Option<&Report>) -> Option<&StepReport> {
    let is_working = standing == Standing::Working;
    report
        .filter(|_| is_working)
        .and_then(|report| report.step.as_ref())
}

fn is_bytes(step: &StepReport) -> bool {
    matches!(step.name.as_str(), "fetch" | "extract")
}

/// ` 2/4` where instances are counted.
fn counted(step: &StepReport) -> String {
    match (step.done, step.total) {
        (Some(done), Some(total)) if !is_bytes(step) => format!(" {done}/{total}"),
        _ => String::new(),
    }
}

fn progress(
    row: Row,
    (model, view): (&Model, &ServiceView),
    (name, host, standing): (&HostName, &Host, Standing),
    columns: usize,
) -> Row {
    let report = host.report.as_deref();
    if let Some(step) = working_step(standing, report)
        && let (Some(done), Some(total @ 1..)) = (step.done, step.total)
    {
        let amount = match (is_bytes(step), columns >= 20) {
            (true, true) => format!("{}/{}", short_bytes(done), short_bytes(total)),
            _ => format!("{}%", done.min(total).saturating_mul(100) / total),
        };
        let bar = columns
            .saturating_sub(if columns >= 20 { 11 } else { 5 })
            .clamp(3, 14);
        let drawn = format!("{} {amount}", model.style.bar(done, total, bar));
        return row.cell(&drawn, columns, Ink::Busy);
    }
    let lease = report.is_some_and(|report| report.lease);
    let words = match standing {
        Standing::Failed if lease => format!("{}, has lease", back(report)),
        Standing::Failed => back(report).to_owned(),
        Standing::Waiting => waits_for(view, name, report),
        Standing::Offline | Standing::Unseen if host.unreadable.is_some() => {
            "report unreadable".to_owned()
        }
        Standing::Offline => report.map_or_else(
            || "never reported".to_owned(),
            |report| format!("was {}", clean(report.phase.as_str())),
        ),
        Standing::Unseen => "not seen the target".to_owned(),
        Standing::Blocked => "tries again".to_owned(),
        Standing::Working | Standing::Done if lease => "has lease".to_owned(),
        _ => String::new(),
    };
    row.cell(&words, columns, Ink::Plain)
}

/// Its place in the restart queue, or what else it waits for.
fn waits_for(view: &ServiceView, name: &HostName, report: Option<&Report>) -> String {
    let place = view
        .fleet
        .leases
        .iter()
        .position(|lease| lease.host == name.as_str());
    let limit = view.fleet.lease_limit();
    match place.and_then(|place| place.checked_sub(limit?)) {
        Some(before) => format!("lease, {} in queue", ordinal(before + 1)),
        None => {
            let step = report.and_then(|report| report.step.as_ref());
            let detail = step.and_then(|step| step.detail.as_deref());
            detail.map_or_else(String::new, clean)
        }
    }
}

fn ordinal(number: usize) -> String {
    let end = match (number % 10, number % 100) {
        (1, rest) if rest != 11 => "st",
        (2, rest) if rest != 12 => "nd",
        (3, rest) if rest != 13 => "rd",
        _ => "th",
    };
    format!("{number}{end}")
}

/// `106M`: bytes in at most four columns.
fn short_bytes(bytes: u64) -> String {
    let (unit, name) = match bytes {
        0..1_000 => return format!("{bytes}B"),
        1_000..1_000_000 => (1_000, "K"),
        1_000_000..1_000_000_000 => (1_000_000, "M"),
        _ => (1_000_000_000, "G"),
    };
    format!("{}{name}", bytes / unit)
}

/// Nobody knows about those of a host without an agent.
fn instances(host: &Host) -> String {
    let report = host.report.as_deref().filter(|_| host.alive);
    let all = report.map_or(&[][..], |report| &report.instances);
    if all.is_empty() {
        return "-".to_owned();
    }
    let serving = all.iter().filter(|instance| instance.state == "serving");
    format!("{}/{}", serving.count(), all.len())
}

/// Returns for how long a host is as it is.
pub(super) fn since(model: &Model, view: &ServiceView, name: &HostName) -> String {
    let since = view.tracks.get(name).and_then(|track| track.since);
    since.map_or_else(|| "-".to_owned(), |since| text::seconds(model.age_s(since)))
}

fn detail(report: Option<&Report>, standing: Standing) -> String {
    let Some(report) = report else {
        return String::new();
    };
    match (standing, &report.error) {
        (Standing::Failed | Standing::Blocked, Some(error)) => return clean(&error.message),
        (Standing::Offline, _) => return "its agent is gone".to_owned(),
        _ => {}
    }
    let draining = report
        .instances
        .iter()
        .filter_map(|instance| instance.connections);
    let open: u64 = draining.sum();
    if open > 0 {
        return format!("{open} connections open");
    }
    let attempt = report.step.as_ref().map_or(1, |step| step.attempt);
    if standing == Standing::Working && attempt > 1 {
        return format!("attempt {attempt}");
    }
    String::new()
}

/// Everything that has no row, counted.
fn folded(model: &Model, rest: &[(&HostName, Standing)]) -> Line<'static> {
    let mut counts: Vec<(Standing, usize)> = Vec::new();
    for (_, standing) in rest {
        match counts.iter_mut().find(|(known, _)| known == standing) {
            Some((_, number)) => *number += 1,
            None => counts.push((*standing, 1)),
        }
    }
    counts.sort();
    let all: Vec<String> = counts
        .iter()
        .map(|(standing, number)| format!("{number} {}", standing.as_str()))
        .collect();
    let tip = match model.show {
        Show::Folded => "  (a: show all)",
        Show::All | Show::Trouble => "",
    };
    let text = format!(" + {}{tip}", all.join(", "));
    Row::new(model.style).text(text, Ink::Faint).line()
}
