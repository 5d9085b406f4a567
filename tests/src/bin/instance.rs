//! The smallest service that can be deployed, and the client of [`tests::supervisor`].
//!
//! ```text
//! instance serve PORT          a copy of the service, run in a release
//! instance ask SOCKET WORD...  what hooks and restart commands of the tests are
//! ```
//!
//! A release is two files: `greeting`, which `/` answers, and `health`: `ok`, `sick` (`/healthz`
//! answers 500) or `dies` (it ends before it listens). Both are read once, at start: so an answer
//! tells which release the process was started from.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::process::ExitCode;
use std::{env, fs, io};

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let result = match words.as_slice() {
        ["serve", port] => serve(port),
        ["ask", socket, words @ ..] => ask(socket, words),
        _ => Err(io::Error::other(
            "usage: instance serve PORT | ask SOCKET WORD...",
        )),
    };
    result.unwrap_or_else(|error| {
        eprintln!("instance: {error}");
        ExitCode::FAILURE
    })
}

fn serve(port: &str) -> io::Result<ExitCode> {
    let greeting = fs::read_to_string("greeting")?;
    let health = fs::read_to_string("health")?;
    if health == "dies" {
        return Err(io::Error::other("this build can't start"));
    }
    let port: u16 = port.parse().map_err(io::Error::other)?;
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port))
        .map_err(|error| io::Error::other(format!("port {port}: {error}")))?;
    for stream in listener.incoming() {
        // A client that goes away is none of ours.
        let _ = stream.and_then(|stream| answer(stream, &greeting, &health));
    }
    Ok(ExitCode::SUCCESS)
}

fn answer(mut stream: TcpStream, greeting: &str, health: &str) -> io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut request = String::new();
    reader.read_line(&mut request)?;
    let mut line = String::new();
    while reader.read_line(&mut line)? > 2 {
        line.clear();
    }
    let (status, body) = match request.split(' ').nth(1) {
        Some("/healthz") if health == "ok" => ("200 OK", "ok"),
        Some("/healthz") => ("500 Internal Server Error", health),
        _ => ("200 OK", greeting),
    };
    let length = body.len();
    write!(
        stream,
        "HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
    )
}

/// Sends the words, and the build and process of a hook; prints the answer and ends as it says.
fn ask(socket: &str, words: &[&str]) -> io::Result<ExitCode> {
    let mut stream = UnixStream::connect(socket)?;
    let build = env::var("DEPLOYD_BUILD").unwrap_or_default();
    writeln!(stream, "{} {build}", words.join(" "))?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let (verdict, output) = answer.split_once('\n').unwrap_or((&answer, ""));
    print!("{output}");
    Ok(if verdict == "ok" {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(7)
    })
}
