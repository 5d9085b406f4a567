//! `history`: what was changed, by whom, and how it ended.

use clap::Args;
use deploy_core::name::ServiceName;
use deploy_core::wire::history::Entry;
use deploy_core::wire::time;
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::context::Context;
use crate::exit::Exit;
use crate::fleet::history;
use crate::out::Format;
use crate::problem::Problem;
use crate::table::{row, table};
use crate::text;

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
    #[arg(short = 'n', long, value_name = "N", default_value = "20")]
    number: usize,
}

struct Row {
    service: ServiceName,
    number: u64,
    entry: Entry,
}

/// Prints it.
pub(crate) async fn run(args: &HistoryArgs, context: &Context) -> Result<Exit, Problem> {
    let services = match &args.service {
        Some(service) => {
            context.service(service).await?;
            vec![service.clone()]
        }
        None => context.services().await?,
    };
    let mut rows = Vec::new();
    for service in services {
        let tree = context.root.service(&service);
        for (number, entry) in history(&context.zk, &tree, args.number).await? {
            rows.push(Row {
                service: service.clone(),
                number,
                entry,
            });
        }
    }
    let moment = |row: &Row| row.entry.at.as_deref().and_then(time::parse);
    if args.service.is_none() {
        rows.sort_by_key(|row| std::cmp::Reverse((moment(row), row.number)));
    }
    rows.truncate(args.number);
    match context.out.format {
        Format::Text => context.out.data(&text_of(&rows, args.service.as_ref())),
        Format::Json => context.out.json(&json!({
            "schema": "deployctl/history/1", "rollouts": rows.iter().map(object).collect::<Vec<_>>(),
        })),
        Format::Jsonl => rows.iter().for_each(|row| {
            let mut object = object(row);
            object["schema"] = "deployctl/history/1".into();
            context.out.json(&object);
        }),
    }
    Ok(Exit::Done)
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
    } in rows
    {
        let outcome = entry.outcome.as_ref();
        let mut cells = vec![
            number.to_string(),
            service.to_string(),
            builds(entry),
            text::clean(&entry.kind),
            text::or_dash(outcome.map(|outcome| outcome.result.as_str())),
            outcome.map_or_else(|| "-".to_owned(), |outcome| outcome.hosts.to_string()),
            outcome.map_or_else(|| "-".to_owned(), |outcome| text::seconds(outcome.seconds)),
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
    json!({
        "service": row.service, "rollout": row.number, "kind": entry.kind, "from": entry.from,
        "to": entry.to, "by": entry.by, "at": entry.at, "why": entry.why,
        "outcome": entry.outcome.as_ref().map(|outcome| json!({
            "result": outcome.result, "hosts": outcome.hosts, "seconds": outcome.seconds,
        })),
    })
}
