//! The names of builds, services and hosts: parsed once, then trusted.
//!
//! Every one of them becomes a file name, a znode name and a field of a log line, so the alphabet
//! is small and a name can never be `.`, `..` or hold a separator. A clone is the same text, counted: names go wherever
//! a host or a build goes.

use std::fmt;
use std::sync::Arc;

/// Why a text is not a name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{shown}` is not a {what} name: {rule}")]
pub struct NameError {
    what: &'static str,
    shown: String,
    rule: &'static str,
}

/// Characters of a refused name that are shown; the rest may be a megabyte of nonsense.
const SHOWN_CHARS_MAX: usize = 80;

macro_rules! name {
    ($name:ident, $what:literal, $rule:literal, $accepts:expr, $doc:literal) => {
        #[doc = $doc]
        #[derive(
            Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize,
        )]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(Arc<str>);

        impl $name {
            /// Parses the name.
            ///
            /// # Errors
            /// Where a character or the length is outside the rule; the error quotes the rule.
            pub fn parse(text: &str) -> Result<Self, NameError> {
                let accepts: fn(&str) -> bool = $accepts;
                if accepts(text) {
                    return Ok(Self(Arc::from(text)));
                }
                let shown = text.chars().take(SHOWN_CHARS_MAX).collect::<String>();
                Err(NameError { what: $what, shown: shown.escape_debug().to_string(), rule: $rule })
            }

            /// Returns the name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        impl TryFrom<String> for $name {
            type Error = NameError;
            fn try_from(text: String) -> Result<Self, NameError> {
                Self::parse(&text)
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> String {
                name.0.as_ref().to_owned()
            }
        }
    };
}

name!(
    BuildName,
    "build",
    "1 to 64 letters, digits, `.`, `_` or `-`, the first a letter or digit",
    |text| shaped(text, 64, is_name_byte),
    "What CI calls a build: `[A-Za-z0-9][A-Za-z0-9._-]{0,63}`, opaque to us."
);

name!(
    ServiceName,
    "service",
    "1 to 64 lower-case letters, digits or `-`, the first a letter or digit",
    |text| shaped(text, 64, |b| b.is_ascii_lowercase()
        || b.is_ascii_digit()
        || b == b'-'),
    "What is deployed: `[a-z0-9][a-z0-9-]{0,63}`."
);

name!(
    HostName,
    "host",
    "1 to 253 letters, digits, `.`, `_` or `-`, the first a letter or digit",
    |text| shaped(text, 253, is_name_byte),
    "One machine with a deployd: what a DNS name may be (253 bytes), and `_`."
);

fn is_name_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-')
}

fn shaped(text: &str, bytes_max: usize, accepts: fn(u8) -> bool) -> bool {
    text.len() <= bytes_max
        && text
            .bytes()
            .next()
            .is_some_and(|first| first.is_ascii_alphanumeric())
        && text.bytes().all(accepts)
}

#[cfg(test)]
mod tests;
