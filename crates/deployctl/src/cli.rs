//! The command line: what may be typed, and the help.

use std::path::PathBuf;

use clap::{Args, CommandFactory, Parser, Subcommand};
use deploy_core::name::{BuildName, HostName, ServiceName};
use jiff::SignedDuration;

use crate::connect::Address;
use crate::out::{Color, Format};
use crate::verb;
use crate::wait::Patience;
use crate::{complete, duration, text};

/// Characters of a reason; it is repeated in many places.
const WHY_CHARS_MAX: usize = 1000;

/// The layout of every page of help: examples first.
const VERB_TEMPLATE: &str =
    "{about-with-newline}\n{before-help}{usage-heading} {usage}\n\n{all-args}{after-help}";

/// The layout of the first page.
const TOP_TEMPLATE: &str = "{about-with-newline}\n{before-help}{usage-heading} {usage}\n\n\
                            Options:\n{options}{after-help}";

/// The verbs by what they are for. `tests` check that it names each of them.
const TOP_HELP: &str = "  deployctl build add web r2431 --url https://builds.internal/web/r2431.tar.gz --file r2431.tar.gz
  deployctl canary web r2431 -m \"checkout fix\"     the canary hosts get it
  deployctl promote web                            every host gets it
  deployctl rollback web                           back to the last good build, whatever happened

Look    status     show services and how far they are
        history    show what was changed, by whom, and how it ended
        diff       show what a change would do
        monitor    watch services and hosts live, and change them
        watch      wait for the outcome of a rollout
        inspect    print the znodes
Change  canary     put a build on the canary hosts
        promote    make the canary build the fleet build
        deploy     put a build on the fleet, or on a share of it
        stage      have every host prepare a build, and none serve it
        rollback   go back to the last good build
        restart    restart every instance, one after the other
        hold       let nothing new start
        unhold     end the hold
Fleet   host       list, show, role, retry, forget
        lease      list, break
        build      add, list, show, bad
        policy     show or set how rollouts go
        init       create the deploy tree
        doctor     check ZooKeeper, access, agents, clocks and disks
Other   completions  print the completions of a shell
        man          show the manual page of a verb
        help         print this, or the help of a verb
";

const TOP_AFTER: &str = "
A change waits for its outcome; --detach returns at once.
Exit codes: 0 done and healthy, 2 usage, 3 failed or rolled back, 4 timed out waiting, 5 refused,
  6 not found, 7 ZooKeeper not reachable, 8 superseded, 130 detached.
";

/// Say what a fleet should run, and see what it runs
#[derive(Debug, Parser)]
#[command(name = "deployctl", version, before_help = TOP_HELP, after_help = TOP_AFTER)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) globals: Globals,
    #[command(subcommand)]
    pub(crate) verb: Verb,
}

/// What every verb takes.
#[derive(Debug, Args)]
#[command(next_help_heading = "Global options")]
pub(crate) struct Globals {
    /// ZooKeeper servers and the root: zk1,zk2:2182/deploy [default port 2181, root /deploy] [env: DEPLOYCTL_ZK]
    #[arg(long, global = true, value_name = "HOSTS[/ROOT]", value_parser = Address::parse)]
    pub(crate) zk: Option<Address>,
    /// A context of ~/.config/deployctl/config.toml: a name for a ZooKeeper [env: DEPLOYCTL_CONTEXT]
    #[arg(long, global = true, value_name = "CONTEXT")]
    pub(crate) context: Option<String>,
    /// File with user:password, for ZooKeeper's digest authentication; a line for each that we are [env: DEPLOYCTL_AUTH_FILE]
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) auth_file: Option<PathBuf>,
    /// Form of the data on stdout: text, json, or jsonl
    #[arg(
        short,
        long,
        global = true,
        value_name = "FORMAT",
        default_value = "text",
        hide_possible_values = true
    )]
    pub(crate) output: Format,
    /// Answer every question with yes
    #[arg(short, long, global = true)]
    pub(crate) yes: bool,
    /// Say nothing but data and errors
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    pub(crate) quiet: bool,
    /// Say each step of each host
    #[arg(short, long, global = true)]
    pub(crate) verbose: bool,
    /// When to use colours: auto, always, or never; NO_COLOR is honoured
    #[arg(
        long,
        global = true,
        value_name = "WHEN",
        default_value = "auto",
        hide_possible_values = true
    )]
    pub(crate) color: Color,
}

