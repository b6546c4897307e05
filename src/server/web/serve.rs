//! Accepts connections and serves them, HTTP/1 and HTTP/2, within limits of number and time.
//!
//! A connection is idle until the head of a request has arrived, and again after the last response has been sent. Idle ones
//! are closed after a while, and before that when another connection needs the room ([`Connections`]). A request has as long
//! as it needs, up to [`Timeouts::request`], while the client takes what is sent to it; its body has a limit of its own
//! ([`limit_body`](super::limit_body)).

use super::{
    connections::{Admission, Connections, Limits},
    router,
};
use crate::server::state::AppState;
use axum::{
    Router,
    body::{Body, Bytes},
    extract::{ConnectInfo, Request},
    http::Version,
    response::Response,
};
use hyper::{
    body::{Body as HttpBody, Frame, Incoming, SizeHint},
    service::service_fn,
};
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto::Builder,
};
use std::{
    collections::HashMap,
    convert::Infallible,
    fmt, io,
    net::{IpAddr, SocketAddr},
    pin::{Pin, pin},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, ready},
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpListener,
    sync::{Notify, OwnedSemaphorePermit, Semaphore},
    time::{Instant, Sleep, sleep, sleep_until},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tower::ServiceExt;

/// More than the largest legitimate head: an address with what was entered into a form.
const MAX_HEAD_BYTES: u32 = 32 * 1024;
const MAX_STREAMS: u32 = 64;
/// Connections that are being closed while others take their place.
const CLOSING: usize = 64;
/// When the system gives no connection, for lack of descriptors or memory.
const ACCEPT_PAUSE: Duration = Duration::from_secs(1);
const BUSY: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 5\r\nConnection: close\r\n\
      Content-Type: text/plain\r\nContent-Length: 31\r\n\r\nToo many requests at one time.\n";

#[derive(Debug, Clone, Copy)]
pub struct Timeouts {
    /// From the first byte of a request (on a new connection, from its beginning) to the end of its head.
    pub head: Duration,
    /// Between requests. Longer than proxies keep unused connections, so that none sends a request into a closed one.
    pub idle: Duration,
    /// From the end of a request's head to the end of its response.
    pub request: Duration,
    /// For which a client takes nothing of what is sent to it.
    pub stalled_write: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            head: Duration::from_secs(15),
            idle: Duration::from_secs(150),
            request: Duration::from_secs(60 * 60),
            stalled_write: Duration::from_secs(60),
        }
    }
}

