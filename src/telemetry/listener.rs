//! The worker's own port, for Prometheus and for health checks. It takes no orders and holds no secrets; whoever may
//! see counts of orders and how much of a limit is used may reach it.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::header::{ALLOW, CONTENT_TYPE};
use axum::http::{HeaderValue, Method, Request, Response, StatusCode};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

use super::Telemetry;

/// The most connections that are served at a time; the next ones wait to be taken.
const MAX_CONNECTIONS: usize = 16;
/// How long one connection may take in all; it is for one request.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(10);
/// The most bytes of a request's head.
const MAX_HEAD_BYTES: usize = 16 * 1_024;
/// The pause after a connection that could not be taken: the system has run out of something.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// The media type of the short answers.
const PLAIN: &str = "text/plain; charset=utf-8";

/// The open port. Dropping it closes it.
#[derive(Debug)]
pub struct Listener {
    address: SocketAddr,
    stop: DropGuard,
    tasks: TaskTracker,
}

impl Listener {
    /// Listens, and serves `/metrics`, `/health` and `/health/live` from then on.
    ///
    /// # Errors
    /// When the address cannot be listened at.
    pub async fn open(address: SocketAddr, telemetry: Telemetry) -> std::io::Result<Self> {
        let listener = TcpListener::bind(address).await?;
        let (stop, tasks) = (CancellationToken::new(), TaskTracker::new());
        let opened = Self {
            address: listener.local_addr()?,
            stop: stop.clone().drop_guard(),
            tasks: tasks.clone(),
        };
        opened.tasks.spawn(accept(listener, telemetry, stop, tasks));
        Ok(opened)
    }

    /// Returns the address it listens at.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Takes no more connections and waits for those that are open, at most as long as one may take.
    pub async fn close(self) {
        drop(self.stop);
        self.tasks.close();
        self.tasks.wait().await;
    }
}

async fn accept(listener: TcpListener, telemetry: Telemetry, stop: CancellationToken, tasks: TaskTracker) {
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    while let Ok(place) = Arc::clone(&places).acquire_owned().await {
        let accepted = tokio::select! {
            biased;
            () = stop.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, peer)) => {
                let telemetry = telemetry.clone();
                tasks.spawn(async move {
                    if timeout(CONNECTION_TIMEOUT, serve(stream, peer, telemetry))
                        .await
                        .is_err()
                    {
                        tracing::debug!(%peer, "a connection for metrics took too long");
                    }
                    drop(place);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "a connection for metrics could not be taken");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn serve(stream: TcpStream, peer: SocketAddr, telemetry: Telemetry) {
    let answer = |request: Request<Incoming>| {
        let response = answer(&telemetry, request.method(), request.uri().path());
        async move { Ok::<_, Infallible>(response) }
    };
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(CONNECTION_TIMEOUT)
        .max_buf_size(MAX_HEAD_BYTES)
        .keep_alive(false)
        .half_close(true)
        .serve_connection(TokioIo::new(stream), service_fn(answer));
    if let Err(error) = connection.await {
        tracing::debug!(%peer, %error, "a connection for metrics ended");
    }
}

fn answer(telemetry: &Telemetry, method: &Method, path: &str) -> Response<Body> {
    let (status, media_type, body) = match path {
        _ if !matches!(*method, Method::GET | Method::HEAD) => {
            let mut response = whole(StatusCode::METHOD_NOT_ALLOWED, PLAIN, "only GET and HEAD\n".to_owned());
            response
                .headers_mut()
                .insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
            return response;
        }
        "/metrics" => (StatusCode::OK, super::CONTENT_TYPE, telemetry.render()),
        "/health/live" => (StatusCode::OK, PLAIN, "live\n".to_owned()),
        "/health" if telemetry.is_ready() => (StatusCode::OK, PLAIN, "ok\n".to_owned()),
        "/health" => {
            let body =
                "this worker takes no orders: it is starting or ending, or NATS, Redis or the shared state is away\n";
            (StatusCode::SERVICE_UNAVAILABLE, PLAIN, body.to_owned())
        }
        _ => {
            let body = "there is only /metrics, /health and /health/live\n";
            (StatusCode::NOT_FOUND, PLAIN, body.to_owned())
        }
    };
    whole(status, media_type, body)
}

fn whole(status: StatusCode, media_type: &'static str, body: String) -> Response<Body> {
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static(media_type));
    response
}
