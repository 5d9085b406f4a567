use std::io::ErrorKind;
use std::net::TcpListener;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

use deploy_core::name::ServiceName;
use jiff::{SignedDuration, Timestamp};
use tokio::time::sleep;

use super::Drains;
use crate::host::firewall::tests::{command, connects, own_network, rule};

const LIMIT: Duration = Duration::from_secs(30);

#[tokio::test]
async fn two_services_share_the_chain_and_what_is_flushed_comes_back() {
    if !own_network().await {
        return;
    }
    let _listeners = [8001, 8002].map(|port| TcpListener::bind(("0.0.0.0", port)).unwrap());
    let (web, api) = ["web", "api"]
        .map(|name| ServiceName::parse(name).unwrap())
        .into();
    let drains = Drains::start();
    drains.set(&web, vec![rule(8001)]).await.unwrap();
    drains.set(&api, vec![rule(8002)]).await.unwrap();
    assert_refused(&[8001, 8002]);
    drains.set(&api, Vec::new()).await.unwrap();
    assert_refused(&[8001]);
    connects(8002).unwrap();

    for flush in [
        "iptables -F",
        "ip6tables -F INPUT",
        "iptables -I INPUT -j ACCEPT",
    ] {
        command(flush).await;
        let begin = Instant::now();
        while !crate::host::firewall::stands(&[rule(8001)]).await.unwrap() {
            assert!(begin.elapsed() < LIMIT, "not put back after {flush}");
            sleep(Duration::from_millis(50)).await;
        }
        assert_refused(&[8001]);
    }

    drains.set(&web, Vec::new()).await.unwrap();
    connects(8001).unwrap();
}

/// How far the clock of a test is set, in seconds.
static SET_BY_S: AtomicI64 = AtomicI64::new(0);

fn time_of_day() -> Timestamp {
    Timestamp::now() + SignedDuration::from_secs(SET_BY_S.load(Ordering::SeqCst))
}

#[tokio::test]
async fn the_ends_of_rules_move_with_the_clock() {
    if !own_network().await {
        return;
    }
    let _listener = TcpListener::bind(("0.0.0.0", 8003)).unwrap();
    let web = ServiceName::parse("web").unwrap();
    let drains = Drains::start_by(time_of_day);
    drains.set(&web, vec![rule(8003)]).await.unwrap();
    assert_refused(&[8003]);
    // The kernel's clock stays where it is: so what is moved into the past has ended for it.
    for (by_s, is_open) in [
        (-3 * 86_400, true),
        (0, false),
        (3 * 86_400, false),
        (0, false),
    ] {
        SET_BY_S.store(by_s, Ordering::SeqCst);
        let begin = Instant::now();
        // A look, which comes each second.
        sleep(Duration::from_millis(1500)).await;
        while connects(8003).is_ok() != is_open {
            assert!(
                begin.elapsed() < LIMIT,
                "set by {by_s} s, and the port is not as it should"
            );
            sleep(Duration::from_millis(50)).await;
        }
    }
    drains.set(&web, Vec::new()).await.unwrap();
    connects(8003).unwrap();
}

fn assert_refused(ports: &[u16]) {
    for port in ports {
        assert_eq!(connects(*port).unwrap_err(), ErrorKind::ConnectionRefused);
    }
}

#[tokio::test]
async fn no_rule_ends_while_somebody_is_there_who_can_end_it() {
    if !own_network().await {
        return;
    }
    let _listener = TcpListener::bind(("0.0.0.0", 8001)).unwrap();
    let web = ServiceName::parse("web").unwrap();
    let drains = Drains::start();
    let mut soon = rule(8001);
    soon.until = Timestamp::now() + SignedDuration::from_secs(1);
    drains.set(&web, vec![soon]).await.unwrap();
    // Past that end, and past a look.
    sleep(Duration::from_millis(2500)).await;
    assert_refused(&[8001]);
}
