//! One host: how it is, its instances, the way it goes, what it said last.

use deploy_core::name::HostName;
use deploy_core::rollout::{Host, Standing};
use deploy_core::wire::report::{Phase, Report};
use ratatui::text::Line;

use super::hosts;
use super::paint::{Ink, Row, fit, wrap};
use crate::monitor::model::{Model, ServiceView, back};
use crate::text::{self, clean};

/// The phases of a deployment, in their order, with the word on the screen.
const WAY: [(Phase, &str); 8] = [
    (Phase::Fetching, "fetch"),
    (Phase::Extracting, "extract"),
    (Phase::Preparing, "prepare"),
    (Phase::Waiting, "wait"),
    (Phase::Activating, "activate"),
    (Phase::Restarting, "restart"),
    (Phase::Probing, "probe"),
    (Phase::Serving, "serving"),
];
/// Title and rule above, keys below.
const FRAME_ROWS: usize = 3;
/// Rows of output that are shown however small the screen.
const LOG_ROWS_MIN: usize = 10;
/// Rows of a message.
const MESSAGE_ROWS_MAX: usize = 3;

/// Returns everything between the title and the keys.
pub(super) fn lines(model: &Model) -> Vec<Line<'static>> {
    let found = model.view().zip(model.host.as_ref());
    let Some((view, name)) = found else {
        return Vec::new();
    };
    let host = &view.fleet.state.hosts[name];
    let standing = view.standings[name];
    let columns = usize::from(model.size.0);
    let title = format!("{name}   {}, {}", view.fleet.service, host.role);
    let mut lines = vec![model.style.rule(&title, columns, Ink::Head)];
    lines.extend(facts(model, view, (name, host, standing)));
    let Some(report) = &host.report else {
        return lines;
    };
    let steps = steps(model, view, (name, report, standing));
    let instances = instances(model, report);
    let below = 2 + steps.len() + instances.len();
    // What is wrong comes first: on a small screen the rest is below its end.
    let rows = usize::from(model.size.1).saturating_sub(FRAME_ROWS + lines.len());
    lines.extend(trouble(
        model,
        (report, standing),
        rows.saturating_sub(below),
    ));
    lines.push(model.style.rule("STEPS", columns, Ink::Head));
    lines.extend(steps);
    lines.push(model.style.rule("INSTANCES", columns, Ink::Head));
    lines.extend(instances);
    lines
}

/// What went wrong, and the last lines of output: as many as there are rows, and some at least.
fn trouble(
    model: &Model,
    (report, standing): (&Report, Standing),
    rows: usize,
) -> Vec<Line<'static>> {
    let Some(error) = &report.error else {
        return Vec::new();
    };
    let columns = usize::from(model.size.0);
    let (_, ink) = model.style.mark(standing);
    let word = if standing == Standing::Failed {
        "FAILED"
    } else {
        "BLOCKED"
    };
    let title = format!("{word} {}", clean(&error.step));
    let mut lines = vec![model.style.rule(&title, columns, ink)];
    let message = clean(&error.message);
    for line in wrap(model.style, &message, columns - 2, MESSAGE_ROWS_MAX) {
        lines.push(plain(model, &format!(" {line}"), ink));
    }
    let rows = rows.saturating_sub(lines.len()).max(LOG_ROWS_MIN);
    for line in &error.log[error.log.len().saturating_sub(rows)..] {
        lines.push(plain(model, &format!("  | {}", clean(line)), Ink::Plain));
    }
    lines
}

fn plain(model: &Model, text: &str, ink: Ink) -> Line<'static> {
    let text = fit(model.style, text, usize::from(model.size.0));
    Row::new(model.style)
        .text(text.trim_end().to_owned(), ink)
        .line()
}

fn fact(model: &Model, name: &str, value: &str, ink: Ink) -> Line<'static> {
    let room = usize::from(model.size.0).saturating_sub(12);
    Row::new(model.style)
        .text(" ", Ink::Plain)
        .cell(name, 9, Ink::Faint)
        .text(fit(model.style, value, room).trim_end().to_owned(), ink)
        .line()
}

