//! One look at an instance: does it work?

use std::error::Error;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use reqwest::Client;
use tokio::net::{TcpSocket, TcpStream, lookup_host};
use tokio::time::timeout;

/// Bytes of a body that are searched for the word.
const BODY_BYTES_MAX: usize = 64 * 1024;

/// What an http probe wants to see.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wanted<'a> {
    /// The status.
    pub(crate) status: u16,
    /// A word in the body; empty: any body.
    pub(crate) word: &'a str,
}

/// Makes the client for http probes: no proxy, no redirects, no connection kept. `source` is the
/// address that they come from; one of the loopback passes our own rules. `url` is what is asked: only one with
/// https needs what this machine trusts, which is most of the memory that a client takes.
///
/// # Errors
/// Where TLS can't be set up.
pub(crate) fn client(source: Option<IpAddr>, url: &str) -> Result<Client, reqwest::Error> {
    let agent = concat!("deployd/", env!("CARGO_PKG_VERSION"));
    let mut builder = Client::builder();
    if !url.to_ascii_lowercase().starts_with("https:") {
        builder = builder.tls_certs_only([]);
    }
    builder
        .user_agent(agent)
        .no_proxy()
        .local_address(source)
        .redirect(reqwest::redirect::Policy::none())
        .pool_max_idle_per_host(0)
        .build()
}

/// Asks once. `Err` says what was wrong, in one line.
///
/// # Errors
/// No connection, no answer within the limit, another status, the word missing.
pub(crate) async fn http(
    client: &Client,
    url: &str,
    wanted: Wanted<'_>,
    limit: Duration,
) -> Result<(), String> {
    let ask = async {
        let answer = client
            .get(url)
            .send()
            .await
            .map_err(|error| cause(&error))?;
        let status = answer.status().as_u16();
        if status != wanted.status {
            return Err(format!("status {status}, expected {}", wanted.status));
        }
        if wanted.word.is_empty() {
            return Ok(());
        }
        let body = body(answer).await?;
        if body.contains(wanted.word) {
            Ok(())
        } else {
            Err(format!("the body does not have `{}`", wanted.word))
        }
    };
    let answer = timeout(limit, ask).await;
    let result =
        answer.unwrap_or_else(|_| Err(format!("no answer within {} s", in_seconds(limit))));
    result.map_err(|why| format!("{url}: {why}"))
}

async fn body(mut answer: reqwest::Response) -> Result<String, String> {
    let mut body = Vec::new();
    while let Some(chunk) = answer.chunk().await.map_err(|error| cause(&error))? {
        let room = BODY_BYTES_MAX - body.len();
        body.extend_from_slice(&chunk[..chunk.len().min(room)]);
        if body.len() == BODY_BYTES_MAX {
            break;
        }
    }
    Ok(String::from_utf8_lossy(&body).into_owned())
}

/// To a tenth: what is left of a deadline is told to the nanosecond else.
fn in_seconds(limit: Duration) -> f64 {
    (limit.as_secs_f64() * 10.0).round() / 10.0
}

/// The innermost cause: "connection refused" tells more than "error sending request".
fn cause(error: &dyn Error) -> String {
    let mut cause = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string().to_lowercase()
}

/// Connects once, from `source` where that is of the family of the address.
///
/// # Errors
/// Where nobody takes the connection within the limit.
pub(crate) async fn tcp(
    address: &str,
    source: Option<IpAddr>,
    limit: Duration,
) -> Result<(), String> {
    match timeout(limit, connect(address, source)).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(error)) => Err(format!("{address}: {error}")),
        Err(_) => Err(format!(
            "{address}: no connection within {} s",
            in_seconds(limit)
        )),
    }
}

async fn connect(address: &str, source: Option<IpAddr>) -> std::io::Result<TcpStream> {
    let mut last = std::io::Error::other("the name has no address");
    for address in lookup_host(address).await? {
        let socket = if address.is_ipv4() {
            TcpSocket::new_v4()?
        } else {
            TcpSocket::new_v6()?
        };
        if let Some(source) = source.filter(|source| source.is_ipv4() == address.is_ipv4()) {
            socket.bind(SocketAddr::new(source, 0))?;
        }
        match socket.connect(address).await {
            Ok(stream) => return Ok(stream),
            Err(error) => last = error,
        }
    }
    Err(last)
}
