use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::thread;

use super::{After, Answer, Connection, fetch, serve};

fn hello() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    serve(listener, |path| match path {
        "/hello" => Answer {
            status: 200,
            body: b"hello\n".to_vec(),
        },
        _ => Answer {
            status: 404,
            body: Vec::new(),
        },
    });
    address
}

#[test]
fn a_server_answers_a_client() {
    let address = hello();
    let found = fetch(address, "/hello").unwrap();
    assert_eq!(
        (found.status, found.body.as_slice()),
        (200, &b"hello\n"[..])
    );
    assert_eq!(fetch(address, "/other").unwrap().status, 404);
}

#[test]
fn a_connection_that_is_kept_serves_again() {
    let mut connection = Connection::open(hello()).unwrap();
    for _ in 0..3 {
        assert_eq!(connection.ask("/hello", After::Keep).unwrap().status, 200);
        assert!(connection.is_open());
    }
    assert_eq!(connection.ask("/hello", After::Close).unwrap().status, 200);
    let error = connection.ask("/hello", After::Close).unwrap_err();
    assert!(!connection.is_open(), "{error}");
}

#[test]
fn who_does_not_answer_is_an_error() {
    let port = super::super::ports::free(1).unwrap()[0];
    let error = fetch(SocketAddr::from(([127, 0, 0, 1], port)), "/").unwrap_err();
    assert!(error.to_string().contains("failed to connect"), "{error:#}");
}

#[test]
fn an_answer_that_is_cut_is_an_error() {
    for cut in [
        "",
        "HTTP/1.1 200 OK\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nhel",
    ] {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let server = thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            // Read first: what is closed with data unread is reset, and what was sent may be lost.
            let mut request = [0; 1024];
            assert!(stream.read(&mut request).unwrap() > 0);
            stream.write_all(cut.as_bytes()).unwrap();
        });
        let mut connection = Connection::open(address).unwrap();
        let error = connection.ask("/", After::Close).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::UnexpectedEof, "{cut:?}");
        server.join().unwrap();
    }
}
