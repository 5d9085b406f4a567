//! The program: all of it is the library's.

use std::panic;
use std::process::ExitCode;
use std::time::Duration;

use tokio::runtime::Builder;

/// How long what can't be interrupted, as a sync of a disk that hangs, is waited for when all else has ended. Nothing is lost
/// with it: after a loss of power it would have been no further.
const END_TIME: Duration = Duration::from_secs(1);

fn main() -> ExitCode {
    let runtime = Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("the kernel gives two threads and an epoll");
    // As a task among the others: this thread would be one more to be woken whenever something is to be done.
    let ended = runtime.block_on(runtime.spawn(deployd::program::run()));
    runtime.shutdown_timeout(END_TIME);
    match ended {
        Ok(exit) => exit,
        Err(died) => panic::resume_unwind(died.into_panic()),
    }
}
