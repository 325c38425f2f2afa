//! Connections: as many as have a place, each with a limit on its silence, closed in order.
//!
//! They are served by hyper itself: the usual server of axum sets no time limit on a request's head and cannot close what
//! is left at the end of a drain.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

use super::context::Peer;
use super::write_limit::WriteLimited;

/// Connections beyond the requests that may be under way: for those that rest between two requests.
pub(super) const RESTING_CONNECTIONS: usize = 1_024;
/// How long a request's head may take, and how long a connection may rest.
const HEAD_TIMEOUT: Duration = Duration::from_secs(60);
/// The most bytes of a connection's read buffer, and so of a request's head.
const MAX_HEAD_BYTES: usize = 64 * 1_024;
/// The size of a connection's send buffer, as it is asked of the system. The system tells that a client has taken something
/// only when about a third of it is free: with one that grows to megabytes, as usual, a client that is slow and alive
/// looked like one that takes nothing.
const SEND_BUFFER_BYTES: u32 = 128 * 1_024;
/// Connections that wait to be taken.
const BACKLOG: u32 = 1_024;
/// The pause after a connection that could not be taken: the system has run out of something.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// What a connection without a place is told, if it can be told at once.
const FULL: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/problem+json\r\nRetry-After: 1\r\n\
Connection: close\r\nContent-Length: 170\r\n\r\n{\"type\":\"/problems/queue_full\",\"title\":\"The router is full\",\
\"status\":503,\"detail\":\"the sidecar has as many connections as it takes; nothing was sent\",\"code\":\"queue_full\"}";

/// The listener and every open connection.
#[derive(Debug)]
pub(super) struct Connections {
    /// Ends the listener and asks every connection to finish.
    stop: CancellationToken,
    /// Closes what is open; also when the whole is dropped.
    cut: DropGuard,
    tasks: TaskTracker,
}

/// What a connection's task needs.
#[derive(Debug, Clone)]
struct Serving {
    router: Router,
    stop: CancellationToken,
    cut: CancellationToken,
    places: Arc<Semaphore>,
    write_timeout: Duration,
    tasks: TaskTracker,
}

/// Listens at an address.
///
/// # Errors
/// When the system refuses.
pub(super) fn listen(address: SocketAddr) -> std::io::Result<TcpListener> {
    let socket = if address.is_ipv4() {
        TcpSocket::new_v4()?
    } else {
        TcpSocket::new_v6()?
    };
    socket.set_reuseaddr(true)?;
    // Connections have it from their listener.
    socket.set_send_buffer_size(SEND_BUFFER_BYTES)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

impl Connections {
    /// Takes connections from now on, so many at a time. One whose client takes nothing for `write_timeout`, while there
    /// is something to write, is closed.
    pub(super) fn serve(
        listener: TcpListener,
        router: Router,
        max_connections: usize,
        write_timeout: Duration,
    ) -> Self {
        let serving = Serving {
            router,
            stop: CancellationToken::new(),
            cut: CancellationToken::new(),
            places: Arc::new(Semaphore::new(max_connections)),
            write_timeout,
            tasks: TaskTracker::new(),
        };
        let (stop, cut, tasks) = (serving.stop.clone(), serving.cut.clone(), serving.tasks.clone());
        tasks.spawn(serving.accept(listener));
        Self {
            stop,
            cut: cut.drop_guard(),
            tasks,
        }
    }

    /// Takes no more connections and waits until every one has finished its request and is closed.
    pub(super) async fn finish(&self) {
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }

    /// Closes what is open.
    pub(super) fn cut(self) {
        drop(self.cut);
    }
}

impl Serving {
    async fn accept(self, listener: TcpListener) {
        loop {
            let accepted = tokio::select! {
                biased;
                () = self.stop.cancelled() => return,
                () = self.cut.cancelled() => return,
                accepted = listener.accept() => accepted,
            };
            match accepted {
                Ok((stream, peer)) => self.take(stream, peer),
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be taken");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    fn take(&self, stream: TcpStream, peer: SocketAddr) {
        match Arc::clone(&self.places).try_acquire_owned() {
            Ok(place) => {
                let serving = self.clone();
                self.tasks.spawn(async move {
                    serving.serve(stream, peer).await;
                    drop(place);
                });
            }
            Err(_) => {
                tracing::warn!(%peer, "there is no place for another connection");
                // A courtesy: whoever cannot take it at once is closed without a word.
                let _ = stream.try_write(FULL);
            }
        }
    }

    async fn serve(self, stream: TcpStream, peer: SocketAddr) {
        // An answer is small and complete: nothing is gained by holding it back.
        let _ = stream.set_nodelay(true);
        let service = TowerToHyperService::new(self.router);
        let service = service_fn(move |mut request: Request<Incoming>| {
            request.extensions_mut().insert(Peer(peer));
            let answer = service.call(request);
            async move { answer.await.map_err(|never: Infallible| never) }
        });
        let stream = WriteLimited::new(stream, self.write_timeout, self.stop.clone());
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD_TIMEOUT)
            .max_buf_size(MAX_HEAD_BYTES)
            // A client that has nothing more to say still gets its answer.
            .half_close(true)
            .serve_connection(TokioIo::new(stream), service);
        let mut connection = std::pin::pin!(connection);
        let mut is_told = false;
        loop {
            tokio::select! {
                ended = connection.as_mut() => {
                    if let Err(error) = ended {
                        tracing::debug!(%peer, %error, "a connection ended");
                    }
                    return;
                }
                () = self.cut.cancelled() => return,
                () = self.stop.cancelled(), if !is_told => {
                    is_told = true;
                    connection.as_mut().graceful_shutdown();
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use axum::routing::get;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;
    use crate::wire::problem::Problem;

    #[tokio::test]
    async fn a_connection_without_a_place_is_told_so_and_the_place_comes_back() {
        let listener = listen(([127, 0, 0, 1], 0).into()).unwrap();
        let address = listener.local_addr().unwrap();
        let connections = Connections::serve(
            listener,
            Router::new().route("/", get(|| async { "served" })),
            1,
            HEAD_TIMEOUT,
        );
        let ask = async |mut stream: TcpStream| {
            stream
                .write_all(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
                .await
                .ok();
            let mut told = String::new();
            stream.read_to_string(&mut told).await.ok();
            told
        };
        // Connections are taken in the order they come.
        let first = TcpStream::connect(address).await.unwrap();
        let mut second = TcpStream::connect(address).await.unwrap();
        let mut told = String::new();
        second.read_to_string(&mut told).await.unwrap();
        assert!(told.starts_with("HTTP/1.1 503 ") && told.ends_with('}'), "{told}");
        assert!(ask(first).await.ends_with("served"));
        let mut tries = 0;
        while !ask(TcpStream::connect(address).await.unwrap())
            .await
            .ends_with("served")
        {
            tries += 1;
            assert!(tries < 1_000, "the place does not come back");
        }
        connections.finish().await;
        assert!(TcpStream::connect(address).await.is_err());
    }

    #[test]
    fn the_courtesy_is_a_whole_answer() {
        let text = std::str::from_utf8(FULL).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        assert!(
            head.contains(&format!("Content-Length: {}", body.len())),
            "{}",
            body.len()
        );
        let problem: Problem = serde_json::from_str(body).unwrap();
        assert_eq!((problem.code.as_str(), problem.status), ("queue_full", 503));
    }
}
