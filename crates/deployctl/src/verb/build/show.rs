//! `build show`.

use deploy_core::wire::build::Build;
use jiff::Timestamp;

use super::list::{object, serving, wanted_by};
use crate::cli::OfBuild;
use crate::context::Context;
use crate::exit::Exit;
use crate::fleet::Fleet;
use crate::out::Format;
use crate::problem::Problem;
use crate::table::table;
use crate::text;
use crate::verb::gate::registered;

/// Prints a build, and which hosts have it.
pub(crate) async fn run(of: &OfBuild, context: &Context) -> Result<Exit, Problem> {
    let fleet = Fleet::read(context, &of.service).await?;
    let build = registered(context, &fleet, &of.build).await?;
    let on_disk: Vec<&str> = fleet
        .state
        .hosts
        .iter()
        .filter(|(_, host)| {
            host.report
                .as_ref()
                .is_some_and(|report| report.releases.contains(&of.build))
        })
        .map(|(name, _)| name.as_str())
        .collect();
    if context.out.format != Format::Text {
        let mut object = object(&fleet, (&of.build, &build));
        object["schema"] = "deployctl/build/1".into();
        object["service"] = fleet.service.as_str().into();
        object["on_disk"] = on_disk.into();
        context.out.json(&object);
        return Ok(Exit::Done);
    }
    let now = Timestamp::now();
    let added = text::ago(build.at.as_deref(), now).unwrap_or_default();
    let wanted = wanted_by(&fleet, &of.build).join(", ");
    let mut pairs = vec![
        ("service", fleet.service.to_string()),
        ("build", of.build.to_string()),
        ("url", text::clean(&build.artifact.url)),
        ("sha256", build.artifact.sha256.to_string()),
        (
            "size",
            format!(
                "{} ({} bytes)",
                text::bytes(build.artifact.size),
                build.artifact.size
            ),
        ),
        ("signed by", signed_by(&build)),
        ("added", format!("{added}{}", text::by(build.by.as_deref()))),
        ("why", text::or_dash(build.why.as_deref())),
        ("wanted by", text::or_dash(Some(&wanted))),
        (
            "served by",
            text::count(serving(&fleet, &of.build), "live host"),
        ),
        ("on disk", text::or_dash(Some(&text::list(on_disk, 20)))),
    ];
    if let Some(bad) = &build.bad {
        let ago = text::ago(bad.at.as_deref(), now).unwrap_or_default();
        let (by, why) = (
            text::by(bad.by.as_deref()),
            text::because(bad.why.as_deref()),
        );
        pairs.push(("BAD", format!("{ago}{by}{why}")));
    }
    let rows: Vec<Vec<String>> = pairs
        .into_iter()
        .map(|(key, value)| vec![key.to_owned(), value])
        .collect();
    context.out.data(&table(&rows));
    Ok(Exit::Done)
}

fn signed_by(build: &Build) -> String {
    match &build.signed_by {
        Some(key) => format!("key {}", text::clean(key)),
        None => "-".to_owned(),
    }
}
