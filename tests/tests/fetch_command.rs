//! The contract of `deployd fetch`: exit codes, what is there before, what is left after.

use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use tests::archives::{deployd, names, program, tree};
use tests::http_server::{Act, Server, response};

/// The digest of `hello`.
const SHA256: &str = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824";

fn server() -> Server {
    Server::start(vec![vec![Act::Send(response("200 OK", &[], b"hello"))]])
}

fn fetch(server: &Server, file: &Path) -> Command {
    let mut command = deployd();
    command
        .args(["fetch", &server.url("/")])
        .arg(file)
        .args(["--sha256", SHA256, "--size", "5"]);
    command
}

#[track_caller]
fn refusal(output: &Output) -> String {
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert_eq!(text.matches('\n').count(), 1, "one line: {text}");
    text
}

#[test]
fn the_file_is_private() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let server = server();
    let output = Command::new("sh")
        .args(["-c", "umask 0; exec \"$0\" \"$@\""])
        .arg(fetch(&server, Path::new("")).get_program())
        .args(["fetch", &server.url("/"), "file", "--size", "5"])
        .args(["--sha256", &SHA256.to_uppercase()])
        .current_dir(directory.path())
        .output()
        .expect("sh starts");
    assert!(output.status.success());
    assert_eq!(
        String::from_utf8_lossy(&output.stdout),
        "fetched 5 bytes into file\n"
    );
    assert_eq!(tree(directory.path()), "f600 file 5\n");
    let file = fs::metadata(directory.path().join("file")).expect("it is there");
    assert_eq!(file.nlink(), 1);
}

#[test]
fn leaves_what_exists_alone() {
    for what in ["directory", "file", "link", "dangling link"] {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let file = directory.path().join("file");
        let made = match what {
            "directory" => fs::create_dir(&file),
            "file" => fs::write(&file, "x"),
            "link" => symlink("/etc/passwd", &file),
            _ => symlink("nowhere", &file),
        };
        made.expect("a fresh name");
        let before = tree(directory.path());
        let server = server();
        let output = fetch(&server, &file).output().expect("deployd starts");
        let why = refusal(&output);
        assert!(
            why.ends_with("exists already; it was left alone\n"),
            "{why}"
        );
        assert_eq!(tree(directory.path()), before, "{what}");
        assert!(
            server.requests().is_empty(),
            "nothing is fetched for nothing"
        );
    }
}

#[test]
fn files_that_can_not_be_made() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    for file in [
        ".",
        "..",
        "/",
        "nowhere/file",
        "/proc/file",
        "/dev/null/file",
    ] {
        let mut command = fetch(&server(), Path::new(file));
        let output = command.current_dir(directory.path()).output();
        refusal(&output.expect("deployd starts"));
    }
    assert!(names(directory.path()).is_empty());
}

#[test]
fn usage_errors_are_told_apart() {
    for arguments in [
        &["http://x/"][..],
        &["http://x/", "f"],
        &["http://x/", "f", "--size", "5"],
        &["http://x/", "f", "--sha256", SHA256],
        &["http://x/", "f", "--size", "-5", "--sha256", SHA256],
        &["http://x/", "f", "--size", "5", "--sha256", "abc"],
        &["http://x/", "f", "--size", "5", "--sha256", &"g".repeat(64)],
        &["no url", "f", "--size", "5", "--sha256", SHA256],
        &[
            "http://x/",
            "f",
            "--size",
            "5",
            "--sha256",
            SHA256,
            "--timeout-s",
            "0",
        ],
    ] {
        let output = deployd().arg("fetch").args(arguments).output();
        let status = output.expect("deployd starts").status;
        assert_eq!(status.code(), Some(2), "{arguments:?}");
    }
}

#[test]
fn urls_that_are_not_http() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    for url in [
        "file:///etc/passwd",
        "ftp://127.0.0.1/x",
        "data:,hello",
        "unix:/run/x",
    ] {
        let output = deployd()
            .args(["fetch", url])
            .arg(directory.path().join("file"))
            .args(["--sha256", SHA256, "--size", "5"])
            .output()
            .expect("deployd starts");
        let why = refusal(&output);
        assert!(why.ends_with("neither http nor https\n"), "{why}");
    }
    assert!(names(directory.path()).is_empty());
}

