//! `deployd undrain`: takes every rule of ours away.

use super::Exit;
use crate::host::firewall;

/// Remove every packet-filter rule of deployd, so that no port stays drained
///
/// For ExecStopPost and for people. A deployd that runs puts back what it still needs.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {}

/// Removes the rules.
///
/// # Errors
/// Where the packet filter can't be changed. A host without the program has no rules.
pub(crate) async fn run() -> anyhow::Result<Exit> {
    match firewall::clear().await {
        Ok(()) | Err(firewall::FirewallError::Start(_)) => Ok(Exit::Done),
        Err(error) => Err(error.into()),
    }
}
