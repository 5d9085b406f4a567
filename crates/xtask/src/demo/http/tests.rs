use std::net::TcpListener;

use super::{Answer, fetch, serve};

#[test]
fn a_server_answers_a_client() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
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
    let found = fetch(port, "/hello").unwrap();
    assert_eq!(
        (found.status, found.body.as_slice()),
        (200, &b"hello\n"[..])
    );
    assert_eq!(fetch(port, "/other").unwrap().status, 404);
}

#[test]
fn who_does_not_answer_is_an_error() {
    let port = super::super::ports::free(1).unwrap()[0];
    let error = fetch(port, "/").unwrap_err();
    assert!(error.to_string().contains("failed to connect"), "{error:#}");
}