/// Serves until `shutdown` is complete, and then until the open requests are answered.
///
/// # Errors
/// The listener has no address.
pub async fn serve(
    listener: TcpListener,
    state: AppState,
    limits: Limits,
    shutdown: impl Future<Output = ()>,
) -> io::Result<()> {
    let network = Arc::new(state.network.listening_on(listener.local_addr()?.ip()));
    let router = router(AppState { network: network.clone(), ..state });
    let open = Arc::new(Open::new(limits));
    let sockets = Arc::new(Semaphore::new(limits.total.saturating_add(CLOSING).min(Semaphore::MAX_PERMITS)));
    let (tasks, ending) = (TaskTracker::new(), CancellationToken::new());
    // Connections end with the server, however that ends.
    let _end = ending.clone().drop_guard();
    let accept = async {
        loop {
            let Ok(permit) = sockets.clone().acquire_owned().await else { return };
            match listener.accept().await {
                Ok((stream, peer)) => {
                    let _ = stream.set_nodelay(true);
                    let Some(connection) = open.admit(peer.ip(), network.trusts(peer.ip())) else {
                        // Best effort: nobody waits for a client that is turned away.
                        let _ = stream.try_write(BUSY);
                        continue;
                    };
                    connection.keep(permit);
                    let router = router.clone();
                    tasks.spawn(serve_connection(
                        stream,
                        peer,
                        router,
                        connection,
                        Timeouts::default(),
                        ending.clone(),
                    ));
                }
                Err(error) if is_of_the_connection(&error) => {}
                Err(error) => {
                    tracing::error!(%error, "no connection can be accepted");
                    sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    };
    tokio::select! {
        () = accept => {}
        () = shutdown => {}
    }
    drop(listener);
    ending.cancel();
    tasks.close();
    tasks.wait().await;
    Ok(())
}

fn is_of_the_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}

/// The open connections, with what reaches the task of each.
struct Open {
    table: Mutex<(Connections, HashMap<u64, Arc<Notify>>)>,
}

impl Open {
    fn new(limits: Limits) -> Self {
        Self { table: Mutex::new((Connections::new(limits), HashMap::new())) }
    }

    fn lock(&self) -> MutexGuard<'_, (Connections, HashMap<u64, Arc<Notify>>)> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn admit(self: &Arc<Self>, peer: IpAddr, is_trusted_proxy: bool) -> Option<Arc<Connection>> {
        let now = Instant::now();
        let mut table = self.lock();
        let id = match table.0.admit(peer, is_trusted_proxy, now.into_std()) {
            Admission::Admitted(id) => id,
            Admission::InPlaceOf { id, evicted } => {
                if let Some(changed) = table.1.remove(&evicted) {
                    changed.notify_one();
                }
                id
            }
            Admission::Rejected => return None,
        };
        let changed = Arc::new(Notify::new());
        table.1.insert(id, changed.clone());
        Some(Arc::new(Connection {
            open: self.clone(),
            id,
            changed,
            progress: Mutex::new(Progress { phase: Phase::Head, since: now, requests: 0, is_writing: false }),
            is_multiplexed: AtomicBool::new(false),
            permit: Mutex::new(None),
        }))
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// A head is awaited, or arriving.
    Head,
    Idle,
    Active,
}

#[derive(Debug, Clone, Copy)]
struct Progress {
    phase: Phase,
    since: Instant,
    requests: usize,
    /// The client has yet to take some of the last response: hyper holds the end of it.
    is_writing: bool,
}

/// The place that a request takes, in its extensions until somebody takes it over: until the last of these is dropped, the
/// request counts as one that is not yet answered.
#[derive(Clone)]
pub struct Place {
    _guard: Arc<RequestGuard>,
}

/// One connection; its place is free again when it is dropped.
struct Connection {
    open: Arc<Open>,
    id: u64,
    /// Its phase has changed, or it has to give way.
    changed: Arc<Notify>,
    progress: Mutex<Progress>,
    is_multiplexed: AtomicBool,
    permit: Mutex<Option<OwnedSemaphorePermit>>,
}

impl Connection {
    fn progress(&self) -> MutexGuard<'_, Progress> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn keep(&self, permit: OwnedSemaphorePermit) {
        *self.permit.lock().unwrap_or_else(PoisonError::into_inner) = Some(permit);
    }

    /// Bytes have arrived.
    fn receive(&self) {
        let mut progress = self.progress();
        if progress.phase == Phase::Idle && !self.is_multiplexed.load(Ordering::Relaxed) {
            (progress.phase, progress.since) = (Phase::Head, Instant::now());
            self.changed.notify_one();
        }
    }

    /// The head of a request has arrived.
    fn begin_request(self: &Arc<Self>, version: Version) -> Result<RequestGuard, Evicted> {
        self.is_multiplexed.store(version == Version::HTTP_2, Ordering::Relaxed);
        let mut progress = self.progress();
        if !self.open.lock().0.set_active(self.id) {
            return Err(Evicted);
        }
        progress.requests += 1;
        (progress.phase, progress.since) = (Phase::Active, Instant::now());
        self.changed.notify_one();
        Ok(RequestGuard(self.clone()))
    }

    /// Output waits for the client, or all of it has been taken.
    fn set_writing(&self, is_writing: bool) {
        let mut progress = self.progress();
        if progress.is_writing == is_writing {
            return;
        }
        progress.is_writing = is_writing;
        if progress.requests == 0 {
            self.set_phase(&mut progress);
        }
    }

    /// Marks the connection as idle or in use. The lock on its progress is held until the table says the same: another
    /// request may begin at this moment.
    fn set_phase(&self, progress: &mut Progress) {
        let now = Instant::now();
        let is_active = progress.requests > 0 || progress.is_writing;
        (progress.phase, progress.since) = (if is_active { Phase::Active } else { Phase::Idle }, now);
        let mut table = self.open.lock();
        if is_active {
            table.0.set_active(self.id);
        } else {
            table.0.set_idle(self.id, now.into_std());
        }
        self.changed.notify_one();
    }

    /// When to look again, or `None` if it is to be closed now.
    fn deadline(&self, timeouts: &Timeouts) -> Option<Instant> {
        let progress = *self.progress();
        let limit = match progress.phase {
            Phase::Head => timeouts.head,
            Phase::Idle => timeouts.idle,
            Phase::Active => timeouts.request,
        };
        let deadline = progress.since + limit;
        (deadline > Instant::now()).then_some(deadline)
    }

    /// Whether it has given its place to another.
    fn has_given_way(&self) -> bool {
        !self.open.lock().1.contains_key(&self.id)
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        let mut table = self.open.lock();
        table.0.remove(self.id);
        table.1.remove(&self.id);
    }
}

/// A request that is not yet answered to its end.
struct RequestGuard(Arc<Connection>);

impl Drop for RequestGuard {
    fn drop(&mut self) {
        let mut progress = self.0.progress();
        progress.requests -= 1;
        if progress.requests == 0 {
            self.0.set_phase(&mut progress);
        }
    }
}

/// The request came when its connection had given way.
#[derive(Debug)]
struct Evicted;

impl fmt::Display for Evicted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the connection has given way to another")
    }
}

