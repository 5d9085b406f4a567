//! What the manifests must say, and what they may only say where it is so.

use super::rust_text::numbered;
use super::tree::{Tree, Violation};

const ROOT: &str = "Cargo.toml";

pub(crate) fn lints_everywhere(tree: &Tree) -> Vec<Violation> {
    tree.manifests()
        .filter(|(file, _)| {
            let lints = section(&file.text, |header| header == "[lints]");
            !lints
                .iter()
                .any(|(_, line)| line.replace(' ', "") == "workspace=true")
        })
        .map(|(file, _)| {
            Violation::new(
                &file.path,
                1,
                "has no `[lints] workspace = true`".to_owned(),
            )
        })
        .collect()
}

/// A dependency of a crate must be named in its code, and one of the workspace by some crate.
pub(crate) fn dependencies_used(tree: &Tree) -> Vec<Violation> {
    let mut violations = Vec::new();
    let mut used = Vec::new();
    for (file, dir) in tree.manifests() {
        for (at, name) in dependencies(&file.text) {
            if !names_crate(tree, dir, &name.replace('-', "_")) {
                let what = format!("depends on {name}, and its code does not name it");
                violations.push(Violation::new(&file.path, at, what));
            }
            used.push(name);
        }
    }
    let of_workspace = tree
        .text(ROOT)
        .map(|text| names(section(text, |header| header == "[workspace.dependencies]")))
        .unwrap_or_default();
    for (at, name) in of_workspace
        .into_iter()
        .filter(|(_, name)| !used.contains(name))
    {
        violations.push(Violation::new(
            ROOT,
            at,
            format!("no crate depends on {name}"),
        ));
    }
    violations
}

/// Returns the dependencies of every kind that a manifest names, with their lines.
pub(crate) fn dependencies(manifest: &str) -> Vec<(usize, String)> {
    names(section(manifest, |header| {
        header.ends_with("dependencies]") && header != "[workspace.dependencies]"
    }))
}

/// A crate may be named without a path: `use anyhow;`, `#[tokio::main]`, `serde_json!`.
fn names_crate(tree: &Tree, dir: &str, name: &str) -> bool {
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    tree.rust(dir)
        .any(|(_, rust)| rust.code.split(|c| !is_word(c)).any(|word| word == name))
}

/// Returns the lines of the sections whose header is such.
fn section(manifest: &str, is_wanted: impl Fn(&str) -> bool) -> Vec<(usize, &str)> {
    let mut inside = false;
    let mut lines = Vec::new();
    for (at, line) in numbered(manifest) {
        let line = line.trim();
        if line.starts_with('[') {
            inside = is_wanted(line);
        } else if inside && !line.is_empty() && !line.starts_with('#') {
            lines.push((at, line));
        }
    }
    lines
}

fn names(lines: Vec<(usize, &str)>) -> Vec<(usize, String)> {
    let key = |line: &str| {
        let end = line.find(['.', '=', ' ']).unwrap_or(line.len());
        line[..end].trim_matches('"').to_owned()
    };
    lines
        .into_iter()
        .filter(|(_, line)| line.contains('='))
        .map(|(at, line)| (at, key(line)))
        .collect()
}