fn facts(
    model: &Model,
    view: &ServiceView,
    (name, host, standing): (&HostName, &Host, Standing),
) -> Vec<Line<'static>> {
    let (mark, ink) = model.style.mark(standing);
    let word = view.tracks.get(name).map_or("", |track| &track.word);
    let since = match hosts::since(model, view, name) {
        unknown if unknown == "-" => String::new(),
        since => format!("   for {since}"),
    };
    let state = format!("{} {}{since}", mark.trim_end(), clean(word));
    let target = view.fleet.state.targets.followed(host.role);
    let wants = target.map_or_else(
        || "nothing".to_owned(),
        |target| {
            let number = target
                .rollout
                .map_or_else(String::new, |n| format!(" (#{n})"));
            format!("{}{number}", target.build)
        },
    );
    let mut lines = vec![fact(model, "state", &state, ink)];
    let Some(report) = &host.report else {
        lines.push(fact(
            model,
            "build",
            &format!("wanted {wants}; it has never reported"),
            Ink::Plain,
        ));
        return lines;
    };
    let build = |name: &Option<deploy_core::name::BuildName>| {
        name.as_ref()
            .map_or_else(|| "-".to_owned(), ToString::to_string)
    };
    let builds = format!(
        "serves {}   wanted {wants}   current {}   before {}",
        build(&report.serving),
        build(&report.current),
        build(&report.previous)
    );
    lines.push(fact(model, "build", &builds, Ink::Plain));
    lines.push(fact(
        model,
        "lease",
        &lease(view, name, standing),
        Ink::Plain,
    ));
    let disk = report
        .disk_free
        .map_or_else(String::new, |free| format!("   {} free", text::bytes(free)));
    let said = text::ago(report.at.as_deref(), model.now);
    let said = said.map_or_else(String::new, |ago| format!("   report {ago}"));
    let alive = if host.alive { "" } else { "   NO SESSION" };
    let agent = format!("deployd {}{said}{disk}{alive}", clean(&report.agent));
    lines.push(fact(model, "agent", &agent, Ink::Plain));
    lines
}

fn lease(view: &ServiceView, name: &HostName, standing: Standing) -> String {
    let limit = match &view.fleet.policy {
        Ok(policy) => view.fleet.lease_limit_of(policy),
        Err(why) => return format!("?   {why}"),
    };
    let place = view
        .fleet
        .leases
        .iter()
        .position(|lease| lease.host == name.as_str());
    match place {
        None => format!(
            "none   {} of {limit} are held",
            view.fleet.leases.len().min(limit)
        ),
        Some(place) if place < limit && standing == Standing::Failed => {
            format!(
                "{} of {limit}, kept until this host is good again",
                place + 1
            )
        }
        Some(place) if place < limit => format!("{} of {limit}", place + 1),
        Some(place) => format!("waits: {} before it, {limit} at a time", place),
    }
}

fn instances(model: &Model, report: &Report) -> Vec<Line<'static>> {
    let columns = usize::from(model.size.0);
    let unit = columns.saturating_sub(40).clamp(16, 34);
    let mut lines = vec![
        Row::new(model.style)
            .text(" ", Ink::Head)
            .cell("UNIT", unit, Ink::Head)
            .cell("PORT", 5, Ink::Head)
            .cell("BUILD", 12, Ink::Head)
            .cell("STATE", 10, Ink::Head)
            .text("CONNS", Ink::Head)
            .line(),
    ];
    for instance in &report.instances {
        let ink = match instance.state.as_str() {
            "serving" => Ink::Good,
            "down" => Ink::Bad,
            _ => Ink::Busy,
        };
        let port = instance
            .port
            .map_or_else(|| "-".to_owned(), |port| port.to_string());
        let build = instance
            .build
            .as_ref()
            .map_or_else(|| "-".to_owned(), ToString::to_string);
        let open = instance
            .connections
            .map_or_else(|| "-".to_owned(), |n| n.to_string());
        lines.push(
            Row::new(model.style)
                .text(" ", Ink::Plain)
                .cell(&clean(&instance.unit), unit, Ink::Plain)
                .cell(&port, 5, Ink::Plain)
                .cell(&build, 12, Ink::Plain)
                .cell(&clean(&instance.state), 10, ink)
                .text(open, Ink::Plain)
                .line(),
        );
    }
    if report.instances.is_empty() {
        lines.push(plain(model, " none", Ink::Faint));
    }
    lines
}

