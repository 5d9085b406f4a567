//! When an instance is asked whether it works.

use std::io;
use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::thread::{self, JoinHandle};

use deploy_core::wire::report::Phase;
use tests::agent::Agent;
use tests::service::{Service, named};
use tests::supervisor::Answer;

/// How often the instance answers that it is not ready yet.
const NOT_READY: usize = 3;

#[test]
fn an_instance_that_is_not_ready_is_asked_again_before_an_interval_is_over() {
    let agent = Agent::start_with(|settings| {
        let web = &mut settings.services[0];
        web.instances = 1;
        // Who waited for it would be out of time.
        web.probe_pace = "interval_s = 3600\nsuccesses = 1";
        web.probe_timeout_s = 60.0;
    });
    let Some(agent) = agent else { return };
    let web = agent.web();
    let (_kept, instance) = ready_after(&web, NOT_READY);
    web.deploy("r1", 1);
    web.until("it serves", |report| {
        report.phase == Phase::Serving && report.serving == named("r1")
    });
    let answered = instance.join().expect("the instance doesn't panic");
    answered.expect("each was asked for the whole answer");
}

#[test]
fn who_answered_well_and_not_often_enough_is_told_so() {
    let agent = Agent::start_with(|settings| {
        let web = &mut settings.services[0];
        web.instances = 1;
        web.probe_pace = "interval_s = 4\nsuccesses = 2";
        web.probe_timeout_s = 5.0;
    });
    let Some(agent) = agent else { return };
    let web = agent.web();
    // After 0, 50, 150, 350 and 750 ms; then there is no time for an interval.
    let (_kept, instance) = ready_after(&web, 5);
    web.deploy("r1", 1);
    let report = web.until("it failed", |report| report.phase == Phase::Failed);
    let error = report.error.expect("it failed");
    assert_eq!(
        error.message,
        "web-1 answered well 1 of 2 times in a row in 5 s"
    );
    let answered = instance.join().expect("the instance doesn't panic");
    answered.expect("each was asked for the whole answer");
}

/// The instance is this test, whoever restarts it: it answers that it is not ready so many times, and once that it is.
fn ready_after(web: &Service<'_>, not_ready: usize) -> (TcpListener, JoinHandle<io::Result<()>>) {
    web.agent.supervisor.on("restart", Answer::Pretend);
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, web.ports[0])).expect("a free port");
    // It goes on listening when it was asked enough, or it would be taken for dead.
    let kept = listener.try_clone().expect("a second handle");
    let instance = thread::spawn(move || {
        let streams = listener.incoming().flatten().take(not_ready + 1);
        streams.enumerate().try_for_each(|(asked, stream)| {
            answer(stream, if asked < not_ready { 503 } else { 200 })
        })
    });
    (kept, instance)
}

fn answer(mut stream: TcpStream, status: u16) -> io::Result<()> {
    let head = BufReader::new(stream.try_clone()?).lines();
    head.map_while(Result::ok).find(|line| line.is_empty());
    write!(
        stream,
        "HTTP/1.1 {status} Told\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    )
}
