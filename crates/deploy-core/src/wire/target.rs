//! `enabled` and `enabled/canary`: the wanted build.

use serde::{Deserialize, Serialize};

use super::{Stored, WireError};
use crate::artifact::Artifact;
use crate::name::BuildName;
use crate::percent::Percent;
use crate::secret;

/// The largest number of a rollout: its history znode has ten digits. No service has had as many, but somebody may write
/// any number by hand, and the next one counts on from it.
pub const ROLLOUT_MAX: u64 = 9_999_999_999;

/// The wanted build of a service for a role.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Target {
    /// The build that is wanted.
    pub build: BuildName,
    /// The number of the change that wanted it; a target written by hand has none.
    pub rollout: Option<u64>,
    /// Its archive; where absent, `builds/<build>` has it.
    pub artifact: Option<Artifact>,
    /// The share of the hosts that activate it.
    #[serde(default)]
    pub percent: Percent,
    /// What the other hosts stay on.
    pub previous: Option<Previous>,
    /// Each host restarts its instances once for each new number here.
    pub restart: Option<u64>,
    /// Who wanted it.
    pub by: Option<String>,
    /// When.
    pub at: Option<String>,
    /// Why, in their words.
    pub why: Option<String>,
}

/// The build before.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Previous {
    /// Its name.
    pub build: BuildName,
    /// Its archive; where absent, `builds/<build>` has it.
    pub artifact: Option<Artifact>,
}

impl Stored for Target {
    const WHAT: &'static str = "target";
}

impl Target {
    /// Returns a target that names a build and nothing else: every host, whatever is before.
    pub fn of_build(build: BuildName) -> Target {
        Target {
            build,
            rollout: None,
            artifact: None,
            percent: Percent::ALL,
            previous: None,
            restart: None,
            by: None,
            at: None,
            why: None,
        }
    }

    /// Reads a target: JSON, or a bare word as somebody may write with `zkCli set`, which means
    /// the build of that name. Empty data is no target.
    ///
    /// # Errors
    /// Data that is neither, or has a rollout above [`ROLLOUT_MAX`].
    pub fn read(data: &[u8]) -> Result<Option<Target>, WireError> {
        if data.is_empty() || data.iter().all(u8::is_ascii_whitespace) && data.len() < 64 {
            return Ok(None);
        }
        let word = std::str::from_utf8(data).unwrap_or_default().trim();
        if let Ok(build) = BuildName::parse(word) {
            return Ok(Some(Target::of_build(build)));
        }
        if data.trim_ascii().first() == Some(&b'{') {
            let target: Target = super::decode(data)?;
            return match target.rollout.filter(|rollout| *rollout > ROLLOUT_MAX) {
                None => Ok(Some(target)),
                Some(rollout) => {
                    let reason = format!("`rollout`: {rollout} is above {ROLLOUT_MAX}");
                    Err(WireError::malformed(Self::WHAT, &reason))
                }
            };
        }
        if data.len() > Self::BYTES_MAX {
            return Err(WireError::TooLarge {
                what: Self::WHAT,
                bytes: data.len(),
                limit: Self::BYTES_MAX,
            });
        }
        // Before it is cut, or half a URL would be shown.
        let text = secret::hidden(&String::from_utf8_lossy(data));
        let shown: String = text.chars().take(80).collect();
        let reason = format!(
            "`{}` is neither a JSON object nor a build name",
            shown.escape_debug()
        );
        Err(WireError::malformed(Self::WHAT, &reason))
    }
}
