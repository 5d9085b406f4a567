use super::tree::{Dependency, TextFile, Tree};
use super::{PAGE, RULES};

/// Checks what a rule finds in a tree of these files.
#[track_caller]
fn check(rule: &str, files: &[(&str, &str)], expected: &[&str]) {
    let files = files
        .iter()
        .map(|(path, text)| TextFile::new(path, text))
        .collect();
    check_tree(
        rule,
        &Tree {
            files,
            dependencies: Vec::new(),
        },
        expected,
    );
}

#[track_caller]
fn check_tree(rule: &str, tree: &Tree, expected: &[&str]) {
    let rule = RULES
        .iter()
        .find(|known| known.name == rule)
        .expect("a rule of that name");
    let found: Vec<String> = (rule.check)(tree).iter().map(ToString::to_string).collect();
    assert_eq!(found, expected);
}

#[test]
fn core_is_pure() {
    let path = "crates/deploy-core/src/plan.rs";
    check(
        "core-is-pure",
        &[(
            path,
            "use std::{fs, time::{Duration, Instant}};\nfn f() { std::env::var(\"A\"); }",
        )],
        &[
            "crates/deploy-core/src/plan.rs:1: names `std::fs`",
            "crates/deploy-core/src/plan.rs:1: names `std::time::Instant`",
            "crates/deploy-core/src/plan.rs:2: names `std::env::var`",
        ],
    );
    check(
        "core-is-pure",
        &[(
            path,
            "fn f() { let at = jiff::Timestamp::now(); tokio::spawn(x); }",
        )],
        &[
            "crates/deploy-core/src/plan.rs:1: names `jiff::Timestamp::now`",
            "crates/deploy-core/src/plan.rs:1: names `tokio::spawn`",
        ],
    );
    check(
        "core-is-pure",
        &[(path, "use std::time::Duration; // std::fs\n")],
        &[],
    );
    check(
        "core-is-pure",
        &[("crates/deployd/src/main.rs", "use std::fs;")],
        &[],
    );
}

#[test]
fn one_zookeeper_client() {
    let code = "use zookeeper_async::ZooKeeper;";
    let manifest = "[dependencies]\nzookeeper-async.workspace = true\n";
    check(
        "one-zookeeper-client",
        &[
            ("crates/deployd/src/main.rs", code),
            ("crates/deployctl/Cargo.toml", manifest),
            ("crates/deploy-zk/src/backend.rs", code),
            ("crates/deploy-zk/Cargo.toml", manifest),
        ],
        &[
            "crates/deployd/src/main.rs:1: names `zookeeper_async::ZooKeeper`",
            "crates/deployctl/Cargo.toml:2: depends on zookeeper-async",
        ],
    );
}

#[test]
fn one_place_spawns() {
    let code = "use std::process::{Command, ExitCode};";
    check(
        "one-place-spawns",
        &[
            ("crates/deployd/src/perform.rs", code),
            ("crates/deployd/src/host/process.rs", code),
            ("crates/deployd/src/host/systemd/tests.rs", code),
            (
                "crates/deployd/src/main.rs",
                "use std::process::ExitCode; use clap::Command;",
            ),
            (
                "crates/deployd/src/probe.rs",
                "fn f() { tokio::process::Command::new(\"sh\"); }",
            ),
        ],
        &[
            "crates/deployd/src/perform.rs:1: names `std::process::Command`",
            "crates/deployd/src/probe.rs:1: names `tokio::process::Command::new`",
        ],
    );
}

#[test]
fn programs_apart() {
    check(
        "programs-apart",
        &[
            (
                "crates/deployctl/src/main.rs",
                "fn f() { deployd::config::load(); }",
            ),
            (
                "crates/deployd/Cargo.toml",
                "[dev-dependencies]\ndeployctl = { path = \"x\" }\n",
            ),
        ],
        &[
            "crates/deployd/Cargo.toml:2: depends on deployctl",
            "crates/deployctl/src/main.rs:1: names `deployd::config::load`",
        ],
    );
}

#[test]
fn host_knows_linux() {
    check(
        "host-knows-linux",
        &[
            (
                "crates/deployd/src/host/release.rs",
                "use deploy_core::{name::BuildName, plan};",
            ),
            ("crates/deployd/src/perform.rs", "use deploy_core::plan;"),
        ],
        &["crates/deployd/src/host/release.rs:1: names `deploy_core::plan`"],
    );
}

#[test]
fn imports_are_plain() {
    let file = (
        "crates/x/src/lib.rs",
        "pub(crate) use a::b;\nuse super::*;\nlet c = 2 * d::e;",
    );
    check(
        "no-re-exports",
        &[file],
        &["crates/x/src/lib.rs:1: re-exports `a::b`"],
    );
    check(
        "no-globs",
        &[file],
        &["crates/x/src/lib.rs:2: imports all of `super::*`"],
    );
}

#[test]
fn no_allow() {
    let text =
        "// #[allow(a)]\n#[allow(b)]\n#[cfg_attr(c, allow(d))]\n#[expect(e, reason = \"f\")]";
    let what = "allows a lint; `#[expect(…, reason = …)]` is the way";
    check(
        "no-allow",
        &[("crates/x/src/lib.rs", text)],
        &[
            &format!("crates/x/src/lib.rs:2: {what}"),
            &format!("crates/x/src/lib.rs:3: {what}"),
        ],
    );
}

