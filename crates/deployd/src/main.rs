//! The program: all of it is the library's.

use std::panic;
use std::process::ExitCode;

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> ExitCode {
    // As a task among the others: this thread would be one more to be woken whenever something is to be done.
    match tokio::spawn(deployd::program::run()).await {
        Ok(exit) => exit,
        Err(died) => panic::resume_unwind(died.into_panic()),
    }
}
