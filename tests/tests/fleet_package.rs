//! The Debian packages, as docs/install.md has them installed: on fresh hosts, to the letter. Then upgraded in the
//! middle of a deployment, and purged.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use tempfile::TempDir;
use tests::archives::program;
use tests::eventually::eventually;
use tests::fleet::{Fleet, Said, Size};

const SERVERS: [&str; 3] = ["h1", "h2", "h3"];
/// Where deployctl is, and the web server of the builds.
const DESK: &str = "h4";
const SOON: Duration = Duration::from_secs(60);

/// A command of the page: where it is typed, and what it says then.
#[derive(Debug)]
struct Block {
    place: String,
    commands: String,
    expected: String,
}

#[test]
fn the_first_hour_an_upgrade_and_a_purge() {
    let size = Size {
        hosts: 4,
        instances: 0,
    };
    let Some(fleet) = Fleet::boot("package", size) else {
        return;
    };
    let packages = TempDir::new().expect("a directory");
    let old = make(packages.path(), "0.1.0-1");
    let new = make(packages.path(), "0.1.0-2");
    for host in SERVERS {
        put(&fleet, host, &old.join("deployd_0.1.0-1_amd64.deb"));
    }
    put(&fleet, DESK, &old.join("deployctl_0.1.0-1_amd64.deb"));
    serve_builds(&fleet);
    follow(&fleet, &blocks(&page()));

    put(&fleet, "h1", &new.join("deployd_0.1.0-2_amd64.deb"));
    upgrade_in_the_middle(&fleet);
    purge(&fleet);
}

/// Makes the packages in a directory of their own.
fn make(packages: &Path, version: &str) -> PathBuf {
    let into = packages.join(version);
    let mut dist = Command::new(program("xtask"));
    dist.args(["dist", "--debug", "--deb-version", version, "--into"]);
    let output = dist.arg(&into).output().expect("xtask can be started");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    into
}

/// Copies a file into the home of a host's root.
fn put(fleet: &Fleet, host: &str, file: &Path) {
    let name = file.file_name().expect("a file").to_string_lossy();
    let write = format!("cat > /opt/{name}");
    let mut copy = fleet.command(&["exec", host, "sh", "-c", &write]);
    copy.stdin(File::open(file).expect("it was made"));
    let status = copy.status().expect("xtask can be started");
    assert!(status.success(), "{name} to {host}");
}

/// What the page takes for granted: names, and a web server.
fn serve_builds(fleet: &Fleet) {
    let address = |host: &str| fleet.address((host, 0)).ip().to_string();
    let mut names = format!("10.77.0.1 zk1\n{} builds.internal\n", address(DESK));
    for host in SERVERS {
        names += &format!("{} {host}\n", address(host));
    }
    for host in SERVERS.iter().chain(&[DESK]) {
        fleet
            .on(host, &format!("printf '{names}' >> /etc/hosts"))
            .well();
    }
    let serve = "mkdir /srv/builds && systemd-run --quiet --working-directory=/srv/builds \
                 python3 -m http.server 8080";
    fleet.on(DESK, serve).well();
}

fn page() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/install.md");
    fs::read_to_string(path).expect("the page is there")
}

/// Returns what is to be typed, in the order of the page.
fn blocks(page: &str) -> Vec<Block> {
    let mut blocks: Vec<Block> = Vec::new();
    for (index, part) in page.split("```").enumerate() {
        if index % 2 == 0 {
            continue;
        }
        let (kind, text) = part.split_once('\n').expect("a block has lines");
        match (kind, blocks.last_mut()) {
            ("output", Some(last)) => last.expected = text.to_owned(),
            (kind, _) => blocks.push(Block {
                place: kind.trim_start_matches("sh ").to_owned(),
                commands: text.to_owned(),
                expected: String::new(),
            }),
        }
    }
    blocks
}

fn follow(fleet: &Fleet, blocks: &[Block]) {
    // What is exported once stays so in the reader's shell.
    let mut exports = "export BUILDS=/srv/builds\n".to_owned();
    for block in blocks {
        let hosts = match block.place.as_str() {
            "each-server" => &SERVERS[..],
            "your-machine" => &[DESK][..],
            other => panic!("who is `{other}`?"),
        };
        for host in hosts {
            // A reader sees both streams.
            let script = format!("exec 2>&1\ncd /opt\n{exports}set -e\n{}", block.commands);
            let said = fleet.on(host, &script).well();
            check(block, &said);
        }
        let lines = block.commands.lines();
        let exported = lines.filter(|line| line.starts_with("export "));
        exports.extend(exported.map(|line| format!("{line}\n")));
    }
}