/// The way of a deployment, with the place on it.
fn way(model: &Model, report: &Report, standing: Standing) -> Line<'static> {
    let failed = report
        .error
        .as_ref()
        .filter(|_| standing == Standing::Failed);
    let at = match failed {
        Some(error) => WAY
            .iter()
            .position(|(_, word)| *word == place_of(&error.step)),
        None => WAY.iter().position(|(phase, _)| *phase == report.phase),
    };
    let gap = if model.size.0 >= 80 { " > " } else { " " };
    let mut row = Row::new(model.style).text(" ", Ink::Plain);
    for (index, (_, word)) in WAY.iter().enumerate() {
        row = row.text(if index == 0 { "" } else { gap }, Ink::Faint);
        row = match at {
            Some(at) if index < at => row.text(*word, Ink::Good),
            Some(at) if index == at && failed.is_some() => row.text(format!("[{word}]"), Ink::Bad),
            Some(at) if index == at => row.text(format!("[{word}]"), Ink::Head),
            _ => row.text(*word, Ink::Faint),
        };
    }
    row.line()
}

/// Where on the way a step is.
fn place_of(step: &str) -> &str {
    match step {
        "post_extract" => "prepare",
        "lease" => "wait",
        "post_install" => "activate",
        "drain" | "undrain" => "restart",
        "burn_in" => "probe",
        step => step,
    }
}

/// The way of a deployment with the place on it, and what the monitor has seen of it.
fn steps(
    model: &Model,
    view: &ServiceView,
    (name, report, standing): (&HostName, &Report, Standing),
) -> Vec<Line<'static>> {
    let mut lines = vec![way(model, report, standing)];
    if let Some(step) = &report.step {
        let progress = match (step.done, step.total) {
            (Some(done), Some(total)) => format!(" {done} of {total}"),
            _ => String::new(),
        };
        let detail = step
            .detail
            .as_deref()
            .map_or_else(String::new, |detail| format!(": {}", clean(detail)));
        let since = text::ago(step.since.as_deref(), model.now);
        let since = since.map_or_else(String::new, |ago| format!(", began {ago}"));
        let text = format!(
            " now {}{progress}{detail}, attempt {}{since}",
            clean(&step.name),
            step.attempt
        );
        lines.push(plain(model, &text, Ink::Plain));
    }
    if standing == Standing::Failed {
        let back = back(Some(report));
        lines.push(plain(
            model,
            &format!(" {back}; it tries this rollout again only when asked (R)"),
            Ink::Warn,
        ));
    }
    let seen = view.tracks.get(name).map(|track| &track.seen);
    let seen: Vec<String> = seen
        .into_iter()
        .flatten()
        .map(|(at, word)| format!("{} {}", text::clock(*at), clean(word)))
        .collect();
    if !seen.is_empty() {
        let columns = usize::from(model.size.0) - 2;
        // The newest end is what counts.
        let shown = seen.join(", ");
        let rows = wrap(model.style, &shown, columns, usize::MAX);
        let skipped = rows.len().saturating_sub(2);
        lines.extend(
            rows[skipped..]
                .iter()
                .map(|row| plain(model, &format!(" {row}"), Ink::Faint)),
        );
    }
    lines
}