#[test]
fn file_length() {
    let fits = "\n".repeat(600);
    let long = "\n".repeat(601);
    check(
        "file-length",
        &[
            ("crates/x/src/a.rs", &fits),
            ("crates/x/src/b.rs", &long),
            ("a.md", &long),
        ],
        &["crates/x/src/b.rs:601: has 601 lines"],
    );
}

#[test]
fn nothing_unfinished() {
    check(
        "nothing-unfinished",
        &[(
            "crates/x/src/a.rs",
            "/// TODO: later\nlet a = \"TODO\";\ndbg!(a);\nlet b = \"dbg!\";",
        )],
        &[
            "crates/x/src/a.rs:1: says TODO",
            "crates/x/src/a.rs:3: calls `dbg!`",
        ],
    );
}

#[test]
fn telling_names() {
    check(
        "telling-names",
        &[
            ("crates/x/src/utils.rs", ""),
            ("crates/x/src/helpers/b.rs", ""),
            ("crates/x/src/c.rs", "mod misc {\n}\n"),
            ("crates/x/src/commonplace.rs", ""),
        ],
        &[
            "crates/x/src/utils.rs:1: is named `utils`",
            "crates/x/src/helpers/b.rs:1: is named `helpers`",
            "crates/x/src/c.rs:1: has a module `misc`",
        ],
    );
}

#[test]
fn lints_everywhere() {
    check(
        "lints-everywhere",
        &[
            ("Cargo.toml", "[workspace]\n"),
            ("crates/x/Cargo.toml", "[dependencies]\nworkspace = true\n"),
            ("crates/y/Cargo.toml", "[lints]\nworkspace = true\n"),
        ],
        &["crates/x/Cargo.toml:1: has no `[lints] workspace = true`"],
    );
}

#[test]
fn dependencies_used() {
    check(
        "dependencies-used",
        &[
            (
                "Cargo.toml",
                "[workspace.dependencies]\nserde-a = \"1\"\nb = \"1\"\nc = \"1\"\n",
            ),
            (
                "crates/x/Cargo.toml",
                "[dependencies]\nserde-a.workspace = true\nb = \"1\"\n",
            ),
            ("crates/x/src/lib.rs", "use serde_a::Serialize; // b\n"),
            ("crates/y/src/lib.rs", "use b::d;"),
        ],
        &[
            "crates/x/Cargo.toml:3: depends on b, and its code does not name it",
            "Cargo.toml:4: no crate depends on c",
        ],
    );
}

#[test]
fn no_machine_paths() {
    let path = ["", "home", "alice", "x"].join("/");
    let text = format!("see {path}\n{path}\nhttps://example.org{path}\nwork/here\n");
    check(
        "no-machine-paths",
        &[("docs/a.md", &text)],
        &[
            "docs/a.md:1: has a path below the directory home",
            "docs/a.md:2: has a path below the directory home",
        ],
    );
}

#[test]
fn links_resolve() {
    let readme = "# One\n[a](docs/a.md#two-words) [b](docs/b.md) [c](docs/) [d](#one)\n\
                  ```\n[e](none.md)\n```\n`[f](none.md)` [g](https://example.org/none)\n\
                  [h](docs/a.md#three)\n";
    check(
        "links-resolve",
        &[
            ("README.md", readme),
            (
                "docs/a.md",
                "## Two `words`!\n[i](../README.md) [j](a/k.md)\n",
            ),
        ],
        &[
            "README.md:2: links to docs/b.md, which is not there",
            "README.md:7: docs/a.md has no heading for #three",
            "docs/a.md:2: links to docs/a/k.md, which is not there",
        ],
    );
}

#[test]
fn licences() {
    let dependency = |name: &str, licence: Option<&str>| Dependency {
        name: name.to_owned(),
        licence: licence.map(str::to_owned),
    };
    let list = TextFile::new("deny.toml", "[licenses]\nallow = [\n    \"MIT\",\n]\n");
    let dependencies = vec![
        dependency("a", Some("MIT")),
        dependency("b", Some("GPL-3.0")),
        dependency("c", None),
    ];
    check_tree(
        "licences",
        &Tree {
            files: vec![list],
            dependencies,
        },
        &[
            "deny.toml:1: b is under GPL-3.0, which the list does not allow",
            "deny.toml:1: c has no licence",
        ],
    );
}

#[test]
fn rules_listed() {
    let all: Vec<String> = RULES
        .iter()
        .map(|rule| format!("`{}`", rule.name))
        .collect();
    check("rules-listed", &[(PAGE, &all.join("\n"))], &[]);
    check(
        "rules-listed",
        &[(PAGE, &all[1..].join("\n"))],
        &["docs/architecture.md:1: the rule `core-is-pure` is not listed"],
    );
}

#[test]
fn matrix_is_tested() {
    let test = "#[test]\nfn it_is_killed() {}\n";
    let page = "| fault | what happens | tests |\n|---|---|---|\n\
                | a | b | `agent_kills::it_is_killed` |\n\
                | a | b | `agent_kills::it_is_gone`, by hand |\n\
                | a | b | |\n\n| other | table |\n|---|---|\n| a | b |\n";
    check(
        "matrix-is-tested",
        &[
            ("tests/tests/agent_kills.rs", test),
            ("docs/reliability.md", page),
        ],
        &[
            "docs/reliability.md:4: names agent_kills::it_is_gone, which is not there",
            "docs/reliability.md:5: names no test",
        ],
    );
}
