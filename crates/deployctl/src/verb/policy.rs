//! `policy`: how the rollouts of a service go.

use std::collections::BTreeSet;

use clap::Args;
use deploy_core::name::ServiceName;
use deploy_core::wire::policy::{Concurrency, Policy};
use deploy_core::wire::{self, WireError};
use deploy_zk::znode::Change;
use jiff::Timestamp;
use serde_json::json;

use crate::cli::Why;
use crate::context::Context;
use crate::exit::Exit;
use crate::out::Format;
use crate::problem::Problem;
use crate::text;
use crate::verb::gate;

const KEYS: [(&str, &str); 2] = [
    (
        "restart_concurrency",
        "hosts that may be out of service at a time: 2 or 10%",
    ),
    (
        "lease_reclaim_s",
        "seconds after which the lease of a dead host counts no more, or never",
    ),
];

/// Show or set how rollouts go
#[derive(Debug, Args)]
#[command(before_help = "  deployctl policy web
  deployctl policy web restart_concurrency=10%
  deployctl policy web restart_concurrency=2 lease_reclaim_s=never\n\n")]
pub(crate) struct PolicyArgs {
    /// The service
    #[arg(value_name = "SERVICE", value_parser = ServiceName::parse)]
    service: ServiceName,
    /// What to set: restart_concurrency (2 or 10%), lease_reclaim_s (seconds, or never)
    #[arg(value_name = "KEY=VALUE")]
    set: Vec<String>,
    #[command(flatten)]
    why: Why,
}

/// Tells whether anything is to be set.
pub(crate) fn is_change(args: &PolicyArgs) -> bool {
    !args.set.is_empty()
}

/// Checks what is to be set.
pub(crate) fn check(args: &PolicyArgs) -> Result<(), Problem> {
    if args.set.is_empty() && args.why.why.is_some() {
        return Err(Problem::usage("a reason for nothing: no KEY=VALUE is to be set").tip(keys()));
    }
    set(&mut Policy::default(), &args.set)
}

/// Prints the policy, changed or not.
pub(crate) async fn run(args: &PolicyArgs, context: &Context) -> Result<Exit, Problem> {
    let tree = context.service(&args.service).await?;
    let (by, at) = context.signature();
    let mut policy = Policy::default();
    let mut unreadable = None;
    let newer = |error: &WireError| gate::newer(format!("the policy of {}", args.service), error);
    context
        .zk
        .update(&tree.policy(), |znode| {
            let old = znode.map_or(&[][..], |znode| &znode.data);
            (policy, unreadable) = match wire::decode(old) {
                Ok(policy) => (policy, None),
                Err(_) if znode.is_none() => (Policy::default(), None),
                Err(error) => (Policy::default(), Some(error)),
            };
            let may_say_more = unreadable.as_ref().and_then(newer).is_some();
            if args.set.is_empty() || may_say_more || set(&mut policy, &args.set).is_err() {
                return Change::Leave;
            }
            (policy.by, policy.at) = (by.clone(), at.clone());
            policy.why = args.why.why.clone();
            Change::Write(wire::encode_over(&policy, old))
        })
        .await?;
    if let Some(error) = &unreadable {
        let problem = newer(error).map(|problem| problem.tip("use a newer deployctl"));
        let service = &args.service;
        match problem {
            Some(problem) if is_change(args) => return Err(problem),
            None if is_change(args) => context.out.warn(&format!(
                "{error}; every value of {service} that was not set is the default"
            )),
            problem => {
                context.out.warn(&format!(
                    "{error}; nobody knows how many leases {service} has, and no host is granted one"
                ));
                let anew = || {
                    vec![format!(
                        "deployctl policy {service} restart_concurrency=10%"
                    )]
                };
                let tips = problem.map_or_else(anew, |problem| problem.tips);
                tips.iter().for_each(|tip| context.out.tip(tip));
            }
        }
    }
    // What is not written anew stays unknown.
    let known = unreadable.is_none() || is_change(args);
    show(args, context, known.then_some(&policy));
    Ok(Exit::Done)
}

/// Prints a policy; `None` is one that can't be read.
fn show(args: &PolicyArgs, context: &Context, known: Option<&Policy>) {
    if context.out.format == Format::Text {
        let unknown = || "?".to_owned();
        let concurrency = known.map_or_else(unknown, |it| it.restart_concurrency.to_string());
        let reclaim = known.map(|it| it.lease_reclaim_s.map(|s| s.to_string()));
        let reclaim = reclaim.map_or_else(unknown, |s| s.unwrap_or_else(|| "never".to_owned()));
        context.out.data(&format!(
            "restart_concurrency={concurrency}\nlease_reclaim_s={reclaim}"
        ));
        let Some(policy) = known else {
            return;
        };
        if let Some(ago) = text::ago(policy.at.as_deref(), Timestamp::now()) {
            let (by, why) = (
                text::by(policy.by.as_deref()),
                text::because(policy.why.as_deref()),
            );
            context.out.say(&format!("set {ago}{by}{why}"));
        }
    } else {
        context.out.json(&json!({
            "schema": "deployctl/policy/1", "service": args.service,
            "restart_concurrency": known.map(|policy| policy.restart_concurrency),
            "lease_reclaim_s": known.and_then(|policy| policy.lease_reclaim_s), "changed": is_change(args),
            "by": known.and_then(|policy| policy.by.as_ref()), "at": known.and_then(|policy| policy.at.as_ref()),
            "why": known.and_then(|policy| policy.why.as_ref()),
        }));
    }
}

fn set(policy: &mut Policy, assignments: &[String]) -> Result<(), Problem> {
    let mut keys_set = BTreeSet::new();
    for assignment in assignments {
        let Some((key, value)) = assignment.split_once('=') else {
            return Err(Problem::usage(format!("`{assignment}` is not KEY=VALUE")).tip(keys()));
        };
        let key = key.trim();
        if !keys_set.insert(key) {
            return Err(Problem::usage(format!("`{key}` is set twice")));
        }
        match key {
            "restart_concurrency" => {
                policy.restart_concurrency = Concurrency::parse(value).map_err(Problem::usage)?;
            }
            "lease_reclaim_s" => policy.lease_reclaim_s = seconds(value)?,
            unknown => {
                let problem = Problem::usage(format!("`{unknown}` is not a key of a policy"));
                let near = text::nearest(unknown, KEYS.iter().map(|(key, _)| *key));
                let problem = match near {
                    Some(near) => problem.tip(format!("did you mean `{near}`?")),
                    None => problem,
                };
                return Err(problem.tip(keys()));
            }
        }
    }
    Ok(())
}

fn seconds(value: &str) -> Result<Option<u64>, Problem> {
    match value.trim() {
        "never" | "" => Ok(None),
        number => number.parse().map(Some).map_err(|_| {
            Problem::usage(format!(
                "`{number}` is not a number of seconds; 3600 or never is wanted"
            ))
        }),
    }
}

fn keys() -> String {
    KEYS.map(|(key, what)| format!("{key} ({what})")).join("; ")
}
