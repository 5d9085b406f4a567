use std::collections::BTreeSet;

use super::Runs;
use crate::name::BuildName;

#[track_caller]
fn check(found: &str, current: &str, expected: &str) {
    let build = |name: &str| BuildName::parse(name).unwrap();
    let builds: BTreeSet<_> = found.split_whitespace().map(build).collect();
    let current = (current != "-").then(|| build(current));
    let expected = (expected != "-").then(|| Runs::Build(build(expected)));
    assert_eq!(
        Runs::of(&builds, current.as_ref()),
        expected,
        "{found} | {current:?}"
    );
}

#[test]
fn an_instance_with_an_old_process_is_not_the_new_build() {
    check("1", "1", "1");
    check("1", "2", "1");
    check("1 2", "2", "1");
    check("1 2", "1", "2");
    check("2 3", "1", "2");
    check("1 2", "-", "1");
    check("", "1", "-");
}
