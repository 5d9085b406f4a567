//! How a file is written.

use super::rust_text::{Place, numbered};
use super::tree::{Tree, Violation};

const LINES_MAX: usize = 600;
/// Names that say nothing about what is in a module.
const EMPTY_NAMES: [&str; 5] = ["utils", "common", "helpers", "manager", "misc"];
/// Words that put work off.
const PUT_OFF: [&str; 3] = ["TODO", "FIXME", "XXX"];

pub(crate) fn no_re_exports(tree: &Tree) -> Vec<Violation> {
    imports(tree, |place, _| place == Place::ReExport, "re-exports")
}

pub(crate) fn no_globs(tree: &Tree) -> Vec<Violation> {
    let is_glob = |place: Place, segments: &[String]| {
        place != Place::Code && segments.last().is_some_and(|last| last == "*")
    };
    imports(tree, is_glob, "imports all of")
}

fn imports(tree: &Tree, matches: impl Fn(Place, &[String]) -> bool, verb: &str) -> Vec<Violation> {
    let mut violations = Vec::new();
    for (file, rust) in tree.rust("") {
        for path in rust
            .paths
            .iter()
            .filter(|path| matches(path.place, &path.segments))
        {
            let what = format!("{verb} `{}`", path.segments.join("::"));
            violations.push(Violation::new(&file.path, path.line, what));
        }
    }
    violations
}

pub(crate) fn no_allow(tree: &Tree) -> Vec<Violation> {
    let mut violations = Vec::new();
    for (file, rust) in tree.rust("") {
        for attribute in ["#[allow", "#![allow", ", allow("] {
            let lines = rust.lines_with(attribute);
            let what = "allows a lint; `#[expect(…, reason = …)]` is the way";
            violations.extend(
                lines
                    .into_iter()
                    .map(|at| Violation::new(&file.path, at, what.to_owned())),
            );
        }
    }
    violations
}

pub(crate) fn file_length(tree: &Tree) -> Vec<Violation> {
    let lengths = tree
        .rust("")
        .map(|(file, _)| (file, file.text.lines().count()));
    lengths
        .filter(|(_, lines)| *lines > LINES_MAX)
        .map(|(file, lines)| Violation::new(&file.path, lines, format!("has {lines} lines")))
        .collect()
}

pub(crate) fn nothing_unfinished(tree: &Tree) -> Vec<Violation> {
    let mut violations = Vec::new();
    for (file, rust) in tree.rust("") {
        for (at, line) in numbered(&rust.comments) {
            let words = line.split(|c: char| !c.is_alphanumeric());
            for word in words.filter(|word| PUT_OFF.contains(word)) {
                violations.push(Violation::new(&file.path, at, format!("says {word}")));
            }
        }
        for name in ["dbg!", "todo!", "unimplemented!"] {
            let lines = rust.lines_with(name).into_iter();
            violations
                .extend(lines.map(|at| Violation::new(&file.path, at, format!("calls `{name}`"))));
        }
    }
    violations
}

pub(crate) fn telling_names(tree: &Tree) -> Vec<Violation> {
    let mut violations = Vec::new();
    for (file, rust) in tree.rust("") {
        for part in file.path.trim_end_matches(".rs").split('/') {
            if EMPTY_NAMES.contains(&part) {
                violations.push(Violation::new(&file.path, 1, format!("is named `{part}`")));
            }
        }
        for name in EMPTY_NAMES {
            let inline = rust.lines_with(&format!("mod {name} {{")).into_iter();
            let what = format!("has a module `{name}`");
            violations.extend(inline.map(|at| Violation::new(&file.path, at, what.clone())));
        }
    }
    violations
}
