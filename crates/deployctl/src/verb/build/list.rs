//! `build list`.

use deploy_core::name::BuildName;
use deploy_core::wire::WireError;
use deploy_core::wire::build::Build;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::ListArgs;
use crate::context::Context;
use crate::exit::Exit;
use crate::fleet::{Fleet, builds};
use crate::out::Format;
use crate::problem::Problem;
use crate::table::{row, table};
use crate::text;
use crate::verb::gate::newest_first;

const SCHEMA: &str = "deployctl/builds/1";

/// Prints the newest builds.
pub(crate) async fn run(args: &ListArgs, context: &Context) -> Result<Exit, Problem> {
    let fleet = Fleet::read(context, &args.service).await?;
    let mut all = newest_first(builds(&context.zk, &fleet.tree).await?);
    let total = all.len();
    all.truncate(args.number);
    let objects = || {
        all.iter().map(|(name, build, _)| match build {
            Ok(build) => object(&fleet, (name, build)),
            Err(error) => json!({"build": name, "error": error.to_string()}),
        })
    };
    match context.out.format {
        Format::Text => {
            context.out.data(&text_of(&fleet, &all));
            if total > all.len() {
                context
                    .out
                    .tip(&format!("{} more: -n {total}", total - all.len()));
            }
        }
        Format::Json => context.out.json(&json!({
            "schema": SCHEMA, "service": fleet.service, "builds": objects().collect::<Vec<_>>(),
        })),
        Format::Jsonl => objects().for_each(|mut object| {
            object["schema"] = SCHEMA.into();
            context.out.json(&object);
        }),
    }
    Ok(Exit::Done)
}

fn text_of(fleet: &Fleet, builds: &[(BuildName, Result<Build, WireError>, i64)]) -> String {
    let now = Timestamp::now();
    let mut lines = vec![row([
        "BUILD",
        "WANTED BY",
        "HOSTS",
        "SIZE",
        "ADDED",
        "BY",
        "NOTE",
    ])];
    for (name, build, _) in builds {
        let note = match build {
            Ok(build) => note(build),
            Err(error) => error.to_string(),
        };
        let build = build.as_ref().ok();
        let said = |what: fn(&Build) -> Option<&String>| build.and_then(what).map(String::as_str);
        let wanted = wanted_by(fleet, name);
        lines.push(vec![
            name.to_string(),
            if wanted.is_empty() {
                "-".to_owned()
            } else {
                wanted.join(", ")
            },
            serving(fleet, name).to_string(),
            build.map_or_else(|| "?".to_owned(), |build| text::bytes(build.artifact.size)),
            text::ago(said(|build| build.at.as_ref()), now).unwrap_or_else(|| "-".to_owned()),
            text::person(said(|build| build.by.as_ref())),
            note,
        ]);
    }
    table(&lines)
}

fn note(build: &Build) -> String {
    match &build.bad {
        Some(bad) => format!(
            "BAD{}{}",
            text::by(bad.by.as_deref()),
            text::because(bad.why.as_deref())
        ),
        None => text::clean(build.why.as_deref().unwrap_or_default()),
    }
}

/// Returns which targets want a build.
pub(crate) fn wanted_by(fleet: &Fleet, name: &BuildName) -> Vec<&'static str> {
    let targets = &fleet.state.targets;
    let wants = [("fleet", &targets.enabled), ("canary", &targets.canary)];
    let wants = wants
        .into_iter()
        .filter(|(_, target)| target.as_ref().is_some_and(|target| target.build == *name));
    wants.map(|(word, _)| word).collect()
}

/// Returns how many live hosts serve a build.
pub(crate) fn serving(fleet: &Fleet, name: &BuildName) -> usize {
    let hosts = fleet.state.hosts.values().filter(|host| host.alive);
    let serves = hosts.filter_map(|host| host.report.as_ref()?.serving.as_ref());
    serves.filter(|build| *build == name).count()
}

/// Returns a build as JSON.
pub(crate) fn object(fleet: &Fleet, (name, build): (&BuildName, &Build)) -> Value {
    json!({
        "build": name, "artifact": build.artifact, "by": build.by, "at": build.at,
        "why": build.why, "signed_by": build.signed_by, "bad": build.bad, "wanted_by": wanted_by(fleet, name),
        "serving": serving(fleet, name),
    })
}
