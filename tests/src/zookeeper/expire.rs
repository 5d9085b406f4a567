//! Ends sessions behind the back of their clients.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use super::{READY_MAX, Server};
use crate::eventually::eventually;
use crate::proxy::WireSession;

/// Ends a session behind the back of its client, as an administrator or a bug might.
pub fn expire(server: &Server, session: WireSession) {
    let mut bytes = request_of(session);
    // In the same write, as the server closes one of two connections of a session: length, xid, close.
    for field in [8_i32, 1, -11] {
        bytes.extend_from_slice(&field.to_be_bytes());
    }
    eventually("the session is closed by its rival", READY_MAX, || {
        let mut stream = TcpStream::connect(server.address()).map_err(|error| error.to_string())?;
        stream
            .set_read_timeout(Some(Duration::from_secs(1)))
            .map_err(|error| error.to_string())?;
        stream
            .write_all(&bytes)
            .map_err(|error| error.to_string())?;
        let mut answer = [0; 8];
        stream
            .read_exact(&mut answer)
            .map_err(|error| error.to_string())
    });
    let id = format!("0x{:x}", session.id);
    eventually("the server has forgotten the session", READY_MAX, || {
        let dump = server.ask("dump").unwrap_or_default();
        if dump.contains(&id) {
            Err(dump)
        } else {
            Ok(())
        }
    });
}

/// Returns what a client sends to have its session back; one of number 0 becomes a new one.
pub(super) fn request_of(session: WireSession) -> Vec<u8> {
    let mut bytes = Vec::new();
    // Length, version, last transaction seen, timeout, session, password.
    for field in [
        &44_i32.to_be_bytes()[..],
        &[0; 4],
        &[0; 8],
        &4000_i32.to_be_bytes(),
    ] {
        bytes.extend_from_slice(field);
    }
    bytes.extend_from_slice(&session.id.to_be_bytes());
    bytes.extend_from_slice(&16_i32.to_be_bytes());
    bytes.extend_from_slice(&session.password);
    bytes
}
