use std::path::Path;
use std::time::Duration;

use super::{Transient, arguments, description, how};
use crate::host::process::{How, Job, Leftovers};
use crate::host::systemd::{Unit, parse};

const LIMIT: Duration = Duration::from_secs(7);

fn seen(text: &str) -> Unit {
    parse(&text.replace(' ', "\n"))
}

#[test]
fn how_a_unit_ended() {
    for (text, expected) in [
        ("Result=success ExecMainCode=1 ExecMainStatus=0", How::Well),
        (
            "Result=exit-code ExecMainCode=1 ExecMainStatus=3",
            How::Exit(3),
        ),
        (
            "Result=signal ExecMainCode=2 ExecMainStatus=9",
            How::Signal(9),
        ),
        (
            "Result=core-dump ExecMainCode=3 ExecMainStatus=11",
            How::Signal(11),
        ),
        // To systemd that is a clean end.
        (
            "Result=success ExecMainCode=2 ExecMainStatus=15",
            How::Signal(15),
        ),
        // Whatever it said when it was told to stop.
        (
            "Result=timeout ExecMainCode=1 ExecMainStatus=0",
            How::TimedOut(LIMIT),
        ),
        (
            "Result=timeout ExecMainCode=2 ExecMainStatus=9",
            How::TimedOut(LIMIT),
        ),
        (
            "Result=resources ExecMainCode=0 ExecMainStatus=0",
            How::Exit(-1),
        ),
    ] {
        assert_eq!(how(&seen(text), LIMIT), expected, "{text}");
    }
}

#[test]
fn when_a_unit_has_ended() {
    for (text, ended) in [
        ("ActiveState=activating SubState=start", false),
        ("ActiveState=active SubState=running", false),
        ("ActiveState=deactivating SubState=stop-sigterm", false),
        ("ActiveState=active SubState=exited", true),
        ("ActiveState=failed SubState=failed", true),
    ] {
        assert_eq!(seen(text).has_ended(), ended, "{text}");
    }
}

#[test]
fn a_program_gets_its_arguments_as_they_are() {
    let words = ["bin/x", "$HOME", "%n \"q\"", "--", ""].map(str::to_owned);
    let environment = [("DEPLOYD_BUILD", "r1".to_owned())];
    let job = Job {
        arguments: &words,
        dir: Path::new("/srv/web/releases/r1"),
        user: None,
        environment: &environment,
        limit: Duration::from_millis(1500),
        leftovers: Leftovers::Killed,
        input: "",
    };
    let transient = Transient {
        unit: "x.service",
        description: "x",
        job: &job,
    };
    let all = arguments(
        transient,
        "x",
        &["PATH".to_owned(), "http_proxy".to_owned()],
    );
    let own = all.iter().position(|word| word == "--").unwrap();
    // systemd makes one `$` of two.
    assert_eq!(
        all[own + 1..],
        ["/srv/web/releases/r1/bin/x", "$$HOME", "%n \"q\"", "--", ""]
    );
    let unset = all
        .iter()
        .find_map(|word| word.strip_prefix("--property=UnsetEnvironment="));
    let unset: Vec<_> = unset.unwrap().split(' ').collect();
    assert!(
        unset.contains(&"http_proxy") && unset.contains(&"HOME"),
        "{unset:?}"
    );
    // What is ours would be gone with it.
    assert!(!unset.contains(&"PATH"), "{unset:?}");
    assert!(
        all.contains(&"--property=RuntimeMaxSec=1500ms".to_owned()),
        "{all:?}"
    );
}

#[test]
fn a_description_is_one_short_line() {
    let text = format!("hook `a\nb\t{}`", "x".repeat(1000));
    let line = description(&text);
    assert!(line.starts_with("hook `a\\nb    x"), "{line}");
    assert_eq!(line.chars().count(), 300);
}
