//! The contract of `deployd unpack`: exit codes, what is there before, what is left after.

use std::fs::{self, File};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use tests::archives::{Header, Place, Tar, deployd, gzip, names, program, tree};

fn build() -> Vec<u8> {
    gzip(
        &Tar::new()
            .entry(Header::new(b'0', b"bin/run").mode(0o755), b"x")
            .symlink("link", "/etc/passwd")
            .end(),
    )
}

const BUILD: &str = "d755 bin\nf755 bin/run 1\nl link -> /etc/passwd\n";

#[track_caller]
fn stderr(output: &std::process::Output) -> String {
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(text.matches('\n').count(), 1, "one line: {text}");
    text
}

#[test]
fn says_what_it_did() {
    let place = Place::new();
    let output = place.unpack(&build(), &[]);
    assert_eq!(place.outcome(&output), BUILD);
    let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        stdout.starts_with("unpacked 2 entries, 1 bytes, into "),
        "{stdout}"
    );
}

#[test]
fn leaves_what_exists_alone() {
    for what in ["directory", "file", "link", "dangling link"] {
        let place = Place::new();
        let release = place.path("releases/r1");
        let made = match what {
            "directory" => fs::create_dir(release),
            "file" => fs::write(release, "x"),
            "link" => symlink("../outside", release),
            _ => symlink("nowhere", release),
        };
        made.expect("a fresh name");
        let before = tree(&place.path(""));
        fs::write(place.path("archive"), build()).expect("space");
        let output = place.command(&[]).output().expect("deployd starts");
        fs::remove_file(place.path("archive")).expect("it is there");
        assert_eq!(output.status.code(), Some(1), "{what}");
        assert!(stderr(&output).ends_with("exists already; it was left alone\n"));
        assert_eq!(tree(&place.path("")), before, "{what}");
    }
}

#[test]
fn directories_that_can_not_be_made() {
    let place = Place::new();
    fs::write(place.path("archive"), build()).expect("space");
    let refused = |directory: &str| {
        let command = deployd()
            .current_dir(place.path("releases"))
            .arg("unpack")
            .arg(place.path("archive"))
            .arg(directory)
            .output();
        let output = command.expect("deployd starts");
        assert_eq!(output.status.code(), Some(1), "{directory}");
        stderr(&output);
        assert!(names(&place.path("releases")).is_empty(), "{directory}");
    };
    for directory in [".", "..", "/", "nowhere/r1", "../archive/r1", "../releases"] {
        refused(directory);
    }
    refused(&"a".repeat(256));
}

#[test]
fn any_way_to_write_a_directory() {
    let place = Place::new();
    fs::write(place.path("archive"), build()).expect("space");
    let long = "a".repeat(255);
    for directory in ["r1", "./r2", "../releases/r3/", "-r4", long.as_str()] {
        let status = deployd()
            .current_dir(place.path("releases"))
            .args(["unpack", "../archive", "--", directory])
            .stdout(Stdio::null())
            .status();
        assert!(status.expect("deployd starts").success(), "{directory}");
    }
    assert_eq!(
        names(&place.path("releases")),
        ["-r4", &long, "r1", "r2", "r3"]
    );
}

#[test]
fn archives_that_are_no_files() {
    let place = Place::new();
    let fifo = place.path("fifo");
    nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).expect("fresh");
    for archive in [
        fifo,
        place.path("nowhere"),
        place.path("outside"),
        "/dev/zero".into(),
    ] {
        let output = deployd()
            .arg("unpack")
            .arg(&archive)
            .arg(place.path("releases/r1"))
            .output()
            .expect("deployd starts");
        assert_eq!(output.status.code(), Some(1), "{}", archive.display());
        place.outcome(&output);
    }
}

#[test]
fn usage_errors_are_told_apart() {
    for arguments in [
        &["unpack"][..],
        &["unpack", "a"],
        &["unpack", "a", "b", "c"],
        &["unpack", "a", "b", "--max-bytes", "many"],
        &["unpack", "a", "b", "--max-entries", "-1"],
        &["unpack", "a", "b", "--owner", "root"],
        &["unpack", "a", "b", "--nonsense"],
    ] {
        let output = deployd().args(arguments).output().expect("deployd starts");
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
    }
}

#[test]
fn removes_what_a_killed_run_left() {
    let place = Place::new();
    let left = place.path("releases/.r1.partial");
    fs::create_dir_all(left.join("a/b")).expect("fresh");
    fs::write(left.join("a/b/c"), "x").expect("fresh");
    symlink(place.path("outside"), left.join("link")).expect("fresh");
    assert_eq!(place.outcome(&place.unpack(&build(), &[])), BUILD);
}

