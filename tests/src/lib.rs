//! Harness of the end-to-end tests: real servers, real networks, real processes.
//!
//! What is missing on a machine skips its tests aloud, and fails them when the environment variable
//! `DEPLOY_TEST_REQUIRE` names it; see [`missing`].

pub mod eventually;
pub mod ports;
pub mod proxy;
pub mod zookeeper;

/// Says aloud that a test is skipped for want of `what`.
///
/// # Panics
/// If `DEPLOY_TEST_REQUIRE` has `what` in its comma-separated list.
pub fn missing(what: &str, why: &str) {
    let required = std::env::var("DEPLOY_TEST_REQUIRE").unwrap_or_default();
    let is_required = required.split(',').any(|name| name.trim() == what);
    assert!(
        !is_required,
        "{what} is required by DEPLOY_TEST_REQUIRE: {why}"
    );
    eprintln!("SKIPPED for want of {what}: {why}");
}
