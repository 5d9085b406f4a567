//! What deploy-zk keeps its word on under load, and when its own process is the one that fails. The
//! numbers are those of the table of faults in `docs/zookeeper.md`.

mod zk_rig;

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, mpsc};
use std::time::{Duration, Instant};

use deploy_zk::config::Tasks;
use deploy_zk::error::Error;
use deploy_zk::link::Link;
use deploy_zk::seen::View;
use deploy_zk::zk::Zk;
use deploy_zk::znode::{Expect, Mode};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tests::eventually::{eventually, eventually_async, eventually_in};
use tests::proxy::{Cut, Mode as Net};
use tests::zookeeper::Server;
use tests::{missing, spawn_tied};
use tokio::runtime::Builder;
use tokio::task::JoinSet;
use tokio::time::sleep;

use zk_rig::{HANG, OP, Rig, SLACK, T, config, measured};

/// Tells the test named below that it is a child: `<address> <prefix>`.
const CHILD: &str = "DEPLOY_TEST_ZK_CHILD";
/// Tells the test named below that it is in a network namespace of its own.
const NAMESPACE: &str = "DEPLOY_TEST_ZK_NAMESPACE";

/// A process with one session that says what it sees, a line each.
struct Session {
    child: Child,
    lines: Arc<Mutex<Vec<String>>>,
}

impl Session {
    fn start(address: &str, prefix: &str) -> Session {
        let mut command = itself("a_child_that_says_what_it_sees");
        command
            .env(CHILD, format!("{address} {prefix}"))
            .stdout(Stdio::piped());
        let mut child = spawn_tied(command);
        let output = child.stdout.take().expect("it is piped");
        let lines = Arc::new(Mutex::new(Vec::new()));
        let collected = Arc::clone(&lines);
        // Ends with the child.
        std::thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                collected.lock().expect("nobody panics with it").push(line);
            }
        });
        Session { child, lines }
    }

    fn says(&self, line: &str) -> usize {
        eventually(line, HANG, || {
            let lines = self.lines.lock().expect("nobody panics with it").clone();
            lines.iter().position(|said| said == line).ok_or(lines)
        })
    }

    fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(i32::try_from(self.child.id()).expect("a process id fits"));
        kill(pid, signal).expect("the child lives");
    }

    /// Returns the processor time it has used so far.
    fn cpu(&self) -> Duration {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id()));
        let stat = stat.expect("the child lives");
        let fields: Vec<&str> = stat.rsplit(") ").next().unwrap_or("").split(' ').collect();
        let ticks: u64 = fields[11..13]
            .iter()
            .map(|ticks| ticks.parse::<u64>().unwrap_or(0))
            .sum();
        Duration::from_millis(ticks * 10)
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        // Fails only if it is dead already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Returns the command that runs one test of this file alone.
fn itself(test: &str) -> Command {
    let program = std::env::current_exe().expect("a test knows its program");
    let mut command = Command::new(program);
    command.args(["--exact", test, "--nocapture"]);
    command
}

/// Not a test: the process of F11 and F12.
#[tokio::test]
async fn a_child_that_says_what_it_sees() {
    let Ok(arguments) = std::env::var(CHILD) else {
        return;
    };
    let (address, prefix) = arguments.split_once(' ').unwrap();
    let zk = Zk::start(config(address));
    let (mut v, mut link) = (zk.watch(&format!("{prefix}/v")), zk.link());
    let kept = zk.ephemeral(&format!("{prefix}/e"), b"");
    let mut alive = kept.status();
    let mut op = Box::pin(zk.get("/"));
    let mut is_op_over = false;
    loop {
        tokio::select! {
            _ = v.changed() => if let View::Present(znode) = &v.borrow_and_update().view {
                println!("v {}", String::from_utf8_lossy(&znode.data));
            },
            _ = link.changed() => println!("link {}", *link.borrow_and_update()),
            _ = alive.changed() => println!("alive {}", *alive.borrow_and_update()),
            result = &mut op, if !is_op_over => {
                is_op_over = true;
                println!("op {}", if result.is_ok() { "ok" } else { "failed" });
            }
        }
    }
}

