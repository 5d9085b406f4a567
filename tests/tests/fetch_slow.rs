//! Servers that take their time: each of these runs as long as a limit of `deployd fetch`.

use std::process::Output;
use std::time::{Duration, Instant};

use tests::archives::{deployd, names};
use tests::http_server::{Act, Server};

/// Two limits of 10 s and the pauses take 21 s. More only says that the machine does other things, too: a build without optimisation
/// reads a flood of answers so slowly that it was seen to take two minutes beside all other tests. This much says that there is no end.
const ENDLESS: Duration = Duration::from_secs(600);

/// Fetches one million bytes, and expects a refusal with `why`.
#[track_caller]
fn check(script: Vec<Act>, options: &[&str], why: &str) {
    let server = Server::start(vec![script]);
    let directory = tempfile::tempdir().expect("a temporary directory");
    let started = Instant::now();
    let output: Output = deployd()
        .args(["fetch", &server.url("/")])
        .arg(directory.path().join("file"))
        .args(["--sha256", &"0".repeat(64), "--size", "1000000"])
        .args(options)
        .output()
        .expect("deployd starts");
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    assert_eq!(stderr.matches('\n').count(), 1, "one line: {stderr}");
    assert!(stderr.contains(why), "{stderr}, not: {why}");
    assert!(names(directory.path()).is_empty(), "something is left");
    let took = started.elapsed();
    assert!(took < ENDLESS, "took {took:?}");
}

fn head() -> Act {
    Act::Send(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n".to_vec())
}

fn chunked() -> Act {
    Act::Send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec())
}

fn drip(bytes: &[u8]) -> Act {
    Act::Drip(bytes.to_vec(), Duration::from_millis(100))
}

#[test]
fn servers_that_never_end() {
    let body = || Act::Send(vec![b'x'; 1000]);
    let head_start = || Act::Send(b"HTTP/1.1 200 OK\r\nX: ".to_vec());
    let interim = || Act::Forever(b"HTTP/1.1 100 Continue\r\n\r\n".to_vec());
    let extension = || Act::Send(b"5;".to_vec());
    let (no_answer, no_data) = (
        "nothing for 10 s while waiting for an answer",
        "nothing for 10 s while waiting for data",
    );
    // All at once: their time is spent waiting.
    std::thread::scope(|scope| {
        scope.spawn(|| check(vec![Act::Stall], &[], no_answer));
        scope.spawn(|| check(vec![head_start(), drip(b"x")], &[], no_answer));
        scope.spawn(|| check(vec![interim()], &[], no_answer));
        scope.spawn(|| check(vec![head(), body(), Act::Stall], &[], no_data));
        scope.spawn(|| check(vec![chunked(), extension(), drip(b"x")], &[], no_data));
        scope.spawn(|| check(vec![head(), drip(b"x")], &[], "is too slow"));
    });
}

#[test]
fn a_total_time() {
    let why = "was not fetched within 2 s";
    let slow = vec![head(), drip(&[b'x'; 4096])];
    check(slow, &["--timeout-s", "2"], why);
}