/// Each line that the page shows was printed, in that order; `…` stands for anything.
#[track_caller]
fn check(block: &Block, said: &Said) {
    let mut printed = said.stdout.lines();
    for expected in block.expected.lines() {
        assert!(
            printed.any(|line| is_like(line, expected)),
            "`{expected}` of docs/install.md is not where it should be in\n{said}"
        );
    }
}

fn is_like(line: &str, expected: &str) -> bool {
    let mut rest = line;
    let words = expected
        .split('…')
        .map(str::trim)
        .filter(|part| !part.is_empty());
    for (index, part) in words.enumerate() {
        match rest.find(part) {
            Some(0) => rest = &rest[part.len()..],
            Some(at) if index > 0 || expected.starts_with('…') => rest = &rest[at + part.len()..],
            Some(_) | None => return false,
        }
    }
    rest.is_empty() || expected.contains('…')
}

#[test]
fn dots_stand_for_anything() {
    assert!(is_like("one", "one"));
    assert!(!is_like("one two", "one"));
    assert!(is_like(
        "#2 r1 is served by 3 of 3 hosts after 4s",
        "… r1 is served by 3 of 3 hosts …"
    ));
    assert!(!is_like(
        "#2 r2 is served by 3 of 3 hosts after 4s",
        "… r1 is served by 3 of 3 hosts …"
    ));
    assert!(!is_like("a web r2", "web … r2 …"));
}

/// How often an instance on `h1` was started.
fn starts(fleet: &Fleet) -> usize {
    let said = fleet.on("h1", "journalctl -u web@8001 -o cat | grep -c ^Started");
    said.stdout.trim().parse().expect("a number")
}

/// What an instance on `h1` serves.
fn page_of(fleet: &Fleet, port: u16) -> String {
    let said = fleet.on(DESK, &format!("curl -sS http://h1:{port}/"));
    said.well().stdout
}

fn upgrade_in_the_middle(fleet: &Fleet) {
    let desk = |line: &str| fleet.on(DESK, &format!("cd /opt; export DEPLOYCTL_ZK=zk1; {line}"));
    let before = starts(fleet);
    let build = "echo three > web/index.html && tar -czf web-r3.tar.gz -C web . && \
                 cp web-r3.tar.gz /srv/builds && deployctl build add web r3 \
                 --url http://builds.internal:8080/web-r3.tar.gz --file web-r3.tar.gz";
    desk(build).well();
    desk("deployctl policy web restart_concurrency=3").well();
    desk("deployctl host role h1 web fleet").well();
    desk("deployctl deploy web r3 --detach").well();
    eventually("h1 is in the middle of it", SOON, || {
        let said = fleet.on("h1", "deployd status");
        let middle = ["restarting", "probing"]
            .iter()
            .any(|phase| said.stdout.contains(phase));
        if middle { Ok(()) } else { Err(said.stdout) }
    });
    fleet
        .on("h1", "dpkg -i /opt/deployd_0.1.0-2_amd64.deb")
        .well();
    let version = fleet
        .on("h1", "dpkg-query -W -f='${Version}' deployd")
        .well();
    assert_eq!(version.stdout, "0.1.0-2");
    desk("deployctl watch web --timeout 60s").well();
    assert_eq!(page_of(fleet, 8001), "three\n");
    assert_eq!(
        starts(fleet),
        before + 1,
        "each instance was restarted once"
    );
}

fn purge(fleet: &Fleet) {
    fleet.on("h1", "dpkg --purge deployd").well();
    for port in [8001, 8002] {
        assert_eq!(page_of(fleet, port), "three\n");
    }
    let left = "ls -d /var/lib/deployd /usr/bin/deployd /run/systemd/system/deployd* \
                /etc/systemd/system/multi-user.target.wants/deployd.service 2>/dev/null; \
                iptables -S | grep -i deployd; true";
    assert_eq!(fleet.on("h1", left).well().stdout, "");
    fleet
        .on(
            "h1",
            "test -e /etc/deployd/deployd.toml && readlink /srv/web/current",
        )
        .well();
}
