//! The accept loop: a bounded number of connections, each with limits on its time, closed in order.
//!
//! hyper itself serves them: axum's own server sets no time limit on a request's head and cannot close the connections
//! that remain at the end of a drain.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::http::header::CONNECTION;
use axum::http::{HeaderValue, Request};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::time::timeout;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

use crate::http::places::{ConnectionPlace, ConnectionPlaces, PlaceLimits};
use crate::http::write_limit::WriteLimited;
use crate::repeated_log::{IntervalLog, log_at_intervals};

/// The requested size of a connection's send buffer. The system reports progress only when about a third of the buffer is
/// free: with the usual buffer, which grows to megabytes, a slow but live client would be taken for one that reads
/// nothing.
const SEND_BUFFER_BYTES: u32 = 128 * 1_024;
/// The maximum number of connections in the listener's backlog.
const BACKLOG: u32 = 1_024;
/// The pause after a failed accept: the system has run out of a resource.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// How many connections a server accepts, and how long each may take.
#[derive(Debug, Clone, Copy)]
pub struct ConnectionLimits {
    /// The places of connections.
    pub places: PlaceLimits,
    /// The response to a connection that gets no place, written if the socket accepts it at once.
    pub full_response: &'static [u8],
    /// The maximum size of a request's head, which is that of the connection's read buffer; at least 8 KiB.
    pub max_head_bytes: usize,
    /// The maximum time for a request's head, and for a connection to be idle.
    pub head_timeout: Duration,
    /// The maximum time for which a client may read nothing while there is something to write.
    pub write_timeout: Duration,
    /// With a time, a connection serves one request and is closed after that time at the latest; `None` keeps it alive
    /// between requests for any time.
    pub one_request_within: Option<Duration>,
}

/// The client's end of a connection: an extension of every request.
#[derive(Debug, Clone, Copy)]
pub struct Peer(pub SocketAddr);

/// A request that arrived while its connection was making room for another one: it is not handled.
#[derive(Debug, thiserror::Error)]
#[error("the connection made room for another one")]
struct Evicted;

/// The listener and every open connection. Dropping it closes them.
#[derive(Debug)]
pub struct ConnectionServer {
    /// Ends the listener and asks every connection to finish.
    shutdown: CancellationToken,
    /// Closes the open connections; also when the server is dropped.
    abort: DropGuard,
    tasks: TaskTracker,
}

/// What a connection's task needs.
#[derive(Debug, Clone)]
struct ConnectionAcceptor {
    router: Router,
    limits: ConnectionLimits,
    places: ConnectionPlaces,
    refusals: Arc<IntervalLog>,
    shutdown: CancellationToken,
    abort: CancellationToken,
    tasks: TaskTracker,
}

/// Returns the addresses of a host, IPv4 before IPv6.
///
/// # Errors
/// When the host has no address.
pub async fn resolve_host(host: &str, port: u16) -> std::io::Result<Vec<SocketAddr>> {
    let mut addresses: Vec<SocketAddr> = tokio::net::lookup_host((host, port)).await?.collect();
    addresses.sort_by_key(SocketAddr::is_ipv6);
    if addresses.is_empty() {
        return Err(std::io::Error::new(
            std::io::ErrorKind::NotFound,
            "the host has no address",
        ));
    }
    Ok(addresses)
}

