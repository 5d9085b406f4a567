use std::io::ErrorKind;
use std::net::TcpListener;
use std::time::{Duration, Instant};

use deploy_core::name::ServiceName;
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

fn assert_refused(ports: &[u16]) {
    for port in ports {
        assert_eq!(connects(*port).unwrap_err(), ErrorKind::ConnectionRefused);
    }
}
