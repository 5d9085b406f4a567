//! wrk in the hub: clients that ask one request after the other, through the balancer.

use std::process::{Child, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::Fleet;
use super::balancer::ADDRESS;
use crate::spawn_tied;

/// Clients that keep their connection.
const KEEPING: &str = "16";
/// Clients that use a connection for one request.
const CLOSING: &str = "8";
/// It ends earlier, when it is told.
const LONGEST: &str = "900s";
/// A request that takes longer counts as failed.
const REQUEST_MAX: &str = "5s";

/// A load on the balancer. It is ended when dropped.
#[derive(Debug)]
pub struct Load(Vec<Child>);

/// What the clients saw.
#[derive(Debug, Default)]
pub struct Taken {
    /// Requests that were answered.
    pub requests: u64,
    /// Those answered with an error or too late, and connections that broke.
    pub failed: u64,
    /// The longest that a request took, in milliseconds.
    pub slowest_ms: f64,
    /// What wrk said, for messages.
    pub said: String,
}

impl Load {
    /// Starts clients of both kinds at once: with keep-alive and without.
    pub fn start(fleet: &Fleet) -> Load {
        let url = format!("http://{ADDRESS}/");
        let wrk = |words: &[&str]| {
            let mut all = vec!["exec", "hub", "wrk", "--threads", "1", "--latency"];
            all.extend(["--duration", LONGEST, "--timeout", REQUEST_MAX]);
            all.extend(words);
            all.push(&url);
            let mut command = fleet.command(&all);
            command.stdout(Stdio::piped()).stderr(Stdio::piped());
            spawn_tied(command)
        };
        Load(vec![
            wrk(&["--connections", KEEPING]),
            wrk(&["--connections", CLOSING, "--header", "Connection: close"]),
        ])
    }

    /// Ends it, and returns what the clients saw. What is under way at the end counts nowhere.
    ///
    /// # Panics
    /// If wrk doesn't tell.
    pub fn stop(mut self) -> Taken {
        let mut taken = Taken::default();
        for wrk in std::mem::take(&mut self.0) {
            // It reports when it is interrupted.
            kill(pid(&wrk), Signal::SIGINT).expect("wrk runs until it is told");
            let output = wrk.wait_with_output().expect("it is our child");
            let said = [output.stdout, output.stderr]
                .map(|text| String::from_utf8_lossy(&text).into_owned());
            taken.add(&said.concat());
        }
        taken
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        for wrk in &mut self.0 {
            // It may have ended by itself.
            let _ = wrk.kill();
            let _ = wrk.wait();
        }
    }
}

impl Taken {
    fn add(&mut self, said: &str) {
        self.said += said;
        let requests = said
            .lines()
            .find_map(|line| line.trim().split_once(" requests in "));
        let requests = requests.and_then(|(number, _)| number.parse::<u64>().ok());
        self.requests += requests.unwrap_or_else(|| panic!("wrk does not tell:\n{said}"));
        // Only where there were any: "Socket errors: connect 0, read 2, write 0, timeout 0" and
        // "Non-2xx or 3xx responses: 7".
        for line in said.lines().map(str::trim) {
            if line.starts_with("Socket errors:") || line.starts_with("Non-2xx") {
                let words = line.split_once(':').map_or(line, |(_, words)| words);
                let numbers = words
                    .split([' ', ','])
                    .filter_map(|word| word.parse::<u64>().ok());
                self.failed += numbers.sum::<u64>();
            }
        }
        // Its columns: average, deviation, the longest.
        let latency = said
            .lines()
            .find(|line| line.trim().starts_with("Latency ") && line.contains('%'));
        let longest = latency.and_then(|line| milliseconds(line.split_whitespace().nth(3)?));
        self.slowest_ms = self.slowest_ms.max(longest.unwrap_or_default());
    }
}

/// Parses what wrk writes of times: `812.00us`, `23.01ms`, `1.20s`.
fn milliseconds(text: &str) -> Option<f64> {
    let units = [("us", 0.001), ("ms", 1.0), ("s", 1000.0), ("m", 60_000.0)];
    let number =
        |(unit, factor): (&str, f64)| Some(text.strip_suffix(unit)?.parse::<f64>().ok()? * factor);
    units.into_iter().find_map(number)
}

fn pid(child: &Child) -> Pid {
    Pid::from_raw(child.id().cast_signed())
}
