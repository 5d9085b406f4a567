//! `builds/<build>`: a build that may be deployed.

use serde::{Deserialize, Serialize};

use super::Stored;
use crate::artifact::Artifact;

/// A registered build.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Build {
    /// Its archive.
    pub artifact: Artifact,
    /// The number of the key that has signed the archive, as `minisign` shows it, where it was
    /// registered with its signature. Hosts don't ask this: they check the signature itself.
    pub signed_by: Option<String>,
    /// There when the build must not be deployed again by mistake.
    pub bad: Option<Bad>,
    /// Who registered it.
    pub by: Option<String>,
    /// When.
    pub at: Option<String>,
    /// Why, in their words.
    pub why: Option<String>,
}

/// The mark of a build that nobody should deploy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bad {
    /// Who marked it.
    pub by: Option<String>,
    /// When.
    pub at: Option<String>,
    /// Why, in their words.
    pub why: Option<String>,
}

impl Stored for Build {
    const WHAT: &'static str = "build";
}
