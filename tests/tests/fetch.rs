//! What `deployd fetch` makes of servers, most of which mean no good.

use std::fs;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use sha2::{Digest as _, Sha256};
use tempfile::TempDir;
use tests::archives::{deployd, names};
use tests::http_server::{Act, Server, raw_response, response};

/// What the right server sends.
const BODY: &[u8] = b"the artifact, all of it";

fn sha256(bytes: &[u8]) -> String {
    let digest: [u8; 32] = Sha256::digest(bytes).into();
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// One download of `BODY` from a server, into a directory of its own.
struct Fetch {
    server: Server,
    directory: TempDir,
}

impl Fetch {
    fn from(scripts: Vec<Vec<Act>>) -> Self {
        Self {
            server: Server::start(scripts),
            directory: tempfile::tempdir().expect("a temporary directory"),
        }
    }

    fn command(&self, path: &str, body: &[u8]) -> Command {
        let mut command = deployd();
        command
            .arg("fetch")
            .arg(self.server.url(path))
            .arg(self.directory.path().join("file"))
            .args(["--sha256", &sha256(body)])
            .args(["--size", &body.len().to_string()]);
        command
    }

    fn output(&self) -> Output {
        let mut command = self.command("/web/r1.tar.gz?token=hunter2#frag", BODY);
        command.output().expect("deployd starts")
    }

    /// Returns `ok`, or why it was refused, with the server's address left out.
    #[track_caller]
    fn outcome(&self, output: &Output, body: &[u8]) -> String {
        let stderr = String::from_utf8(output.stderr.clone()).expect("messages are UTF-8");
        let left = names(self.directory.path());
        match output.status.code() {
            Some(0) => {
                assert_eq!(stderr, "");
                assert_eq!(left, ["file"]);
                let file = fs::read(self.directory.path().join("file")).expect("it is there");
                assert!(file == body, "the file has other bytes");
                "ok".to_owned()
            }
            Some(1) => {
                assert!(left.is_empty(), "left after a refusal: {left:?}; {stderr}");
                assert_eq!(stderr.matches('\n').count(), 1, "one line: {stderr}");
                assert!(!stderr.contains("hunter2"), "a secret is in {stderr}");
                let why = stderr.trim_end().strip_prefix("error: ");
                let why = why.unwrap_or_else(|| panic!("no error: {stderr}"));
                why.replace(&self.server.url(""), "")
            }
            _ => panic!("{}; stderr: {stderr}", output.status),
        }
    }
}

/// Fetches from a server that answers every connection alike. Expects `ok`, or a refusal that
/// contains the text. Returns how many requests there were.
#[track_caller]
fn check(script: Vec<Act>, expected: &str) -> usize {
    check_all(vec![script], expected).len()
}

/// The same with a script for each connection. Returns the requests.
#[track_caller]
fn check_all(scripts: Vec<Vec<Act>>, expected: &str) -> Vec<String> {
    let fetch = Fetch::from(scripts);
    let outcome = fetch.outcome(&fetch.output(), BODY);
    match expected {
        "ok" => assert_eq!(outcome, "ok"),
        _ => assert!(outcome.contains(expected), "{outcome}, not: {expected}"),
    }
    fetch.server.requests()
}

/// Runs a check for each case at once: most of their time is pauses between attempts.
fn each<T: Sync>(cases: &[T], check: impl Fn(&T) + Sync) {
    std::thread::scope(|scope| {
        for case in cases {
            scope.spawn(|| check(case));
        }
    });
}

fn send(bytes: Vec<u8>) -> Vec<Act> {
    vec![Act::Send(bytes)]
}

fn good() -> Vec<Act> {
    send(response("200 OK", &[], BODY))
}

fn unavailable() -> Vec<Act> {
    send(response("503 Service Unavailable", &[], b"busy"))
}

fn redirect(status: &str, location: &str) -> Vec<Act> {
    send(response(status, &[&format!("Location: {location}")], b""))
}

/// A body whose second half a server may be asked for.
fn first_half(etag: &str) -> Vec<Act> {
    let length = format!("Content-Length: {}", BODY.len());
    let head = raw_response("200 OK", &[&length, &format!("ETag: {etag}")], &BODY[..10]);
    send(head)
}

fn second_half(range: &str, etag: &str) -> Vec<Act> {
    let headers = [
        &*format!("Content-Range: bytes {range}"),
        &*format!("ETag: {etag}"),
    ];
    send(response("206 Partial Content", &headers, &BODY[10..]))
}

#[test]
fn the_request_asks_for_plain_bytes() {
    let requests = check_all(vec![good()], "ok");
    let head = requests[0].to_lowercase();
    assert!(
        head.starts_with("get /web/r1.tar.gz?token=hunter2 http/1.1\n"),
        "{head}"
    );
    assert!(head.contains("\naccept-encoding: identity\n"), "{head}");
    each(
        &[
            "\nrange:",
            "\nif-range:",
            "\ncookie:",
            "\nauthorization:",
            "\nreferer:",
        ],
        |&absent| {
            assert!(!head.contains(absent), "{head}");
        },
    );
}

#[test]
fn complete_bodies_in_every_form() {
    check(good(), "ok");
    check(
        send(raw_response("200 OK", &["Connection: close"], BODY)),
        "ok",
    );
    check(send([b"HTTP/1.0 200 OK\r\n\r\n", BODY].concat()), "ok");
    let chunked = ["Transfer-Encoding: chunked"];
    let chunks = b"4\r\nthe \r\n13;ext=1\r\nartifact, all of it\r\n0\r\nTrailer: x\r\n\r\n";
    check(send(raw_response("200 OK", &chunked, chunks)), "ok");
    let early = b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n";
    check(
        send([early, &response("200 OK", &[], BODY)[..]].concat()),
        "ok",
    );
    let more = [
        &response("200 OK", &[], BODY)[..],
        b"HTTP/1.1 200 OK\r\n\r\nunasked",
    ]
    .concat();
    check(send(more), "ok");
    // The digest is of the bytes on the wire, whatever they are said to be.
    check(
        send(response("200 OK", &["Content-Encoding: gzip"], BODY)),
        "ok",
    );
    check(
        send(response("200 OK", &["Location: /elsewhere"], BODY)),
        "ok",
    );
}

#[test]
fn an_empty_file() {
    let fetch = Fetch::from(vec![send(response("200 OK", &[], b""))]);
    let output = fetch.command("/", b"").output().expect("deployd starts");
    assert_eq!(fetch.outcome(&output, b""), "ok");
}

#[test]
fn a_large_file() {
    let body: Vec<u8> = (0..3_000_000_u32).flat_map(u32::to_le_bytes).collect();
    let fetch = Fetch::from(vec![send(response("200 OK", &[], &body))]);
    let output = fetch.command("/", &body).output().expect("deployd starts");
    assert_eq!(fetch.outcome(&output, &body), "ok");
}

#[test]
fn only_200_is_the_file() {
    each(
        &[
            "201 Created",
            "202 Accepted",
            "203 Non-Authoritative Information",
            "206 Partial Content",
            "226 IM Used",
            "300 Multiple Choices",
            "304 Not Modified",
            "305 Use Proxy",
            "401 Unauthorized",
            "403 Forbidden",
            "404 Not Found",
            "410 Gone",
            "416 Range Not Satisfiable",
            "418 I'm a teapot",
            "600 Odd",
            "999 Odd",
        ],
        |&status| {
            let count = check(
                send(response(status, &["Location: /x"], BODY)),
                "200 is wanted",
            );
            assert_eq!(count, 1, "{status} is not tried again");
        },
    );
    check(
        send(raw_response("204 No Content", &[], b"")),
        "answered 204",
    );
    check(
        send(raw_response("205 Reset Content", &[], b"")),
        "answered 205",
    );
}

#[test]
fn passing_faults_are_tried_again() {
    each(
        &[
            "500 Internal Server Error",
            "502 Bad Gateway",
            "503 Service Unavailable",
            "504 Gateway Timeout",
            "408 Request Timeout",
            "429 Too Many Requests",
        ],
        |&status| {
            let fault = send(response(status, &[], BODY));
            assert_eq!(check_all(vec![fault, good()], "ok").len(), 2, "{status}");
        },
    );
    assert_eq!(
        check_all(vec![vec![Act::Reset], vec![], good()], "ok").len(),
        3
    );
    assert_eq!(check(unavailable(), "answered 503 Service Unavailable"), 3);
}

#[test]
fn retry_after_is_honoured_if_it_is_short() {
    let wait = |seconds: &str| {
        let header = format!("Retry-After: {seconds}");
        send(response("503 Service Unavailable", &[&header], b""))
    };
    let started = Instant::now();
    check_all(vec![wait("3"), good()], "ok");
    assert!(started.elapsed() >= Duration::from_secs(3));
    assert_eq!(check(wait("3600"), "asks to wait 3600 s"), 1);
    assert_eq!(check(wait("99999999999999999999"), "asks to wait"), 1);
    check_all(vec![wait("-1"), good()], "ok");
}

#[test]
fn lengths_that_differ_are_refused_at_once() {
    each(&[&BODY[..22], b"", &[BODY, b"x"].concat()], |&body| {
        let count = check(
            send(response("200 OK", &[], body)),
            "bytes, the target says 23",
        );
        assert_eq!(count, 1);
    });
    each(
        &[
            "0",
            "1",
            "24",
            "18446744073709551615",
            "99999999999999999999",
            "-1",
            "0x17",
            "23, 23",
        ],
        |&lie| {
            let header = format!("Content-Length: {lie}");
            check(send(raw_response("200 OK", &[&header], BODY)), "");
        },
    );
    let both = ["Content-Length: 23", "Content-Length: 24"];
    check(send(raw_response("200 OK", &both, BODY)), "");
}

#[test]
fn bodies_that_are_too_long_are_cut() {
    let endless = |head: Vec<u8>, body: &[u8]| vec![Act::Send(head), Act::Forever(body.to_vec())];
    let close = raw_response("200 OK", &["Connection: close"], b"");
    let why = "sends more than the 23 bytes";
    assert_eq!(check(endless(close, &[b'x'; 4096]), why), 1);
    let chunked = raw_response("200 OK", &["Transfer-Encoding: chunked"], b"");
    assert_eq!(check(endless(chunked.clone(), b"5\r\nhello\r\n"), why), 1);
    let one_more = [&chunked[..], b"18\r\nthe artifact, all of it!\r\n0\r\n\r\n"].concat();
    assert_eq!(check(send(one_more), why), 1);
    let one_more = raw_response("200 OK", &["Connection: close"], &[BODY, b"!"].concat());
    assert_eq!(check(send(one_more), why), 1);
}

#[test]
fn bodies_that_end_early_are_no_file() {
    let length = format!("Content-Length: {}", BODY.len());
    let cut = |headers: &[&str], body: &[u8]| send(raw_response("200 OK", headers, body));
    assert_eq!(check(cut(&[&length], &BODY[..22]), "failed to fetch"), 3);
    assert_eq!(check(cut(&[&length], b""), "failed to fetch"), 3);
    assert_eq!(
        check(
            cut(&["Connection: close"], &BODY[..22]),
            "ended after 22 of 23 bytes"
        ),
        3
    );
    let chunked = ["Transfer-Encoding: chunked"];
    each(
        &[
            &b"17\r\nthe artifact, all of it"[..],
            b"17\r\nthe artifact, all of it\r\n",
            b"17\r\nthe artifact, all of it\r\n0\r\n",
            b"17\r\nthe artifact\r\n0\r\n\r\n",
            b"xx\r\nthe artifact, all of it\r\n0\r\n\r\n",
            b"-17\r\nthe artifact, all of it\r\n0\r\n\r\n",
            b"FFFFFFFFFFFFFFFFF\r\nthe artifact, all of it\r\n0\r\n\r\n",
            b"",
        ],
        |&body| {
            check(cut(&chunked, body), "failed to fetch");
        },
    );
    let mut reset = cut(&[&length], &BODY[..10]);
    reset.push(Act::Reset);
    check(reset, "failed to fetch");
}

#[test]
fn other_bytes_are_no_file() {
    let wrong = || send(response("200 OK", &[], b"The artifact, all of it"));
    assert_eq!(check(wrong(), "is not the artifact: its SHA-256 is"), 2);
    assert_eq!(check_all(vec![wrong(), good()], "ok").len(), 2);
}

#[test]
fn redirects_stay_at_the_server() {
    each(
        &[
            "301 Moved Permanently",
            "302 Found",
            "303 See Other",
            "307 Temporary Redirect",
            "308 Permanent Redirect",
        ],
        |&status| {
            let requests = check_all(vec![redirect(status, "../other?x=1#y"), good()], "ok");
            assert!(
                requests[1].starts_with("GET /other?x=1 HTTP/1.1\n"),
                "{}",
                requests[1]
            );
            assert!(!requests[1].contains("hunter2"), "{}", requests[1]);
        },
    );
    check_all(vec![redirect("302 Found", "{origin}/x"), good()], "ok");
    each(
        &[
            ("http://localhost:1/x", "redirect to another server"),
            ("//127.0.0.2/x", "redirect to another server"),
            ("https://127.0.0.1/x", "redirect to another server"),
            ("file:///etc/passwd", "redirects to what is no http URL"),
            ("ftp://127.0.0.1/x", "neither http nor https"),
            ("data:,x", "redirects to what is no http URL"),
            ("http://", "redirects to what is no URL"),
            ("http://[::1", "redirects to what is no URL"),
        ],
        |&(location, why)| {
            assert_eq!(check(redirect("302 Found", location), why), 1, "{location}");
        },
    );
    check(
        send(response("302 Found", &[], b"")),
        "redirects to nowhere",
    );
    let two = ["Location: /a", "Location: /b"];
    check(
        send(response("302 Found", &two, b"")),
        "redirects to two places",
    );
}

#[test]
fn redirects_are_counted() {
    assert_eq!(
        check(redirect("302 Found", "/again"), "redirects too often"),
        6
    );
    let mut scripts = vec![redirect("302 Found", "/x"); 5];
    scripts.push(good());
    check_all(scripts, "ok");
}

#[test]
fn credentials_do_not_follow_a_redirect() {
    let fetch = Fetch::from(vec![redirect("302 Found", "/x"), good()]);
    let url = fetch
        .server
        .url("/")
        .replace("http://", "http://user:hunter2@");
    let output = deployd()
        .args(["fetch", &url])
        .arg(fetch.directory.path().join("file"))
        .args(["--sha256", &sha256(BODY), "--size", "23"])
        .output()
        .expect("deployd starts");
    assert_eq!(fetch.outcome(&output, BODY), "ok");
    let requests = fetch.server.requests();
    assert!(
        requests[0].contains("authorization: Basic"),
        "{}",
        requests[0]
    );
    assert!(!requests[1].contains("authorization"), "{}", requests[1]);
}

#[test]
fn a_download_is_resumed_where_that_is_safe() {
    let requests = check_all(
        vec![first_half("\"v1\""), second_half("10-22/23", "\"v1\"")],
        "ok",
    );
    let head = requests[1].to_lowercase();
    assert!(head.contains("\nrange: bytes=10-\n"), "{head}");
    assert!(head.contains("\nif-range: \"v1\"\n"), "{head}");
    // A server that can't answer in between has changed nothing.
    let busy = send(response(
        "503 Service Unavailable",
        &["Retry-After: 0"],
        b"",
    ));
    let scripts = vec![
        first_half("\"v1\""),
        busy,
        second_half("10-22/23", "\"v1\""),
    ];
    let requests = check_all(scripts, "ok");
    let head = requests[2].to_lowercase();
    assert!(head.contains("\nrange: bytes=10-\n"), "{head}");
    // The file changed meanwhile: all of it comes, and nothing of the old one is kept.
    check_all(vec![first_half("\"v1\""), good()], "ok");
}

#[test]
fn a_download_is_not_resumed_where_it_is_not_safe() {
    each(&["W/\"v1\"", "v1", "\"\""], |&etag| {
        let requests = check_all(vec![first_half(etag), good()], "ok");
        assert!(!requests[1].to_lowercase().contains("\nrange:"), "{etag}");
    });
    each(
        &[
            ("9-22/23", "\"v1\""),
            ("10-21/23", "\"v1\""),
            ("10-22/24", "\"v1\""),
            ("10-22/*", "\"v1\""),
            ("0-22/23", "\"v1\""),
            ("10-22/23", "\"v2\""),
        ],
        |&(range, etag)| {
            let scripts = vec![first_half("\"v1\""), second_half(range, etag), good()];
            let requests = check_all(scripts, "ok");
            assert!(
                !requests[2].to_lowercase().contains("\nrange:"),
                "{range} {etag}"
            );
        },
    );
    let refused = send(response("416 Range Not Satisfiable", &[], b""));
    check_all(vec![first_half("\"v1\""), refused, good()], "ok");
    // The second half of something else shows in the digest, and everything is fetched anew.
    let mut other = response(
        "206 Partial Content",
        &["Content-Range: bytes 10-22/23", "ETag: \"v1\""],
        &BODY[10..],
    );
    *other.last_mut().expect("it has bytes") ^= 1;
    check_all(vec![first_half("\"v1\""), send(other), good()], "ok");
}

#[test]
fn what_is_no_http_is_refused() {
    each(
        &[
            &b""[..],
            b"the artifact, all of it",
            b"HTTP/0.9 200 OK\r\n\r\nthe artifact, all of it",
            b"HTTP/2.0 200 OK\r\n\r\nthe artifact, all of it",
            b"ICY 200 OK\r\n\r\nthe artifact, all of it",
            b"HTTP/1.1 OK\r\n\r\nthe artifact, all of it",
            b"HTTP/1.1 20\r\n\r\nthe artifact, all of it",
            b"HTTP/1.1 -200 OK\r\n\r\nthe artifact, all of it",
            b"HTTP/1.1 200 OK\r\nno colon\r\n\r\nthe artifact, all of it",
            b"HTTP/1.1 200 OK\r\nContent-Length : 23\r\n\r\nthe artifact, all of it",
            b"HTTP/1.1 200 OK\r\nX: y\0z\r\n\r\nthe artifact, all of it",
            b"\x16\x03\x01\0\x05hello",
            b"\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0",
        ],
        |&answer| {
            check(send(answer.to_vec()), "failed to fetch");
        },
    );
}

#[test]
fn endless_heads_are_bounded() {
    let head = |bytes: &[u8]| {
        vec![
            Act::Send(b"HTTP/1.1 200 OK\r\n".to_vec()),
            Act::Forever(bytes.to_vec()),
        ]
    };
    check(
        head(b"X-Y: zzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzz\r\n"),
        "failed to fetch",
    );
    check(
        head(b"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"),
        "failed to fetch",
    );
    check(
        vec![Act::Forever(b"HTTP/1.1 200 ".to_vec())],
        "failed to fetch",
    );
}
