//! A network that fails when told to: a TCP proxy in front of a server.
//!
//! It runs on a thread of its own, so that a test that blocks does not hold it up. Every order has
//! taken effect when the method returns. What a black hole holds back arrives when it ends, as TCP
//! would send it again.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use self::requests::{Requests, Stream};
use crate::ports;

mod requests;

/// The first message of a server ends before this.
const HANDSHAKE_BYTES: usize = 40;

/// A proxy on a port of its own. Its connections end when it is dropped.
#[derive(Debug)]
pub struct Proxy {
    port: u16,
    shared: Arc<Shared>,
    orders: mpsc::UnboundedSender<(Order, oneshot::Sender<()>)>,
    thread: Option<std::thread::JoinHandle<()>>,
}

/// Which directions get through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Both.
    Forward,
    /// None, silently: connections stay open, new ones are taken, nothing moves.
    BlackHole,
    /// Only what the client sends; answers are held back.
    HoldToClient,
    /// Only what the server sends; requests are held back.
    HoldToServer,
}

/// How connections are cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// With an orderly end.
    Fin,
    /// With a reset.
    Rst,
}

/// A ZooKeeper session as read off the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WireSession {
    /// Its id.
    pub id: i64,
    /// What proves that it is ours.
    pub password: [u8; 16],
}

#[derive(Debug)]
struct Shared {
    mode: watch::Sender<Mode>,
    delay: watch::Sender<Duration>,
    target: SocketAddr,
    cut: watch::Sender<Cut>,
    cut_after: Mutex<Option<usize>>,
    session: Mutex<Option<WireSession>>,
    accepted: AtomicU64,
    requests: Mutex<Requests>,
}

enum Order {
    Cut(Cut),
    Listen(bool),
}

impl Proxy {
    /// Starts a proxy to `target`, a port on the loopback interface.
    pub fn start(target: u16) -> Proxy {
        let shared = Arc::new(Shared {
            mode: watch::channel(Mode::Forward).0,
            delay: watch::channel(Duration::ZERO).0,
            target: SocketAddr::from((Ipv4Addr::LOCALHOST, target)),
            cut: watch::channel(Cut::Fin).0,
            cut_after: Mutex::new(None),
            session: Mutex::new(None),
            accepted: AtomicU64::new(0),
            requests: Mutex::default(),
        });
        let (port, listener) = listen_anywhere();
        let (orders, received) = mpsc::unbounded_channel();
        let running = Arc::clone(&shared);
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .expect("a runtime can be made");
            runtime.block_on(run(port, listener, running, received));
        });
        Proxy {
            port,
            shared,
            orders,
            thread: Some(thread),
        }
    }

    /// Returns `host:port` to connect to.
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Returns the port to connect to.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Lets through what `mode` says, from now on, on open connections and new ones.
    pub fn set_mode(&self, mode: Mode) {
        self.shared.mode.send_replace(mode);
    }

    /// Holds back everything for this long, in each direction.
    pub fn set_delay(&self, delay: Duration) {
        self.shared.delay.send_replace(delay);
    }

    /// Cuts all connections.
    pub fn cut(&self, how: Cut) {
        self.order(Order::Cut(how));
    }

    /// Cuts the next connection with a reset when it has carried so many bytes to the client.
    pub fn cut_after(&self, bytes: usize) {
        *lock(&self.shared.cut_after) = Some(bytes);
    }

    /// Refuses new connections.
    pub fn close_listener(&self) {
        self.order(Order::Listen(false));
    }

    /// Takes new connections again.
    pub fn open_listener(&self) {
        self.order(Order::Listen(true));
    }

    /// Returns how many connections were taken so far.
    pub fn accepted(&self) -> u64 {
        self.shared.accepted.load(Ordering::SeqCst)
    }

    /// Returns how many requests clients have sent so far about znodes whose paths begin so.
    pub fn requests(&self, prefix: &str) -> u64 {
        lock(&self.shared.requests).about(prefix)
    }

    /// Returns how many requests clients have sent so far for the names of the children of this znode.
    pub fn lists(&self, path: &str) -> u64 {
        lock(&self.shared.requests).lists(path)
    }

    /// Returns the session that a server granted last.
    pub fn session(&self) -> Option<WireSession> {
        *lock(&self.shared.session)
    }

    fn order(&self, order: Order) {
        let (done, mut wait) = oneshot::channel();
        self.orders
            .send((order, done))
            .expect("the proxy runs until it is dropped");
        // Not blocking_recv, which may not be used on a thread of a runtime.
        while let Err(oneshot::error::TryRecvError::Empty) = wait.try_recv() {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        // Without orders to come the thread ends.
        self.orders = mpsc::unbounded_channel().0;
        if let Some(thread) = self.thread.take() {
            // A panic of it was printed already.
            let _ = thread.join();
        }
    }
}

/// A port that swallows the first packet of every connection, as a firewall that drops does.
#[derive(Debug)]
pub struct SynHole {
    port: u16,
    _listener: TcpListener,
    _fill: Vec<TcpStream>,
}

impl SynHole {
    /// Makes one: a listener that takes nothing, with its queue filled up.
    pub async fn start() -> SynHole {
        let port = ports::free();
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let socket = TcpSocket::new_v4().expect("a socket can be made");
        socket.bind(address).expect("a free port can be bound");
        let listener = socket.listen(1).expect("a bound socket can listen");
        let mut fill = Vec::new();
        while let Ok(Ok(stream)) =
            timeout(Duration::from_millis(300), TcpStream::connect(address)).await
        {
            fill.push(stream);
        }
        SynHole {
            port,
            _listener: listener,
            _fill: fill,
        }
    }

    /// Returns `host:port`.
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }
}

