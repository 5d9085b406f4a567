//! The harness that sees the calls of a program sees all of them, in their order, and its answers
//! arrive.

use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Output, Stdio};
use std::sync::{Arc, Mutex};

use nix::errno::Errno;
use nix::sys::signal::Signal;
use tempfile::TempDir;
use tests::calls::{self, Answer, Call, Calls, Whose};

/// Runs a script in a directory whose calls are watched.
fn run(dir: &TempDir, calls: &Calls, script: &str) -> Output {
    let mut command = Command::new("sh");
    command
        .args(["-ec", script])
        .current_dir(dir.path())
        .stdin(Stdio::null());
    calls.watch(&mut command);
    command.output().expect("a shell can be started")
}

fn watched(whose: Whose) -> (TempDir, Calls) {
    let dir = tempfile::tempdir().expect("a temporary directory can be made");
    let calls = Calls::below(&[dir.path()], whose);
    (dir, calls)
}

/// Returns the calls as text, without the directory.
fn shown(dir: &TempDir, calls: &[Call]) -> Vec<String> {
    let around = format!("{}/", dir.path().display());
    calls
        .iter()
        .map(|call| call.to_string().replace(&around, ""))
        .collect()
}

#[test]
fn every_change_is_seen_before_it_is_made() {
    if !calls::available() {
        return;
    }
    let (dir, calls) = watched(Whose::All);
    let seen = Arc::new(Mutex::new(Vec::new()));
    let seeing = Arc::clone(&seen);
    calls.rule(move |call| {
        assert!(!call.paths.is_empty());
        let there = call.paths.last().is_some_and(|path| path.exists());
        seeing.lock().unwrap().push((call.clone(), there));
        Answer::GoOn
    });
    let script = "echo one > a; mv a b; ln -s b c; rm c; mkdir d; rmdir d; sync b; \
                  cat b > /dev/null; chmod 600 b; truncate -s 9 b";
    let output = run(&dir, &calls, script);
    assert!(output.status.success(), "{output:?}");
    let seen = seen.lock().unwrap();
    let (seen, there): (Vec<Call>, Vec<bool>) = seen.iter().cloned().unzip();
    let shown = shown(&dir, &seen);
    let words = |line: &str| {
        let (name, rest) = line.split_once(' ').unwrap();
        // The shells and tools of different machines use different variants of a call.
        format!(
            "{} {rest}",
            name.trim_end_matches(['a', 't', '2', 'f', 'u'])
        )
    };
    let kinds: Vec<_> = shown.iter().map(|line| words(line)).collect();
    assert_eq!(
        kinds,
        [
            "open a",
            "write a",
            "rename a b",
            "symlink c",
            "unlink c",
            "mkdir d",
            "rmdir d",
            "fsync b",
            "fchmod b",
            "open b",
            "ftruncate b"
        ],
        "{shown:?}"
    );
    assert_eq!(there[..3], [false, true, false], "before they are made");
    assert_eq!(calls.count(), 11);
    assert_eq!(fs::read(dir.path().join("b")).unwrap(), b"one\n\0\0\0\0\0");
}

#[test]
fn it_is_killed_before_the_call_and_after_all_others() {
    if !calls::available() {
        return;
    }
    for number in 0..4 {
        let (dir, calls) = watched(Whose::Own);
        calls.kill_at(number);
        let output = run(&dir, &calls, "echo 1 > a; echo 2 > b; echo 3 > c");
        assert_eq!(output.status.signal(), Some(Signal::SIGKILL as i32));
        let expected = ["", "a=", "a=1", "a=1 b="][usize::try_from(number).unwrap()];
        let found: Vec<_> = ["a", "b", "c"]
            .iter()
            .filter_map(|name| {
                let text = fs::read_to_string(dir.path().join(name)).ok()?;
                Some(format!("{name}={}", text.trim()))
            })
            .collect();
        assert_eq!(found.join(" "), expected);
        assert_eq!(calls.killed_at().unwrap().number, number);
    }
}

#[test]
fn an_error_is_told_and_nothing_is_done() {
    if !calls::available() {
        return;
    }
    let (dir, calls) = watched(Whose::All);
    calls.rule(|call| match call.name.starts_with("mkdir") {
        true => Answer::Fail(Errno::ENOSPC),
        false => Answer::GoOn,
    });
    let output = run(&dir, &calls, "echo 1 > a; mkdir d");
    assert!(!output.status.success());
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("No space left on device"), "{said}");
    assert!(dir.path().join("a").exists() && !dir.path().join("d").exists());
}

#[test]
fn children_and_other_places_are_left_alone() {
    if !calls::available() {
        return;
    }
    let (dir, calls) = watched(Whose::Own);
    let elsewhere = tempfile::tempdir().unwrap();
    calls.rule(|_| Answer::Fail(Errno::EIO));
    let file = elsewhere.path().join("x");
    let script = format!("mkdir d; echo 1 > {}", file.display());
    let output = run(&dir, &calls, &script);
    assert!(output.status.success(), "{output:?}");
    assert_eq!(calls.count(), 0);
    let strays = calls.strays();
    assert!(
        strays.iter().all(|call| call.paths == [file.clone()]),
        "{strays:?}"
    );
    assert_eq!(strays.len(), 2, "{strays:?}");
}