impl std::error::Error for Evicted {}

async fn serve_connection<S>(
    stream: S,
    peer: SocketAddr,
    router: Router,
    connection: Arc<Connection>,
    timeouts: Timeouts,
    ending: CancellationToken,
) where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let service = {
        let connection = connection.clone();
        service_fn(move |request: hyper::Request<Incoming>| {
            let (router, begun) = (router.clone(), connection.begin_request(request.version()));
            async move {
                let guard = begun?;
                let mut request: Request = request.map(Body::new);
                request.extensions_mut().insert(ConnectInfo(peer));
                let guard = Arc::new(guard);
                request.extensions_mut().insert(Place { _guard: guard.clone() });
                let response: Result<Response, Infallible> = router.oneshot(request).await;
                let Ok(response) = response;
                Ok::<_, Evicted>(response.map(|body| GuardedBody { body, _guard: guard }))
            }
        })
    };
    let mut builder = Builder::new(TokioExecutor::new());
    builder.http1().max_buf_size(MAX_HEAD_BYTES as usize);
    builder.http2().max_header_list_size(MAX_HEAD_BYTES).max_concurrent_streams(MAX_STREAMS);
    let stream =
        Monitored { stream, connection: connection.clone(), limit: timeouts.stalled_write, stalled: None };
    let mut serving = pin!(builder.serve_connection_with_upgrades(TokioIo::new(stream), service));
    loop {
        let Some(deadline) = connection.deadline(&timeouts) else { return };
        tokio::select! {
            biased;
            done = serving.as_mut() => {
                if let Err(error) = done {
                    tracing::debug!(%peer, %error, "a connection broke");
                }
                // If it goes on as an upgraded one, nobody here could close it.
                connection.open.lock().0.set_active(connection.id);
                return;
            }
            () = connection.changed.notified() => {
                if connection.has_given_way() {
                    return;
                }
            }
            () = sleep_until(deadline) => {}
            () = ending.cancelled() => break,
        }
    }
    serving.as_mut().graceful_shutdown();
    while connection.progress().phase == Phase::Active {
        tokio::select! {
            biased;
            _ = serving.as_mut() => return,
            () = connection.changed.notified() => {}
        }
    }
    // What is left to do is to write the end of the last response.
    let _ = tokio::time::timeout(timeouts.head, serving).await;
}

/// A response's body; the request ends with it.
struct GuardedBody {
    body: Body,
    _guard: Arc<RequestGuard>,
}