#[test]
fn what_a_killed_run_left_is_not_removed_across_a_mount() {
    let place = Place::new();
    let mount = place.path("releases/.r1.partial/a/mount");
    fs::create_dir_all(&mount).expect("fresh");
    fs::write(place.path("archive"), build()).expect("space");
    // A bind mount of the same file system, which ends with the namespace.
    let output = Command::new("unshare")
        .args([
            "-m",
            "sh",
            "-c",
            "mount --bind \"$0\" \"$1\" || exit 77; shift; exec \"$@\"",
        ])
        .args([place.path("outside"), mount])
        .arg(program("deployd"))
        .arg("unpack")
        .args([place.path("archive"), place.path("releases/r1")])
        .output()
        .expect("unshare starts");
    let why = String::from_utf8_lossy(&output.stderr).into_owned();
    if why.starts_with("unshare:") || output.status.code() == Some(77) {
        eprintln!("skipped: no mount namespaces");
        return;
    }
    assert!(why.contains("failed to remove \"mount\""), "{why}");
    assert_eq!(tree(&place.path("outside")), "f644 victim 8\n");
    assert_eq!(names(&place.path("releases")), [".r1.partial"]);
    assert_eq!(place.outcome(&place.unpack(&build(), &[])), BUILD);
}

#[test]
fn does_not_disturb_another_run() {
    let place = Place::new();
    let busy = place.path("releases/.r1.partial");
    fs::create_dir(&busy).expect("fresh");
    fs::write(busy.join("theirs"), "x").expect("fresh");
    let locked = File::open(&busy).expect("it is there");
    locked.lock().expect("nobody else has it");
    let output = place.unpack(&build(), &[]);
    assert_eq!(output.status.code(), Some(1));
    let why = stderr(&output);
    assert!(why.contains("another deployd is unpacking"), "{why}");
    assert_eq!(
        tree(&place.path("releases")),
        "d755 .r1.partial\nf644 .r1.partial/theirs 1\n"
    );
}

#[test]
fn what_is_in_the_way_of_the_partial_directory_stays() {
    let place = Place::new();
    symlink("../outside", place.path("releases/.r1.partial")).expect("fresh");
    let output = place.unpack(&build(), &[]);
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    assert_eq!(
        tree(&place.path("releases")),
        "l .r1.partial -> ../outside\n"
    );
    assert_eq!(tree(&place.path("outside")), "f644 victim 8\n");
}

#[test]
fn the_umask_and_the_parents_group_bit_change_nothing() {
    for umask in ["000", "022", "027", "077", "777"] {
        let place = Place::new();
        fs::set_permissions(place.path("releases"), PermissionsExt::from_mode(0o2777))
            .expect("ours");
        fs::write(place.path("archive"), build()).expect("space");
        let script = format!("umask {umask}; exec \"$0\" \"$@\"");
        let output = Command::new("sh")
            .arg("-c")
            .arg(script)
            .arg(program("deployd"))
            .arg("unpack")
            .arg(place.path("archive"))
            .arg(place.path("releases/r1"))
            .output()
            .expect("sh starts");
        assert_eq!(place.outcome(&output), BUILD, "{umask}");
    }
}

#[test]
fn everything_belongs_to_the_owner() {
    if !nix::unistd::geteuid().is_root() {
        eprintln!("skipped: not root");
        return;
    }
    let place = Place::new();
    let build = Tar::new()
        .directory("named")
        .file("named/f", b"")
        .file("unnamed/f", b"")
        .symlink("link", "/etc/passwd")
        .hard_link("hard", "named/f");
    let before = fs::metadata("/etc/passwd").expect("it is there");
    let output = place.unpack(&gzip(&build.end()), &["--owner", "1234:2345"]);
    place.outcome(&output);
    let release = place.path("releases/r1");
    for name in [
        "",
        "named",
        "named/f",
        "unnamed",
        "unnamed/f",
        "link",
        "hard",
    ] {
        let found = release.join(name).symlink_metadata().expect(name);
        assert_eq!((found.uid(), found.gid()), (1234, 2345), "{name}");
    }
    let after = fs::metadata("/etc/passwd").expect("it is there");
    assert_eq!((before.uid(), before.ctime()), (after.uid(), after.ctime()));
}

#[test]
fn files_keep_their_time() {
    let place = Place::new();
    let build = Tar::new()
        .header(Header::new(b'0', b"f").with(136, b"00000001750\0"))
        .pax(b'x', &[b"mtime=1500000000.25"])
        .file("g", b"");
    place.outcome(&place.unpack(&gzip(&build.end()), &[]));
    let found = fs::metadata(place.path("releases/r1/f")).expect("it is there");
    assert_eq!(found.mtime(), 1000);
    let found = fs::metadata(place.path("releases/r1/g")).expect("it is there");
    assert_eq!(
        (found.mtime(), found.mtime_nsec()),
        (1_500_000_000, 250_000_000)
    );
}

