//! Directories that must not be the same, or lie in each other. Pure: which paths are compared, those of the file or those
//! behind the symlinks of this machine, is up to the caller.

use std::path::{Path, PathBuf};

use deploy_core::name::ServiceName;

/// Where the directories of a configuration are.
#[derive(Debug, Clone)]
pub(crate) struct Places<'a> {
    /// `agent.state_dir`.
    pub(crate) state_dir: PathBuf,
    /// `dir` of each service.
    pub(crate) services: Vec<(&'a ServiceName, PathBuf)>,
}

/// A directory that is where it should not be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Clash<'a> {
    /// Which one it is.
    pub(crate) whose: Whose,
    /// The service that it is about.
    pub(crate) service: &'a ServiceName,
    /// What comes of it.
    pub(crate) harm: Harm,
    /// What is wrong, and what was expected.
    pub(crate) message: String,
}

/// A key that has a directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Whose {
    /// `agent.state_dir`.
    Agent,
    /// `dir` of the service with this place in the file.
    Service(usize),
}

/// What comes of a clash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Harm {
    /// One deletes what is the other's.
    Destroys,
    /// It may be intended.
    Doubtful,
}

/// Returns what is where it should not be: what of a service is replaced and deleted has nothing of others in it.
pub(crate) fn clashes<'a>(places: &Places<'a>) -> Vec<Clash<'a>> {
    let mut clashes = Vec::new();
    for (index, (name, dir)) in places.services.iter().enumerate() {
        let mut add = |whose, harm, message| {
            clashes.push(Clash {
                whose,
                service: name,
                harm,
                message,
            });
        };
        let state_dir = &places.state_dir;
        if let Some(ruled) = ruled(dir, state_dir) {
            let message = format!(
                "`state_dir` is in {}, where the releases of {name} are replaced and deleted; expected a place of its own",
                ruled.display()
            );
            add(Whose::Agent, Harm::Destroys, message);
        }
        if dir.starts_with(state_dir) {
            let message = format!(
                "`dir` of {name} is in `state_dir`, {}, which deployd makes for itself alone: others don't reach the releases",
                state_dir.display()
            );
            add(Whose::Service(index), Harm::Doubtful, message);
        }
        for (at, (other, theirs)) in places.services.iter().enumerate() {
            if at == index || dir == theirs && at > index {
                continue;
            }
            let (harm, message) = if dir == theirs {
                let message = format!("dir {} is there twice: {other} has it", dir.display());
                (Harm::Destroys, message)
            } else if let Some(ruled) = ruled(theirs, dir) {
                let message = format!(
                    "`dir` of {name} is in {}, where the releases of {other} are replaced and deleted; expected a place of its own",
                    ruled.display()
                );
                (Harm::Destroys, message)
            } else if dir.starts_with(theirs) {
                let message = format!(
                    "`dir` of {name} is in {}, which is that of {other}",
                    theirs.display()
                );
                (Harm::Doubtful, message)
            } else {
                continue;
            };
            add(Whose::Service(index), harm, message);
        }
    }
    clashes
}

/// Returns what of the directory of a service has a path in it and is replaced and deleted with the releases.
fn ruled(dir: &Path, path: &Path) -> Option<PathBuf> {
    let ours = ["releases", "current"].map(|name| dir.join(name));
    ours.into_iter().find(|ours| path.starts_with(ours))
}

#[cfg(test)]
mod tests;
