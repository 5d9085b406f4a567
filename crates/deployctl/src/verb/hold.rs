//! `hold`: nothing new starts.

use clap::Args;
use deploy_core::wire::hold::Hold;
use deploy_core::wire::{self, time};
use jiff::{SignedDuration, Timestamp};
use serde_json::json;

use crate::change::{Intent, Swapped, swap, take_number};
use crate::cli::{OfService, Why};
use crate::context::Context;
use crate::exit::Exit;
use crate::fleet::Fleet;
use crate::out::Format;
use crate::problem::Problem;
use crate::verb::gate;
use crate::{duration, text};

/// Let nothing new start
#[derive(Debug, Args)]
#[command(before_help = "  deployctl hold web -m \"queue migration\" --for 4h\n\n")]
pub(crate) struct HoldArgs {
    #[command(flatten)]
    of: OfService,
    #[command(flatten)]
    why: Why,
    /// End by itself after this long; without it, `unhold` ends it
    #[arg(long = "for", value_name = "D", value_parser = duration::parse)]
    lasting: Option<SignedDuration>,
}

/// A hold without a reason makes everybody ask.
pub(crate) fn check(args: &HoldArgs) -> Result<(), Problem> {
    if args.why.why.is_some() {
        return Ok(());
    }
    Err(
        Problem::usage("a hold needs a reason: everybody who meets it will ask").tip(format!(
            "deployctl hold {} -m \"queue migration\" --for 4h",
            args.of.service
        )),
    )
}

/// Writes `hold`; one that is there is replaced.
pub(crate) async fn run(args: &HoldArgs, context: &Context) -> Result<Exit, Problem> {
    let fleet = Fleet::read(context, &args.of.service).await?;
    let path = fleet.tree.hold();
    let before = context.zk.get(&path).await?;
    let read = before
        .as_ref()
        .map(|znode| wire::decode::<Hold>(&znode.data));
    if let Some(Err(error)) = read
        && let Some(problem) = gate::newer(format!("the hold of {}", fleet.service), &error)
    {
        return Err(problem.tip("use a newer deployctl"));
    }
    let why = args.why.why.clone();
    let intent = Intent {
        kind: "hold",
        why: why.clone(),
        ..Intent::default()
    };
    let numbered = take_number(context, &fleet.tree, &intent).await?;
    let until = args
        .lasting
        .and_then(|lasting| Timestamp::now().checked_add(lasting).ok());
    let until = until.map(time::render);
    let (by, at) = context.signature();
    let hold = Hold { by, at, why, until };
    let old = before.as_ref().map_or(&[][..], |znode| &znode.data);
    let swapped = swap(
        context,
        &path,
        before.as_ref(),
        &wire::encode_over(&hold, old),
    )
    .await;
    numbered.withdraw_unless_written(context, &swapped).await;
    let service = &fleet.service;
    if let Swapped::Lost(now) = swapped? {
        let by = now
            .map(|znode| Hold::read(&znode.data))
            .and_then(|hold| hold.by);
        return Err(Problem::refused(format!(
            "the hold of {service} was changed{} at the same moment",
            text::by(by.as_deref())
        ))
        .tip(format!("deployctl status {service}")));
    }
    say(
        context,
        (service.as_str(), numbered.number),
        &hold,
        fleet.hold.as_ref(),
    );
    Ok(Exit::Done)
}

fn say(context: &Context, (service, number): (&str, u64), hold: &Hold, before: Option<&Hold>) {
    if context.out.format != Format::Text {
        context.out.json(&json!({
            "schema": "deployctl/hold/1", "service": service, "rollout": number, "held": true,
            "by": hold.by, "at": hold.at, "why": hold.why, "until": hold.until,
        }));
        return;
    }
    let until = hold.until.as_deref().map_or_else(String::new, |until| {
        format!(" until {}", text::when(Some(until), Timestamp::now()))
    });
    let why = text::because(hold.why.as_deref());
    context
        .out
        .say(&format!("{service} is held{until}{why} (#{number})"));
    if let Some(before) = before {
        let (by, why) = (
            text::by(before.by.as_deref()),
            text::because(before.why.as_deref()),
        );
        context.out.say(&format!("it replaces the hold{by}{why}"));
    }
    context.out.tip(&format!("deployctl unhold {service}"));
}