/// Listens at an address.
///
/// # Errors
/// When the system refuses the address.
pub fn bind_listener(address: SocketAddr) -> std::io::Result<TcpListener> {
    let socket = if address.is_ipv4() {
        TcpSocket::new_v4()?
    } else {
        TcpSocket::new_v6()?
    };
    socket.set_reuseaddr(true)?;
    // Connections inherit it from their listener.
    socket.set_send_buffer_size(SEND_BUFFER_BYTES)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

impl ConnectionServer {
    /// Starts accepting connections, whose requests the router answers.
    pub fn start(listener: TcpListener, router: Router, limits: ConnectionLimits) -> Self {
        let acceptor = ConnectionAcceptor {
            router,
            limits,
            places: ConnectionPlaces::new(limits.places),
            refusals: Arc::default(),
            shutdown: CancellationToken::new(),
            abort: CancellationToken::new(),
            tasks: TaskTracker::new(),
        };
        let server = Self {
            shutdown: acceptor.shutdown.clone(),
            abort: acceptor.abort.clone().drop_guard(),
            tasks: acceptor.tasks.clone(),
        };
        server.tasks.spawn(acceptor.accept_connections(listener));
        server
    }

    /// Accepts no more connections and waits until each has finished its request and is closed.
    pub async fn drain(&self) {
        self.shutdown.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }

    /// Closes the open connections.
    pub fn abort(self) {
        drop(self.abort);
    }
}

impl ConnectionAcceptor {
    async fn accept_connections(self, listener: TcpListener) {
        loop {
            let accepted = tokio::select! {
                biased;
                () = self.shutdown.cancelled() => return,
                () = self.abort.cancelled() => return,
                accepted = listener.accept() => accepted,
            };
            match accepted {
                Ok((stream, peer)) => match self.places.take(peer) {
                    Some(place) => self.spawn(stream, peer, place),
                    None => self.refuse(&stream, peer),
                },
                Err(error) => {
                    log_at_intervals!(warn, %error, "accepting a connection failed");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    fn refuse(&self, stream: &TcpStream, peer: SocketAddr) {
        if let Some(refused) = self.refusals.count() {
            tracing::warn!(%peer, refused, "connections are refused: the server has its maximum of connections");
        }
        // Best effort: a socket that does not accept it at once is closed without it.
        let _ = stream.try_write(self.limits.full_response);
    }

    /// Serves a connection in a task of its own, at most for `one_request_within`; the place is held until its end.
    fn spawn(&self, stream: TcpStream, peer: SocketAddr, place: ConnectionPlace) {
        let acceptor = self.clone();
        self.tasks.spawn(async move {
            let limit = acceptor.limits.one_request_within.unwrap_or(Duration::MAX);
            if timeout(limit, acceptor.serve_connection(stream, peer, place))
                .await
                .is_err()
            {
                tracing::debug!(%peer, "connection closed: it exceeded its time limit");
            }
        });
    }

    /// Serves requests until the client or a time limit ends the connection, the server aborts, or a graceful shutdown has
    /// finished the request in flight.
    async fn serve_connection(self, stream: TcpStream, peer: SocketAddr, place: ConnectionPlace) {
        // A response is small and complete: delaying its packets gains nothing.
        let _ = stream.set_nodelay(true);
        let service = TowerToHyperService::new(self.router);
        let caller = place.clone();
        let service = service_fn(move |mut request: Request<Incoming>| {
            let place = caller.clone();
            let has_place = place.begin_request();
            request.extensions_mut().insert(Peer(peer));
            request.extensions_mut().insert(place.clone());
            let response = service.call(request);
            async move {
                if !has_place {
                    return Err(Evicted);
                }
                let mut response = response.await.unwrap_or_else(|never: Infallible| match never {});
                if place.is_reserved() {
                    response
                        .headers_mut()
                        .insert(CONNECTION, HeaderValue::from_static("close"));
                }
                Ok(response)
            }
        });
        let stream = WriteLimited::new(stream, self.limits.write_timeout, self.shutdown.clone());
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(self.limits.head_timeout)
            .max_buf_size(self.limits.max_head_bytes)
            .keep_alive(self.limits.one_request_within.is_none())
            // A client that has closed its sending side still receives its response.
            .half_close(true)
            .serve_connection(TokioIo::new(stream), service);
        let mut connection = std::pin::pin!(connection);
        let mut is_finishing = false;
        loop {
            tokio::select! {
                ended = connection.as_mut() => {
                    if let Err(error) = ended {
                        tracing::debug!(%peer, %error, "connection ended with an error");
                    }
                    return;
                }
                () = self.abort.cancelled() => return,
                () = place.wait_until_evicted() => {
                    tracing::debug!(%peer, "connection closed: it sent no request and made room for another one");
                    return;
                }
                () = self.shutdown.cancelled(), if !is_finishing => {
                    is_finishing = true;
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

    const FULL: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\nContent-Length: 2\r\n\r\n{}";
    const LIMIT: Duration = Duration::from_secs(60);

    fn start(places: PlaceLimits) -> (SocketAddr, ConnectionServer) {
        let listener = bind_listener(([127, 0, 0, 1], 0).into()).unwrap();
        let address = listener.local_addr().unwrap();
        let router = Router::new().route("/", get(|| async { "served" }));
        let limits = ConnectionLimits {
            places,
            full_response: FULL,
            max_head_bytes: 64 * 1_024,
            head_timeout: LIMIT,
            write_timeout: LIMIT,
            one_request_within: None,
        };
        (address, ConnectionServer::start(listener, router, limits))
    }

    async fn request(mut stream: TcpStream) -> String {
        stream
            .write_all(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            .await
            .ok();
        let mut response = String::new();
        stream.read_to_string(&mut response).await.ok();
        response
    }

    #[tokio::test]
    async fn connection_beyond_the_maximum_is_refused_and_its_permit_is_released() {
        let (address, server) = start(PlaceLimits {
            max_connections: 1,
            max_unidentified: 1,
            max_unidentified_per_peer: 1,
        });
        // Connections are accepted in the order they arrive.
        let first = TcpStream::connect(address).await.unwrap();
        let mut second = TcpStream::connect(address).await.unwrap();
        let mut refused = String::new();
        second.read_to_string(&mut refused).await.unwrap();
        assert!(
            refused.starts_with("HTTP/1.1 503 ") && refused.ends_with('}'),
            "{refused}"
        );
        assert!(request(first).await.ends_with("served"));
        let mut tries = 0;
        while !request(TcpStream::connect(address).await.unwrap())
            .await
            .ends_with("served")
        {
            tries += 1;
            assert!(tries < 1_000, "the permit is not released");
        }
        server.drain().await;
        assert!(TcpStream::connect(address).await.is_err());
    }

    #[tokio::test]
    async fn silent_connection_of_the_reserved_share_makes_room() {
        let (address, server) = start(PlaceLimits {
            max_connections: 1,
            max_unidentified: 0,
            max_unidentified_per_peer: 0,
        });
        let mut silent = TcpStream::connect(address).await.unwrap();
        let served = request(TcpStream::connect(address).await.unwrap()).await;
        assert!(
            served.ends_with("served") && served.contains("connection: close"),
            "{served}"
        );
        assert_eq!(silent.read(&mut [0; 1]).await.unwrap_or(0), 0, "it is closed");
        server.drain().await;
    }
}
