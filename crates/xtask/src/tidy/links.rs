//! Links between the documents.

use super::rust_text::numbered;
use super::tree::{Tree, Violation};

pub(crate) fn links_resolve(tree: &Tree) -> Vec<Violation> {
    let mut violations = Vec::new();
    for file in tree.files.iter().filter(|file| file.path.ends_with(".md")) {
        for (at, target) in links(&file.text) {
            if let Some(problem) = problem(tree, &file.path, &target) {
                violations.push(Violation::new(&file.path, at, problem));
            }
        }
    }
    violations
}

fn problem(tree: &Tree, from: &str, target: &str) -> Option<String> {
    if target.contains("://") || target.starts_with("mailto:") {
        return None;
    }
    let (path, anchor) = target.split_once('#').unwrap_or((target, ""));
    let path = if path.is_empty() {
        from.to_owned()
    } else {
        join(from, path)
    };
    if let Some(text) = tree.text(&path) {
        let is_there = anchor.is_empty() || anchors(text).iter().any(|known| known == anchor);
        return (!is_there).then(|| format!("{path} has no heading for #{anchor}"));
    }
    let directory = format!("{}/", path.trim_end_matches('/'));
    let is_directory = tree
        .files
        .iter()
        .any(|file| file.path.starts_with(&directory));
    (!is_directory).then(|| format!("links to {path}, which is not there"))
}

/// Returns where a relative path leads from a file.
fn join(from: &str, path: &str) -> String {
    let mut parts: Vec<&str> = from.split('/').collect();
    parts.pop();
    for part in path.split('/') {
        match part {
            "." | "" => {}
            ".." => drop(parts.pop()),
            name => parts.push(name),
        }
    }
    parts.join("/")
}

/// Returns the targets of `[text](target)` and `[text]: target`, outside code.
fn links(text: &str) -> Vec<(usize, String)> {
    let mut links = Vec::new();
    for (at, line) in prose(text) {
        if let Some((label, target)) = line.split_once("]: ")
            && label.starts_with('[')
        {
            links.push((at, target.trim().to_owned()));
        }
        for after in line.split("](").skip(1) {
            let target = after.split([')', ' ']).next().unwrap_or_default();
            links.push((at, target.to_owned()));
        }
    }
    links
}

/// Returns the lines outside code blocks, without code spans.
fn prose(text: &str) -> Vec<(usize, String)> {
    let mut is_code = false;
    let mut lines = Vec::new();
    for (at, line) in numbered(text) {
        if line.trim_start().starts_with("```") {
            is_code = !is_code;
        } else if !is_code {
            lines.push((at, line.split('`').step_by(2).collect()));
        }
    }
    lines
}

/// Returns the anchors of the headings: small letters, no punctuation, dashes for spaces.
fn anchors(text: &str) -> Vec<String> {
    let mut is_code = false;
    let mut anchors = Vec::new();
    for line in text.lines() {
        if line.trim_start().starts_with("```") {
            is_code = !is_code;
        }
        if is_code || !line.starts_with('#') {
            continue;
        }
        let anchor: String = line
            .trim_start_matches('#')
            .trim()
            .to_lowercase()
            .chars()
            .filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'))
            .map(|c| if c == ' ' { '-' } else { c })
            .collect();
        anchors.push(anchor);
    }
    anchors
}
