//! `cargo xtask tidy`: the rules of docs/architecture.md that a program can check.
//!
//! Each rule is a function from the text of the tree to what breaks it.

mod layers;
mod licences;
mod links;
mod manifests;
mod matrix;
mod places;
mod rust_text;
mod shape;
mod tree;

use std::process::ExitCode;

use anyhow::{Result, bail};

use self::tree::{Tree, Violation};

/// The page that lists the rules.
const PAGE: &str = "docs/architecture.md";

/// A rule, and how it is checked.
struct Rule {
    name: &'static str,
    says: &'static str,
    check: fn(&Tree) -> Vec<Violation>,
}

const RULES: &[Rule] = &[
    Rule {
        name: "core-is-pure",
        says: "deploy-core takes values and returns values",
        check: layers::core_is_pure,
    },
    Rule {
        name: "one-zookeeper-client",
        says: "only deploy-zk knows the ZooKeeper client",
        check: layers::one_zookeeper_client,
    },
    Rule {
        name: "one-place-spawns",
        says: "only host/process.rs of deployd starts processes",
        check: layers::one_place_spawns,
    },
    Rule {
        name: "programs-apart",
        says: "deployd and deployctl do not know each other",
        check: layers::programs_apart,
    },
    Rule {
        name: "host-knows-linux",
        says: "host/ of deployd knows Linux, not deployments",
        check: layers::host_knows_linux,
    },
    Rule {
        name: "no-re-exports",
        says: "a name has one path: nothing is re-exported",
        check: shape::no_re_exports,
    },
    Rule {
        name: "no-globs",
        says: "imports name what they import",
        check: shape::no_globs,
    },
    Rule {
        name: "no-allow",
        says: "a lint is expected with a reason, never allowed",
        check: shape::no_allow,
    },
    Rule {
        name: "file-length",
        says: "a file has at most 600 lines",
        check: shape::file_length,
    },
    Rule {
        name: "nothing-unfinished",
        says: "what is left to do is an issue, not a comment",
        check: shape::nothing_unfinished,
    },
    Rule {
        name: "telling-names",
        says: "a module is named after what is in it",
        check: shape::telling_names,
    },
    Rule {
        name: "lints-everywhere",
        says: "every crate has the lints of the workspace",
        check: manifests::lints_everywhere,
    },
    Rule {
        name: "dependencies-used",
        says: "every dependency is used",
        check: manifests::dependencies_used,
    },
    Rule {
        name: "no-machine-paths",
        says: "no path of the machine that somebody works on",
        check: places::no_machine_paths,
    },
    Rule {
        name: "links-resolve",
        says: "links in the documents lead somewhere",
        check: links::links_resolve,
    },
    Rule {
        name: "matrix-is-tested",
        says: "each fault of docs/reliability.md names a test that is there",
        check: matrix::matrix_is_tested,
    },
    Rule {
        name: "licences",
        says: "dependencies have a licence that deny.toml allows",
        check: licences::licences,
    },
    Rule {
        name: "rules-listed",
        says: "docs/architecture.md lists every rule",
        check: rules_listed,
    },
];

/// Checks the tree and prints what it found.
pub(crate) fn run() -> Result<ExitCode> {
    check_all()?;
    println!("tidy: {} rules hold", RULES.len());
    Ok(ExitCode::SUCCESS)
}

/// Checks every rule. All violations are printed before the error is returned.
pub(crate) fn check_all() -> Result<()> {
    let tree = tree::load()?;
    let mut violations = 0;
    for rule in RULES {
        let found = (rule.check)(&tree);
        if !found.is_empty() {
            eprintln!("{}: {}", rule.name, rule.says);
        }
        for violation in &found {
            eprintln!("    {violation}");
        }
        violations += found.len();
    }
    if violations > 0 {
        bail!("{violations} violations of the rules in {PAGE}");
    }
    Ok(())
}

fn rules_listed(tree: &Tree) -> Vec<Violation> {
    let text = tree.text(PAGE).unwrap_or_default();
    RULES
        .iter()
        .filter(|rule| !text.contains(&format!("`{}`", rule.name)))
        .map(|rule| Violation::new(PAGE, 1, format!("the rule `{}` is not listed", rule.name)))
        .collect()
}

#[cfg(test)]
mod tests;
