//! The terminal: taken for the screen, and given back however the program ends.
//!
//! What is changed is raw mode, the alternate screen, the cursor and how pasted text comes. A panic
//! and every signal but SIGKILL go through [`restore`].

use std::io::{self, Stdout, Write};

use crossterm::cursor::Show;
use crossterm::event::{DisableBracketedPaste, EnableBracketedPaste};
use crossterm::execute;
use crossterm::terminal::{
    EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode,
};
use nix::sys::signal::{Signal, raise};
use ratatui::Terminal;
use ratatui::backend::CrosstermBackend;
use ratatui::layout::{Position, Rect};

use super::draw::draw;
use super::model::Model;

/// The terminal while it is ours.
pub(crate) struct Screen {
    terminal: Terminal<CrosstermBackend<Stdout>>,
}

impl Screen {
    /// Takes the terminal. From here on a panic gives it back before it is told.
    ///
    /// # Errors
    /// Where it is none, or is gone.
    pub(crate) fn enter() -> io::Result<Screen> {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            restore();
            before(panic);
        }));
        // Made first: what fails later is restored by its end.
        let terminal = Terminal::new(CrosstermBackend::new(io::stdout()))?;
        let mut screen = Screen { terminal };
        take()?;
        screen.wipe()?;
        Ok(screen)
    }

    /// Returns columns and rows.
    ///
    /// # Errors
    /// Where the terminal is gone.
    pub(crate) fn size(&self) -> io::Result<(u16, u16)> {
        let size = self.terminal.size()?;
        Ok((size.width, size.height))
    }

    /// Draws the model: what is the same as before is not sent again.
    ///
    /// # Errors
    /// Where the terminal is gone.
    pub(crate) fn show(&mut self, model: &Model) -> io::Result<()> {
        self.terminal.draw(|frame| draw(model, frame))?;
        Ok(())
    }

    /// Gives the terminal to the shell, stops, and takes it again when the shell says so; returns its size.
    ///
    /// # Errors
    /// Where the terminal is gone.
    pub(crate) fn suspend(&mut self) -> io::Result<(u16, u16)> {
        restore();
        raise(Signal::SIGTSTP)?;
        take()?;
        self.wipe()?;
        self.size()
    }

    /// Begins with an empty screen. Not by `Terminal::clear`, which asks where the cursor is and waits
    /// for an answer that not everything that calls itself a terminal gives.
    fn wipe(&mut self) -> io::Result<()> {
        let size = self.terminal.size()?;
        self.terminal.resize(Rect::from((Position::ORIGIN, size)))
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        restore();
    }
}

fn take() -> io::Result<()> {
    enable_raw_mode()?;
    execute!(io::stdout(), EnterAlternateScreen, EnableBracketedPaste)
}

/// Gives the terminal back. Safe to repeat; nobody is left to be told what fails.
fn restore() {
    let mut stdout = io::stdout();
    let _ = execute!(stdout, DisableBracketedPaste, LeaveAlternateScreen, Show);
    let _ = disable_raw_mode();
    let _ = stdout.flush();
}

#[cfg(test)]
mod tests;
