use std::net::TcpListener;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use super::{Listening, Running, names_unit, process, release_in};

#[test]
fn finds_itself_by_its_port() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let own = i32::try_from(std::process::id()).unwrap();
    let own = process(own).unwrap();
    let listeners = |releases: &str, before: Option<&str>| {
        Running::new(Path::new(releases)).listeners(port, before)
    };
    assert!(listeners("/", None).contains(&own));
    // Among those that run no release, too.
    assert!(listeners("/nowhere", None).contains(&own));
    let known = |identity: &str| listeners("/", Some(identity));
    assert_eq!(known(&own.identity), std::slice::from_ref(&own));
    // Another process of that number, and none, are no reason not to search.
    for stale in [format!("{}@1", own.pid), "1@1".to_owned(), String::new()] {
        assert!(known(&stale).contains(&own), "{stale:?}");
    }
    let is_listening = || Running::new(Path::new("/")).is_listening(port);
    assert_eq!(is_listening(), Some(Listening::Somebody));
    drop(listener);
    // A program that another test starts just now has all that is open, until it is that program.
    let deadline = Instant::now() + Duration::from_secs(10);
    while is_listening() != Some(Listening::Nobody) && Instant::now() < deadline {
        thread::sleep(Duration::from_millis(1));
    }
    assert_eq!(is_listening(), Some(Listening::Nobody));
    assert_eq!(listeners("/nowhere", Some(&own.identity)), []);
}

#[test]
fn a_working_directory_tells_the_release() {
    let temp = tempfile::tempdir().unwrap();
    let release = temp.path().join("releases/r1/bin");
    std::fs::create_dir_all(&release).unwrap();
    let mut child = std::process::Command::new("sleep")
        .arg("60")
        .current_dir(&release)
        .spawn()
        .unwrap();
    let pid = i32::try_from(child.id()).unwrap();
    let releases = temp.path().join("releases");
    let running = Running::new(&releases);
    let found = running.release_of(pid);
    let all = running.releases_of([pid, 1]);
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(found.as_deref(), Some("r1"));
    assert_eq!(all.into_iter().collect::<Vec<_>>(), ["r1"]);
    assert_eq!(process(pid), None);
}

#[test]
fn what_is_gone_or_partial_is_no_release() {
    let name = |path| release_in(Path::new(path), Path::new("/srv/web/releases"));
    assert_eq!(name("/srv/web/releases/r1").as_deref(), Some("r1"));
    assert_eq!(name("/srv/web/releases/r1/bin/x").as_deref(), Some("r1"));
    for none in [
        "/srv/web/releases",
        "/srv/web/releases2/r1",
        "/srv/web/releases/r1 (deleted)",
        "/srv/web/releases/.r1.partial",
        "/",
    ] {
        assert_eq!(name(none), None, "{none}");
    }
}

#[test]
fn the_unit_of_a_process() {
    let is_hook = |cgroups| names_unit(cgroups, "deployd-hook-");
    assert!(is_hook(
        "0::/system.slice/deployd-hook-web.post_install.service\n"
    ));
    assert!(is_hook(
        "4:pids:/\n1:name=systemd:/system.slice/deployd-hook-web.x.service/sub:x\n0::/\n"
    ));
    assert!(!is_hook("0::/system.slice/deployd.service\n"));
    assert!(!is_hook("0::/\n"));
}
