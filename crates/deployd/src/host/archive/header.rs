//! One header block of a tar archive.
//!
//! The `tar` crate knows which field is where; what may be in it is decided here. Its readers are
//! made to get along with everything: they take the first digits of a garbled number, join a
//! prefix to any name, and skip what they don't like. We are strict where two readers could
//! understand different things, and indifferent to what is not used: owners, device numbers and a
//! garbled time are nobody's reason to refuse a build.

use super::Rule;
use super::stream::BLOCK_BYTES;

/// A header whose checksum is right.
#[derive(Debug)]
pub(super) struct Header<'a> {
    header: &'a tar::Header,
}

/// Where formats with a magic have it, and where they have a prefix.
const MAGIC: std::ops::Range<usize> = 257..265;
const PREFIX: std::ops::Range<usize> = 345..500;

/// What a numeric field holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Number {
    Blank,
    Value(u64),
    Garbled,
}

impl<'a> Header<'a> {
    /// Checks the checksum: the unsigned sum, as POSIX has it.
    pub(super) fn parse(block: &'a [u8; BLOCK_BYTES]) -> Result<Self, Rule> {
        let header = tar::Header::from_byte_slice(block);
        let field = &header.as_old().cksum;
        let total = |bytes: &[u8]| bytes.iter().map(|byte| u64::from(*byte)).sum::<u64>();
        let expected = total(block) - total(field) + 8 * u64::from(b' ');
        if number(field) != Number::Value(expected) {
            return Err("a header has a bad checksum".into());
        }
        Ok(Self { header })
    }

    /// Returns the byte that says what the entry is. V7 has no type for directories: there, one is
    /// a file without bytes whose name ends in a slash.
    pub(super) fn kind(&self) -> u8 {
        let v7 = self.header.as_bytes()[MAGIC] == [0; 8];
        let slash = self.short_name().ends_with(b"/");
        match self.header.as_old().linkflag[0] {
            0 if v7 && slash && self.size() == Ok(Some(0)) => tar::EntryType::Directory.as_byte(),
            kind => kind,
        }
    }

    /// Returns the name without a prefix, good enough for a message.
    pub(super) fn short_name(&self) -> &[u8] {
        until_nul(&self.header.as_old().name)
    }

    /// Returns the name in this header, with the prefix where the format has one.
    pub(super) fn name(&self) -> Result<Vec<u8>, Rule> {
        let name = self.short_name();
        let prefix = until_nul(&self.header.as_bytes()[PREFIX]);
        if prefix.is_empty() || self.header.as_gnu().is_some() {
            // GNU keeps times there. Without a magic (V7) there is nothing, as with short names.
            return Ok(name.to_vec());
        }
        if self.header.as_ustar().is_none() {
            return Err("its header has a prefix, but is not ustar".into());
        }
        Ok([prefix, b"/", name].concat())
    }

    /// Returns the target of a link.
    pub(super) fn link(&self) -> Vec<u8> {
        until_nul(&self.header.as_old().linkname).to_vec()
    }

    /// Returns the size; a blank field is none.
    pub(super) fn size(&self) -> Result<Option<u64>, Rule> {
        match number(&self.header.as_old().size) {
            Number::Value(size) => Ok(Some(size)),
            Number::Blank => Ok(None),
            Number::Garbled => Err("its size is not a number".into()),
        }
    }

    /// Returns the permission bits, and whatever else is in the field.
    pub(super) fn mode(&self) -> Result<u64, Rule> {
        match number(&self.header.as_old().mode) {
            Number::Value(mode) => Ok(mode),
            Number::Blank => Ok(0),
            Number::Garbled => Err("its mode is not a number".into()),
        }
    }

    /// Returns the seconds of the time of change, where they make sense.
    pub(super) fn modified_s(&self) -> Option<i64> {
        match number(&self.header.as_old().mtime) {
            Number::Value(seconds) => i64::try_from(seconds).ok(),
            Number::Blank | Number::Garbled => None,
        }
    }
}

fn until_nul(field: &[u8]) -> &[u8] {
    let end = field.iter().position(|byte| *byte == 0);
    &field[..end.unwrap_or(field.len())]
}

/// Reads a numeric field: octal digits, or GNU's big-endian bytes where the first bit is set.
fn number(field: &[u8]) -> Number {
    if field[0] & 0x80 != 0 {
        return base_256(field);
    }
    let start = field.iter().position(|byte| *byte != b' ');
    let digits = &field[start.unwrap_or(field.len())..];
    let end = digits
        .iter()
        .position(|byte| !(b'0'..=b'7').contains(byte))
        .unwrap_or(digits.len());
    if digits[end..].iter().any(|byte| !matches!(byte, 0 | b' ')) {
        return Number::Garbled;
    }
    if end == 0 {
        return Number::Blank;
    }
    // Twelve digits at most: 36 bits.
    let value = digits[..end]
        .iter()
        .fold(0, |value, digit| value << 3 | u64::from(digit - b'0'));
    Number::Value(value)
}

fn base_256(field: &[u8]) -> Number {
    let (first, rest) = (field[0] & 0x7f, &field[1..]);
    let low = rest.len().saturating_sub(8);
    // The second bit is the sign. A negative number is of no use in any field.
    if first != 0 || rest[..low].iter().any(|byte| *byte != 0) {
        return Number::Garbled;
    }
    let value = rest[low..]
        .iter()
        .fold(0, |value, byte| value << 8 | u64::from(*byte));
    Number::Value(value)
}

#[cfg(test)]
mod tests;
