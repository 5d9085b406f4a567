//! The records of a PAX header: `<length> <key>=<value>\n`, where the value may be binary.
//!
//! Only the four keys that change what is written are looked at. Owners, extended attributes,
//! ACLs and capabilities are ignored, as they are everywhere else.

use super::Rule;

/// Keys that no global header may set: they would apply to every member at once.
const OF_ONE_MEMBER: [&[u8]; 3] = [b"path", b"linkpath", b"size"];

/// Keys by which an archive says that a file's data is not the file: a map of its holes.
const SPARSE: [&[u8]; 3] = [b"GNU.sparse.", b"SCHILY.realsize", b"SUN.holesdata"];

/// What a PAX header says of the member that follows it.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Extended {
    /// Its name.
    pub(super) path: Option<Vec<u8>>,
    /// The target of a link.
    pub(super) link: Option<Vec<u8>>,
    /// Its size.
    pub(super) size: Option<u64>,
    /// Seconds and nanoseconds of its change, where they make sense.
    pub(super) modified: Option<(i64, u32)>,
}

/// Parses the body of the header of one member (`x`).
pub(super) fn parse_member(body: &[u8]) -> Result<Extended, Rule> {
    let mut extended = Extended::default();
    for record in Records(body) {
        let (key, value) = record?;
        match key {
            b"path" => once(&mut extended.path, without_nul(value)?)?,
            b"linkpath" => once(&mut extended.link, without_nul(value)?)?,
            b"size" => once(&mut extended.size, size(value)?)?,
            b"mtime" => extended.modified = time(value),
            key => refuse_sparse(key)?,
        }
    }
    Ok(extended)
}

/// Checks the body of a global header (`g`), of which nothing is used.
pub(super) fn check_global(body: &[u8]) -> Result<(), Rule> {
    for record in Records(body) {
        let (key, _) = record?;
        if OF_ONE_MEMBER.contains(&key) {
            return Err("a global PAX header sets a name or size".into());
        }
        refuse_sparse(key)?;
    }
    Ok(())
}

fn refuse_sparse(key: &[u8]) -> Result<(), Rule> {
    if SPARSE.iter().any(|sparse| key.starts_with(sparse)) {
        return Err("it is a sparse file (PAX); pack it without --sparse".into());
    }
    Ok(())
}

/// Two records of one key: readers differ in which of them counts.
fn once<T>(slot: &mut Option<T>, value: T) -> Result<(), Rule> {
    match slot.replace(value) {
        None => Ok(()),
        Some(_) => Err("a PAX header says the same twice".into()),
    }
}

fn without_nul(value: &[u8]) -> Result<Vec<u8>, Rule> {
    if value.is_empty() {
        return Err("a PAX header has an empty name".into());
    }
    if value.contains(&0) {
        return Err("a PAX name contains a NUL byte".into());
    }
    Ok(value.to_vec())
}

fn size(value: &[u8]) -> Result<u64, Rule> {
    decimal(value).ok_or_else(|| "a PAX size is not a number".into())
}

fn decimal(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(digits).ok()?.parse().ok()
}

/// Returns a time; what makes no sense is no time. Nanoseconds are the first nine decimals.
fn time(value: &[u8]) -> Option<(i64, u32)> {
    let (seconds, decimals) = match value.iter().position(|byte| *byte == b'.') {
        Some(dot) => (&value[..dot], &value[dot + 1..]),
        None => (value, &b""[..]),
    };
    let seconds = i64::try_from(decimal(seconds)?).ok()?;
    let mut nanoseconds = [b'0'; 9];
    let kept = decimals.len().min(9);
    nanoseconds[..kept].copy_from_slice(&decimals[..kept]);
    Some((seconds, u32::try_from(decimal(&nanoseconds)?).ok()?))
}

/// The records of a body, key and value.
struct Records<'a>(&'a [u8]);

impl<'a> Iterator for Records<'a> {
    type Item = Result<(&'a [u8], &'a [u8]), Rule>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let record = split_record(self.0);
        self.0 = record.map_or(&[], |(_, _, rest)| rest);
        Some(match record {
            Some((key, value, _)) => Ok((key, value)),
            None => Err("a PAX record is malformed".into()),
        })
    }
}

type Split<'a> = (&'a [u8], &'a [u8], &'a [u8]);

fn split_record(body: &[u8]) -> Option<Split<'_>> {
    // The length has at most seven digits, since a body has at most 1 MiB.
    let space = body.iter().take(8).position(|byte| *byte == b' ')?;
    if body[0] == b'0' {
        return None;
    }
    let length = usize::try_from(decimal(&body[..space])?).ok()?;
    let record = body.get(space + 1..length)?;
    let (record, rest) = (record.strip_suffix(b"\n")?, &body[length..]);
    let equals = record.iter().position(|byte| *byte == b'=')?;
    let (key, value) = (&record[..equals], &record[equals + 1..]);
    // GNU tar passes over blanks before a key, others take them for a part of it.
    let blank = matches!(key.first(), None | Some(b' ' | b'\t'));
    if blank || key.contains(&0) || key.contains(&b'\n') {
        return None;
    }
    Some((key, value, rest))
}

#[cfg(test)]
mod tests;
