//! Bounds what a client's connection has sent and its channels have not passed on yet.
//!
//! russh grants a client a new window whenever data arrives, so nothing but the connection itself can make it wait. While
//! more than [`LIMIT_BYTES`] wait, the connection is read only now and then, after pauses that double. It must be read a little
//! even then: what the guest waits for may be that the client takes more output, and the client's word that it does is behind
//! its data.

use futures::task::AtomicWaker;
use std::{
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Sleep, sleep},
};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

const LIMIT_BYTES: usize = 1024 * 1024;
/// What is read after a pause: about what a client may send before it hears that it must wait.
const READ_BYTES: usize = 256 * 1024;
/// From so much on, the connection is not read at all.
const MAX_BYTES: usize = 16 * 1024 * 1024;
const FIRST_PAUSE: Duration = Duration::from_millis(5);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// How much waits. Clones are the same.
#[derive(Clone, Default)]
pub struct Backlog(Arc<Shared>);

#[derive(Default)]
struct Shared {
    bytes: AtomicUsize,
    reader: AtomicWaker,
    closed: CancellationToken,
}

impl Backlog {
    /// Counts `bytes` until the answer is dropped.
    pub fn hold(&self, bytes: usize) -> Held {
        self.0.bytes.fetch_add(bytes, Ordering::SeqCst);
        Held { backlog: self.clone(), bytes }
    }

    /// Makes reading and writing fail.
    pub fn close(&self) {
        self.0.closed.cancel();
    }

    fn bytes(&self) -> usize {
        self.0.bytes.load(Ordering::SeqCst)
    }
}

pub struct Held {
    backlog: Backlog,
    bytes: usize,
}

impl Drop for Held {
    fn drop(&mut self) {
        let shared = &self.backlog.0;
        let before = shared.bytes.fetch_sub(self.bytes, Ordering::SeqCst);
        if before >= LIMIT_BYTES && before - self.bytes < LIMIT_BYTES {
            shared.reader.wake();
        }
    }
}

/// A client's connection.
pub struct Bounded<S> {
    stream: S,
    backlog: Backlog,
    closed: Pin<Box<WaitForCancellationFutureOwned>>,
    pause: Option<Pin<Box<Sleep>>>,
    next_pause: Duration,
    /// What may still be read after the latest pause.
    allowance: usize,
}

impl<S> Bounded<S> {
    pub fn new(stream: S, backlog: Backlog) -> Self {
        let closed = Box::pin(backlog.0.closed.clone().cancelled_owned());
        Self { stream, backlog, closed, pause: None, next_pause: FIRST_PAUSE, allowance: 0 }
    }

    fn check_closed(&mut self, context: &mut Context<'_>) -> io::Result<()> {
        match self.closed.as_mut().poll(context) {
            Poll::Ready(()) => Err(io::ErrorKind::ConnectionAborted.into()),
            Poll::Pending => Ok(()),
        }
    }

    fn poll_turn(&mut self, context: &mut Context<'_>) -> Poll<()> {
        self.backlog.0.reader.register(context.waker());
        let bytes = self.backlog.bytes();
        if bytes < LIMIT_BYTES {
            (self.pause, self.next_pause, self.allowance) = (None, FIRST_PAUSE, 0);
            return Poll::Ready(());
        }
        if bytes >= MAX_BYTES {
            return Poll::Pending;
        }
        if self.allowance > 0 {
            return Poll::Ready(());
        }
        let pause = self.pause.get_or_insert_with(|| Box::pin(sleep(self.next_pause)));
        std::task::ready!(pause.as_mut().poll(context));
        self.pause = None;
        self.next_pause = (self.next_pause * 2).min(LONGEST_PAUSE);
        self.allowance = READ_BYTES;
        Poll::Ready(())
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Bounded<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.check_closed(context)?;
        std::task::ready!(self.poll_turn(context));
        let before = buffer.filled().len();
        let read = std::task::ready!(Pin::new(&mut self.stream).poll_read(context, buffer));
        self.allowance = self.allowance.saturating_sub(buffer.filled().len() - before);
        Poll::Ready(read)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Bounded<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.check_closed(context)?;
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.check_closed(context)?;
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        time::{Instant, timeout},
    };

    #[tokio::test(start_paused = true)]
    async fn a_connection_is_read_now_and_then_while_too_much_waits_and_at_once_afterwards() {
        let backlog = Backlog::default();
        let (mut client, server) = tokio::io::duplex(4 * READ_BYTES);
        let mut bounded = Bounded::new(server, backlog.clone());
        let begin = Instant::now();
        client.write_all(b"a").await.unwrap();
        assert_eq!(bounded.read_u8().await.unwrap(), b'a');
        assert_eq!(begin.elapsed(), Duration::ZERO);

        let held = backlog.hold(LIMIT_BYTES);
        client.write_all(&vec![b'b'; 3 * READ_BYTES]).await.unwrap();
        client.write_all(b"e").await.unwrap();
        let mut pauses = Vec::new();
        let mut piece = vec![0; READ_BYTES];
        for _ in 0..3 {
            let asked = Instant::now();
            bounded.read_exact(&mut piece).await.unwrap();
            pauses.push(asked.elapsed().as_millis());
        }
        assert!(pauses.is_sorted() && pauses[0] >= 5 && pauses[2] >= 20, "{pauses:?}");

        let reading = tokio::spawn(async move {
            let asked = Instant::now();
            (bounded.read_u8().await.unwrap(), asked.elapsed(), bounded)
        });
        tokio::task::yield_now().await;
        drop(held);
        let (byte, waited, mut bounded) = reading.await.unwrap();
        assert_eq!((byte, waited), (b'e', Duration::ZERO));

        let _full = backlog.hold(MAX_BYTES);
        client.write_all(b"f").await.unwrap();
        assert!(timeout(Duration::from_secs(3600), bounded.read_u8()).await.is_err());
        backlog.close();
        assert!(bounded.read_u8().await.is_err());
        assert!(bounded.write_all(b"x").await.is_err());
    }
}
