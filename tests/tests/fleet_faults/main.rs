//! The faults of graceful restart: six hosts, one or two of which may be out of service at a time,
//! and something that breaks in the middle of a rollout.
//!
//! Through each of them every instance is asked ten times a second, from outside; after each, the
//! fleet is where it should be: the build serves everywhere, no port is refused, no lease is left.

mod agent;
mod config;
mod gate;
mod operator;
mod power;
mod rig;
mod services;
mod zookeeper;
