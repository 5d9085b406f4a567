//! The stored formats: what is in znodes and in the journal, as versioned JSON.
//!
//! One object, `"v": 1` first, made to be read by people. Readers ignore fields that they don't
//! know, and [`encode_over`] keeps them where a znode is rewritten, so that an older deployctl does
//! not destroy what a newer one wrote. docs/znodes.md is the contract; change it first.

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::secret;

pub mod alive;
pub mod build;
pub mod history;
pub mod hold;
pub mod lease;
pub mod policy;
pub mod record;
pub mod report;
pub mod retry;
pub mod role;
pub mod target;
pub mod time;

/// The version of every stored format, and the newest that is understood.
pub const VERSION: u64 = 1;

/// The largest znode that is read or written, in bytes: 64 KiB.
pub const ZNODE_BYTES_MAX: usize = 64 * 1024;

/// A type that is stored in a znode.
pub trait Stored: Serialize + DeserializeOwned {
    /// What it is, as messages say it: `target`, `role`, ….
    const WHAT: &'static str;
    /// What becomes of fields that are null.
    const NULLS: Nulls = Nulls::LeftOut;
    /// How large its data may be, in bytes.
    const BYTES_MAX: usize = ZNODE_BYTES_MAX;
}

/// What becomes of fields that are null when a value is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Nulls {
    /// They are left out: the object stays short.
    LeftOut,
    /// They are written: "unknown" is said as unknown.
    Written,
}

/// Why data of a znode is not what it should be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    /// Above [`Stored::BYTES_MAX`].
    #[error("the {what} has {bytes} bytes, above the limit of {limit}")]
    TooLarge {
        /// [`Stored::WHAT`].
        what: &'static str,
        /// Bytes of the data.
        bytes: usize,
        /// [`Stored::BYTES_MAX`].
        limit: usize,
    },
    /// Not JSON, not an object, a field of the wrong type, a name that is none, ….
    #[error("the {what} can't be read: {reason}")]
    Malformed {
        /// [`Stored::WHAT`].
        what: &'static str,
        /// The field and the position, as the parser says it.
        reason: String,
    },
    /// Written by a newer version of this project.
    #[error("the {what} has version {found}, and this program knows {VERSION}: it is too old")]
    Newer {
        /// [`Stored::WHAT`].
        what: &'static str,
        /// The version found.
        found: u64,
    },
}

/// Characters of a reason at most: it ends up in a report, which must stay a znode.
pub const REASON_CHARS_MAX: usize = 400;

impl WireError {
    /// Parsers quote what they found, which others wrote: it is cut short, and can neither steer a
    /// terminal nor carry the secrets of a URL into a log.
    fn malformed(what: &'static str, reason: &str) -> WireError {
        let shown = secret::hidden(reason);
        let escape = |c: char| -> Vec<char> {
            if c.is_control() {
                c.escape_debug().collect()
            } else {
                vec![c]
            }
        };
        let mut chars = shown.chars().flat_map(escape);
        let mut reason: String = chars.by_ref().take(REASON_CHARS_MAX).collect();
        if chars.next().is_some() {
            reason.push('…');
        }
        WireError::Malformed { what, reason }
    }
}

/// Decodes the data of a znode.
///
/// # Errors
/// Data above [`Stored::BYTES_MAX`], not a JSON object, without `"v": 1`, of a newer version, or with a known
/// field of the wrong shape or given twice. Unknown fields are no error.
pub fn decode<T: Stored>(data: &[u8]) -> Result<T, WireError> {
    let what = T::WHAT;
    if data.len() > T::BYTES_MAX {
        return Err(WireError::TooLarge {
            what,
            bytes: data.len(),
            limit: T::BYTES_MAX,
        });
    }
    let malformed = |reason: String| WireError::malformed(what, &reason);
    if data.iter().all(u8::is_ascii_whitespace) {
        return Err(malformed("it is empty".to_owned()));
    }
    let value: Value = serde_json::from_slice(data).map_err(|e| malformed(e.to_string()))?;
    let Value::Object(object) = value else {
        return Err(malformed("it is not a JSON object".to_owned()));
    };
    match object.get("v").map(|v| v.as_u64()) {
        Some(Some(VERSION)) => {}
        Some(Some(found)) if found > VERSION => return Err(WireError::Newer { what, found }),
        Some(_) => return Err(malformed(format!("`v` is not {VERSION}"))),
        None => return Err(malformed("`v` is missing".to_owned())),
    }
    // From the text and not from the value: so the position is told and double fields are seen.
    let text = &mut serde_json::Deserializer::from_slice(data);
    serde_path_to_error::deserialize(text).map_err(|error| {
        let field = error.path().to_string();
        let cause = error.into_inner();
        malformed(if field == "." {
            cause.to_string()
        } else {
            format!("`{field}`: {cause}")
        })
    })
}

/// Encodes a value as the data of a new znode.
pub fn encode<T: Stored>(value: &T) -> Vec<u8> {
    render(&without_nulls(to_object(value), T::NULLS))
}

/// Encodes a value over the data that it replaces: fields of `old` that this program doesn't know
/// are kept, at every depth. Data that can't be read is replaced whole.
pub fn encode_over<T: Stored>(value: &T, old: &[u8]) -> Vec<u8> {
    let known = to_object(value);
    let mut object = without_nulls(known.clone(), T::NULLS);
    if let Ok(Value::Object(old)) = serde_json::from_slice(old) {
        keep_unknown(&mut object, &known, old);
    }
    render(&object)
}

fn to_object<T: Stored>(value: &T) -> Map<String, Value> {
    let Ok(Value::Object(fields)) = serde_json::to_value(value) else {
        unreachable!("every stored type is a struct of text, numbers and lists of them");
    };
    let mut object = Map::new();
    object.insert("v".to_owned(), VERSION.into());
    object.extend(fields);
    object
}

/// Fields are known by being in `known`, null or not: so a field that was taken away stays away.
/// What is not known is kept as it is, nulls and all.
fn keep_unknown(new: &mut Map<String, Value>, known: &Map<String, Value>, old: Map<String, Value>) {
    for (key, old_value) in old {
        match (known.get(&key), new.get_mut(&key), old_value) {
            (Some(Value::Object(known)), Some(Value::Object(new)), Value::Object(old)) => {
                keep_unknown(new, known, old);
            }
            (Some(_), _, _) => {}
            (None, _, old_value) => {
                new.insert(key, old_value);
            }
        }
    }
}

fn without_nulls(object: Map<String, Value>, nulls: Nulls) -> Map<String, Value> {
    match nulls {
        Nulls::Written => object,
        Nulls::LeftOut => object
            .into_iter()
            .filter(|(_, value)| !value.is_null())
            .map(|(key, value)| match value {
                Value::Object(inner) => (key, Value::Object(without_nulls(inner, nulls))),
                other => (key, other),
            })
            .collect(),
    }
}

fn render(object: &Map<String, Value>) -> Vec<u8> {
    serde_json::to_vec(object).expect("a map of JSON values with text keys is always JSON")
}

#[cfg(test)]
pub(crate) mod tests;
