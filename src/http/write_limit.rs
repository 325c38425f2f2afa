//! A limit on how long a client may leave written bytes unread.
//!
//! It sits below HTTP, since such a client is invisible above it: while its buffer is full, hyper neither polls for the
//! rest of a response nor gives up.

use std::io::{Error, ErrorKind, IoSlice, Result};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep_until};
use tokio_util::sync::CancellationToken;

/// How long a client may read nothing once the server drains.
const DRAIN_LIMIT: Duration = Duration::from_millis(500);

/// A stream whose writes fail if the other side reads nothing for too long.
#[derive(Debug)]
pub(super) struct WriteLimited<S> {
    stream: S,
    limit: Duration,
    /// Cancelled when the server drains.
    drain: CancellationToken,
    /// The timer of the current stall; `None` while the client reads.
    stall_timer: Option<Pin<Box<Sleep>>>,
}

impl<S> WriteLimited<S> {
    /// Returns the stream under a limit.
    pub(super) fn new(stream: S, limit: Duration, drain: CancellationToken) -> Self {
        Self {
            stream,
            limit,
            drain,
            stall_timer: None,
        }
    }

    /// Returns the result of a write; a pending one fails at the end of its limit.
    fn limit_stall(&mut self, written: Poll<Result<usize>>, context: &mut Context<'_>) -> Poll<Result<usize>> {
        if written.is_ready() {
            self.stall_timer = None;
            return written;
        }
        let now = Instant::now();
        let limit = self.limit;
        let stall_timer = self
            .stall_timer
            .get_or_insert_with(|| Box::pin(sleep_until(now + limit)));
        if self.drain.is_cancelled() && stall_timer.deadline() > now + DRAIN_LIMIT {
            stall_timer.as_mut().reset(now + DRAIN_LIMIT);
        }
        ready!(stall_timer.as_mut().poll(context));
        let message = "the client reads none of the written bytes";
        Poll::Ready(Err(Error::new(ErrorKind::TimedOut, message)))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for WriteLimited<S> {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for WriteLimited<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.limit_stall(written, context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(context, pieces);
        self.limit_stall(written, context)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};
    use tokio::time::interval;

    use super::*;

    const LIMIT: Duration = Duration::from_secs(2);

    #[tokio::test]
    async fn only_a_client_that_reads_nothing_for_the_whole_limit_times_out() {
        let (ours, mut theirs) = duplex(4);
        let drain = CancellationToken::new();
        let mut limited = WriteLimited::new(ours, LIMIT, drain.clone());
        let writing = tokio::spawn(async move {
            let failed = limited.write_all(&[7; 12]).await.unwrap_err();
            (failed.kind(), limited)
        });
        // However little the client reads each time, writing continues.
        let begun = Instant::now();
        let mut ticks = interval(LIMIT / 4);
        for _ in 0..6 {
            ticks.tick().await;
            assert_eq!(theirs.read_u8().await.unwrap(), 7);
        }
        let (kind, mut limited) = writing.await.unwrap();
        assert_eq!(kind, ErrorKind::TimedOut);
        assert!(begun.elapsed() >= LIMIT / 4 * 5 + LIMIT);

        // A drain waits less, also if the stall began before it.
        limited.stall_timer = Some(Box::pin(sleep_until(Instant::now() + LIMIT * 100)));
        drain.cancel();
        let begun = Instant::now();
        let failed = limited.write_all(&[7; 12]).await.unwrap_err();
        assert_eq!(failed.kind(), ErrorKind::TimedOut);
        assert!(begun.elapsed() < LIMIT);
    }
}
