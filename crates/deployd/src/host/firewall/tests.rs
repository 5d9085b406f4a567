//! Against the real packet filter, in a network namespace of the test's own.

use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::time::Duration;

use jiff::Timestamp;
use nix::sched::{CloneFlags, unshare};

use super::{Family, Found, PROBE_SOURCE, Refusal, Rule, apply, clear, list, parse, render};
use crate::host::process::{self, How, Job, Leftovers, run};
use crate::host::{probe, sockets};

pub(crate) fn rule(port: u16) -> Rule {
    let until = Timestamp::now()
        .checked_add(Duration::from_secs(600))
        .unwrap();
    Rule {
        port,
        refusal: Refusal::Reset,
        tag: format!("web/web@{port}.service"),
        until,
    }
}

pub(crate) async fn command(text: &str) {
    let arguments: Vec<String> = text.split(' ').map(str::to_owned).collect();
    let job = Job {
        arguments: &arguments,
        dir: Path::new("/"),
        user: None,
        environment: &[],
        limit: Duration::from_secs(20),
        leftovers: Leftovers::Killed,
        input: "",
    };
    let ended = run(&job).await.unwrap();
    assert_eq!(ended.how, How::Well, "{text}: {:?}", ended.tail);
}

/// Moves this thread, and what it starts, into a network of its own. Says aloud where that can't
/// be, and fails where it must be.
pub(crate) async fn own_network() -> bool {
    let why = match unshare(CloneFlags::CLONE_NEWNET) {
        Err(error) => format!("no network namespace: {error}"),
        Ok(()) if !Path::new("/usr/sbin/iptables").exists() => "no iptables".to_owned(),
        Ok(()) => {
            command("ip link set lo up").await;
            return true;
        }
    };
    let required = std::env::var("DEPLOY_TEST_REQUIRE").unwrap_or_default();
    assert!(!required.split(',').any(|word| word == "netns"), "{why}");
    eprintln!("skipped: {why}");
    false
}

pub(crate) fn connects(port: u16) -> Result<TcpStream, ErrorKind> {
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    TcpStream::connect_timeout(&address, Duration::from_secs(5)).map_err(|error| error.kind())
}

#[tokio::test]
async fn a_drained_port_refuses_new_connections_and_keeps_old_ones() {
    if !own_network().await {
        return;
    }
    let listener = TcpListener::bind("0.0.0.0:8001").unwrap();
    let mut client = connects(8001).unwrap();
    let (mut server, _) = listener.accept().unwrap();

    apply(&[rule(8001)]).await.unwrap();
    assert_eq!(connects(8001).unwrap_err(), ErrorKind::ConnectionRefused);
    let found = Found {
        port: 8001,
        tag: "web/web@8001.service".to_owned(),
    };
    assert_eq!(list().await.unwrap(), [found]);
    // What is established goes on.
    client.write_all(b"ping").unwrap();
    let mut bytes = [0; 4];
    server.read_exact(&mut bytes).unwrap();
    assert_eq!(&bytes, b"ping");
    // Our own probes pass.
    let source: IpAddr = PROBE_SOURCE.parse().unwrap();
    probe::tcp("127.0.0.1:8001", Some(source), Duration::from_secs(5))
        .await
        .unwrap();
    probe::tcp("127.0.0.1:8001", None, Duration::from_secs(5))
        .await
        .unwrap_err();

    // A flush of one family is seen.
    let rules = [rule(8001)];
    assert!(super::stands(&rules).await.unwrap());
    command("iptables -F").await;
    assert!(!super::stands(&rules).await.unwrap());

    apply(&[]).await.unwrap();
    connects(8001).unwrap();
    assert_eq!(list().await.unwrap(), []);
}

#[tokio::test]
async fn the_rules_of_others_are_left_alone_and_ours_come_first() {
    if !own_network().await {
        return;
    }
    let _listener = TcpListener::bind("0.0.0.0:8001").unwrap();
    command("iptables -A INPUT -p tcp --dport 9999 -j DROP").await;
    apply(&[]).await.unwrap();
    // Somebody puts an ACCEPT before our jump.
    command("iptables -I INPUT 1 -p tcp --dport 8001 -j ACCEPT").await;
    assert!(!super::stands(&[]).await.unwrap());
    apply(&[rule(8001)]).await.unwrap();
    assert_eq!(connects(8001).unwrap_err(), ErrorKind::ConnectionRefused);
    apply(&[rule(8001)]).await.unwrap();
    // Somebody reloads the firewall: our rules are seen to be gone, and put back.
    command("iptables -F INPUT").await;
    command("ip6tables -F INPUT").await;
    assert_eq!(list().await.unwrap(), []);
    connects(8001).unwrap();
    apply(&[rule(8001)]).await.unwrap();
    assert_eq!(connects(8001).unwrap_err(), ErrorKind::ConnectionRefused);

    command("iptables -A INPUT -p tcp --dport 9999 -j DROP").await;
    clear().await.unwrap();
    connects(8001).unwrap();
    command("iptables -C INPUT -p tcp --dport 9999 -j DROP").await;
    clear().await.unwrap();
}