impl HttpBody for GuardedBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// A stream that reports what it receives, and breaks when the client takes nothing for too long.
struct Monitored<S> {
    stream: S,
    connection: Arc<Connection>,
    limit: Duration,
    stalled: Option<Pin<Box<Sleep>>>,
}

impl<S> Monitored<S> {
    fn check<T>(&mut self, context: &mut Context<'_>, written: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.stalled = None;
            return written;
        }
        self.connection.set_writing(true);
        let limit = self.limit;
        let stalled = self.stalled.get_or_insert_with(|| Box::pin(sleep(limit)));
        ready!(stalled.as_mut().poll(context));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Monitored<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(context, buffer);
        if buffer.filled().len() > before {
            self.connection.receive();
        }
        read
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Monitored<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.check(context, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(context, slices);
        self.check(context, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.stream).poll_flush(context);
        if flushed.is_ready() {
            self.connection.set_writing(false);
        }
        self.check(context, flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let shut = Pin::new(&mut self.stream).poll_shutdown(context);
        self.check(context, shut)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::routing::get;
    use futures::stream;
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex},
        task::JoinHandle,
        time::timeout,
    };

    const TIMEOUTS: Timeouts = Timeouts {
        head: Duration::from_secs(15),
        idle: Duration::from_secs(150),
        request: Duration::from_secs(3600),
        stalled_write: Duration::from_secs(60),
    };
    const REQUEST: &[u8] = b"GET /small HTTP/1.1\r\nHost: localhost\r\n\r\n";
    const PARTS: usize = 100;

    struct Harness {
        open: Arc<Open>,
        router: Router,
        ending: CancellationToken,
    }

    impl Harness {
        fn new(limits: Limits) -> Self {
            let large = || async {
                let parts = stream::iter((0..PARTS).map(|_| Ok::<_, Infallible>(vec![b'x'; 1024])));
                Body::from_stream(parts)
            };
            let slow = || async {
                sleep(Duration::from_secs(600)).await;
                "done"
            };
            let router = Router::new()
                .route("/small", get(|| async { "small" }))
                .route("/large", get(large))
                .route("/slow", get(slow));
            Self { open: Arc::new(Open::new(limits)), router, ending: CancellationToken::new() }
        }

        fn connect(&self) -> Option<(DuplexStream, JoinHandle<()>)> {
            let (client, server) = duplex(2048);
            let peer = SocketAddr::from(([192, 0, 2, 7], 40_000));
            let connection = self.open.admit(peer.ip(), false)?;
            let serving = serve_connection(
                server,
                peer,
                self.router.clone(),
                connection,
                TIMEOUTS,
                self.ending.clone(),
            );
            Some((client, tokio::spawn(serving)))
        }
    }

    fn harness() -> Harness {
        Harness::new(Limits { total: 10, per_address: 10 })
    }

    /// Seconds until the server closes the connection. The clock is paused: it goes on when nothing else can.
    async fn closes_after(client: &mut DuplexStream) -> u64 {
        let begin = Instant::now();
        let mut rest = Vec::new();
        client.read_to_end(&mut rest).await.unwrap();
        begin.elapsed().as_secs()
    }

