//! Harness of the end-to-end tests: real servers, real networks, real processes.
//!
//! What is missing on a machine skips its tests aloud, and fails them when the environment variable
//! `DEPLOY_TEST_REQUIRE` names it; see [`missing`].

use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::sync::mpsc;
use std::sync::{LazyLock, Mutex, PoisonError};

use nix::sys::signal::Signal;

pub mod agent;
pub mod archives;
pub mod builds;
pub mod calls;
pub mod disk;
pub mod eventually;
pub mod faketime;
pub mod fleet;
pub mod garbage;
pub mod http_server;
pub mod invariants;
pub mod minisign;
pub mod oversize;
pub mod ports;
pub mod proxy;
pub mod pty;
pub mod sample;
pub mod service;
pub mod simulation;
pub mod supervisor;
pub mod usage;
pub mod witness;
pub mod znodes;
pub mod zookeeper;

/// Says aloud that a test is skipped for want of `what`.
///
/// # Panics
/// If `DEPLOY_TEST_REQUIRE` has `what` in its comma-separated list.
pub fn missing(what: &str, why: &str) {
    let required = std::env::var("DEPLOY_TEST_REQUIRE").unwrap_or_default();
    let is_required = required.split(',').any(|name| name.trim() == what);
    assert!(
        !is_required,
        "{what} is required by DEPLOY_TEST_REQUIRE: {why}"
    );
    eprintln!("SKIPPED for want of {what}: {why}");
}

/// Returns the directory where everything that is built lies, which cargo marks.
pub(crate) fn target() -> Option<PathBuf> {
    let program = std::env::current_exe().ok()?;
    let target = program
        .ancestors()
        .find(|dir| dir.join("CACHEDIR.TAG").exists());
    target.map(Path::to_owned)
}

/// Spawns a child that dies with this process, however that ends.
///
/// The kernel ties a child to the thread that made it, and the thread of a test ends with the test:
/// so children are made by a thread that lives as long as the process.
///
/// # Panics
/// If the program can't be started.
pub fn spawn_tied(mut command: Command) -> Child {
    type Order = (Command, mpsc::Sender<std::io::Result<Child>>);
    static SPAWNER: LazyLock<Mutex<mpsc::Sender<Order>>> = LazyLock::new(|| {
        let (sender, orders) = mpsc::channel::<Order>();
        std::thread::spawn(move || {
            for (mut command, reply) in orders {
                // Whoever ordered it waits for it.
                let _ = reply.send(command.spawn());
            }
        });
        Mutex::new(sender)
    });
    #[expect(
        unsafe_code,
        reason = "prctl is safe between fork and exec, and std has no other way"
    )]
    unsafe {
        command.pre_exec(|| {
            nix::sys::prctl::set_pdeathsig(Signal::SIGKILL)?;
            Ok(())
        });
    }
    let (reply, spawned) = mpsc::channel();
    SPAWNER
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .send((command, reply))
        .expect("the spawner lives as long as the process");
    spawned
        .recv()
        .expect("the spawner answers")
        .expect("the program can be started")
}
