//! What waits on a terminal: a block that redraws, and that ends in the scrollback. A pseudo-terminal
//! is the terminal; what is written to it is played back as one would.

mod ctl_rig;

use std::fs::File;
use std::io::Read;
use std::os::fd::OwnedFd;
use std::process::Stdio;

use ctl_rig::{HANG, Rig, bare_command};
use deploy_core::wire::report::{Phase, StepReport};
use deploy_core::wire::role::Role;
use nix::pty::{Winsize, openpty};
use tests::eventually::eventually;
use tokio::process::Child;

const COLUMNS: usize = 80;

/// A deployctl on a terminal of its own.
struct Terminal {
    child: Child,
    written: std::sync::Arc<std::sync::Mutex<Vec<u8>>>,
    reading: std::thread::JoinHandle<()>,
}

impl Terminal {
    fn start(rig: &Rig, line: &str, variables: &[(&str, &str)]) -> Terminal {
        let size = Winsize {
            ws_row: 24,
            ws_col: COLUMNS as u16,
            ws_xpixel: 0,
            ws_ypixel: 0,
        };
        let pty = openpty(&size, None).expect("a pseudo-terminal can be made");
        let end = |fd: &OwnedFd| Stdio::from(fd.try_clone().expect("a file is left"));
        let mut command = bare_command(line);
        command
            .env("TERM", "xterm")
            .env(
                "DEPLOYCTL_ZK",
                format!("{}{}", rig.server.address(), rig.root.path()),
            )
            .envs(variables.iter().copied())
            .stdout(end(&pty.slave))
            .stderr(end(&pty.slave));
        let child = command.spawn().expect("deployctl can be started");
        // Our copies of its end are closed: so reading ends when it does.
        drop(command);
        drop(pty.slave);
        let written = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
        let into = std::sync::Arc::clone(&written);
        let mut master = File::from(pty.master);
        let reading = std::thread::spawn(move || {
            let mut some = [0; 4096];
            while let Ok(bytes @ 1..) = master.read(&mut some) {
                into.lock()
                    .expect("nobody panics with it")
                    .extend_from_slice(&some[..bytes]);
            }
        });
        Terminal {
            child,
            written,
            reading,
        }
    }

    fn raw(&self) -> String {
        let written = self.written.lock().expect("nobody panics with it");
        String::from_utf8_lossy(&written).into_owned()
    }

    /// Waits until the screen has `part`.
    fn shows(&self, part: &str) {
        eventually(&format!("{part:?} is on the screen"), HANG, || {
            let screen = played(&self.raw());
            if screen.iter().any(|line| line.contains(part)) {
                Ok(())
            } else {
                Err(screen.join("\n"))
            }
        });
    }

    /// Waits for its end, and returns the exit code and what is left on the screen.
    async fn end(mut self) -> (Option<i32>, Vec<String>) {
        let ended = tokio::time::timeout(HANG, self.child.wait()).await;
        let status = ended.expect("it ends").expect("it is our child");
        self.reading.join().expect("it only reads");
        let written = self.written.lock().expect("nobody panics with it");
        (status.code(), played(&String::from_utf8_lossy(&written)))
    }
}

/// Plays what was written to a terminal that knows what the block uses: up, clear to the end of the
/// line, clear below, colours.
fn played(written: &str) -> Vec<String> {
    let mut lines: Vec<String> = vec![String::new()];
    let mut row = 0;
    let mut column = 0;
    let mut rest = written.chars();
    while let Some(c) = rest.next() {
        match c {
            '\r' => column = 0,
            '\n' => {
                row += 1;
                if row == lines.len() {
                    lines.push(String::new());
                }
            }
            '\x1b' => {
                assert_eq!(
                    rest.next(),
                    Some('['),
                    "only these are written: {written:?}"
                );
                let mut number = String::new();
                let end = loop {
                    match rest.next() {
                        Some(digit) if digit.is_ascii_digit() || digit == ';' => number.push(digit),
                        other => break other,
                    }
                };
                match end {
                    Some('A') => row -= number.parse::<usize>().expect("a number"),
                    Some('K') => lines[row] = lines[row].chars().take(column).collect(),
                    Some('J') => {
                        lines.truncate(row + 1);
                        lines[row] = lines[row].chars().take(column).collect();
                    }
                    Some('m') => {}
                    None => break,
                    other => panic!("{other:?} is not known: {written:?}"),
                }
            }
            c => {
                let mut line: Vec<char> = lines[row].chars().collect();
                line.resize(line.len().max(column + 1), ' ');
                line[column] = c;
                lines[row] = line.into_iter().collect();
                column += 1;
            }
        }
    }
    lines
}

