//! What is said last where the soak fails. CI keeps only the end of a long output: so what failed, and how all hosts
//! stand, comes after the logs and trees of the hosts, and briefly.

use std::fs;
use std::panic;
use std::sync::{Mutex, PoisonError};

use tests::service::Service;

/// Panics and stories that are kept: the first ones say most.
const WORDS_MAX: usize = 8;
/// Of each of them: it may hold the reports of all hosts.
const WORD_CHARS_MAX: usize = 4000;
/// Lines of the log of each host, but for those of level debug.
const LINES: usize = 12;

static WORDS: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// Says what was kept when it is dropped. So it has to be made before what else says something then.
#[derive(Debug)]
pub(crate) struct LastWords;

impl LastWords {
    /// Listens to what panics of all threads say from now on.
    pub(crate) fn listen() -> LastWords {
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            keep(info.to_string());
            before(info);
        }));
        LastWords
    }
}

impl Drop for LastWords {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let words = WORDS.lock().unwrap_or_else(PoisonError::into_inner);
            eprintln!("--- the soak failed ---\n{}", words.join("\n"));
        }
    }
}

/// Keeps something that is to be said last.
pub(crate) fn keep(mut text: String) {
    if let Some((end, _)) = text.char_indices().nth(WORD_CHARS_MAX) {
        text.truncate(end);
    }
    let mut words = WORDS.lock().unwrap_or_else(PoisonError::into_inner);
    if words.len() < WORDS_MAX {
        words.push(text);
    }
}

/// Keeps how a host stands: its own report, and what it said last.
pub(crate) fn keep_host(service: &Service<'_>) {
    let name = service.dir.file_name().unwrap_or_default();
    let status = service.agent.path("state/status");
    let status = status.join(name).with_extension("json");
    let report = fs::read_to_string(&status).unwrap_or_else(|error| error.to_string());
    let log = service.agent.log();
    let lines: Vec<&str> = log
        .lines()
        .filter(|line| !line.contains(r#""level":"DEBUG""#))
        .collect();
    let last = &lines[lines.len().saturating_sub(LINES)..];
    keep(format!(
        "--- {} ---\n{}\n{}",
        service.host,
        report.trim_end(),
        last.join("\n")
    ));
}
