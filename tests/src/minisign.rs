//! Keys and signatures, made by the program `minisign`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use crate::missing;

/// A pair of keys in a directory of its own.
#[derive(Debug)]
pub struct Key {
    dir: TempDir,
}

/// How a file is signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// By its hash, as is usual.
    Hashed,
    /// By its bytes, as old versions did.
    Legacy,
}

impl Key {
    /// Makes a pair of keys; `None`, aloud, where there is no `minisign`.
    ///
    /// # Panics
    /// If it fails.
    pub fn make() -> Option<Key> {
        let dir = tempfile::Builder::new()
            .prefix("deploy-test-key-")
            .tempdir();
        let key = Key {
            dir: dir.expect("a temporary directory can be made"),
        };
        let mut make = Command::new("minisign");
        make.args(["-G", "-W", "-p"]).arg(key.public());
        make.arg("-s").arg(key.secret());
        match make.output() {
            Ok(output) => {
                assert!(output.status.success(), "{output:?}");
                Some(key)
            }
            Err(error) => {
                missing("minisign", &error.to_string());
                None
            }
        }
    }

    /// Returns the file of the public key.
    pub fn public(&self) -> PathBuf {
        self.dir.path().join("minisign.pub")
    }

    fn secret(&self) -> PathBuf {
        self.dir.path().join("minisign.key")
    }

    /// Signs bytes, with a trusted comment.
    ///
    /// # Panics
    /// If it fails.
    pub fn sign(&self, bytes: &[u8], comment: &str, kind: Kind) -> String {
        let file = self.dir.path().join("file");
        fs::write(&file, bytes).expect("a file can be written");
        let mut sign = Command::new("minisign");
        sign.args(["-S", "-W", "-t", comment]);
        if kind == Kind::Legacy {
            sign.arg("-l");
        }
        sign.arg("-s").arg(self.secret()).arg("-m").arg(&file);
        let output = sign.output().expect("minisign can be run");
        assert!(output.status.success(), "{output:?}");
        read(&self.dir.path().join("file.minisig"))
    }
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).expect("it was written")
}
