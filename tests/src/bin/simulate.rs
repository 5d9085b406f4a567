//! `cargo xtask simulate`: plays a fleet, and tells what it cost.
//!
//! ```text
//! simulate HOSTS                  plays so many; for each act it prints a line of JSON to standard output
//! simulate part HOSTS RESTART_MS  plays some of them, and is told by standard input what to do
//! ```

use std::time::Duration;

use serde_json::{Map, Value, json};
use tests::simulation::acts::{Comeback, Queue, Rollout};
use tests::simulation::counts::Cost;
use tests::simulation::part::raise_file_limit;
use tests::simulation::player::Player;
use tests::simulation::{Farm, Shape};

/// Targets that are written one behind the other.
const CHANGES: usize = 100;
/// How long hosts that rest, or wait, are counted.
const TIME: Duration = Duration::from_secs(30);

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words.as_slice() {
        [hosts] => play(number(hosts)),
        ["part", hosts, restart_ms] => {
            raise_file_limit(number(hosts));
            let restart = Duration::from_millis(number(restart_ms) as u64);
            Player::new(restart).play(std::io::stdin().lock(), std::io::stdout().lock());
        }
        _ => panic!("usage: simulate HOSTS | simulate part HOSTS RESTART_MS"),
    }
}

fn number(word: &str) -> usize {
    word.parse().expect("a number of hosts, or of milliseconds")
}

fn play(hosts: usize) {
    let program = std::env::current_exe().expect("a process knows its program");
    let shape = Shape {
        restart: Duration::from_millis(200),
        session_timeout: Duration::from_secs(30),
    };
    let Some(mut farm) = Farm::start(hosts) else {
        return;
    };
    eprintln!("starting {hosts} hosts");
    farm.populate(&program, shape);
    farm.await_quiet();
    let tell = |act: &str, figures: Value| {
        println!(
            "{}",
            json!({ "act": act, "hosts": hosts, "figures": figures })
        );
    };
    tell("first", rollout(&farm.roll_out(json!(hosts))));
    tell("free", rollout(&farm.roll_out(json!(hosts))));
    tell("back", rollout(&farm.roll_back()));
    tell("leased", rollout(&farm.roll_out(json!("10%"))));
    tell("burst", rollout(&farm.burst(CHANGES)));
    let rest = farm.rest(TIME).in_seconds(60.0);
    tell("rest", Value::Object(cost(&rest)));
    let queue = farm.queue(TIME);
    tell("joining", Value::Object(cost(&queue.joining)));
    tell(
        "waiting",
        Value::Object(cost(&queue.waiting.in_seconds(60.0))),
    );
    tell("moving", moving(&queue, hosts));
    tell("restart", comeback(&farm.restart_zookeeper()));
}

/// What one lease costs all hosts together that is given back and taken.
fn moving(queue: &Queue, hosts: usize) -> Value {
    // As many hosts as anybody simulates fit a float.
    let (given_back, hosts) = (queue.given_back as f64, hosts as f64);
    let waiting = queue.waiting.in_seconds(queue.moving.seconds);
    let each = queue.moving.without(waiting, hosts / given_back);
    let mut figures = cost(&each);
    figures.insert(
        "places_per_s".to_owned(),
        json!(given_back / queue.moving.seconds),
    );
    Value::Object(figures)
}

fn rollout(rollout: &Rollout) -> Value {
    let mut figures = cost(&rollout.cost);
    let quantile = |share: f64| {
        let last = rollout.reactions.len().checked_sub(1)?;
        Some(rollout.reactions[(last as f64 * share).round() as usize].as_secs_f64())
    };
    figures.insert("reaction_p50_s".to_owned(), json!(quantile(0.5)));
    figures.insert("reaction_p99_s".to_owned(), json!(quantile(0.99)));
    figures.insert("served_s".to_owned(), json!(rollout.served.as_secs_f64()));
    figures.insert(
        "reported_s".to_owned(),
        json!(rollout.reported.as_secs_f64()),
    );
    Value::Object(figures)
}

fn cost(cost: &Cost) -> Map<String, Value> {
    let figures = json!({
        "requests": cost.requests, "heartbeats": cost.heartbeats, "bytes_to": cost.bytes_to,
        "bytes_from": cost.bytes_from, "watches": cost.watches, "seconds": cost.seconds,
    });
    figures.as_object().cloned().unwrap_or_default()
}

fn comeback(comeback: &Comeback) -> Value {
    json!({
        "away_s": comeback.away.as_secs_f64(), "linked_s": comeback.linked.as_secs_f64(),
        "settled_s": comeback.settled.as_secs_f64(), "requests": comeback.requests, "connects": comeback.connects,
        "requests_peak": comeback.requests_peak, "connects_peak": comeback.connects_peak,
    })
}