#[test]
fn an_ordinary_user_can_unpack_and_clean_up() {
    if !nix::unistd::geteuid().is_root() {
        eprintln!("skipped: not root");
        return;
    }
    let place = Place::new();
    for name in ["", "releases"] {
        fs::set_permissions(place.path(name), PermissionsExt::from_mode(0o777)).expect("ours");
    }
    let run = |archive: &[u8]| {
        fs::write(place.path("archive"), archive).expect("space");
        let binary = place.path("deployd");
        fs::copy(program("deployd"), &binary).expect("space");
        let mut command = Command::new(binary);
        command
            .arg("unpack")
            .args([place.path("archive"), place.path("releases/r1")]);
        command
            .uid(65534)
            .gid(65534)
            .output()
            .expect("deployd starts")
    };
    let closed = || {
        Tar::new()
            .header(Header::new(b'5', b"d").mode(0))
            .header(Header::new(b'0', b"d/f").mode(0))
    };
    let refused = place.outcome(&run(&gzip(&closed().file("d/f", b"").end())));
    assert!(refused.ends_with("it is in the archive twice"), "{refused}");
    assert_eq!(
        place.outcome(&run(&gzip(&closed().end()))),
        "d700 d\nf400 d/f 0\n"
    );
}

/// Starts to unpack a build that nobody unpacks at once, and waits until it is at it.
fn start_slow(place: &Place) -> std::process::Child {
    let mut tar = Tar::new();
    for number in 0..1000 {
        tar = tar.file(&format!("d/{number}"), b"x");
    }
    let tar = tar.entry(Header::new(b'0', b"huge"), &vec![0; 400 << 20]);
    fs::write(place.path("archive"), gzip(&tar.end())).expect("space");
    let mut child = place
        .command(&[])
        .stderr(Stdio::piped())
        .spawn()
        .expect("deployd starts");
    let limit = Instant::now() + Duration::from_secs(60);
    while !place.path("releases/.r1.partial/huge").exists() {
        let ended = child.try_wait().expect("it is ours");
        assert!(ended.is_none(), "it ended too early");
        assert!(Instant::now() < limit, "it never got to the file");
        std::thread::yield_now();
    }
    child
}

#[test]
fn a_stopped_run_cleans_up() {
    for signal in ["TERM", "INT"] {
        let place = Place::new();
        let child = start_slow(&place);
        let kill = Command::new("kill")
            .args([format!("-{signal}"), child.id().to_string()])
            .status();
        assert!(kill.expect("kill starts").success());
        let output = child.wait_with_output().expect("it ends");
        let outcome = place.outcome(&output);
        assert_eq!(outcome, "refused: stopped before the archive was unpacked");
    }
}

#[test]
fn a_killed_run_leaves_no_release() {
    let place = Place::new();
    let mut child = start_slow(&place);
    child.kill().expect("it is ours");
    child.wait().expect("it ends");
    assert_eq!(names(&place.path("releases")), [".r1.partial"]);
    let mode = fs::metadata(place.path("releases/.r1.partial")).expect("it is there");
    assert_eq!(mode.mode() & 0o7777, 0o700, "nobody looks in");
    assert_eq!(place.outcome(&place.unpack(&build(), &[])), BUILD);
}

#[test]
fn what_appears_meanwhile_is_left_alone() {
    let place = Place::new();
    let child = start_slow(&place);
    fs::create_dir(place.path("releases/r1")).expect("fresh");
    let output = child.wait_with_output().expect("it ends");
    assert_eq!(output.status.code(), Some(1));
    let why = stderr(&output);
    assert!(
        why.ends_with("exists already; it was left alone\n"),
        "{why}"
    );
    assert_eq!(tree(&place.path("releases")), "d755 r1\n");
}

#[test]
fn a_full_disk_is_told_and_leaves_nothing() {
    // A file size limit stands for it: the same path through the code, and no mount is needed.
    let place = Place::new();
    // What breaks a rule after it was made earlier than `big` was filled, and is not what is told.
    let build = Tar::new()
        .file("d/small", b"x")
        .file("big", &[0; 100_000])
        .file("/absolute", b"");
    fs::write(place.path("archive"), gzip(&build.end())).expect("space");
    let output = Command::new("sh")
        .args(["-c", "trap '' XFSZ; ulimit -f 64; exec \"$0\" \"$@\""])
        .arg(program("deployd"))
        .arg("unpack")
        .args([place.path("archive"), place.path("releases/r1")])
        .output()
        .expect("sh starts");
    let outcome = place.outcome(&output);
    assert!(
        outcome.starts_with("refused: entry \"big\": the file system"),
        "{outcome}"
    );
}
