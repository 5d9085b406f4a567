//! A port of this machine that leads into the private network, for whoever plays on.

use std::io;
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::thread;

use anyhow::{Context, Result};

use super::ports;

/// A listener that was opened before this process left the machine's network, and stays there.
#[derive(Debug)]
pub(crate) struct Door(TcpListener);

impl Door {
    /// Listens on a free port of the loopback address.
    pub(crate) fn make() -> Result<Door> {
        let port = ports::free(1)?.into_iter().next().context("no free port")?;
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port))
            .with_context(|| format!("failed to listen on port {port}"))?;
        Ok(Door(listener))
    }

    /// Lets every connection through to `inside`, for as long as the process lives. Returns the
    /// address of the door.
    pub(crate) fn open(self, inside: SocketAddr) -> Result<SocketAddr> {
        let address = self.0.local_addr().context("failed to find a port")?;
        thread::spawn(move || {
            for outer in self.0.incoming().flatten() {
                // Who can't be let through is shown so: the connection is closed.
                let _ = let_through(outer, inside);
            }
        });
        Ok(address)
    }
}

fn let_through(outer: TcpStream, inside: SocketAddr) -> io::Result<()> {
    let inner = TcpStream::connect(inside)?;
    for (mut from, mut to) in [(outer.try_clone()?, inner.try_clone()?), (inner, outer)] {
        thread::spawn(move || {
            // An error ends a direction as its end does.
            let _ = io::copy(&mut from, &mut to);
            let _ = to.shutdown(Shutdown::Write);
        });
    }
    Ok(())
}