    async fn response(client: &mut DuplexStream) -> String {
        let mut bytes = vec![0; 2048];
        let mut text = String::new();
        while !text.ends_with("small") {
            let count = client.read(&mut bytes).await.unwrap();
            assert_ne!(count, 0, "closed after {text}");
            text += std::str::from_utf8(&bytes[..count]).unwrap();
        }
        text
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_without_a_request_is_closed() {
        let (mut silent, _task) = harness().connect().unwrap();
        assert_eq!(closes_after(&mut silent).await, 15);
        let (mut slow, _task) = harness().connect().unwrap();
        slow.write_all(b"GET / HTTP/1.1\r\nHost: loc").await.unwrap();
        assert_eq!(closes_after(&mut slow).await, 15);
        let (mut multiplexed, _task) = harness().connect().unwrap();
        multiplexed.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await.unwrap();
        assert_eq!(closes_after(&mut multiplexed).await, 15);
    }

    #[tokio::test(start_paused = true)]
    async fn bytes_that_trickle_in_do_not_extend_the_time_of_a_head() {
        let (mut client, task) = harness().connect().unwrap();
        let begin = Instant::now();
        for byte in REQUEST {
            if task.is_finished() {
                break;
            }
            let _ = client.write_all(&[*byte]).await;
            sleep(Duration::from_secs(1)).await;
        }
        task.await.unwrap();
        assert!(begin.elapsed() <= Duration::from_secs(16));
    }

    #[tokio::test(start_paused = true)]
    async fn between_requests_a_connection_is_kept_for_longer() {
        let (mut client, _task) = harness().connect().unwrap();
        for _ in 0..3 {
            client.write_all(REQUEST).await.unwrap();
            response(&mut client).await;
            sleep(Duration::from_secs(140)).await;
        }
        assert_eq!(closes_after(&mut client).await, 10);
        let (mut client, _task) = harness().connect().unwrap();
        client.write_all(REQUEST).await.unwrap();
        response(&mut client).await;
        sleep(Duration::from_secs(100)).await;
        client.write_all(b"GET").await.unwrap();
        assert_eq!(closes_after(&mut client).await, 15, "the next head has begun");
    }

    #[tokio::test(start_paused = true)]
    async fn a_long_request_and_a_slow_download_go_on() {
        let (mut client, _task) = harness().connect().unwrap();
        client
            .write_all(b"GET /slow HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            .await
            .unwrap();
        assert_eq!(closes_after(&mut client).await, 600);
        let (mut client, _task) = harness().connect().unwrap();
        client
            .write_all(b"GET /large HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            .await
            .unwrap();
        let mut total = 0;
        let mut bytes = vec![0; 2048];
        loop {
            sleep(Duration::from_secs(30)).await;
            match client.read(&mut bytes).await.unwrap() {
                0 => break,
                count => total += count,
            }
        }
        assert!(total > PARTS * 1024, "{total}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_takes_nothing_is_given_up() {
        let (mut client, task) = harness().connect().unwrap();
        client.write_all(b"GET /large HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
        let begin = Instant::now();
        task.await.unwrap();
        assert_eq!(begin.elapsed().as_secs(), 60);
    }

    #[tokio::test(start_paused = true)]
    async fn idle_connections_give_way_and_those_with_a_request_do_not() {
        let harness = Harness::new(Limits { total: 3, per_address: 2 });
        let (mut busy, _busy) = harness.connect().unwrap();
        busy.write_all(b"GET /slow HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").await.unwrap();
        tokio::task::yield_now().await;
        let (mut idle, _idle) = harness.connect().unwrap();
        let (mut next, _next) = harness.connect().unwrap();
        assert_eq!(closes_after(&mut idle).await, 0);
        next.write_all(REQUEST).await.unwrap();
        response(&mut next).await;
        next.write_all(b"GET /slow HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
        tokio::task::yield_now().await;
        assert!(harness.connect().is_none());
        assert_eq!(closes_after(&mut busy).await, 600);
        assert!(harness.connect().is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn at_the_end_open_requests_are_answered_and_idle_connections_closed() {
        let harness = harness();
        let (mut busy, _busy) = harness.connect().unwrap();
        busy.write_all(b"GET /slow HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
        let (mut idle, _idle) = harness.connect().unwrap();
        idle.write_all(REQUEST).await.unwrap();
        response(&mut idle).await;
        harness.ending.cancel();
        assert_eq!(closes_after(&mut idle).await, 0);
        let mut text = String::new();
        timeout(Duration::from_secs(700), busy.read_to_string(&mut text)).await.unwrap().unwrap();
        assert!(text.ends_with("done"), "{text}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_place_is_free_again_when_its_connection_ends() {
        let harness = Harness::new(Limits { total: 1, per_address: 1 });
        for _ in 0..5 {
            let (mut client, task) = harness.connect().unwrap();
            client.write_all(b"GET /small HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
            response(&mut client).await;
            drop(client);
            task.await.unwrap();
            assert!(harness.open.lock().1.is_empty());
        }
    }
}
