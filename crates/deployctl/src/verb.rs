//! The verbs, one file each: what it takes, and what it does.

use crate::cli::Verb;
use crate::context::Context;
use crate::exit::Exit;
use crate::problem::Problem;

pub(crate) mod build;
pub(crate) mod canary;
pub(crate) mod completions;
pub(crate) mod deploy;
pub(crate) mod diff;
pub(crate) mod doctor;
pub(crate) mod history;
pub(crate) mod hold;
pub(crate) mod host;
pub(crate) mod init;
pub(crate) mod inspect;
pub(crate) mod lease;
pub(crate) mod man;
pub(crate) mod monitor;
pub(crate) mod policy;
pub(crate) mod promote;
pub(crate) mod restart;
pub(crate) mod rollback;
pub(crate) mod stage;
pub(crate) mod status;
pub(crate) mod unhold;
pub(crate) mod watch;

mod ask;
pub(crate) mod gate;

/// Checks what can be checked without ZooKeeper.
///
/// # Errors
/// `Usage`.
pub(crate) fn check(verb: &Verb) -> Result<(), Problem> {
    match verb {
        Verb::Hold(args) => hold::check(args),
        Verb::Build(args) => build::check(args),
        Verb::Policy(args) => policy::check(args),
        _ => Ok(()),
    }
}

/// Tells whether a verb changes what others see. Then the name of the context is said first.
pub(crate) fn is_change(verb: &Verb) -> bool {
    match verb {
        Verb::Status(_) | Verb::History(_) | Verb::Diff(_) | Verb::Watch(_) | Verb::Inspect(_) => {
            false
        }
        Verb::Monitor(_) | Verb::Doctor(_) | Verb::Completions(_) | Verb::Man(_) => false,
        Verb::Canary(_) | Verb::Promote(_) | Verb::Deploy(_) | Verb::Stage(_) => true,
        Verb::Rollback(_) | Verb::Restart(_) | Verb::Hold(_) | Verb::Unhold(_) => true,
        Verb::Init(_) => true,
        Verb::Host(verb) => !matches!(verb, host::HostVerb::List(_) | host::HostVerb::Show(_)),
        Verb::Lease(verb) => matches!(verb, lease::LeaseVerb::Break(_)),
        Verb::Build(verb) => build::is_change(verb),
        Verb::Policy(args) => policy::is_change(args),
    }
}

/// Does what was asked.
///
/// # Errors
/// Every end but a good one.
pub(crate) async fn run(verb: &Verb, context: &Context) -> Result<Exit, Problem> {
    match verb {
        Verb::Status(args) => status::run(args, context).await,
        Verb::History(args) => history::run(args, context).await,
        Verb::Diff(args) => diff::run(args, context).await,
        Verb::Monitor(args) => monitor::run(args, context).await,
        Verb::Watch(args) => watch::run(args, context).await,
        Verb::Inspect(args) => inspect::run(args, context).await,
        Verb::Canary(args) => canary::run(args, context).await,
        Verb::Promote(args) => promote::run(args, context).await,
        Verb::Deploy(args) => deploy::run(args, context).await,
        Verb::Stage(args) => stage::run(args, context).await,
        Verb::Rollback(args) => rollback::run(args, context).await,
        Verb::Restart(args) => restart::run(args, context).await,
        Verb::Hold(args) => hold::run(args, context).await,
        Verb::Unhold(args) => unhold::run(args, context).await,
        Verb::Host(args) => host::run(args, context).await,
        Verb::Lease(args) => lease::run(args, context).await,
        Verb::Build(args) => build::run(args, context).await,
        Verb::Policy(args) => policy::run(args, context).await,
        Verb::Init(args) => init::run(args, context).await,
        Verb::Doctor(args) => doctor::run(args, context).await,
        Verb::Completions(args) => completions::run(args, &context.out),
        Verb::Man(args) => man::run(args, &context.out),
    }
}
