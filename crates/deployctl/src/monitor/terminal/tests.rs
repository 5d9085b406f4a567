//! The terminal is given back, in a process of its own: it is the panic of a whole program.

use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::process::{Command, Stdio};
use std::time::Duration;

use nix::pty::openpty;
use nix::sys::termios::{LocalFlags, tcgetattr};

use super::Screen;

/// Set in the process that is to panic.
const CHILD: &str = "DEPLOYCTL_TEST_PANICS";

#[test]
fn a_panic_gives_the_terminal_back() {
    if std::env::var_os(CHILD).is_some() {
        let _screen = Screen::enter().unwrap();
        // The harness would print this to a buffer of its own.
        std::io::stderr().write_all(b"on screen\n").unwrap();
        panic!("as a bug would");
    }
    let pty = openpty(None, None).unwrap();
    let cooked = tcgetattr(&pty.slave).unwrap();
    let terminal = || Stdio::from(pty.slave.try_clone().unwrap());
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "monitor::terminal::tests::a_panic_gives_the_terminal_back",
            "--nocapture",
        ])
        .env(CHILD, "1")
        .stdin(terminal())
        .stdout(terminal())
        .stderr(terminal())
        .spawn()
        .unwrap();
    let status = child.wait().unwrap();
    assert!(!status.success());
    let after = tcgetattr(&pty.slave).unwrap();
    assert!(
        after
            .local_flags
            .contains(LocalFlags::ICANON | LocalFlags::ECHO)
    );
    assert_eq!(after.local_flags, cooked.local_flags);
    let said = drain(&pty.master);
    let at = |part: &str| {
        said.find(part)
            .unwrap_or_else(|| panic!("no {part:?} in {said:?}"))
    };
    assert!(at("\u{1b}[?1049h") < at("on screen"));
    assert!(at("on screen") < at("\u{1b}[?1049l"));
    assert!(
        at("\u{1b}[?1049l") < at("as a bug would"),
        "it is told where it can be read"
    );
    assert!(
        said.rfind("\u{1b}[?25h") > Some(at("on screen")),
        "the cursor is shown"
    );
}

/// Reads what is there: everybody who wrote is gone.
fn drain(master: &impl AsFd) -> String {
    let mut said = Vec::new();
    let mut file = std::fs::File::from(master.as_fd().try_clone_to_owned().unwrap());
    let mut buffer = [0; 4096];
    let is_there = |file: &std::fs::File| {
        let mut polled = [nix::poll::PollFd::new(
            file.as_fd(),
            nix::poll::PollFlags::POLLIN,
        )];
        let limit = nix::poll::PollTimeout::try_from(Duration::ZERO).unwrap();
        nix::poll::poll(&mut polled, limit).unwrap() > 0
    };
    while is_there(&file) {
        match file.read(&mut buffer) {
            Ok(0) | Err(_) => break,
            Ok(len) => said.extend_from_slice(&buffer[..len]),
        }
    }
    String::from_utf8_lossy(&said).into_owned()
}