/// F11: the process with the session is paused.
#[tokio::test]
async fn f11_a_paused_process_catches_up() {
    let Some(server) = Server::start() else {
        return;
    };
    let admin = Zk::start(config(&server.address()));
    let mut cases = Vec::new();
    for pause_ms in [2000, 5000, 9000] {
        let prefix = format!("/pause-{pause_ms}");
        admin.create(&prefix, b"", Mode::Persistent).await.unwrap();
        admin
            .create(&format!("{prefix}/v"), b"0", Mode::Persistent)
            .await
            .unwrap();
        let child = Session::start(&server.address(), &prefix);
        child.says("v 0");
        child.says("alive true");
        child.signal(Signal::SIGSTOP);
        cases.push((Instant::now(), pause_ms, prefix, child));
    }
    for (start, pause_ms, prefix, child) in cases {
        sleep(Duration::from_millis(pause_ms).saturating_sub(start.elapsed())).await;
        admin
            .set(&format!("{prefix}/v"), b"1", Expect::Any)
            .await
            .unwrap();
        child.signal(Signal::SIGCONT);
        let going = Instant::now();
        child.says("v 1");
        let case = format!("F11 process paused for {pause_ms} ms");
        measured(&case, "change seen after it went on", going.elapsed());
        eventually_async("the ephemeral is there", HANG, || async {
            match admin.get(&format!("{prefix}/e")).await {
                Ok(Some(_)) => Ok(()),
                other => Err(other),
            }
        })
        .await;
        measured(&case, "ephemeral there", going.elapsed());
    }
}

/// F12: there is no server at first.
#[tokio::test]
async fn f12_waiting_for_a_server_costs_nothing() {
    let Some(mut server) = Server::start() else {
        return;
    };
    let admin = Zk::start(config(&server.address()));
    admin.create("/late", b"", Mode::Persistent).await.unwrap();
    admin
        .create("/late/v", b"0", Mode::Persistent)
        .await
        .unwrap();
    server.kill();
    let start = Instant::now();
    let child = Session::start(&server.address(), "/late");
    child.says("op failed");
    measured("F12 no server", "a read fails", start.elapsed());
    let (before, since) = (child.cpu(), Instant::now());
    sleep(Duration::from_secs(4)).await;
    let share = (child.cpu() - before).as_secs_f64() / since.elapsed().as_secs_f64();
    println!(
        "measured: F12 no server: {:.1} % of a processor",
        share * 100.0
    );
    assert!(share < 0.06, "waiting took {share} of a processor");
    server.start_again();
    let ready = Instant::now();
    child.says("link up");
    measured("F12 no server", "up after it was ready", ready.elapsed());
    child.says("v 0");
}

/// F16: more is written into a black hole than any buffer holds.
#[tokio::test]
async fn f16_large_writes_into_a_black_hole() {
    let Some(server) = Server::start() else {
        return;
    };
    let rig = Rig::start(&server, "/large").await;
    rig.proxy.set_mode(Net::BlackHole);
    let start = Instant::now();
    let mut writes = JoinSet::new();
    for _ in 0..24 {
        let (zk, path) = (rig.zk.clone(), rig.path("v"));
        writes.spawn(async move { zk.set(&path, &vec![b'x'; 900_000], Expect::Any).await });
    }
    for write in writes.join_all().await {
        assert!(
            matches!(write, Err(Error::Unavailable(_) | Error::Unknown(_))),
            "{write:?}"
        );
    }
    assert!(
        start.elapsed() < OP + SLACK,
        "they took {:?}",
        start.elapsed()
    );
    measured(
        "F16 24 x 900 kB into a black hole",
        "all have ended",
        start.elapsed(),
    );
    rig.proxy.set_mode(Net::Forward);
    let healed = Instant::now();
    eventually_async("a read succeeds", HANG, || rig.zk.get("/")).await;
    measured(
        "F16 24 x 900 kB into a black hole",
        "a read succeeds after",
        healed.elapsed(),
    );
    rig.is_alive().await;
}