#[tokio::test(flavor = "multi_thread")]
async fn a_block_redraws_and_its_last_frame_stays() {
    let hosts = [("web-01", Role::Fleet), ("web-02", Role::Fleet)];
    let Some((rig, agents)) = Rig::with_agents("terminal", &hosts).await else {
        return;
    };
    let terminal = Terminal::start(&rig, "deploy web r1 -m first", &[]);
    let target = agents[0].target(1).await;
    terminal.shows("web r1  deploy #1 by ");
    let mut report = agents[0].report(Phase::Restarting, &target);
    report.step = Some(StepReport {
        name: "restart".to_owned(),
        attempt: 1,
        done: Some(1),
        total: Some(2),
        since: None,
        detail: None,
    });
    agents[0].writes(&report).await;
    terminal.shows("  >> web-01  restarting ");
    terminal.shows("[#######.......] restart 1 of 2");
    terminal.shows("0/2 there, 2 working; ");
    agents[0].serves(1).await;
    terminal.shows("  ok web-01  serving ");
    agents[1].serves(1).await;
    let raw = terminal.raw();
    let (code, screen) = terminal.end().await;
    assert_eq!(code, Some(0), "{screen:#?}");
    assert!(raw.contains("\x1b[4A"), "it redraws: {raw:?}");
    let widest = screen.iter().map(|line| line.chars().count()).max();
    let shown = screen.join("\n");
    // Each host once, and the outcome below.
    assert_eq!(shown.matches("web-01").count(), 1, "{shown}");
    let block = shown.find("2/2 there; ").expect("the last frame");
    let outcome = shown
        .find("web #1: deploy done, r1 is served by 2 of 2 hosts")
        .expect("the outcome");
    assert!(block < outcome, "{shown}");
    assert!(widest <= Some(COLUMNS), "{shown}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_fails_is_told_below_and_a_dumb_terminal_gets_lines() {
    let Some((rig, agents)) = Rig::with_agents("terminal-dumb", &[("web-01", Role::Fleet)]).await
    else {
        return;
    };
    rig.ctl("deploy web r1 --detach").await.is(0);
    let terminal = Terminal::start(&rig, "watch web", &[]);
    terminal.shows("  .. web-01  not seen ");
    agents[0].fails(1).await;
    let (code, screen) = terminal.end().await;
    let shown = screen.join("\n");
    assert_eq!(code, Some(3), "{shown}");
    for part in [
        "  XX web-01  FAILED ",
        "error: rollout #1 of web failed on web-01\n",
        "    | 19:41:44 ERROR KeyError: 'PAYMENTS_URL'\n",
        "  tip: back to the last good build: deployctl rollback web\n",
    ] {
        assert!(shown.contains(part), "{part:?} is not in\n{shown}");
    }
    for (line, variables) in [
        ("watch web", [("TERM", "dumb")]),
        ("watch web --verbose", [("NO_COLOR", "1")]),
    ] {
        let plain = Terminal::start(&rig, line, &variables);
        let written = std::sync::Arc::clone(&plain.written);
        let (code, _) = plain.end().await;
        assert_eq!(code, Some(3));
        let written = written.lock().expect("nobody panics with it");
        let written = String::from_utf8_lossy(&written);
        assert!(!written.contains('\x1b'), "{written:?}");
        assert!(
            written.contains("#1 web  web-01    FAILED    probe: "),
            "{written}"
        );
    }
}
