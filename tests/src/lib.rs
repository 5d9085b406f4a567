//! Harness of the end-to-end tests.

pub mod archives;
pub mod http_server;
