use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::super::http::{Answer, serve};
use super::super::ports;
use super::{Counted, Traffic};

const LIMIT: Duration = Duration::from_secs(20);

fn server(answer: impl Fn(&str) -> Answer + Send + Sync + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    serve(listener, answer);
    address
}

fn answer(status: u16) -> Answer {
    Answer {
        status,
        body: b"hello\n".to_vec(),
    }
}

/// Nobody listens there.
fn closed_port() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], ports::free(1).unwrap()[0]))
}

/// Runs traffic until it has come so far.
#[track_caller]
fn traffic_until(servers: &[SocketAddr], is_enough: impl Fn(&Counted) -> bool) -> Counted {
    let traffic = Traffic::start(servers.iter().copied());
    let deadline = Instant::now() + LIMIT;
    while !is_enough(&traffic.counted()) {
        assert!(Instant::now() < deadline, "{:?}", traffic.counted());
        thread::sleep(Duration::from_millis(10));
    }
    traffic.end()
}

#[test]
fn a_refused_connection_is_no_failed_request() {
    let servers = [server(|_| answer(200)), closed_port()];
    let counted = traffic_until(&servers, |counted| {
        counted.refused > 0 && counted.requests > 50
    });
    assert_eq!(counted.failed, 0, "{counted:?}");
}

#[test]
fn an_answer_that_is_an_error_is_a_failed_request() {
    let broken = server(|path| answer(if path == "/healthz" { 200 } else { 500 }));
    let counted = traffic_until(&[broken], |counted| counted.failed > 10);
    assert_eq!(counted.failed, counted.requests);
    let problem = counted.first_problem.unwrap();
    assert!(problem.ends_with("answered 500"), "{problem}");
}

#[test]
fn an_answer_that_is_cut_is_a_failed_request() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let mut request = [0; 1024];
            let length = stream.read(&mut request).unwrap_or(0);
            let is_check = request[..length].starts_with(b"GET /healthz");
            let body = if is_check { "ok" } else { "" };
            let _ = write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{body}");
        }
    });
    let counted = traffic_until(&[address], |counted| counted.failed > 10);
    assert_eq!(counted.failed, counted.requests);
}

#[test]
fn who_is_sick_gets_no_requests_until_well() {
    let is_well = Arc::new(AtomicBool::new(false));
    let told = Arc::clone(&is_well);
    let sick = server(move |_| {
        answer(if told.load(Ordering::SeqCst) {
            200
        } else {
            500
        })
    });
    let servers = [sick, server(|_| answer(200))];
    // Once the checks have taken it out, requests succeed in a row, where every other one failed.
    let traffic = Traffic::start(servers.into_iter());
    let deadline = Instant::now() + LIMIT;
    let mut last = traffic.counted();
    let mut good_in_a_row = 0;
    while good_in_a_row < 100 {
        assert!(Instant::now() < deadline, "{last:?}");
        thread::sleep(Duration::from_millis(10));
        let now = traffic.counted();
        match now.failed == last.failed {
            true => good_in_a_row += now.requests - last.requests,
            false => good_in_a_row = 0,
        }
        last = now;
    }
    is_well.store(true, Ordering::SeqCst);
    traffic.end();
}