#[tokio::test]
async fn ours_are_found_among_more_rules_than_anybody_reads() {
    if !own_network().await {
        return;
    }
    let _listener = TcpListener::bind("0.0.0.0:8001").unwrap();
    apply(&[rule(8001)]).await.unwrap();
    // After ours in what is printed: 1.2 MB of them.
    let line = "-A INPUT -s 10.1.2.3/32 -p tcp -m comment --comment \"somebody else's, and long enough\" -j ACCEPT\n";
    let text = format!("*filter\n{}COMMIT\n", line.repeat(12_000));
    let arguments = super::restore(Family::V4);
    let ended = run(&super::job(&arguments, &text)).await.unwrap();
    assert_eq!(ended.how, How::Well, "{:?}", ended.tail);

    assert_eq!(list().await.unwrap().len(), 1);
    assert!(super::stands(&[rule(8001)]).await.unwrap());
    // The jump is behind another rule: it is put before it, and stands once.
    command("iptables -I INPUT 1 -p tcp --dport 9999 -j DROP").await;
    apply(&[rule(8001)]).await.unwrap();
    assert!(super::stands(&[rule(8001)]).await.unwrap());
    let all = ["iptables", "-S"].map(str::to_owned);
    let is_jump = |line: &str| super::is_jump(line);
    let (_, jumps) = process::read_lines(&super::job(&all, ""), is_jump)
        .await
        .unwrap();
    assert_eq!(jumps, "-A INPUT -j DEPLOYD-DRAIN\n");
    clear().await.unwrap();
    connects(8001).unwrap();
    assert_eq!(list().await.unwrap(), []);
}

#[tokio::test]
async fn a_request_under_way_is_busy_and_a_quiet_connection_is_idle() {
    if !own_network().await {
        return;
    }
    let listener = TcpListener::bind("0.0.0.0:8001").unwrap();
    let count = || sockets::connections(8001, [127, 0, 0, 66]).unwrap();
    assert_eq!((count().all, count().busy), (0, 0));
    let mut client = connects(8001).unwrap();
    let (mut server, _) = listener.accept().unwrap();
    client.write_all(b"request").unwrap();
    assert_eq!((count().all, count().busy), (1, 1));
    let mut bytes = [0; 7];
    server.read_exact(&mut bytes).unwrap();
    // Read, and not answered: the longest requests look like this.
    tokio::time::sleep(Duration::from_millis(1500)).await;
    assert_eq!((count().all, count().busy), (1, 1));
    server.write_all(b"answer").unwrap();
    client.read_exact(&mut bytes[..6]).unwrap();
    let deadline = std::time::Instant::now() + Duration::from_secs(30);
    while count().busy > 0 {
        assert!(std::time::Instant::now() < deadline, "{:?}", count());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(count().all, 1);
}

#[test]
fn the_whole_chain_is_one_transaction() {
    let text = render(Family::V4, &[rule(8001)]);
    assert!(
        text.starts_with("*filter\n:DEPLOYD-DRAIN - [0:0]\n-A DEPLOYD-DRAIN ! -s 127.0.0.66/32")
    );
    assert!(
        text.contains("--dport 8001 --syn -m time --datestop 20"),
        "{text}"
    );
    assert!(
        text.contains("--comment \"deployd:web/web@8001.service\" -j REJECT"),
        "{text}"
    );
    assert!(text.ends_with("COMMIT\n"), "{text}");
    assert!(!render(Family::V6, &[rule(8001)]).contains("127.0.0.66"));
}

#[test]
fn rules_that_nothing_jumps_to_refuse_nobody() {
    let rules = "-N DEPLOYD-DRAIN\n-A DEPLOYD-DRAIN -p tcp -m tcp --dport 8001 -m comment \
                 --comment \"deployd:web/x\" -j REJECT\n";
    assert_eq!(parse(rules), []);
    let jumped = format!("-A INPUT -j DEPLOYD-DRAIN\n{rules}");
    assert_eq!(
        parse(&jumped),
        [Found {
            port: 8001,
            tag: "web/x".to_owned()
        }]
    );
    // Another chain, and a rule of ours without our mark.
    let foreign = "-A INPUT -j DEPLOYD-DRAIN\n-A OTHER --dport 1 --comment \"deployd:x\"\n\
                   -A DEPLOYD-DRAIN --dport 2 -j DROP\n";
    assert_eq!(parse(foreign), []);
}

#[tokio::test]
async fn the_legacy_backend_does_the_same() {
    if !own_network().await {
        return;
    }
    // Only this thread sees it: the program of the one in the place of the other's.
    let [legacy, nft] = ["legacy", "nft"].map(|name| format!("/usr/sbin/xtables-{name}-multi"));
    if ![&legacy, &nft].iter().all(|path| Path::new(path).exists()) {
        eprintln!("skipped: this machine has one backend only");
        return;
    }
    unshare(CloneFlags::CLONE_NEWNS).unwrap();
    command("mount --make-rprivate /").await;
    command(&format!("mount --bind {legacy} {nft}")).await;
    let version = ["iptables", "-V"].map(str::to_owned);
    let (_, version) = process::read(&super::job(&version, "")).await.unwrap();
    assert!(version.contains("legacy"), "{version}");

    let _listener = TcpListener::bind("0.0.0.0:8001").unwrap();
    command("iptables -A INPUT -p tcp --dport 8001 -j ACCEPT").await;
    apply(&[rule(8001), rule(8002)]).await.unwrap();
    assert_eq!(connects(8001).unwrap_err(), ErrorKind::ConnectionRefused);
    assert!(super::stands(&[rule(8001), rule(8002)]).await.unwrap());
    let ports: Vec<u16> = list().await.unwrap().iter().map(|rule| rule.port).collect();
    assert_eq!(ports, [8001, 8002]);
    apply(&[]).await.unwrap();
    connects(8001).unwrap();
    command("iptables -F INPUT").await;
    assert!(!super::stands(&[rule(8001)]).await.unwrap());
    apply(&[rule(8001)]).await.unwrap();
    clear().await.unwrap();
    connects(8001).unwrap();
    assert_eq!(list().await.unwrap(), []);
}
