//! A ZooKeeper session that can be relied on.
//!
//! The client crate underneath loses watches, authentication and sessions without a word, and can
//! hang for ever. This crate keeps it under a supervisor: whatever the network does, every call
//! ends by its deadline, every watch converges to the newest value once the link is up, and every
//! ephemeral znode comes back. `docs/zookeeper.md` has the hazards and what answers each of them.
//!
//! It must never know what a deployment is, and no type of the client crate leaves `backend`.

pub mod acl;
pub mod alarm;
pub mod bell;
pub mod config;
pub mod ephemeral;
pub mod error;
pub mod link;
pub mod path;
pub mod rhythm;
pub mod seen;
pub mod stats;
pub mod zk;
pub mod znode;

mod armed;
mod backend;
mod backoff;
mod compound;
mod core;
mod follow;
mod supervisor;
