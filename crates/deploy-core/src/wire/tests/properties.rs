//! Whatever is stored, reading it ends, and what was accepted can be written and read again.
//!
//! The same cases at each run; `DEPLOY_TEST_LONG=1 cargo test -p deploy-core properties` tries a
//! hundred times as many, others each time.

use std::cell::Cell;
use std::env;
use std::fmt::Debug;

use proptest::collection::vec;
use proptest::prelude::{Just, ProptestConfig, Strategy, any, prop_oneof};
use proptest::sample::Index;
use proptest::test_runner::{RngSeed, TestRunner};
use serde_json::{Map, Value, json};

use super::DIGEST;
use crate::name::{BuildName, HostName, ServiceName};
use crate::wire::alive::Alive;
use crate::wire::build::Build;
use crate::wire::history::Entry;
use crate::wire::hold::Hold;
use crate::wire::lease::LeaseClaim;
use crate::wire::policy::Policy;
use crate::wire::record::Record;
use crate::wire::report::Report;
use crate::wire::retry::Retry;
use crate::wire::role::Assignment;
use crate::wire::target::Target;
use crate::wire::{REASON_CHARS_MAX, Stored, WireError, decode, encode, encode_over, time};

/// Cases of each property.
const CASES: u32 = 300;

/// Asserts a property of what a strategy makes.
pub(crate) fn check<S: Strategy>(cases: u32, strategy: &S, property: impl Fn(S::Value)) {
    let long = env::var_os("DEPLOY_TEST_LONG").is_some();
    let config = ProptestConfig {
        cases: if long { cases * 100 } else { cases },
        failure_persistence: None,
        rng_seed: if long {
            RngSeed::Random
        } else {
            RngSeed::Fixed(1)
        },
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

/// Any JSON, with text that means something elsewhere.
fn json_value() -> impl Strategy<Value = Value> {
    let text = prop_oneof![
        any::<String>().prop_map(Value::from),
        proptest::sample::select(vec![
            "r1",
            "..",
            "",
            "canary",
            "10%",
            "-0%",
            "1e308%",
            "9999-12-31T23:59:59Z",
            "a/b",
            "\u{1b}[2J",
            DIGEST,
        ])
        .prop_map(Value::from),
    ];
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        (-200.0..200.0).prop_map(|number: f64| json!(number)),
        any::<f64>().prop_map(|number| json!(number)),
        text,
    ];
    leaf.prop_recursive(3, 16, 4, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..4).prop_map(Value::from),
            vec((key(), inner), 0..4).prop_map(|pairs| Value::Object(pairs.into_iter().collect())),
        ]
    })
}

fn key() -> impl Strategy<Value = String> {
    let known = proptest::sample::select(vec!["v", "build", "artifact", "at", "r1", "started"]);
    prop_oneof![known.prop_map(str::to_owned), any::<String>()]
}

/// What is done to a document that was good.
#[derive(Debug, Clone)]
enum Change {
    /// Some value becomes another.
    Replace(Index, Value),
    /// A field is added to the outermost object.
    Add(String, Value),
    /// A field is taken away from it.
    Remove(Index),
    /// A byte of the text becomes another.
    Byte(Index, u8),
    /// The text ends early.
    Cut(Index),
    /// A part of the text is there twice.
    Double(Index, Index),
}

fn change() -> impl Strategy<Value = Change> {
    let at = any::<Index>;
    prop_oneof![
        4 => (at(), json_value()).prop_map(|(at, value)| Change::Replace(at, value)),
        2 => (key(), json_value()).prop_map(|(key, value)| Change::Add(key, value)),
        2 => at().prop_map(Change::Remove),
        1 => (at(), any::<u8>()).prop_map(|(at, byte)| Change::Byte(at, byte)),
        1 => at().prop_map(Change::Cut),
        1 => (at(), at()).prop_map(|(from, to)| Change::Double(from, to)),
    ]
}

/// Counts the values of a document, and replaces the one whose turn it is.
fn replace(value: &mut Value, (seen, wanted): (&mut usize, usize), new: &Value) {
    *seen += 1;
    if *seen == wanted {
        *value = new.clone();
        return;
    }
    match value {
        Value::Array(list) => list
            .iter_mut()
            .for_each(|item| replace(item, (seen, wanted), new)),
        Value::Object(map) => map
            .values_mut()
            .for_each(|item| replace(item, (seen, wanted), new)),
        _ => {}
    }
}

