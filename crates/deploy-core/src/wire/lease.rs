//! `leases/<host>-<10 digits>`: a host's place in the queue for the right to be out of service.

use serde::{Deserialize, Serialize};

use super::Stored;
use crate::name::HostName;

/// Whose lease it is. `nonce` tells two leases of one host apart for people who look, and `machine_id` two machines of one
/// name: a host knows its lease by its name alone, so each needs a name of its own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeaseClaim {
    /// The host that waits or holds.
    pub host: HostName,
    /// `/etc/machine-id` of the host.
    pub machine_id: Option<String>,
    /// The kernel's boot id when it was made.
    pub boot_id: Option<String>,
    /// Unique to this lease.
    pub nonce: String,
    /// The rollout that it was made for.
    pub rollout: Option<u64>,
    /// When it was made.
    pub since: Option<String>,
}

impl Stored for LeaseClaim {
    const WHAT: &'static str = "lease";
}
