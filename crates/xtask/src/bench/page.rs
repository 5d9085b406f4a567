//! Writing the tables of a part into docs/performance.md, between the marks that bear its name.

use std::fs;

use anyhow::{Context, Result, ensure};

use super::table::Table;
use crate::tool::root;

const PAGE: &str = "docs/performance.md";

/// Puts the tables of a part in the place of those of an earlier run.
pub(crate) fn write(part: &str, machine: &str, tables: &[Table]) -> Result<()> {
    let tables: Vec<String> = tables.iter().map(Table::markdown).collect();
    let body = format!("*{machine}*\n\n{}", tables.join("\n"));
    let text = put(&read()?, part, &body)?;
    fs::write(root().join(PAGE), text).with_context(|| format!("failed to write {PAGE}"))
}

/// Fails where the tables of a part could not be written, which is better known before minutes of measuring.
pub(crate) fn check(part: &str) -> Result<()> {
    put(&read()?, part, "").map(drop)
}

fn read() -> Result<String> {
    fs::read_to_string(root().join(PAGE)).with_context(|| format!("failed to read {PAGE}"))
}

fn put(text: &str, part: &str, body: &str) -> Result<String> {
    const BEGIN: &str = "<!-- bench ";
    let (begin, end) = (format!("{BEGIN}{part} -->\n"), "<!-- end -->");
    let missing = || {
        format!(
            "{PAGE} has no `{}` with a `{end}` after it",
            begin.trim_end()
        )
    };
    let (before, rest) = text.split_once(&begin).with_context(missing)?;
    let (old, after) = rest.split_once(end).with_context(missing)?;
    // Then the end is that of another part, and all between them would be lost.
    ensure!(!old.contains(BEGIN), missing());
    Ok(format!("{before}{begin}{body}{end}{after}"))
}

#[cfg(test)]
mod tests {
    use super::put;

    #[test]
    fn only_what_is_between_the_marks_of_the_part_is_replaced() {
        let text =
            "a\n<!-- bench x -->\nold\n<!-- end -->\nb\n<!-- bench y -->\nold\n<!-- end -->\n";
        let put = put(text, "y", "new\n").expect("the part has its marks");
        assert_eq!(
            put,
            "a\n<!-- bench x -->\nold\n<!-- end -->\nb\n<!-- bench y -->\nnew\n<!-- end -->\n"
        );
    }

    #[test]
    fn a_page_without_the_marks_is_left_alone() {
        for text in [
            "<!-- bench x -->\n",
            "<!-- bench x -->\nold\n<!-- bench y -->\nold\n<!-- end -->\n",
        ] {
            let error = put(text, "x", "new").expect_err("the end is missing");
            assert!(error.to_string().contains("bench x"), "{error}");
        }
    }
}
