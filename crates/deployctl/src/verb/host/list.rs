//! `host list`.

use jiff::Timestamp;
use serde_json::json;

use super::{ListArgs, fleets, rows};
use crate::context::Context;
use crate::exit::Exit;
use crate::fleet::Fleet;
use crate::out::Format;
use crate::problem::Problem;

/// Prints every host of the services.
pub(crate) async fn run(args: &ListArgs, context: &Context) -> Result<Exit, Problem> {
    let fleets = fleets(context, args.service.as_ref()).await?;
    let now = Timestamp::now();
    let mut objects = fleets.iter().flat_map(|fleet| rows::objects(fleet, now));
    match context.out.format {
        Format::Text => {
            context.out.data(&rows::table_of(
                &fleets.iter().collect::<Vec<&Fleet>>(),
                now,
            ));
        }
        Format::Json => context
            .out
            .json(&json!({"schema": "deployctl/hosts/1", "hosts": objects.collect::<Vec<_>>()})),
        Format::Jsonl => objects.by_ref().for_each(|mut object| {
            object["schema"] = "deployctl/hosts/1".into();
            context.out.json(&object);
        }),
    }
    Ok(Exit::Done)
}
