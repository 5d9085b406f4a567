//! `roles/<host>`: which target a host follows for a service.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::Stored;

/// Which target a host follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// `enabled`.
    #[default]
    Fleet,
    /// `enabled/canary` where it holds a target, else `enabled`.
    Canary,
}

/// The data of a role znode.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Assignment {
    /// The role. An unknown one is an error: guessing would deploy the wrong build.
    pub role: Role,
    /// Who set it.
    pub by: Option<String>,
    /// When.
    pub at: Option<String>,
    /// Why, in their words.
    pub why: Option<String>,
}

impl Assignment {
    /// Returns the assignment of a role, by nobody.
    pub fn of_role(role: Role) -> Assignment {
        Assignment {
            role,
            by: None,
            at: None,
            why: None,
        }
    }
}

impl Stored for Assignment {
    const WHAT: &'static str = "role";
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Role::Fleet => "fleet",
            Role::Canary => "canary",
        })
    }
}
