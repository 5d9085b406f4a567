//! Who may know what.

use super::manifests;
use super::rust_text::NamedPath;
use super::tree::{TextFile, Tree, Violation};

/// Files, network, processes, clock, randomness and their like.
const IMPURE: &[&[&str]] = &[
    &["std", "fs"],
    &["std", "net"],
    &["std", "process"],
    &["std", "env"],
    &["std", "thread"],
    &["time", "Instant"],
    &["time", "SystemTime"],
    &["Timestamp", "now"],
    &["Zoned", "now"],
    &["tokio"],
    &["rand"],
    &["fastrand"],
];

/// Ways to start a process.
const SPAWNS: &[&[&str]] = &[
    &["process", "Command"],
    &["tokio", "process"],
    &["unistd", "fork"],
    &["unistd", "execv"],
    &["unistd", "execve"],
];

pub(crate) fn core_is_pure(tree: &Tree) -> Vec<Violation> {
    tree.rust("crates/deploy-core/src/")
        .filter(|(file, _)| !file.is_test())
        .flat_map(|(file, rust)| naming(file, &rust.paths, IMPURE))
        .collect()
}

pub(crate) fn one_zookeeper_client(tree: &Tree) -> Vec<Violation> {
    let elsewhere = |path: &str| !path.starts_with("crates/deploy-zk/");
    let in_code = tree
        .rust("")
        .filter(|(file, _)| elsewhere(&file.path))
        .flat_map(|(file, rust)| naming(file, &rust.paths, &[&["zookeeper_async"]]));
    let in_manifests = tree
        .manifests()
        .filter(|(file, _)| elsewhere(&file.path))
        .flat_map(|(file, _)| depending(file, "zookeeper-async"));
    in_code.chain(in_manifests).collect()
}

pub(crate) fn one_place_spawns(tree: &Tree) -> Vec<Violation> {
    tree.rust("crates/deployd/src/")
        .filter(|(file, _)| !file.is_test() && file.path != "crates/deployd/src/host/process.rs")
        .flat_map(|(file, rust)| naming(file, &rust.paths, SPAWNS))
        .collect()
}

pub(crate) fn programs_apart(tree: &Tree) -> Vec<Violation> {
    let mut violations = Vec::new();
    for (dir, other) in [
        ("crates/deployd/", "deployctl"),
        ("crates/deployctl/", "deployd"),
    ] {
        for (file, rust) in tree.rust(dir) {
            let of_other = rust.paths.iter().filter(|path| path.segments[0] == other);
            violations.extend(of_other.map(|path| named(file, path)));
        }
        for (file, _) in tree.manifests().filter(|(_, of)| *of == dir) {
            violations.extend(depending(file, other));
        }
    }
    violations
}

pub(crate) fn host_knows_linux(tree: &Tree) -> Vec<Violation> {
    let decisions: &[&[&str]] = &[
        &["deploy_core", "plan"],
        &["deploy_core", "step"],
        &["deploy_core", "wanted"],
    ];
    tree.rust("crates/deployd/src/host/")
        .flat_map(|(file, rust)| naming(file, &rust.paths, decisions))
        .collect()
}

fn naming(file: &TextFile, paths: &[NamedPath], parts: &[&[&str]]) -> Vec<Violation> {
    paths
        .iter()
        .filter(|path| parts.iter().any(|part| path.names(part)))
        .map(|path| named(file, path))
        .collect()
}

fn named(file: &TextFile, path: &NamedPath) -> Violation {
    Violation::new(
        &file.path,
        path.line,
        format!("names `{}`", path.segments.join("::")),
    )
}

fn depending(manifest: &TextFile, on: &str) -> Vec<Violation> {
    manifests::dependencies(&manifest.text)
        .into_iter()
        .filter(|(_, name)| name == on)
        .map(|(line, _)| Violation::new(&manifest.path, line, format!("depends on {on}")))
        .collect()
}