/// F17: large answers under way while connections break; and each goes to whom it belongs.
#[tokio::test(flavor = "multi_thread")]
async fn f17_answers_are_never_mixed_up() {
    const READERS: usize = 40;
    let Some(server) = Server::start() else {
        return;
    };
    let mut rig = Rig::start(&server, "/mixed").await;
    for n in 0..READERS {
        rig.admin
            .create(&rig.path(&n.to_string()), &contents(n), Mode::Persistent)
            .await
            .unwrap();
    }
    let reads = Arc::new(AtomicU64::new(0));
    let mut readers = JoinSet::new();
    for n in 0..READERS {
        let (zk, path, reads) = (rig.zk.clone(), rig.path(&n.to_string()), Arc::clone(&reads));
        let expected = contents(n);
        readers.spawn(async move {
            loop {
                match zk.get(&path).await {
                    Ok(Some(znode)) => {
                        assert!(znode.data == expected, "{path} has the data of another");
                        reads.fetch_add(1, Relaxed);
                    }
                    Err(Error::Unavailable(_)) => {}
                    other => panic!("{path}: {other:?}"),
                }
            }
        });
    }
    let mut worst = Duration::ZERO;
    for round in 0..30 {
        let before = reads.load(Relaxed);
        let cut = Instant::now();
        rig.proxy.cut(Cut::Rst);
        eventually("reads go on", HANG, || {
            let now = reads.load(Relaxed);
            if now > before + 20 { Ok(()) } else { Err(now) }
        });
        worst = worst.max(cut.elapsed());
        sleep(Duration::from_millis(60 + round * 2)).await;
        assert!(readers.try_join_next().is_none(), "a reader ended");
        // Requests that wait for their answer: 16, a heartbeat and authentication.
        let in_flight = rig.zk.stats().in_flight;
        assert!(in_flight <= 18, "{in_flight} requests are under way");
    }
    measured(
        "F17 40 readers, 30 resets",
        "worst time to 20 more reads",
        worst,
    );
    println!("measured: F17: {} reads", reads.load(Relaxed));
    let stats = rig.zk.stats();
    println!("measured: F17: {stats:?}");
    readers.shutdown().await;
    rig.change("1").await;
    rig.sees("1").await;
}

/// Returns what is in the znode of a reader: its number, or for one in eight the worst there is.
///
/// The client may take a piece of an answer from a broken connection for the beginning of what the
/// new one sends. So this one is large, and wherever a piece of 4 KiB begins there is what reads as
/// a granted session first, and then as the answer to a read, again and again.
fn contents(n: usize) -> Vec<u8> {
    if !n.is_multiple_of(8) {
        return n.to_string().into_bytes();
    }
    // Length; version of the protocol, timeout, session, or the head of an answer without an error;
    // a password of 16 bytes, or the data; zeros for a stat.
    let mut frame = Vec::new();
    for field in [124_i32, 0, 4000, 77, 0, 16] {
        frame.extend_from_slice(&field.to_be_bytes());
    }
    frame.extend_from_slice(b"of somebody else");
    frame.resize(128, 0);
    // Pieces begin at multiples of 4096, and the data 24 bytes after the answer.
    let mut data = vec![0; 104];
    (0..1950).for_each(|_| data.extend_from_slice(&frame));
    data
}

/// F18: the runtime of the caller is blocked, and then everything is due at once.
#[tokio::test]
async fn f18_a_blocked_runtime_is_survived() {
    let Some(server) = Server::start() else {
        return;
    };
    let mut rig = Rig::start(&server, "/blocked").await;
    for block_ms in [900, 3000] {
        let mut reads = JoinSet::new();
        for _ in 0..500 {
            let (zk, path) = (rig.zk.clone(), rig.path("v"));
            reads.spawn(async move { zk.get(&path).await });
        }
        // The client's own timer fires meanwhile.
        std::thread::sleep(Duration::from_millis(block_ms));
        let start = Instant::now();
        for read in reads.join_all().await {
            assert!(
                matches!(read, Ok(Some(_)) | Err(Error::Unavailable(_))),
                "{read:?}"
            );
        }
        measured(
            "F18 caller blocked",
            "500 reads due at once",
            start.elapsed(),
        );
        rig.zk.get(&rig.path("v")).await.unwrap();
    }
    rig.change("1").await;
    rig.sees("1").await;
}