fn listen_anywhere() -> (u16, std::net::TcpListener) {
    // Another process may have taken the port since it was found free.
    for _ in 0..20 {
        let port = ports::free();
        if let Ok(listener) = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, port)) {
            listener
                .set_nonblocking(true)
                .expect("a socket can be made nonblocking");
            return (port, listener);
        }
    }
    panic!("no port to listen on");
}

async fn run(
    port: u16,
    listener: std::net::TcpListener,
    shared: Arc<Shared>,
    mut orders: mpsc::UnboundedReceiver<(Order, oneshot::Sender<()>)>,
) {
    let mut listener = Some(TcpListener::from_std(listener).expect("a runtime is running"));
    let mut connections = JoinSet::new();
    loop {
        let (order, done) = tokio::select! {
            stream = accept(listener.as_ref()) => {
                shared.accepted.fetch_add(1, Ordering::SeqCst);
                // Subscribed here: a cut that comes before the task runs must reach it as well.
                let cut = shared.cut.subscribe();
                connections.spawn(carry(stream, cut, Arc::clone(&shared)));
                continue;
            }
            Some(_) = connections.join_next() => continue,
            order = orders.recv() => match order {
                Some(order) => order,
                None => return,
            },
        };
        match order {
            Order::Cut(how) => {
                shared.cut.send_replace(how);
                while connections.join_next().await.is_some() {}
            }
            Order::Listen(false) => listener = None,
            Order::Listen(true) => {
                let bound = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await;
                listener = Some(bound.expect("our own port can be bound again"));
            }
        }
        // Whoever ordered it waits for it.
        let _ = done.send(());
    }
}

async fn accept(listener: Option<&TcpListener>) -> TcpStream {
    let Some(listener) = listener else {
        return std::future::pending().await;
    };
    loop {
        if let Ok((stream, _)) = listener.accept().await {
            return stream;
        }
    }
}

async fn carry(mut client: TcpStream, mut cut: watch::Receiver<Cut>, shared: Arc<Shared>) {
    let budget = lock(&shared.cut_after).take();
    let connecting = async {
        pass(&shared, Mode::HoldToServer).await;
        TcpStream::connect(shared.target).await
    };
    let connected = tokio::select! {
        connected = connecting => connected.ok(),
        _ = cut.changed() => None,
    };
    let Some(mut server) = connected else {
        end(client, *cut.borrow());
        return;
    };
    let how = {
        let (client_read, client_write) = client.split();
        let (server_read, server_write) = server.split();
        tokio::select! {
            () = pump_up(client_read, server_write, &shared) => Cut::Fin,
            how = pump_down((server_read, client_write), &shared, budget) => how,
            _ = cut.changed() => *cut.borrow(),
        }
    };
    end(client, how);
    end(server, how);
}

async fn pump_up(mut from: ReadHalf<'_>, mut to: WriteHalf<'_>, shared: &Shared) {
    let mut buffer = vec![0; 16 * 1024];
    let mut stream = Stream::default();
    loop {
        pass(shared, Mode::HoldToServer).await;
        let Ok(read @ 1..) = from.read(&mut buffer).await else {
            return;
        };
        stream.feed(&buffer[..read], &mut lock(&shared.requests));
        hold(shared, Mode::HoldToServer).await;
        if to.write_all(&buffer[..read]).await.is_err() {
            return;
        }
    }
}

async fn pump_down(
    (mut from, mut to): (ReadHalf<'_>, WriteHalf<'_>),
    shared: &Shared,
    mut budget: Option<usize>,
) -> Cut {
    let mut buffer = vec![0; 16 * 1024];
    let mut handshake = Vec::with_capacity(HANDSHAKE_BYTES);
    loop {
        pass(shared, Mode::HoldToClient).await;
        let Ok(read @ 1..) = from.read(&mut buffer).await else {
            return Cut::Fin;
        };
        note_session(&mut handshake, &buffer[..read], shared);
        hold(shared, Mode::HoldToClient).await;
        let allowed = budget.map_or(read, |budget| read.min(budget));
        if to.write_all(&buffer[..allowed]).await.is_err() {
            return Cut::Fin;
        }
        budget = budget.map(|budget| budget - allowed);
        if budget == Some(0) {
            // What was sent must arrive before the reset, which would overtake it.
            sleep(Duration::from_millis(5)).await;
            return Cut::Rst;
        }
    }
}

/// Waits until the direction that `held` would hold back is open.
async fn pass(shared: &Shared, held: Mode) {
    let mut mode = shared.mode.subscribe();
    // An error says that the proxy is gone, and with it this connection.
    let _ = mode
        .wait_for(|mode| *mode != held && *mode != Mode::BlackHole)
        .await;
}

async fn hold(shared: &Shared, held: Mode) {
    let delay = *shared.delay.borrow();
    if !delay.is_zero() {
        sleep(delay).await;
    }
    pass(shared, held).await;
}

/// Reads the answer to a connect request: length, version, timeout, id, password.
fn note_session(handshake: &mut Vec<u8>, bytes: &[u8], shared: &Shared) {
    if handshake.len() >= HANDSHAKE_BYTES {
        return;
    }
    handshake.extend_from_slice(&bytes[..bytes.len().min(HANDSHAKE_BYTES - handshake.len())]);
    if let (Some(id), Some(password)) = (handshake.get(12..20), handshake.get(24..40)) {
        let session = WireSession {
            id: i64::from_be_bytes(id.try_into().expect("eight bytes")),
            password: password.try_into().expect("sixteen bytes"),
        };
        *lock(&shared.session) = Some(session);
    }
}

fn end(stream: TcpStream, how: Cut) {
    if how == Cut::Rst {
        // Fails only if it is closed already.
        let _ = stream.set_zero_linger();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
