//! Whatever is in the file, reading it ends: with a configuration, or with problems that can be
//! shown.

use std::env;
use std::fmt::Debug;
use std::path::PathBuf;

use proptest::collection::vec;
use proptest::prelude::{ProptestConfig, Strategy, any, prop_oneof};
use proptest::sample::{Index, select};
use proptest::test_runner::{RngSeed, TestRunner};

use super::{EXAMPLE, LEAST};
use crate::config::{ConfigError, parse};

/// Cases of each property; `DEPLOY_TEST_LONG=1` tries a hundred times as many.
const CASES: u32 = 200;

/// Asserts a property of what a strategy makes: the same cases at each run, others in a long one.
pub(crate) fn check<S: Strategy>(cases: u32, strategy: &S, property: impl Fn(S::Value))
where
    S::Value: Debug,
{
    let long = env::var_os("DEPLOY_TEST_LONG").is_some();
    let (cases, rng_seed) = match long {
        true => (cases * 100, RngSeed::Random),
        false => (cases, RngSeed::Fixed(1)),
    };
    let config = ProptestConfig {
        cases,
        rng_seed,
        failure_persistence: None,
        ..ProptestConfig::default()
    };
    let result = TestRunner::new(config).run(strategy, |value| {
        property(value);
        Ok(())
    });
    if let Err(error) = result {
        panic!("{error}");
    }
}

fn survives(text: &str) {
    let Err(problems) = parse(text) else { return };
    assert!(!problems.is_empty(), "refused without a word");
    let lines = text.lines().count() + 1;
    assert!(problems.iter().all(|problem| problem.line <= lines));
    let error = ConfigError::Invalid {
        path: PathBuf::from("deployd.toml"),
        text: text.to_owned(),
        problems,
    };
    assert!(error.to_string().contains("is not valid"));
}

/// What values may be replaced by.
fn value() -> impl Strategy<Value = String> {
    let odd = [
        "-1",
        "0",
        "1e999",
        "nan",
        "-inf",
        "99999999999999999999",
        "\"\"",
        "\"../..\"",
        "\"\\u0000\"",
        "\"{port\"",
        "[]",
        "[[]]",
        "{}",
        "true",
        "1979-05-27T07:32:00Z",
        "\"http://u:p@[::1\"",
        "'a\u{301}'",
    ];
    prop_oneof![
        select(odd.to_vec()).prop_map(str::to_owned),
        any::<String>()
    ]
}

/// The example with one line changed: another value, another key, twice, or not there.
fn changed(at: Index, (value, way): (&str, u8)) -> String {
    let mut lines: Vec<String> = EXAMPLE.lines().map(str::to_owned).collect();
    let at = at.index(lines.len());
    let line = lines[at].clone();
    match (way % 4, line.split_once('=')) {
        (0, Some((key, _))) => lines[at] = format!("{key}= {value}"),
        (1, Some((_, old))) => lines[at] = format!("{value} ={old}"),
        (2, _) => lines.insert(at, line),
        _ => lines[at].clear(),
    }
    lines.join("\n")
}

#[test]
fn any_text_is_survived() {
    let like = "[a-z\\[\\]{}=\"'#.,0-9\n é]{0,80}";
    check(CASES, &prop_oneof![like, any::<String>()], |text| {
        survives(&text)
    });
    check(
        CASES,
        &vec("[a-z_]{1,8} = [0-9\"\\[]{1,4}\n", 0..9),
        |lines| {
            survives(&format!("{LEAST}{}", lines.concat()));
        },
    );
}

#[test]
fn any_change_of_the_example_is_survived() {
    let changes = (any::<Index>(), value(), any::<u8>());
    check(2 * CASES, &changes, |(at, value, way)| {
        survives(&changed(at, (&value, way)));
    });
    let cuts = (any::<Index>(), any::<Index>());
    check(CASES, &cuts, |(from, to)| {
        let chars: Vec<char> = EXAMPLE.chars().collect();
        let (from, to) = (from.index(chars.len()), to.index(chars.len()));
        let kept = chars[..from.min(to)].iter().chain(&chars[from.max(to)..]);
        survives(&kept.collect::<String>());
    });
}

#[test]
fn nesting_is_bounded() {
    for open in ["[", "{ a = ", "a.", "[[a."] {
        for depth in [100, 10_000, 100_000] {
            survives(&format!("a = {}", open.repeat(depth)));
            survives(&open.repeat(depth));
        }
    }
}