/// A client that holds up its own runtime is found out by who is not in it.
#[tokio::test]
async fn a_client_that_holds_up_its_runtime_is_given_up() {
    let Some(server) = Server::start() else {
        return;
    };
    let mut runtime = Builder::new_multi_thread();
    let runtime = runtime.worker_threads(1).enable_all().build();
    let runtime = runtime.expect("there is room for a thread");
    let mut config = config(&server.address());
    config.session_timeout = Duration::from_secs(2);
    config.tasks = Tasks::Shared(runtime.handle().clone());
    let zk = Zk::start(config);
    eventually_in("it is up", HANG, &mut zk.link(), |link| link.is_up()).await;
    let (release, held) = mpsc::channel::<()>();
    runtime.spawn(async move { held.recv() });
    let missed = |link: &Link| link.to_string().contains("silent");
    eventually_in("it is given up", HANG, &mut zk.link(), missed).await;
    drop(release);
    eventually_in("it is up again", HANG, &mut zk.link(), |link| link.is_up()).await;
    runtime.shutdown_background();
}

/// F22: who looks at a watch panics.
#[tokio::test]
async fn f22_a_panic_of_a_consumer_stays_there() {
    let Some(server) = Server::start() else {
        return;
    };
    let mut rig = Rig::start(&server, "/panic").await;
    let before = rig.up().await;
    let (mut v, mut link) = (rig.v.clone(), rig.zk.link());
    let consumer = tokio::spawn(async move {
        v.changed().await.unwrap();
        let _held = (v.borrow_and_update(), link.borrow_and_update());
        panic!("on purpose");
    });
    rig.change("1").await;
    assert!(consumer.await.unwrap_err().is_panic());
    rig.change("2").await;
    rig.sees("2").await;
    assert_eq!(rig.up().await, before);
}

/// F24: a new process takes over while the session of the old one lives on.
#[tokio::test]
async fn f24_an_ephemeral_is_taken_over() {
    let Some(server) = Server::start() else {
        return;
    };
    let rig = Rig::start(&server, "/over").await;
    let owner = |znode: Option<deploy_zk::znode::Znode>| znode.unwrap().stat.ephemeral_owner;
    let old = owner(rig.admin.get(&rig.path("e")).await.unwrap());
    rig.proxy.set_mode(Net::BlackHole);
    let zk = Zk::start(config(&server.address()));
    let start = Instant::now();
    let kept = zk.ephemeral(&rig.path("e"), b"new");
    eventually_in("taken over", HANG, &mut kept.status(), |kept| *kept).await;
    measured(
        "F24 ephemeral of an older session",
        "taken over",
        start.elapsed(),
    );
    let new = owner(rig.admin.get(&rig.path("e")).await.unwrap());
    assert_ne!(old, new);
    sleep(T + Duration::from_secs(2)).await;
    let id = format!("0x{old:x}");
    eventually("the old session has expired", HANG, || {
        let dump = server.ask("dump").unwrap_or_default();
        if dump.contains(&id) {
            Err(dump)
        } else {
            Ok(())
        }
    });
    assert_eq!(owner(rig.admin.get(&rig.path("e")).await.unwrap()), new);
    assert!(*kept.status().borrow());
}

/// Two processes that were given the same path, by mistake, take it from each other, but not fast.
#[tokio::test]
async fn two_owners_of_an_ephemeral_do_not_spin() {
    let Some(server) = Server::start() else {
        return;
    };
    let (one, two) = (
        Zk::start(config(&server.address())),
        Zk::start(config(&server.address())),
    );
    let first = one.ephemeral("/e", b"1");
    eventually_in("the first has it", HANG, &mut first.status(), |kept| *kept).await;
    let _second = two.ephemeral("/e", b"2");
    sleep(Duration::from_secs(5)).await;
    let requests = one.stats().requests + two.stats().requests;
    println!("measured: two owners of an ephemeral: {requests} requests in 5 s");
    assert!(requests < 400, "{requests} requests");
}

