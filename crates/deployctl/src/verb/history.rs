//! `history`: what was changed, by whom, and how it ended.

use clap::Args;
use deploy_core::name::ServiceName;
use deploy_core::percent::Percent;
use deploy_core::rollout::course::{Course, course};
use deploy_core::wire::history::Entry;
use deploy_core::wire::time;
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::context::Context;
use crate::exit::Exit;
use crate::fleet::{Fleet, HISTORY_NEWEST};
use crate::out::Format;
use crate::problem::Problem;
use crate::table::{row, table};
use crate::text;

const SCHEMA: &str = "deployctl/history/1";

/// Show what was changed, by whom, and how it ended
#[derive(Debug, Args)]
#[command(
    before_help = "  deployctl history web -n 5\n  deployctl history            every service, newest first\n\n"
)]
pub(crate) struct HistoryArgs {
    /// The service [default: all]
    #[arg(value_name = "SERVICE", value_parser = ServiceName::parse)]
    service: Option<ServiceName>,
    /// How many to show
    #[arg(
        short = 'n',
        long,
        value_name = "N",
        default_value = "20",
        value_parser = clap::value_parser!(u32).range(1..)
    )]
    number: u32,
}

struct Row {
    service: ServiceName,
    number: u64,
    entry: Entry,
    course: Option<Course>,
}

/// Prints it.
pub(crate) async fn run(args: &HistoryArgs, context: &Context) -> Result<Exit, Problem> {
    let services = match &args.service {
        Some(service) => vec![service.clone()],
        None => context.services().await?,
    };
    let mut rows = Vec::new();
    let number = usize::try_from(args.number).unwrap_or(usize::MAX);
    for service in services {
        let fleet = Fleet::read_back(context, &service, number.max(HISTORY_NEWEST)).await?;
        rows.extend(rows_of(&fleet).take(number));
    }
    let moment = |row: &Row| row.entry.at.as_deref().and_then(time::parse);
    if args.service.is_none() {
        rows.sort_by_key(|row| std::cmp::Reverse((moment(row), row.number)));
    }
    rows.truncate(number);
    match context.out.format {
        Format::Text if rows.is_empty() => context.out.say("nothing was changed yet"),
        Format::Text => context.out.data(&text_of(&rows, args.service.as_ref())),
        Format::Json => context.out.json(&json!({
            "schema": SCHEMA, "context": context.address,
            "rollouts": rows.iter().map(object).collect::<Vec<_>>(),
        })),
        Format::Jsonl => rows.iter().for_each(|row| {
            let mut object = object(row);
            object["schema"] = SCHEMA.into();
            context.out.json(&object);
        }),
    }
    Ok(Exit::Done)
}

fn rows_of(fleet: &Fleet) -> impl Iterator<Item = Row> {
    let newest = fleet.last_change().map(|(number, _)| *number);
    fleet.history.iter().map(move |(number, entry)| Row {
        course: course(&fleet.state, newest, (*number, entry)),
        service: fleet.service.clone(),
        number: *number,
        entry: entry.clone(),
    })
}

/// The name of the service is in the rows unless there is only one.
fn text_of(rows: &[Row], only: Option<&ServiceName>) -> String {
    let now = Timestamp::now();
    let mut head = row([
        "#", "SERVICE", "BUILD", "KIND", "RESULT", "HOSTS", "TOOK", "BY", "WHEN", "WHY",
    ]);
    if only.is_some() {
        head.remove(1);
    }
    let mut lines = vec![head];
    for Row {
        service,
        number,
        entry,
        course,
    } in rows
    {
        let course = course.as_ref();
        let took = course.and_then(|course| course.seconds);
        let mut cells = vec![
            number.to_string(),
            service.to_string(),
            builds(entry),
            kind(entry),
            text::or_dash(course.map(|course| course.result.as_str())),
            course.map_or_else(|| "-".to_owned(), hosts),
            took.map_or_else(|| "-".to_owned(), text::seconds),
            text::person(entry.by.as_deref()),
            text::when(entry.at.as_deref(), now),
            text::or_dash(entry.why.as_deref()),
        ];
        if only.is_some() {
            cells.remove(1);
        }
        lines.push(cells);
    }
    table(&lines)
}

fn kind(entry: &Entry) -> String {
    let kind = text::clean(&entry.kind);
    match (&entry.host, entry.percent) {
        (Some(host), _) => format!("{kind} {host}"),
        (None, Some(percent)) if entry.kind != "stage" => {
            format!("{kind} {}%", text::share(percent))
        }
        _ => kind,
    }
}

fn hosts(course: &Course) -> String {
    match (course.there, course.total) {
        (Some(there), Some(total)) => format!("{there}/{total}"),
        (Some(there), None) => there.to_string(),
        (None, _) => "-".to_owned(),
    }
}

fn builds(entry: &Entry) -> String {
    match (&entry.from, &entry.to) {
        (Some(from), Some(to)) if from != to => format!("{from} -> {to}"),
        (_, Some(to)) => to.to_string(),
        (Some(from), None) => format!("{from} ->"),
        (None, None) => "-".to_owned(),
    }
}

fn object(row: &Row) -> Value {
    let entry = &row.entry;
    let now = row.course.as_ref().filter(|_| entry.outcome.is_none());
    json!({
        "service": row.service, "rollout": row.number, "kind": entry.kind, "from": entry.from,
        "to": entry.to, "percent": entry.percent.unwrap_or(Percent::ALL), "host": entry.host, "by": entry.by, "at": entry.at, "why": entry.why,
        "outcome": entry.outcome.as_ref().map(|outcome| json!({
            "result": outcome.result, "hosts": outcome.hosts, "total": outcome.total,
            "seconds": outcome.seconds,
        })),
        "now": now.map(|now| json!({
            "result": now.result, "hosts": now.there, "total": now.total,
        })),
    })
}
