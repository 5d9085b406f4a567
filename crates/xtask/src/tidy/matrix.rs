//! The fault matrix of docs/reliability.md: each row names a test that is there.

use super::PAGE;
use super::rust_text::numbered;
use super::tree::{Tree, Violation};

const MATRIX: &str = "docs/reliability.md";
/// The head of the column that names tests; it is the last one.
const COLUMN: &str = "tests |";

pub(crate) fn matrix_is_tested(tree: &Tree) -> Vec<Violation> {
    let mut violations = Vec::new();
    let mut in_matrix = false;
    let is_checked = tree.text(PAGE).is_some();
    if is_checked && !tree.text(MATRIX).is_some_and(|page| page.contains(COLUMN)) {
        violations.push(Violation::new(PAGE, 1, format!("{MATRIX} has no matrix")));
    }
    for (at, line) in numbered(tree.text(MATRIX).unwrap_or_default()) {
        if !line.starts_with('|') {
            in_matrix = false;
        } else if line.ends_with(COLUMN) {
            in_matrix = true;
        } else if in_matrix && !line.starts_with("|--") {
            let problems = problems(tree, line);
            violations.extend(problems.map(|what| Violation::new(MATRIX, at, what)));
        }
    }
    violations
}

fn problems(tree: &Tree, row: &str) -> impl Iterator<Item = String> {
    let cells: Vec<&str> = row.trim_end_matches('|').split('|').collect();
    let last = cells.last().copied().unwrap_or_default();
    let named: Vec<&str> = last.split('`').skip(1).step_by(2).collect();
    let missing = named.is_empty().then(|| "names no test".to_owned());
    let unknown: Vec<String> = named
        .into_iter()
        .filter(|test| !is_there(tree, test))
        .map(|test| format!("names {test}, which is not there"))
        .collect();
    missing.into_iter().chain(unknown)
}

/// `agent_kills::a_test`: a function of that name in `agent_kills.rs`, wherever that is.
fn is_there(tree: &Tree, test: &str) -> bool {
    let Some((module, function)) = test.rsplit_once("::") else {
        return false;
    };
    let file = format!("/{}.rs", module.replace("::", "/"));
    let declaration = format!("fn {function}(");
    tree.rust("")
        .any(|(source, _)| source.path.ends_with(&file) && source.text.contains(&declaration))
}
