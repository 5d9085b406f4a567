//! Names in archives: which are accepted, and what they normalise to.

use super::Rule;

/// Bytes of a whole name, as the archive has it.
const NAME_BYTES_MAX: usize = 4096;

/// Bytes between two slashes: what Linux file systems can hold.
const COMPONENT_BYTES_MAX: usize = 255;

/// Components of a name.
const DEPTH_MAX: usize = 256;

/// The place of an entry beneath the release: relative, without `.`, `..` and empty components.
/// Bytes are kept as they are: no Unicode or case folding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct EntryPath(Vec<u8>);

impl EntryPath {
    /// Parses the name of a directory. It may end in `/`, and may be the release itself (`./`).
    pub(super) fn of_directory(raw: &[u8]) -> Result<Self, Rule> {
        if raw.is_empty() {
            return Err("the name is empty".into());
        }
        if raw.contains(&0) {
            return Err("the name contains a NUL byte".into());
        }
        if raw.starts_with(b"/") {
            return Err("the name is absolute".into());
        }
        if raw.len() > NAME_BYTES_MAX {
            return Err(format!("the name is longer than {NAME_BYTES_MAX} bytes").into());
        }
        let mut path = Vec::with_capacity(raw.len());
        let mut depth = 0;
        for component in raw.split(|byte| *byte == b'/') {
            match component {
                b"" | b"." => continue,
                b".." => return Err("the name contains ..".into()),
                long if long.len() > COMPONENT_BYTES_MAX => {
                    return Err(format!(
                        "a part of the name is longer than {COMPONENT_BYTES_MAX} bytes"
                    )
                    .into());
                }
                component => {
                    if depth > 0 {
                        path.push(b'/');
                    }
                    path.extend_from_slice(component);
                    depth += 1;
                }
            }
        }
        if depth > DEPTH_MAX {
            return Err(format!("the name is deeper than {DEPTH_MAX} directories").into());
        }
        Ok(Self(path))
    }

    /// Parses the name of anything else than a directory: what names a directory is refused.
    pub(super) fn of_file(raw: &[u8]) -> Result<Self, Rule> {
        let path = Self::of_directory(raw)?;
        if raw.ends_with(b"/") {
            return Err("its name ends in /, but it is not a directory".into());
        }
        if raw == b"." || raw.ends_with(b"/.") {
            return Err("its name ends in /., but it is not a directory".into());
        }
        Ok(path)
    }

    /// Returns the whole path, without a leading or trailing slash; empty for the release itself.
    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Returns its own name; empty for the release itself.
    pub(super) fn name(&self) -> &[u8] {
        self.split().map_or(&[], |(_, name)| name)
    }

    /// Returns the components of the directory it is in and its own name; `None` for the release
    /// itself.
    pub(super) fn split(&self) -> Option<(impl Iterator<Item = &[u8]>, &[u8])> {
        if self.0.is_empty() {
            return None;
        }
        let slash = self.0.iter().rposition(|byte| *byte == b'/');
        let (parents, name) = match slash {
            Some(at) => (&self.0[..at], &self.0[at + 1..]),
            None => (&[][..], &self.0[..]),
        };
        let parents = parents
            .split(|byte| *byte == b'/')
            .filter(|component| !component.is_empty());
        Some((parents, name))
    }
}

#[cfg(test)]
mod tests;
