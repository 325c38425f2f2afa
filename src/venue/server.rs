//! The listener: HTTP/1.1 connections that can be upgraded, and that a fault can reset.
//!
//! hyper itself serves them: axum's own server sets no time limit on a request's head, and cannot reset a connection.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service as _, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// The most open connections; further ones wait in the listener's backlog.
const MAX_CONNECTIONS: usize = 1_024;
/// The maximum time for a request's head, and for a connection to be idle.
const HEAD_TIMEOUT: Duration = Duration::from_secs(60);
/// The pause after a failed accept: the system has run out of a resource.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// The client's end of a connection: an extension of every request.
#[derive(Debug, Clone)]
pub struct Peer {
    /// The client's address.
    pub address: SocketAddr,
    resets: Arc<AtomicBool>,
}

impl Peer {
    /// Lets the connection end with a reset instead of a close, as soon as it is dropped.
    pub fn reset_when_dropped(&self) {
        self.resets.store(true, Ordering::Release);
    }
}

/// The mark of a response that is not sent: its connection is reset.
#[derive(Debug, Clone, Copy)]
pub struct ResetConnection;

/// The connection of this response is reset.
#[derive(Debug, thiserror::Error)]
#[error("a fault resets the connection")]
struct Reset;

/// Accepts connections until the shutdown, and serves each in a task of its own.
pub async fn accept_connections(
    listener: TcpListener,
    router: Router,
    shutdown: CancellationToken,
    tasks: TaskTracker,
) {
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    loop {
        let accepted = async {
            // The semaphore is never closed.
            let place = places.clone().acquire_owned().await.ok();
            (place, listener.accept().await)
        };
        let (place, accepted) = tokio::select! {
            () = shutdown.cancelled() => return,
            accepted = accepted => accepted,
        };
        match accepted {
            Ok((stream, address)) => {
                tasks.spawn(serve(stream, address, place, router.clone(), shutdown.clone()));
            }
            Err(error) => {
                tracing::warn!(%error, "accepting a connection failed");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn serve(
    stream: TcpStream,
    address: SocketAddr,
    place: Option<OwnedSemaphorePermit>,
    router: Router,
    shutdown: CancellationToken,
) {
    // An answer is small and complete: delaying its packets gains nothing.
    let _ = stream.set_nodelay(true);
    let peer = Peer {
        address,
        resets: Arc::default(),
    };
    let stream = ResettableStream {
        stream,
        resets: peer.resets.clone(),
        _place: place,
    };
    let service = TowerToHyperService::new(router);
    let service = service_fn(move |mut request: Request<Incoming>| {
        let peer = peer.clone();
        request.extensions_mut().insert(peer.clone());
        let response = service.call(request);
        async move {
            let response = response.await.unwrap_or_else(|never: Infallible| match never {});
            match response.extensions().get::<ResetConnection>() {
                None => Ok(response),
                Some(ResetConnection) => {
                    peer.reset_when_dropped();
                    Err(Reset)
                }
            }
        }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades();
    let mut connection = std::pin::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = shutdown.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%address, %error, "connection ended with an error");
    }
}

/// A connection that ends with a reset if it is asked to.
#[derive(Debug)]
struct ResettableStream {
    stream: TcpStream,
    resets: Arc<AtomicBool>,
    /// Released with the connection.
    _place: Option<OwnedSemaphorePermit>,
}

impl Drop for ResettableStream {
    fn drop(&mut self) {
        if self.resets.load(Ordering::Acquire) {
            // Without it, the connection ends with a close: a client sees no answer either way.
            let _ = self.stream.set_zero_linger();
        }
    }
}

impl AsyncRead for ResettableStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for ResettableStream {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
