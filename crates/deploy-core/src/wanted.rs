//! What ZooKeeper asks of this host for one service, from the znodes as they were read.
//!
//! Nothing here is trusted: every znode may be absent, unread yet, or garbage, and each of these
//! has one meaning. None of them ever means "uninstall" or "restart".

use jiff::Timestamp;

use crate::artifact::Artifact;
use crate::name::{BuildName, HostName, ServiceName};
use crate::wire::build::Build;
use crate::wire::hold::Hold;
use crate::wire::retry::Retry;
use crate::wire::role::{Assignment, Role};
use crate::wire::target::{Previous, Target};
use crate::wire::{self, WireError};

/// A znode as it was last read.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum View {
    /// Not read yet. Never the same as absent.
    #[default]
    Unknown,
    /// It doesn't exist.
    Absent,
    /// Its data, and the transaction that wrote it last.
    Present {
        /// The data.
        data: Vec<u8>,
        /// The transaction that wrote it.
        mzxid: i64,
    },
}

/// The znodes that decide what a host does for a service.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Znodes {
    /// `roles/<host>`.
    pub role: View,
    /// `enabled`.
    pub enabled: View,
    /// `enabled/canary`.
    pub canary: View,
    /// `hold`.
    pub hold: View,
    /// `retry/<host>`.
    pub retry: View,
    /// `builds/<build>` of the builds that the target names.
    pub builds: Vec<(BuildName, View)>,
    /// Those of them that ZooKeeper does not let us read, and what it says.
    pub refused: Vec<Problem>,
}

/// Who reads the znodes, and when.
#[derive(Debug, Clone, Copy)]
pub struct Reader<'a> {
    /// The service.
    pub service: &'a ServiceName,
    /// This host.
    pub host: &'a HostName,
    /// For a hold that ends by itself.
    pub now: Timestamp,
}

/// What is asked of this host.
#[derive(Debug, Clone, PartialEq)]
pub struct Wanted {
    /// The role; `None` where it is not known or can't be read.
    pub role: Option<Role>,
    /// The build.
    pub target: WantedTarget,
    /// Whether anything new may start.
    pub gate: Gate,
    /// What can't be read and changes nothing: a wish to try again.
    pub ignored: Option<Problem>,
    /// What ZooKeeper does not let us read: it may be what is waited for.
    pub refused: Vec<Problem>,
}

/// Which build is asked for.
#[derive(Debug, Clone, PartialEq)]
pub enum WantedTarget {
    /// ZooKeeper was not read yet.
    Unknown,
    /// Nothing is wanted: the host stays as it is.
    Nothing,
    /// What is wanted can't be read: the host stays as it is, and says so.
    Unreadable(Problem),
    /// A build.
    Build(Goal),
}

/// The build that is asked for, with all that is needed to get there.
#[derive(Debug, Clone, PartialEq)]
pub struct Goal {
    /// The build of the target.
    pub build: BuildName,
    /// Its archive; an error where neither the target nor `builds/` knows it.
    pub artifact: Result<Artifact, Problem>,
    /// The number of the rollout; `None` for a target written by hand.
    pub rollout: Option<u64>,
    /// Whether this host is among those that activate it.
    pub share: Share,
    /// What the others stay on.
    pub previous: Option<(BuildName, Result<Artifact, Problem>)>,
    /// Each host restarts its instances once for each new number.
    pub restart: Option<u64>,
    /// The wish to try this rollout again, told apart by its transaction; 0 for none. A target without a number is one.
    pub retry: i64,
}

/// On which side of the percent a host is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Share {
    /// It activates the build.
    Inside,
    /// It prepares the build and stays on the one before.
    Outside,
}

/// Whether anything new may start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Gate {
    /// Yes.
    Open,
    /// The service is held: prepare, but neither activate nor restart.
    Held(Hold),
    /// ZooKeeper is away: what is known may be old.
    Cut,
}

/// Something outside the build that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// What it is about: `role`, `target`, `build`, ….
    pub object: String,
    /// What is wrong with it.
    pub message: String,
}

/// Says what is asked of this host.
pub fn wanted(znodes: &Znodes, reader: &Reader<'_>) -> Wanted {
    let gate = match &znodes.hold {
        View::Present { data, .. } => match Hold::read(data) {
            hold if hold.holds(reader.now) => Gate::Held(hold),
            _ => Gate::Open,
        },
        View::Absent => Gate::Open,
        View::Unknown => Gate::Cut,
    };
    let ignored = unreadable_retry(&znodes.retry);
    let refused = znodes.refused.clone();
    let unreadable = |object: &str, error: WireError| {
        let message = error.to_string();
        WantedTarget::Unreadable(Problem {
            object: object.to_owned(),
            message,
        })
    };
    let role = match read_role(&znodes.role) {
        Ok(Some(role)) => role,
        Ok(None) => {
            return Wanted {
                role: None,
                target: WantedTarget::Unknown,
                gate,
                ignored,
                refused,
            };
        }
        Err(error) => {
            return Wanted {
                role: None,
                target: unreadable("role", error),
                gate,
                ignored,
                refused,
            };
        }
    };
    let target = match followed(znodes, role) {
        Followed::Unknown => WantedTarget::Unknown,
        Followed::Nothing => WantedTarget::Nothing,
        Followed::Unreadable(object, error) => unreadable(object, error),
        Followed::Target(target, mzxid) => {
            WantedTarget::Build(goal((*target, mzxid), znodes, reader))
        }
    };
    Wanted {
        role: Some(role),
        target,
        gate,
        ignored,
        refused,
    }
}