#[test]
fn proxies_of_the_environment_are_ignored() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let status = fetch(&server(), &directory.path().join("file"))
        .envs(
            ["http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"]
                .map(|name| (name, "http://127.0.0.1:1")),
        )
        .env_remove("no_proxy")
        .env_remove("NO_PROXY")
        .stdout(Stdio::null())
        .status();
    assert!(status.expect("deployd starts").success());
}

#[test]
fn too_little_space_is_seen_before() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let server = server();
    let output = deployd()
        .args(["fetch", &server.url("/")])
        .arg(directory.path().join("file"))
        .args(["--sha256", SHA256, "--size", "18446744073709551615"])
        .output()
        .expect("deployd starts");
    let why = refusal(&output);
    assert!(
        why.contains("18446744073709551615 bytes are needed, "),
        "{why}"
    );
    assert!(
        server.requests().is_empty(),
        "nothing is fetched for nothing"
    );
}

#[test]
fn a_disk_that_fills_up_is_told_and_leaves_nothing() {
    // A file size limit stands for it, as it does for `deployd unpack`.
    let directory = tempfile::tempdir().expect("a temporary directory");
    let body = response("200 OK", &[], &[0; 100_000]);
    let server = Server::start(vec![vec![Act::Send(body)]]);
    let output = Command::new("sh")
        .args(["-c", "trap '' XFSZ; ulimit -f 64; exec \"$0\" \"$@\""])
        .arg(program("deployd"))
        .args(["fetch", &server.url("/")])
        .arg(directory.path().join("file"))
        .args(["--sha256", SHA256, "--size", "100000"])
        .output()
        .expect("sh starts");
    let why = refusal(&output);
    assert!(why.contains("failed to write"), "{why}");
    assert_eq!(server.requests().len(), 1, "it is not tried again at once");
    assert!(names(directory.path()).is_empty());
}

#[test]
fn a_server_that_is_not_there() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    for url in [
        "http://127.0.0.1:1/x?key=hunter2",
        "http://name.invalid/x",
        "https://127.0.0.1:1/",
    ] {
        let output = deployd()
            .args(["fetch", url])
            .arg(directory.path().join("file"))
            .args(["--sha256", SHA256, "--size", "5"])
            .output()
            .expect("deployd starts");
        let why = refusal(&output);
        assert!(why.starts_with("error: failed to fetch http"), "{why}");
        assert!(!why.contains("hunter2"), "{why}");
    }
    assert!(names(directory.path()).is_empty());
}

#[test]
fn https_needs_a_server_that_speaks_it() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let server = server();
    let output = deployd()
        .args(["fetch", &server.url("/").replace("http:", "https:")])
        .arg(directory.path().join("file"))
        .args(["--sha256", SHA256, "--size", "5", "--timeout-s", "3"])
        .output()
        .expect("deployd starts");
    refusal(&output);
    assert!(names(directory.path()).is_empty());
}

#[test]
fn a_stopped_run_leaves_nothing() {
    for (signal, code) in [("TERM", Some(1)), ("INT", Some(1)), ("KILL", None)] {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let start = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhel".to_vec();
        let server = Server::start(vec![vec![Act::Send(start), Act::Stall]]);
        let child = fetch(&server, &directory.path().join("file"))
            .stderr(Stdio::piped())
            .spawn()
            .expect("deployd starts");
        let limit = Instant::now() + Duration::from_secs(30);
        while server.requests().is_empty() {
            assert!(Instant::now() < limit, "it never asked");
            std::thread::yield_now();
        }
        let kill = Command::new("kill")
            .args([format!("-{signal}"), child.id().to_string()])
            .status();
        assert!(kill.expect("kill starts").success());
        let output = child.wait_with_output().expect("it ends");
        assert_eq!(output.status.code(), code, "{signal}");
        assert!(names(directory.path()).is_empty(), "{signal}");
    }
}
