//! Waiting for something to become true, instead of sleeping.

use std::fmt::Debug;
use std::future::Future;
use std::time::{Duration, Instant};

/// Time between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// Looks until `look` returns `Ok`, and returns what is in it. An `Err` holds the state seen.
///
/// # Panics
/// After `limit`, with `what` was waited for and the last state seen.
#[track_caller]
pub fn eventually<T, S: Debug>(
    what: &str,
    limit: Duration,
    mut look: impl FnMut() -> Result<T, S>,
) -> T {
    let start = Instant::now();
    loop {
        match look() {
            Ok(value) => return value,
            Err(state) if start.elapsed() > limit => {
                panic!("not within {limit:?}: {what}; last seen: {state:?}");
            }
            Err(_) => std::thread::sleep(LOOK_EVERY),
        }
    }
}

/// Like [`eventually`], for looks that take an await. A single look may take as long as it likes,
/// so it should have a deadline of its own.
///
/// # Panics
/// After `limit`, with `what` was waited for and the last state seen.
pub async fn eventually_async<T, S: Debug, F: Future<Output = Result<T, S>>>(
    what: &str,
    limit: Duration,
    mut look: impl FnMut() -> F,
) -> T {
    let start = Instant::now();
    loop {
        match look().await {
            Ok(value) => return value,
            Err(state) if start.elapsed() > limit => {
                panic!("not within {limit:?}: {what}; last seen: {state:?}");
            }
            Err(_) => tokio::time::sleep(LOOK_EVERY).await,
        }
    }
}

/// Waits until the value in `receiver` satisfies `wanted`, and returns it.
///
/// # Panics
/// After `limit`, or when the sender is gone, with the last value seen.
pub async fn eventually_in<T: Debug + Clone>(
    what: &str,
    limit: Duration,
    receiver: &mut tokio::sync::watch::Receiver<T>,
    wanted: impl FnMut(&T) -> bool,
) -> T {
    let found = match tokio::time::timeout(limit, receiver.wait_for(wanted)).await {
        Ok(Ok(value)) => Some(value.clone()),
        Ok(Err(_)) | Err(_) => None,
    };
    found.unwrap_or_else(|| {
        panic!(
            "not within {limit:?}: {what}; last seen: {:?}",
            receiver.borrow().clone()
        )
    })
}
