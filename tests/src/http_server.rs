//! An HTTP server that does what it is told, on 127.0.0.1 and a port of its own.
//!
//! It knows nothing of HTTP: each connection is answered by the next part of a script, byte for
//! byte, so that it can lie in every way.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// What is done with one connection, after its request has been read.
#[derive(Debug, Clone)]
pub enum Act {
    /// Sends bytes.
    Send(Vec<u8>),
    /// Sends bytes again and again, until nobody listens.
    Forever(Vec<u8>),
    /// Sends bytes again and again, with a pause in between.
    Drip(Vec<u8>, Duration),
    /// Sends nothing more, until nobody listens.
    Stall,
    /// Closes the connection with a reset instead of an end.
    Reset,
}

/// A server, for as long as the test runs.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    requests: Arc<Mutex<Vec<String>>>,
}

impl Server {
    /// Starts one. The `n`-th connection is answered by the `n`-th script, all further ones by the
    /// last. `{origin}` in what is sent becomes the server's own `http://address:port`.
    ///
    /// # Panics
    /// Where no port is free.
    pub fn start(scripts: Vec<Vec<Act>>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        let requests = Arc::new(Mutex::new(Vec::new()));
        let heard = Arc::clone(&requests);
        std::thread::spawn(move || {
            for (count, stream) in listener.incoming().enumerate() {
                let Ok(stream) = stream else { return };
                let script = scripts[count.min(scripts.len() - 1)].clone();
                let heard = Arc::clone(&heard);
                std::thread::spawn(move || {
                    // The client may go away at any time.
                    let _ = answer(stream, address, &script, &heard);
                });
            }
        });
        Self { address, requests }
    }

    /// Returns the URL of a path on it.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Returns the heads of the requests so far, lines ending in `\n`.
    ///
    /// # Panics
    /// Where a thread of the server panicked.
    pub fn requests(&self) -> Vec<String> {
        self.requests.lock().expect("no thread panicked").clone()
    }
}

fn answer(
    mut stream: TcpStream,
    address: SocketAddr,
    script: &[Act],
    heard: &Mutex<Vec<String>>,
) -> std::io::Result<()> {
    let mut head = String::new();
    let mut reader = BufReader::new(stream.try_clone()?);
    while !head.ends_with("\r\n\r\n") && reader.read_line(&mut head)? > 0 {}
    heard
        .lock()
        .expect("no thread panicked")
        .push(head.replace("\r\n", "\n"));
    let origin = format!("http://{address}");
    for act in script {
        match act {
            Act::Send(bytes) => stream.write_all(&with_origin(bytes, &origin))?,
            Act::Forever(bytes) => loop {
                stream.write_all(bytes)?;
            },
            Act::Drip(bytes, pause) => loop {
                stream.write_all(bytes)?;
                // The pause is what is tested, not something that is waited for.
                std::thread::sleep(*pause);
            },
            Act::Stall => {
                reader.read_to_end(&mut Vec::new())?;
            }
            Act::Reset => {
                // Closing with an unread request byte resets; so does a zero linger.
                nix::sys::socket::setsockopt(
                    &stream,
                    nix::sys::socket::sockopt::Linger,
                    &nix::libc::linger {
                        l_onoff: 1,
                        l_linger: 0,
                    },
                )?;
                return Ok(());
            }
        }
    }
    stream.shutdown(Shutdown::Write)?;
    // What the client still sends is read, so that the end is no reset.
    reader.read_to_end(&mut Vec::new())?;
    Ok(())
}

fn with_origin(bytes: &[u8], origin: &str) -> Vec<u8> {
    match std::str::from_utf8(bytes) {
        Ok(text) => text.replace("{origin}", origin).into_bytes(),
        Err(_) => bytes.to_vec(),
    }
}

/// Returns a response with a length.
pub fn response(status: &str, headers: &[&str], body: &[u8]) -> Vec<u8> {
    let length = format!("Content-Length: {}", body.len());
    raw_response(status, &[headers, &[length.as_str()]].concat(), body)
}

/// Returns a response with exactly these headers.
pub fn raw_response(status: &str, headers: &[&str], body: &[u8]) -> Vec<u8> {
    let mut head = format!("HTTP/1.1 {status}\r\n");
    for header in headers {
        head += header;
        head += "\r\n";
    }
    [head.as_bytes(), b"\r\n", body].concat()
}
