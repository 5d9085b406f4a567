//! `xtask demo-trial`: whether this user may have networks of its own, with a packet filter that
//! refuses.
//!
//! Tried in a process of its own: the demo can't go back where half of it is forbidden.

use std::io::{self, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use clap::Args;

use super::network;
use crate::netns;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
const PORT: u16 = 8001;

/// Tries what the demo needs for draining, and says what keeps it from that.
#[derive(Debug, Args)]
pub(crate) struct Trial {}

/// Has it tried. The error is the reason why not.
pub(crate) fn ask(own_program: &Path) -> Result<()> {
    let output = Command::new(own_program)
        .arg("demo-trial")
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .context("failed to start the trial")?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stdout);
    match said.trim() {
        "" => bail!("the trial ended with {}", output.status),
        said => bail!("{said}"),
    }
}

impl Trial {
    /// Prints the reason in one line where it can't be.
    pub(crate) fn run(&self) -> Result<ExitCode> {
        let Err(error) = attempt() else {
            return Ok(ExitCode::SUCCESS);
        };
        writeln!(io::stdout(), "{error:#}").context("failed to say why not")?;
        Ok(ExitCode::FAILURE)
    }
}

/// A host serves a port; from the hub it is reached, and refused when a rule says so.
fn attempt() -> Result<()> {
    let hosts = network::make(&["trial"])?;
    let host = hosts.first().context("there is no host")?;
    let address = SocketAddr::from((host.address, PORT));
    let _listener = host.netns.within(|| {
        TcpListener::bind((Ipv4Addr::UNSPECIFIED, PORT)).context("failed to listen on a host")
    })?;
    TcpStream::connect_timeout(&address, CONNECT_TIMEOUT)
        .context("the hosts of a private network can't be reached")?;
    host.netns.within(refuse)?;
    let refused = TcpStream::connect_timeout(&address, CONNECT_TIMEOUT);
    ensure!(
        refused.is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused),
        "a rule of iptables has no effect"
    );
    Ok(())
}

/// Refuses the port as deployd would, in both families.
fn refuse() -> Result<()> {
    let rule = format!(
        "*filter\n-A INPUT -p tcp -m tcp --dport {PORT} --syn -m time --datestop \
         2037-12-31T00:00:00 -m comment --comment \"deployd\" -j REJECT --reject-with tcp-reset\n\
         COMMIT\n"
    );
    for filter in netns::packet_filters() {
        let (reader, mut writer) = io::pipe().context("failed to make a pipe")?;
        // Less than a pipe holds: nobody need read it yet.
        writer
            .write_all(rule.as_bytes())
            .context("failed to write a rule")?;
        drop(writer);
        let mut restore = netns::tool(&format!("{filter}-restore"));
        restore.args(["-w", "5", "--noflush"]).stdin(reader);
        netns::run(&mut restore)?;
    }
    Ok(())
}
