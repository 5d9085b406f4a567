//! A program on a terminal: what it shows, as a person would see it, and keys for it.

use std::fs::File;
use std::io::{Read, Write};
use std::num::NonZero;
use std::os::fd::OwnedFd;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use nix::pty::{OpenptyResult, Winsize, openpty};
use nix::sys::signal::{Signal, kill};
use nix::sys::termios::{LocalFlags, tcgetattr};
use nix::unistd::Pid;

use crate::eventually::eventually;
use crate::spawn_tied;

/// Lines that are kept when they leave the screen.
const SCROLLBACK_LINES: usize = 1000;

/// A program on a terminal of its own. It is killed when this is dropped.
pub struct Pty {
    child: Child,
    keys: File,
    slave: OwnedFd,
    shown: Arc<Mutex<Shown>>,
}

struct Shown {
    parser: vt100::Parser,
    raw: Vec<u8>,
}

impl Pty {
    /// Starts a program on a terminal of so many columns and rows.
    ///
    /// # Panics
    /// Where there is no terminal or no `setsid` (of util-linux) to be had.
    pub fn spawn(program: &Command, (columns, rows): (u16, u16)) -> Pty {
        let size = Winsize {
            ws_row: rows,
            ws_col: columns,
            ws_xpixel: 0,
            ws_ypixel: 0,
        };
        let OpenptyResult { master, slave } = openpty(&size, None).expect("a terminal can be had");
        let end = || Stdio::from(slave.try_clone().expect("a descriptor can be had"));
        // The terminal is that of the program alone, whoever runs the tests.
        let mut command = Command::new("setsid");
        command
            .arg("--ctty")
            .arg(program.get_program())
            .args(program.get_args())
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .env("TERM", "xterm-256color")
            .envs(
                program
                    .get_envs()
                    .filter_map(|(name, value)| Some((name, value?))),
            )
            .stdin(end())
            .stdout(end())
            .stderr(end());
        let child = spawn_tied(command);
        let shown = Arc::new(Mutex::new(Shown {
            parser: vt100::Parser::new(nonzero(rows), nonzero(columns), SCROLLBACK_LINES),
            raw: Vec::new(),
        }));
        let keys = File::from(master);
        let screen = keys.try_clone().expect("a descriptor can be had");
        let writing = Arc::clone(&shown);
        std::thread::spawn(move || follow(screen, &writing));
        Pty {
            child,
            keys,
            slave,
            shown,
        }
    }

    /// Returns the process id of the program.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Returns what is on the screen now.
    pub fn screen(&self) -> String {
        self.with(|shown| shown.parser.screen().contents())
    }

    /// Returns everything that was written, escape sequences too.
    pub fn raw(&self) -> String {
        self.with(|shown| String::from_utf8_lossy(&shown.raw).into_owned())
    }

    /// Tells whether the alternate screen is shown.
    pub fn is_alternate(&self) -> bool {
        self.with(|shown| shown.parser.screen().alternate_screen())
    }

    /// Tells whether the cursor is shown.
    pub fn has_cursor(&self) -> bool {
        self.with(|shown| !shown.parser.screen().hide_cursor())
    }

    /// Tells whether the first letter of a text on the screen is dim; `None` if it is not there.
    pub fn is_dim(&self, text: &str) -> Option<bool> {
        self.with(|shown| {
            let screen = shown.parser.screen();
            let (_, columns) = screen.size();
            let found = screen
                .rows(0, columns.get())
                .enumerate()
                .find_map(|(row, line)| {
                    let at = line.find(text)?;
                    Some((
                        u16::try_from(row).ok()?,
                        u16::try_from(line[..at].chars().count()).ok()?,
                    ))
                });
            let (row, column) = found?;
            screen.cell(row, column).map(vt100::Cell::dim)
        })
    }

    /// Tells whether the terminal reads lines and echoes them, as a shell wants it.
    ///
    /// # Panics
    /// If the terminal is gone.
    pub fn is_cooked(&self) -> bool {
        let flags = tcgetattr(&self.slave)
            .expect("the terminal is there")
            .local_flags;
        flags.contains(LocalFlags::ICANON | LocalFlags::ECHO | LocalFlags::ISIG)
    }

    /// Presses keys.
    ///
    /// # Panics
    /// If the terminal is gone.
    pub fn press(&mut self, keys: &str) {
        self.keys
            .write_all(keys.as_bytes())
            .expect("the terminal is there");
    }

    /// Waits until all of these are on the screen.
    ///
    /// # Panics
    /// After `limit`, with the screen.
    #[track_caller]
    pub fn sees(&self, parts: &[&str], limit: Duration) {
        eventually(&format!("{parts:?} are on the screen"), limit, || {
            let screen = self.screen();
            if parts.iter().all(|part| screen.contains(part)) {
                Ok(())
            } else {
                Err(Picture(screen))
            }
        });
    }

    /// Sends it a signal.
    ///
    /// # Panics
    /// If it has ended.
    pub fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.child.id()).expect("a process id fits");
        kill(Pid::from_raw(pid), signal).expect("it runs");
    }

    /// Waits for its end.
    ///
    /// # Panics
    /// After `limit`, with the screen.
    #[track_caller]
    pub fn ended(&mut self, limit: Duration) -> ExitStatus {
        let (child, shown) = (&mut self.child, &self.shown);
        eventually("the program has ended", limit, || {
            let ended = child.try_wait().expect("it is our child");
            let shown = shown.lock().unwrap_or_else(PoisonError::into_inner);
            ended.ok_or_else(|| Picture(shown.parser.screen().contents()))
        })
    }

    fn with<T>(&self, look: impl FnOnce(&Shown) -> T) -> T {
        look(&self.shown.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Drop for Pty {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn nonzero(cells: u16) -> NonZero<u16> {
    NonZero::new(cells).expect("a terminal has columns and rows")
}

/// A screen that is shown as it is when a test fails.
struct Picture(String);

impl std::fmt::Debug for Picture {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "\n{}", self.0)
    }
}

/// Reads until nobody has the terminal any more.
fn follow(mut screen: File, shown: &Mutex<Shown>) {
    let mut buffer = [0; 4096];
    while let Ok(len @ 1..) = screen.read(&mut buffer) {
        let mut shown = shown.lock().unwrap_or_else(PoisonError::into_inner);
        shown.parser.process(&buffer[..len]);
        shown.raw.extend_from_slice(&buffer[..len]);
    }
}
