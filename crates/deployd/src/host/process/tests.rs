use std::path::Path;
use std::time::Duration;

use super::output::{TAIL_BYTES, TAIL_LINES, last_lines};
use super::{How, Job, Leftovers, missing, run};
use crate::host::proc;

fn sh(script: &str) -> Vec<String> {
    ["sh", "-c", script]
        .iter()
        .map(|text| (*text).to_owned())
        .collect()
}

fn job(arguments: &[String], limit: Duration, leftovers: Leftovers) -> Job<'_> {
    Job {
        arguments,
        dir: Path::new("/"),
        user: None,
        environment: &[],
        limit,
        leftovers,
        input: "",
    }
}

const LONG: Duration = Duration::from_secs(60);

#[test]
fn the_last_lines_have_room_for_what_escaping_adds() {
    let bytes = |lines: &[String]| lines.iter().map(String::len).sum::<usize>();
    let nuls = last_lines(&"\0".repeat(TAIL_BYTES));
    assert_eq!((nuls.len(), bytes(&nuls)), (1, TAIL_BYTES));
    let many = last_lines(&"\u{7}é\n".repeat(3000));
    assert_eq!(many.len(), TAIL_LINES);
    let wide = last_lines(&format!("first\n{}\nlast", "é\u{1b}".repeat(TAIL_BYTES)));
    assert!(bytes(&wide) <= TAIL_BYTES && bytes(&wide) > TAIL_BYTES - 3);
    assert_eq!((wide.len(), wide[1].as_str()), (2, "last"));
    assert_eq!(last_lines("\n \n"), [""; 0]);
}

#[tokio::test]
async fn tells_how_a_program_ended() {
    for (script, how) in [
        ("true", How::Well),
        ("exit 3", How::Exit(3)),
        ("kill -9 $$", How::Signal(9)),
    ] {
        let arguments = sh(script);
        let ended = run(&job(&arguments, LONG, Leftovers::Killed))
            .await
            .unwrap();
        assert_eq!(ended.how, how, "{script}");
    }
    assert_eq!(How::Signal(9).to_string(), "killed by SIGKILL");
}

#[tokio::test]
async fn keeps_the_end_of_a_flood_and_escapes_it() {
    let arguments = sh("yes flood | head -c 50000000; printf 'last \\033[31mred\\n' >&2");
    for leftovers in [Leftovers::Killed, Leftovers::Live] {
        let ended = run(&job(&arguments, LONG, leftovers)).await.unwrap();
        assert!(ended.tail.len() <= TAIL_LINES);
        assert!(ended.tail.iter().map(String::len).sum::<usize>() <= TAIL_BYTES + 100);
        let text = ended.tail.join("\n");
        assert!(text.contains("flood") && !text.contains('\u{1b}'), "{text}");
    }
}

#[tokio::test]
async fn a_program_that_takes_too_long_is_killed_with_its_children() {
    let marker = format!("DEPLOYD_TEST_LATE={}", std::process::id());
    let arguments = sh(&format!(
        "export {marker}; trap '' TERM; sleep 600 & sleep 600"
    ));
    let limit = Duration::from_millis(200);
    let ended = run(&job(&arguments, limit, Leftovers::Killed))
        .await
        .unwrap();
    assert_eq!(ended.how, How::TimedOut(limit));
    assert_eq!(proc::kill_marked(&marker, None), 0);
}

#[tokio::test]
async fn a_child_that_keeps_the_output_open_does_not_keep_us() {
    let marker = format!("DEPLOYD_TEST_OPEN={}", std::process::id());
    let arguments = sh(&format!(
        "export {marker}; setsid sleep 600 & \
         until [ \"$(cut -d' ' -f6 /proc/$!/stat)\" = $! ]; do :; done; echo done"
    ));
    let ended = run(&job(&arguments, LONG, Leftovers::Killed))
        .await
        .unwrap();
    assert_eq!(
        (ended.how, ended.tail),
        (How::Well, vec!["done".to_owned()])
    );
    // It left the group, so it is found by its environment.
    assert_eq!(proc::kill_marked(&marker, None), 1);
}

#[tokio::test]
async fn what_may_live_lives() {
    let marker = format!("DEPLOYD_TEST_LIVE={}", std::process::id());
    // It has its environment once it is a program of its own.
    let arguments = sh(&format!(
        "export {marker}; sleep 600 & until grep -q sleep /proc/$!/comm; do :; done; echo started"
    ));
    let ended = run(&job(&arguments, LONG, Leftovers::Live)).await.unwrap();
    assert_eq!(
        (ended.how, ended.tail),
        (How::Well, vec!["started".to_owned()])
    );
    assert_eq!(proc::kill_marked(&marker, None), 1);
}

#[tokio::test]
async fn a_program_that_is_not_there_is_named() {
    let arguments = ["bin/missing".to_owned()];
    let error = run(&job(&arguments, LONG, Leftovers::Killed))
        .await
        .unwrap_err();
    assert_eq!(error.to_string(), "failed to run /bin/missing");
}

#[tokio::test]
async fn the_environment_is_cleared() {
    let arguments = sh("env | sort");
    let ended = run(&job(&arguments, LONG, Leftovers::Killed))
        .await
        .unwrap();
    let names: Vec<_> = ended
        .tail
        .iter()
        .filter_map(|line| line.split('=').next())
        .collect();
    for name in names {
        assert!(
            ["LANG", "PATH", "PWD", "SHLVL", "_", "OLDPWD"].contains(&name),
            "{name}"
        );
    }
}

#[test]
fn a_program_is_missed_where_it_is_looked_up() {
    assert_eq!(missing("/bin/sh"), None);
    assert_eq!(missing("sh"), None);
    // It may come with the release.
    assert_eq!(missing("current/bin/restart"), None);
    let there = missing("/etc/passwd").unwrap();
    assert!(
        there.contains("/etc/passwd is not there, or can't be executed"),
        "{there}"
    );
    let plain = missing("no-such-program").unwrap();
    assert!(
        plain.contains("no program no-such-program in /usr/local/sbin"),
        "{plain}"
    );
}
