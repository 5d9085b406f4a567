//! The user of a service.

use std::path::{Path, PathBuf};

use nix::unistd::{Gid, Uid};

/// A user of this host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct User {
    name: String,
    uid: u32,
    gid: u32,
    home: PathBuf,
}

/// Why a user can't be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum UserError {
    /// There is none of that name.
    #[error("user {name} does not exist on this host")]
    Missing {
        /// The name.
        name: String,
    },
    /// The user database can't be read.
    #[error("failed to look up user {name}")]
    Lookup {
        /// The name.
        name: String,
        /// Why.
        #[source]
        source: nix::Error,
    },
    /// We are somebody else, and not root.
    #[error("deployd runs without root and can't become user {name}")]
    NotRoot {
        /// The name.
        name: String,
    },
}

impl User {
    /// Looks a user up; `None`: whoever we are.
    ///
    /// # Errors
    /// Where there is none of that name, or we could not become it.
    pub(crate) fn find(name: Option<&str>) -> Result<User, UserError> {
        let Some(name) = name else {
            return Ok(User::own());
        };
        let found = nix::unistd::User::from_name(name)
            .map_err(|source| UserError::Lookup {
                name: name.to_owned(),
                source,
            })?
            .ok_or_else(|| UserError::Missing {
                name: name.to_owned(),
            })?;
        let user = User::of(found);
        if !user.is_self() && !Uid::effective().is_root() {
            return Err(UserError::NotRoot {
                name: name.to_owned(),
            });
        }
        Ok(user)
    }

    fn own() -> User {
        let (uid, gid) = (Uid::effective(), Gid::effective());
        match nix::unistd::User::from_uid(uid) {
            Ok(Some(user)) => User {
                gid: gid.as_raw(),
                ..User::of(user)
            },
            Ok(None) | Err(_) => User {
                name: uid.to_string(),
                uid: uid.as_raw(),
                gid: gid.as_raw(),
                home: PathBuf::from("/"),
            },
        }
    }

    fn of(user: nix::unistd::User) -> User {
        User {
            name: user.name,
            uid: user.uid.as_raw(),
            gid: user.gid.as_raw(),
            home: user.dir,
        }
    }

    /// Tells whether that is us.
    pub(crate) fn is_self(&self) -> bool {
        Uid::effective().as_raw() == self.uid
    }

    /// The name.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }
    /// The user id.
    pub(crate) fn uid(&self) -> u32 {
        self.uid
    }
    /// The primary group.
    pub(crate) fn gid(&self) -> u32 {
        self.gid
    }
    /// The home directory.
    pub(crate) fn home(&self) -> &Path {
        &self.home
    }
}
