//! Signatures of artifacts, as `minisign` makes them: over the BLAKE2b hash of the file, with a
//! trusted comment that the key signs as well. The legacy kind, over the file itself, is refused.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use minisign_verify::{Error, PublicKey, Signature, StreamVerifier};

/// More than any key file or signature has.
pub(crate) const BYTES_MAX: u64 = 8 * 1024;
/// What is read of the file at a time.
const CHUNK_BYTES: usize = 64 * 1024;

/// Keys whose builds are trusted.
#[derive(Debug, Clone, Default)]
pub(crate) struct Keys(Vec<(PathBuf, PublicKey)>);

/// A key that can't be used.
#[derive(Debug, thiserror::Error)]
#[error("{} is not a public key of minisign: {why}", path.display())]
pub(crate) struct KeyError {
    /// Its file.
    path: PathBuf,
    /// What is wrong with it.
    why: String,
}

/// Why a file is not trusted.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SignatureError {
    /// The signature is none.
    #[error("it is not a signature of minisign: {0}")]
    Garbled(Error),
    /// It says something else than it should.
    #[error("it is for `{found}`, not for `{wanted}`")]
    OfSomethingElse {
        /// What it says.
        found: String,
        /// What it should say.
        wanted: String,
    },
    /// It is of a key that isn't trusted.
    #[error("it is of a key that is not in builds.trusted_keys")]
    UnknownKey,
    /// It is not of these bytes, or not of the key that it names.
    #[error("it is not of these bytes, or not of the key that it names")]
    Wrong,
    /// The file can't be read.
    #[error("failed to read the file")]
    Disk(#[from] io::Error),
}

impl Keys {
    /// Reads key files.
    ///
    /// # Errors
    /// The first that can't be used.
    pub(crate) fn read(paths: &[PathBuf]) -> Result<Keys, KeyError> {
        let keys = paths
            .iter()
            .map(|path| Ok((path.clone(), read_key(path)?)))
            .collect::<Result<_, _>>()?;
        Ok(Keys(keys))
    }

    /// Tells whether nothing has to be signed.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Checks that a trusted key has signed this file, and says so with this comment, word for
    /// word. Returns the file of that key. Reads the file in pieces, from its start.
    ///
    /// # Errors
    /// Where it has not.
    pub(crate) fn check(
        &self,
        (text, comment): (&str, &str),
        file: &File,
    ) -> Result<&Path, SignatureError> {
        let signature = Signature::decode(text).map_err(SignatureError::Garbled)?;
        if signature.trusted_comment() != comment {
            return Err(SignatureError::OfSomethingElse {
                found: signature.trusted_comment().escape_debug().to_string(),
                wanted: comment.to_owned(),
            });
        }
        // Two keys may have one number.
        let mut last = SignatureError::UnknownKey;
        for (path, key) in &self.0 {
            let mut verifier = match key.verify_stream(&signature) {
                Ok(verifier) => verifier,
                Err(Error::UnexpectedKeyId) => continue,
                Err(error) => return Err(SignatureError::Garbled(error)),
            };
            feed(&mut verifier, file)?;
            match verifier.finalize() {
                Ok(()) => return Ok(path),
                Err(_) => last = SignatureError::Wrong,
            }
        }
        Err(last)
    }
}

fn read_key(path: &Path) -> Result<PublicKey, KeyError> {
    let bad = |why: String| KeyError {
        path: path.to_owned(),
        why,
    };
    let length = std::fs::metadata(path).map_err(|error| bad(error.to_string()))?;
    if length.len() > BYTES_MAX {
        return Err(bad(format!("it has {} bytes", length.len())));
    }
    let text = std::fs::read_to_string(path).map_err(|error| bad(error.to_string()))?;
    PublicKey::decode(&text).map_err(|error| bad(error.to_string()))
}

fn feed(verifier: &mut StreamVerifier<'_>, file: &File) -> io::Result<()> {
    let mut chunk = vec![0; CHUNK_BYTES];
    let mut at = 0;
    loop {
        match file.read_at(&mut chunk, at)? {
            0 => return Ok(()),
            read => {
                verifier.update(&chunk[..read]);
                at += read as u64;
            }
        }
    }
}

#[cfg(test)]
mod tests;
