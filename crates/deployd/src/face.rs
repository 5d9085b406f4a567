//! What others see of the agent while it runs: a socket in the state directory, for root on this
//! host, and metrics on an address of the operator's choice.
//!
//! ```text
//! <state_dir>/agent.sock   GET /v1/status  /metrics  /healthz  /readyz   POST /v1/log-level  /v1/reload
//! metrics.listen           GET             /metrics  /healthz  /readyz
//! ```
//!
//! It only reads what the agents say. What somebody asks to change goes to who owns it.

use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use http_body_util::{BodyExt, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::header::CONTENT_TYPE;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use self::answer::{Answer, Asked, Door, View, answer};

pub(crate) mod answer;
pub(crate) mod ask;

/// Who is answered at a time; the others wait.
const CONNECTIONS_MAX: usize = 16;
/// How long a connection may take in all: nobody holds a place for ever.
const CONNECTION_TIME: Duration = Duration::from_secs(30);
/// How long a request may take to come.
const REQUEST_TIME: Duration = Duration::from_secs(3);
/// The largest request, in bytes.
const REQUEST_BYTES_MAX: usize = 4096;
/// After a connection could not be taken, as where no file is left for it.
const ACCEPT_PAUSE: Duration = Duration::from_secs(1);

/// Returns where the socket is.
pub(crate) fn socket(state_dir: &Path) -> PathBuf {
    state_dir.join("agent.sock")
}

/// Answers at the socket until it is dropped.
///
/// # Errors
/// Where the socket can't be made.
pub(crate) fn at_socket(path: &Path, view: View) -> io::Result<impl Future<Output = ()> + use<>> {
    // Left by a run that was killed; we hold the lock of the directory.
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    let listener = UnixListener::bind(path)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
    Ok(async move {
        let mut places = Places::new(view, Door::Socket);
        loop {
            match listener.accept().await {
                Ok((stream, _)) => places.serve(stream).await,
                Err(error) => refused(&error).await,
            }
        }
    })
}

/// Answers scrapes until it is dropped.
///
/// # Errors
/// Where the address can't be listened on.
pub(crate) async fn at_address(
    address: SocketAddr,
    view: View,
) -> io::Result<impl Future<Output = ()> + use<>> {
    let listener = TcpListener::bind(address).await?;
    Ok(async move {
        let mut places = Places::new(view, Door::Metrics);
        loop {
            match listener.accept().await {
                Ok((stream, _)) => places.serve(stream).await,
                Err(error) => refused(&error).await,
            }
        }
    })
}

async fn refused(error: &io::Error) {
    tracing::debug!(%error, "a connection can't be taken");
    sleep(ACCEPT_PAUSE).await;
}

/// The connections of a door, as many as there are places.
struct Places {
    view: Arc<View>,
    door: Door,
    free: Arc<Semaphore>,
    taken: JoinSet<()>,
}

impl Places {
    fn new(view: View, door: Door) -> Places {
        Places {
            view: Arc::new(view),
            door,
            free: Arc::new(Semaphore::new(CONNECTIONS_MAX)),
            taken: JoinSet::new(),
        }
    }

    /// Serves a connection beside the others, when there is a place.
    async fn serve(&mut self, stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static) {
        while self.taken.try_join_next().is_some() {}
        let Ok(place) = Arc::clone(&self.free).acquire_owned().await else {
            return;
        };
        let (view, door) = (Arc::clone(&self.view), self.door);
        self.taken.spawn(async move {
            let service = service_fn(|request| {
                let view = Arc::clone(&view);
                async move { Ok::<_, hyper::Error>(respond(request, (&view, door)).await) }
            });
            let mut http = http1::Builder::new();
            http.timer(TokioTimer::new());
            http.header_read_timeout(REQUEST_TIME);
            let serving = http.serve_connection(TokioIo::new(stream), service);
            // Whoever has gone away is not to be told.
            let _ = timeout(CONNECTION_TIME, serving).await;
            drop(place);
        });
    }
}

async fn respond(request: Request<Incoming>, (view, door): (&View, Door)) -> Response<Full<Bytes>> {
    let (head, body) = request.into_parts();
    let body = timeout(
        REQUEST_TIME,
        Limited::new(body, REQUEST_BYTES_MAX).collect(),
    );
    let asked = match body.await {
        Ok(Ok(body)) => Ok(Asked {
            method: head.method.as_str().to_owned(),
            path: head.uri.path().to_owned(),
            body: body.to_bytes().to_vec(),
        }),
        Ok(Err(_)) => Err(format!("a request has at most {REQUEST_BYTES_MAX} bytes\n")),
        Err(_) => Err("the request did not come\n".to_owned()),
    };
    let Answer { status, kind, text } = match asked {
        Ok(asked) => answer(&asked, (view, door)).await,
        Err(text) => Answer::plain(400, text),
    };
    let mut response = Response::new(Full::new(Bytes::from(text)));
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(CONTENT_TYPE, hyper::header::HeaderValue::from_static(kind));
    response
}