/// F27: packets are dropped, which no proxy can imitate: connecting hangs as well.
#[test]
fn f27_dropped_packets() {
    if std::env::var_os(NAMESPACE).is_some() {
        return in_a_namespace();
    }
    let usable = Command::new("unshare")
        .args(["-n", "iptables", "-S"])
        .output();
    if !usable.is_ok_and(|output| output.status.success()) {
        return missing("netns", "unshare -n iptables fails; it takes root");
    }
    let this = itself("f27_dropped_packets");
    let mut command = Command::new("unshare");
    command
        .arg("-n")
        .arg(this.get_program())
        .args(this.get_args())
        .env(NAMESPACE, "1");
    let output = spawn_tied({
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    })
    .wait_with_output()
    .expect("a child can be waited for");
    let text = String::from_utf8_lossy(&output.stdout);
    for line in text.lines().filter(|line| line.contains("measured:")) {
        println!("{line}");
    }
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "in the namespace:\n{text}\n{errors}"
    );
}

fn in_a_namespace() {
    run(&["ip", "link", "set", "lo", "up"]);
    let runtime = tokio::runtime::Runtime::new().expect("a runtime can be made");
    runtime.block_on(async {
        let Some(server) = Server::start() else {
            return;
        };
        let zk = Zk::start(config(&server.address()));
        zk.create("/v", b"0", Mode::Persistent)
            .await
            .expect("the network is healthy");
        let mut v = zk.watch("/v");
        let (mut link, kept) = (zk.link(), zk.ephemeral("/e", b""));
        let port = server.port().to_string();
        let rules = [["--dport", port.as_str()], ["--sport", port.as_str()]];
        for (round, drop_s) in [3, 7].into_iter().enumerate() {
            eventually_in("alive", HANG, &mut kept.status(), |kept| *kept).await;
            for [side, port] in rules {
                run(&[
                    "iptables", "-A", "INPUT", "-p", "tcp", side, port, "-j", "DROP",
                ]);
            }
            let start = Instant::now();
            eventually_in("down", HANG, &mut link, |link| !link.is_up()).await;
            let case = format!("F27 packets dropped for {drop_s} s");
            measured(&case, "link down", start.elapsed());
            sleep(Duration::from_secs(drop_s).saturating_sub(start.elapsed())).await;
            run(&["iptables", "-F"]);
            let healed = Instant::now();
            eventually_in("up", HANG, &mut link, Link::is_up).await;
            measured(&case, "link up after the end", healed.elapsed());
            let value = round.to_string() + "x";
            zk.set("/v", value.as_bytes(), Expect::Any)
                .await
                .expect("the network is healthy");
            eventually_in("seen", HANG, &mut v, |seen| {
                seen.view
                    .present()
                    .is_some_and(|znode| znode.data == value.as_bytes())
            })
            .await;
        }
        a_hung_reconnect(&zk, rules).await;
    });
}

/// The connection is reset, and the attempt to get it back goes unanswered: the client itself would
/// wait for as long as the kernel tries.
async fn a_hung_reconnect(zk: &Zk, rules: [[&str; 2]; 2]) {
    let mut link = zk.link();
    let before = zk.stats().clients;
    let [[side, port], _] = rules;
    let reset = ["--reject-with", "tcp-reset"];
    run(&[
        &[
            "iptables", "-A", "INPUT", "-p", "tcp", side, port, "-j", "REJECT",
        ],
        &reset[..],
    ]
    .concat());
    eventually_in("down", HANG, &mut link, |link| !link.is_up()).await;
    for [side, port] in rules {
        run(&[
            "iptables", "-I", "INPUT", "-p", "tcp", side, port, "-j", "DROP",
        ]);
    }
    let start = Instant::now();
    eventually("the hung client is given up", HANG, || {
        let now = zk.stats().clients;
        if now > before { Ok(()) } else { Err(now) }
    });
    measured(
        "F27 reset, then packets dropped",
        "client given up",
        start.elapsed(),
    );
    run(&["iptables", "-F"]);
    let healed = Instant::now();
    eventually_in("up", HANG, &mut link, Link::is_up).await;
    measured(
        "F27 reset, then packets dropped",
        "link up after the end",
        healed.elapsed(),
    );
}

fn run(command: &[&str]) {
    let output = Command::new(command[0]).args(&command[1..]).output();
    let output = output.expect("the program can be run");
    assert!(
        output.status.success(),
        "{command:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
}
