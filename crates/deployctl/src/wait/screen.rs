//! Frames on a terminal: each is drawn over the one before.
//!
//! Nothing is switched on that would have to be switched off again: whatever ends the process, the
//! terminal is as it was, with the last frame in its scrollback.

use std::io::{self, Write};
use std::time::Duration;

use terminal_size::{Height, Width, terminal_size_of};
use tokio::time::Instant;

use super::Lines;
use super::block::Room;
use crate::out::{Format, Out, Volume};

/// The shortest time between two frames.
const FRAME_TIME: Duration = Duration::from_millis(100);
/// The longest: times are shown that grow.
const TICK_TIME: Duration = Duration::from_secs(1);
/// Where the terminal does not tell.
const ROOM: Room = Room {
    columns: 80,
    rows: 24,
};

/// A terminal that a block is drawn on.
#[derive(Debug)]
pub(crate) struct Screen {
    to: Lines,
    /// Lines of the frame that is on it.
    drawn: usize,
    at: Option<Instant>,
    /// Whether something is not on it yet.
    is_stale: bool,
}

impl Screen {
    /// Returns the terminal, if there is one and somebody looks at it.
    pub(crate) fn open(to: Lines, out: &Out) -> Option<Screen> {
        // What every step is wanted of, is a log.
        let is_wanted = out.format == Format::Text && out.volume == Volume::Normal;
        (is_wanted && out.on_terminal).then_some(Screen {
            to,
            drawn: 0,
            at: None,
            is_stale: false,
        })
    }

    /// Returns the room that there is now.
    pub(crate) fn room(&self) -> Room {
        match terminal_size_of(io::stdout()) {
            Some((Width(columns), Height(rows))) if columns > 0 && rows > 0 => Room {
                columns: columns.into(),
                rows: rows.into(),
            },
            _ => ROOM,
        }
    }

    /// Says that there is something new to draw.
    pub(crate) fn touch(&mut self) {
        self.is_stale = true;
    }

    /// Returns when the next frame is to be drawn.
    pub(crate) fn due(&self) -> Instant {
        let time = match self.is_stale {
            true => FRAME_TIME,
            false => TICK_TIME,
        };
        self.at.map_or_else(Instant::now, |at| at + time)
    }

    /// Draws a frame over the one before.
    pub(crate) fn draw(&mut self, lines: &[String]) {
        let frame = frame(self.drawn, lines);
        // Nobody is left to be told that the terminal is gone.
        let _ = match self.to {
            Lines::Stdout => write_all(io::stdout().lock(), &frame),
            Lines::Stderr => write_all(io::stderr().lock(), &frame),
        };
        self.drawn = lines.len();
        self.at = Some(Instant::now());
        self.is_stale = false;
    }
}

fn write_all(mut terminal: impl Write, frame: &str) -> io::Result<()> {
    terminal.write_all(frame.as_bytes())?;
    terminal.flush()
}

/// Up to the first line of the frame before, each line anew, and nothing of the old one below.
fn frame(before: usize, lines: &[String]) -> String {
    let mut frame = match before {
        0 => String::new(),
        lines => format!("\x1b[{lines}A"),
    };
    for line in lines {
        frame.push_str(&format!("\r\x1b[K{line}\r\n"));
    }
    frame.push_str("\x1b[J");
    frame
}