/// Returns the builds whose `builds/` znodes [`wanted`] needs: those of the target without an
/// artifact of its own.
pub fn builds_needed(znodes: &Znodes) -> Vec<BuildName> {
    let Ok(Some(role)) = read_role(&znodes.role) else {
        return Vec::new();
    };
    let Followed::Target(target, _) = followed(znodes, role) else {
        return Vec::new();
    };
    let previous = target
        .previous
        .filter(|previous| previous.artifact.is_none());
    let build = target.artifact.is_none().then_some(target.build);
    build
        .into_iter()
        .chain(previous.map(|previous| previous.build))
        .collect()
}

/// A wish that can't be read is none. Somebody has written it all the same, and is told.
fn unreadable_retry(view: &View) -> Option<Problem> {
    let View::Present { data, .. } = view else {
        return None;
    };
    let error = wire::decode::<Retry>(data).err()?;
    Some(Problem {
        object: "retry".to_owned(),
        message: error.to_string(),
    })
}

fn read_role(view: &View) -> Result<Option<Role>, WireError> {
    match view {
        View::Unknown => Ok(None),
        View::Absent => Ok(Some(Role::Fleet)),
        View::Present { data, .. } => wire::decode::<Assignment>(data).map(|a| Some(a.role)),
    }
}

enum Followed {
    Unknown,
    Nothing,
    Unreadable(&'static str, WireError),
    /// And the transaction that wrote it.
    Target(Box<Target>, i64),
}

/// A canary host follows `enabled/canary` where it holds a target, else `enabled`. A canary znode
/// that can't be read is not "no canary": falling back would deploy what nobody asked for.
fn followed(znodes: &Znodes, role: Role) -> Followed {
    let read = |view: &View, object| match view {
        View::Unknown => Followed::Unknown,
        View::Absent => Followed::Nothing,
        View::Present { data, mzxid } => match Target::read(data) {
            Ok(Some(target)) => Followed::Target(Box::new(target), *mzxid),
            Ok(None) => Followed::Nothing,
            Err(error) => Followed::Unreadable(object, error),
        },
    };
    match role {
        Role::Fleet => read(&znodes.enabled, "enabled"),
        Role::Canary => match read(&znodes.canary, "enabled/canary") {
            Followed::Nothing => read(&znodes.enabled, "enabled"),
            found => found,
        },
    }
}

fn goal((target, written): (Target, i64), znodes: &Znodes, reader: &Reader<'_>) -> Goal {
    let share = if target
        .percent
        .includes(reader.service, &target.build, reader.host)
    {
        Share::Inside
    } else {
        Share::Outside
    };
    let retry = match &znodes.retry {
        View::Present { data, mzxid } => match wire::decode::<Retry>(data) {
            Ok(retry) if retry.rollout == target.rollout => *mzxid,
            Ok(_) | Err(_) => 0,
        },
        View::Absent | View::Unknown => 0,
    };
    // Who writes a target by hand has no number to tell one wish from another by: each time it is a new one.
    let retry = match target.rollout {
        Some(_) => retry,
        None => retry.max(written),
    };
    let artifact = find_artifact(&target.build, target.artifact, znodes);
    let previous = target.previous.map(|Previous { build, artifact }| {
        let artifact = find_artifact(&build, artifact, znodes);
        (build, artifact)
    });
    Goal {
        artifact,
        rollout: target.rollout,
        share,
        previous,
        restart: target.restart,
        retry,
        build: target.build,
    }
}

fn find_artifact(
    build: &BuildName,
    given: Option<Artifact>,
    znodes: &Znodes,
) -> Result<Artifact, Problem> {
    if let Some(artifact) = given {
        return Ok(artifact);
    }
    let problem = |message| Problem {
        object: format!("builds/{build}"),
        message,
    };
    let view = znodes
        .builds
        .iter()
        .find(|(name, _)| name == build)
        .map(|(_, view)| view);
    match view {
        Some(View::Present { data, .. }) => match wire::decode::<Build>(data) {
            Ok(build) => Ok(build.artifact),
            Err(error) => Err(problem(error.to_string())),
        },
        Some(View::Absent) => Err(problem(format!(
            "the target names build {build} without an artifact, and it is not registered"
        ))),
        Some(View::Unknown) | None => Err(problem("it was not read from ZooKeeper yet".to_owned())),
    }
}

#[cfg(test)]
mod tests;
