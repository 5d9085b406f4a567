//! A view of the file systems of the test's own, so that a small disk can be mounted for it.

use std::path::Path;
use std::process::{Command, Stdio};

use tests::spawn_tied;

const INSIDE: &str = "DEPLOY_TEST_SOAK_INSIDE";

/// Runs this test again where its mounts are seen by nobody else, and tells whether it did; where
/// that is forbidden, the test goes on without small disks.
///
/// # Panics
/// If it fails there.
pub(crate) fn again_with_own_mounts(test: &str) -> bool {
    if std::env::var_os(INSIDE).is_some() {
        return false;
    }
    let mut trial = unshare();
    trial.args(["mount", "-t", "tmpfs", "trial", "/mnt"]);
    let works = trial.stderr(Stdio::null()).status();
    if !works.is_ok_and(|status| status.success()) {
        println!("soak: no mounts of our own here: no disk is filled");
        return false;
    }
    let mut command = unshare();
    let program = std::env::current_exe().expect("the test's own path");
    command.arg(program).args([test, "--exact", "--nocapture"]);
    let mut child = spawn_tied({
        command.env(INSIDE, "1");
        command
    });
    let status = child.wait().expect("a child can be waited for");
    assert!(status.success(), "it failed in its own mount namespace");
    true
}

fn unshare() -> Command {
    let mut command = Command::new("unshare");
    command.args(["--mount", "--propagation", "private", "--"]);
    command
}

/// A disk of a few megabytes.
#[derive(Debug)]
pub(crate) struct SmallDisk {
    place: std::path::PathBuf,
}

impl SmallDisk {
    /// Mounts one, where mounts are nobody else's business.
    pub(crate) fn mount(place: &Path) -> Option<SmallDisk> {
        std::env::var_os(INSIDE)?;
        let mut command = Command::new("mount");
        command.args(["-t", "tmpfs", "-o", "size=16m,mode=755", "soak"]);
        let status = command.arg(place).status().expect("mount can be started");
        assert!(status.success(), "mount: {status}");
        Some(SmallDisk {
            place: place.to_owned(),
        })
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Nobody else sees it, and it goes with the last process that does.
        let _ = Command::new("umount").arg("-l").arg(&self.place).status();
    }
}