fn changed(sample: &Value, changes: &[Change]) -> Vec<u8> {
    let mut value = sample.clone();
    for change in changes {
        match (change, &mut value) {
            (Change::Replace(at, new), value) => {
                replace(value, (&mut 0, at.index(40) + 2), new);
            }
            (Change::Add(key, new), Value::Object(map)) => {
                map.insert(key.clone(), new.clone());
            }
            (Change::Remove(at), Value::Object(map)) if !map.is_empty() => {
                let key = map.keys().nth(at.index(map.len())).cloned();
                map.retain(|known, _| Some(known) != key.as_ref());
            }
            _ => {}
        }
    }
    let mut text = value.to_string().into_bytes();
    for change in changes {
        match change {
            Change::Byte(at, byte) if !text.is_empty() => {
                let at = at.index(text.len());
                text[at] = *byte;
            }
            Change::Cut(at) => text.truncate(at.index(text.len() + 1)),
            Change::Double(from, to) if !text.is_empty() => {
                let (from, to) = (from.index(text.len()), to.index(text.len()));
                let part = text[from.min(to)..from.max(to)].to_vec();
                let end = from.max(to);
                text.splice(end..end, part);
            }
            _ => {}
        }
    }
    text
}

/// What must hold of any data. Returns whether it was accepted.
fn sound<T: Stored + PartialEq + Debug>(data: &[u8]) -> bool {
    let value = match decode::<T>(data) {
        Ok(value) => value,
        Err(error) => {
            told(&error);
            return false;
        }
    };
    let written = encode(&value);
    assert!(
        written.starts_with(b"{\"v\":1"),
        "{}",
        String::from_utf8_lossy(&written)
    );
    assert_eq!(decode::<T>(&written).as_ref(), Ok(&value));
    let over = encode_over(&value, data);
    assert_eq!(decode::<T>(&over).as_ref(), Ok(&value));
    kept(data, &over);
    true
}

/// Errors end up in reports, logs and terminals.
fn told(error: &WireError) {
    let text = error.to_string();
    assert!(text.chars().count() <= REASON_CHARS_MAX + 100, "{text}");
    assert!(!text.chars().any(char::is_control), "{text:?}");
}

/// Fields that nobody knows are still there after a rewrite.
fn kept(old: &[u8], new: &[u8]) {
    let object = |data: &[u8]| serde_json::from_slice::<Map<String, Value>>(data);
    let (Ok(old), Ok(new)) = (object(old), object(new)) else {
        panic!("what was accepted is an object");
    };
    for (key, value) in &old {
        let unknown = key.starts_with("x-");
        assert!(!unknown || new.get(key) == Some(value), "{key} is lost");
    }
}

fn holds_for<T: Stored + PartialEq + Debug>(sample: &Value) {
    assert!(sound::<T>(sample.to_string().as_bytes()), "{sample}");
    let mut sample = sample.clone();
    sample["x-new"] = json!({ "of": ["a newer", 1] });
    let accepted = Cell::new(0);
    check(CASES, &vec(change(), 1..4), |changes| {
        if sound::<T>(&changed(&sample, &changes)) {
            accepted.set(accepted.get() + 1);
        }
    });
    // If all were refused, it would say nothing about what is accepted.
    assert!(accepted.get() > 0, "{}: nothing was accepted", T::WHAT);
    check(CASES, &vec(any::<u8>(), 0..200), |bytes| {
        sound::<T>(&bytes);
    });
}

fn artifact() -> Value {
    json!({ "url": "https://b/r1.tar.gz", "sha256": DIGEST, "size": 209_715_200 })
}

#[test]
fn targets() {
    let previous = json!({ "build": "r1", "artifact": artifact() });
    holds_for::<Target>(&json!({
        "v": 1, "build": "r2", "rollout": 142, "artifact": artifact(), "percent": 12.5,
        "previous": previous, "restart": 143, "by": "alice", "at": "2026-11-20T19:38:02Z", "why": "fix",
    }));
    check(
        CASES,
        &vec(any::<u8>(), 0..100),
        |bytes| match Target::read(&bytes) {
            Ok(Some(target)) => assert_eq!(decode::<Target>(&encode(&target)), Ok(target)),
            Ok(None) => assert!(bytes.iter().all(u8::is_ascii_whitespace)),
            Err(error) => told(&error),
        },
    );
}

#[test]
fn roles_and_policies() {
    holds_for::<Assignment>(
        &json!({ "v": 1, "role": "canary", "by": "a", "at": "now", "why": "z" }),
    );
    holds_for::<Policy>(
        &json!({ "v": 1, "restart_concurrency": "12.5%", "lease_reclaim_s": 60, "by": "a", "why": "z" }),
    );
}

