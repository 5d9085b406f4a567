//! The archive of a build: where it is, how large, and what its bytes must hash to.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Where the archive of a build is, and how it is known to be that one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Artifact {
    /// An http or https URL. Which ones an agent accepts is in its own configuration.
    pub url: String,
    /// The SHA-256 of the archive's bytes.
    pub sha256: Digest,
    /// Bytes of the archive.
    pub size: u64,
}

/// A SHA-256 in 64 hexadecimal digits, kept in lower case.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Digest(String);

/// Why a text is not a SHA-256.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{shown}` is not a SHA-256: 64 hexadecimal digits are wanted, it has {chars} characters")]
pub struct DigestError {
    shown: String,
    chars: usize,
}

impl Digest {
    /// Parses 64 hexadecimal digits of either case.
    ///
    /// # Errors
    /// Where the text is anything else.
    pub fn parse(text: &str) -> Result<Self, DigestError> {
        if text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Ok(Self(text.to_ascii_lowercase()));
        }
        let shown = text
            .chars()
            .take(80)
            .collect::<String>()
            .escape_debug()
            .to_string();
        Err(DigestError {
            shown,
            chars: text.chars().count(),
        })
    }

    /// Returns the digest of the 32 bytes that a hasher gave.
    pub fn from_bytes(bytes: &[u8; 32]) -> Self {
        Self(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
    }

    /// Returns the 64 digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl TryFrom<String> for Digest {
    type Error = DigestError;
    fn try_from(text: String) -> Result<Self, DigestError> {
        Self::parse(&text)
    }
}

impl From<Digest> for String {
    fn from(digest: Digest) -> String {
        digest.0
    }
}
