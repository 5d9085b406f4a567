//! README's transcript of the demo is what the demo says.

use std::fs;

use anyhow::{Context, Result, ensure};

use crate::tool::root;

/// What the transcript begins with, and nothing else in README.
const FIRST: &str = "network";

/// Checks that what the demo printed has each line of the transcript, in that order. Numbers differ from run to
/// run, and so does what `…` stands for.
pub(crate) fn check(printed: &str) -> Result<()> {
    let path = root().join("README.md");
    let readme = fs::read_to_string(&path).context("failed to read README.md")?;
    let transcript = transcript(&readme).context("README.md has no transcript of the demo")?;
    let missing = first_missing(transcript, printed);
    ensure!(
        missing.is_none(),
        "README.md shows `{}`, which the demo does not print there",
        missing.unwrap_or_default()
    );
    Ok(())
}

fn transcript(readme: &str) -> Option<&str> {
    let blocks = readme.split("```").skip(1).step_by(2);
    blocks.into_iter().find(|block| block.contains(FIRST))
}

fn first_missing<'a>(transcript: &'a str, printed: &str) -> Option<&'a str> {
    let printed: Vec<String> = printed.lines().map(plain).collect();
    let mut rest = printed.iter();
    let shown = transcript.lines().filter(|line| !plain(line).is_empty());
    shown
        .into_iter()
        .find(|line| !rest.any(|printed| is_like(printed, &plain(line))))
}

/// Without what differs from run to run: numbers, and how wide they are.
fn plain(line: &str) -> String {
    let mut plain = String::new();
    for word in line.split_whitespace() {
        let mut was_digit = false;
        for c in word.chars() {
            match c.is_ascii_digit() {
                true if was_digit => {}
                true => plain.push('0'),
                false => plain.push(c),
            }
            was_digit = c.is_ascii_digit();
        }
        plain.push(' ');
    }
    plain.trim_end().to_owned()
}

/// `…` at the end stands for anything.
fn is_like(printed: &str, shown: &str) -> bool {
    match shown.strip_suffix('…') {
        Some(begin) => printed.starts_with(begin.trim_end()),
        None => printed == shown,
    }
}

#[cfg(test)]
mod tests;