/// The verbs.
#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    Status(verb::status::StatusArgs),
    History(verb::history::HistoryArgs),
    Diff(verb::diff::DiffArgs),
    Monitor(verb::monitor::MonitorArgs),
    Watch(verb::watch::WatchArgs),
    Inspect(verb::inspect::InspectArgs),
    Canary(verb::canary::CanaryArgs),
    Promote(verb::promote::PromoteArgs),
    Deploy(verb::deploy::DeployArgs),
    Stage(verb::stage::StageArgs),
    Rollback(verb::rollback::RollbackArgs),
    Restart(verb::restart::RestartArgs),
    Hold(verb::hold::HoldArgs),
    Unhold(verb::unhold::UnholdArgs),
    /// List hosts, show one, give it a role, let it try again, forget it
    #[command(
        subcommand,
        before_help = "  deployctl host list web\n  deployctl host show web-09\n  deployctl host role web-01 web canary\n  deployctl host retry web-09\n\n"
    )]
    Host(verb::host::HostVerb),
    /// List the restart leases, or take one away
    #[command(
        subcommand,
        before_help = "  deployctl lease list web\n  deployctl lease break web web-09\n\n"
    )]
    Lease(verb::lease::LeaseVerb),
    /// Register builds, list them, mark one as bad
    #[command(
        subcommand,
        before_help = "  deployctl build add web r2431 --url https://builds.internal/web/r2431.tar.gz --file r2431.tar.gz\n  deployctl build list web\n  deployctl build bad web r2431 -m \"leaks memory\"\n\n"
    )]
    Build(verb::build::BuildVerb),
    Policy(verb::policy::PolicyArgs),
    Init(verb::init::InitArgs),
    Doctor(verb::doctor::DoctorArgs),
    Completions(verb::completions::CompletionsArgs),
    Man(verb::man::ManArgs),
}

/// A service.
#[derive(Debug, Args)]
pub(crate) struct OfService {
    /// The service
    #[arg(value_name = "SERVICE", value_parser = ServiceName::parse)]
    pub(crate) service: ServiceName,
}

/// A build of a service.
#[derive(Debug, Args)]
pub(crate) struct OfBuild {
    /// The service
    #[arg(value_name = "SERVICE", value_parser = ServiceName::parse)]
    pub(crate) service: ServiceName,
    /// The build
    #[arg(value_name = "BUILD", value_parser = BuildName::parse)]
    pub(crate) build: BuildName,
}

/// A host, and perhaps one of its services.
#[derive(Debug, Args)]
pub(crate) struct OfHost {
    /// The host
    #[arg(value_name = "HOST", value_parser = HostName::parse)]
    pub(crate) host: HostName,
    /// The service; may be left out where there is no doubt
    #[arg(value_name = "SERVICE", value_parser = ServiceName::parse)]
    pub(crate) service: Option<ServiceName>,
}

/// Why.
#[derive(Debug, Clone, Args)]
pub(crate) struct Why {
    /// Why, for whoever looks later
    #[arg(short = 'm', long = "message", value_name = "WHY", value_parser = parse_why)]
    pub(crate) why: Option<String>,
}

/// What a change is bound to.
#[derive(Debug, Clone, Args)]
pub(crate) struct Guard {
    /// Refuse unless the service is still at rollout N
    #[arg(long, value_name = "N")]
    pub(crate) if_rollout: Option<u64>,
}

/// Whether and how long to wait.
#[derive(Debug, Clone, Args)]
pub(crate) struct Waits {
    /// Return at once; the rollout goes on
    #[arg(long)]
    pub(crate) detach: bool,
    #[command(flatten)]
    pub(crate) limit: Limit,
}

/// How long to wait.
#[derive(Debug, Clone, Args)]
pub(crate) struct Limit {
    /// Give up waiting after this long; the rollout goes on
    #[arg(long, value_name = "D", default_value = "15m", value_parser = duration::parse)]
    pub(crate) timeout: SignedDuration,
}

impl Waits {
    /// Returns how long to wait.
    pub(crate) fn patience(&self) -> Patience {
        if self.detach {
            Patience::Detach
        } else {
            Patience::Until(self.limit.timeout)
        }
    }
}

/// Returns the command with its layout of help.
pub(crate) fn command() -> clap::Command {
    fn lay_out(command: clap::Command) -> clap::Command {
        let is_group = command.has_subcommands();
        complete::teach(command)
            .arg_required_else_help(is_group)
            .help_template(VERB_TEMPLATE)
            .mut_subcommands(lay_out)
    }
    complete::teach(lay_out(Cli::command()))
        .help_template(TOP_TEMPLATE)
        .subcommand_required(true)
        .arg_required_else_help(true)
}

fn parse_why(text: &str) -> Result<String, String> {
    let text = text.trim();
    match text.chars().count() {
        0 => Err("say why, in a few words".to_owned()),
        chars if chars > WHY_CHARS_MAX => Err(format!(
            "it has {chars} characters, the limit is {WHY_CHARS_MAX}"
        )),
        _ => Ok(text::clean(text)),
    }
}

#[cfg(test)]
mod tests;