#[test]
fn holds_retries_and_leases() {
    let until =
        json!({ "v": 1, "by": "a", "at": "now", "why": "sale", "until": "2026-11-20T19:38:02Z" });
    holds_for::<Hold>(&until);
    holds_for::<Retry>(&json!({ "v": 1, "rollout": 3, "by": "a", "at": "now", "why": "z" }));
    holds_for::<LeaseClaim>(&json!({
        "v": 1, "host": "web-9", "machine_id": "m", "boot_id": "b", "nonce": "n", "rollout": 3, "since": "now",
    }));
    holds_for::<Alive>(&json!({ "v": 1, "agent": "0.1.0", "since": "now" }));
}

#[test]
fn builds_and_history() {
    let bad = json!({ "by": "a", "at": "now", "why": "leaks" });
    holds_for::<Build>(&json!({
        "v": 1, "artifact": artifact(), "signed_by": "1A", "bad": bad, "by": "a", "at": "now", "why": "w",
    }));
    let outcome = json!({ "result": "done", "hosts": 3, "seconds": 20 });
    holds_for::<Entry>(&json!({
        "v": 1, "kind": "deploy", "from": "r1", "to": "r2", "by": "a", "at": "now", "why": "w", "nonce": "n",
        "outcome": outcome,
    }));
}

fn error_report() -> Value {
    json!({ "step": "probe", "kind": "rejected", "message": "m", "log": ["a", "b"] })
}

#[test]
fn reports() {
    let step = json!({ "name": "fetch", "attempt": 1, "done": 1, "total": 2, "since": "now", "detail": "d" });
    let instance = json!({ "unit": "web-1", "port": 8001, "build": "r1", "state": "serving", "connections": 3 });
    holds_for::<Report>(&json!({
        "v": 1, "host": "h1", "service": "web", "role": "fleet", "agent": "0.1.0", "phase": "serving",
        "rollout": 3, "target": "r1", "current": "r1", "serving": "r1", "previous": "r0", "step": step,
        "instances": [instance], "lease": true, "trust": "signed", "releases": ["r1"],
        "error": error_report(), "disk_free": 5, "at": "now",
    }));
}

#[test]
fn journals() {
    let unit = json!({
        "started": { "build": "r1", "identity": "7" }, "unproven": true, "restarted": 5, "drained": true,
    });
    let rejection = json!({ "rollout": 3, "retry": -5, "error": error_report() });
    holds_for::<Record>(&json!({
        "v": 1, "service": { "at": "r1" }, "verified": ["r1"], "rejected": { "r2": rejection },
        "digests": { "r1": DIGEST }, "prepared": ["r1"], "installed": "r1", "burned_in": "r1",
        "finished": "r1", "units": { "web-1": unit }, "begun": { "restart 1": 2 },
    }));
}

#[test]
fn nesting_is_bounded() {
    for open in ["[", "{\"a\":", "{\"v\":1,\"x\":["] {
        for depth in [127, 1000, 20_000] {
            assert!(!sound::<Target>(open.repeat(depth).as_bytes()));
            assert!(!sound::<Record>(
                format!("{{\"v\":1,\"units\":{}", open.repeat(depth)).as_bytes()
            ));
        }
    }
}

#[test]
fn names() {
    let like_names = "[A-Za-z0-9._/ -]{0,70}";
    check(
        4 * CASES,
        &prop_oneof![like_names, any::<String>()],
        |text| {
            let accepted = [
                BuildName::parse(&text).map(String::from),
                ServiceName::parse(&text).map(String::from),
                HostName::parse(&text).map(String::from),
            ];
            for result in accepted {
                match result {
                    Ok(name) => {
                        assert_eq!(name, text);
                        let plain = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
                        assert!(
                            text.chars().all(plain) && !text.starts_with(['.', '-', '_']),
                            "{text}"
                        );
                    }
                    Err(error) => {
                        let told = error.to_string();
                        assert!(
                            !told.chars().any(char::is_control) && told.len() < 1000,
                            "{told:?}"
                        );
                    }
                }
            }
        },
    );
}

#[test]
fn times() {
    check(
        CASES,
        &prop_oneof!["[0-9TZ:.+-]{0,30}", any::<String>()],
        |text| {
            if let Some(at) = time::parse(&text) {
                let written = time::render(at);
                let again = time::parse(&written).map(jiff::Timestamp::as_second);
                assert_eq!(again, Some(at.as_second()), "{text} became {written}");
            }
            let hold = Hold {
                until: Some(text),
                ..Hold::default()
            };
            hold.holds(jiff::Timestamp::UNIX_EPOCH);
        },
    );
}
