//! `POST /orders` over one kept connection. A connection that fails is opened again with the next order.

use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, to_bytes};
use bytes::Bytes;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HOST};
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::bench::outcome::{NO_ANSWER, UNKNOWN, check_outcome};
use crate::bench::profile::RestTarget;
use crate::domain::time::Timestamp;
use crate::fault::FaultCode;
use crate::wire::problem::Problem;

/// The longest response body, in bytes: the report of an order just sent is far below.
const MAX_RESPONSE_BYTES: usize = 1024 * 1024;
/// The code of an order whose connection failed.
const CONNECTION_FAILED: &str = "connection_failed";

/// One connection to the sidecar.
pub(super) struct RestConnection {
    target: Arc<RestTarget>,
    sender: Option<SendRequest<Body>>,
}

impl RestConnection {
    /// Returns a connection that is opened with the first order.
    pub(super) fn new(target: Arc<RestTarget>) -> Self {
        Self { target, sender: None }
    }

    /// Submits an intent and waits for its report.
    ///
    /// # Errors
    /// The code of a refusal, or why there is no report.
    pub(super) async fn submit(&mut self, body: Bytes, deadline: Timestamp) -> Result<(), &'static str> {
        let now = Timestamp::now();
        let limit =
            Duration::from_millis(u64::try_from(deadline.as_milliseconds() - now.as_milliseconds()).unwrap_or(0));
        let answered = timeout(limit, self.exchange(body)).await;
        let answered = answered.unwrap_or(Err(NO_ANSWER));
        if matches!(answered, Err(NO_ANSWER | CONNECTION_FAILED)) {
            self.sender = None;
        }
        answered
    }

    async fn exchange(&mut self, body: Bytes) -> Result<(), &'static str> {
        let mut sender = match self.sender.take().filter(|sender| !sender.is_closed()) {
            Some(sender) => sender,
            None => self.connect().await.map_err(|_| CONNECTION_FAILED)?,
        };
        let request = self.request(body).map_err(|_| CONNECTION_FAILED)?;
        let ready = sender.ready().await;
        ready.map_err(|_| CONNECTION_FAILED)?;
        let response = sender.send_request(request).await.map_err(|_| CONNECTION_FAILED)?;
        let (status, body) = read(response).await?;
        self.sender = Some(sender);
        match status {
            StatusCode::CREATED | StatusCode::OK => check_outcome(&body),
            StatusCode::ACCEPTED => Err(UNKNOWN),
            _ => Err(refusal_code(&body)),
        }
    }

    async fn connect(&self) -> anyhow::Result<SendRequest<Body>> {
        let stream = TcpStream::connect(&self.target.authority).await?;
        stream.set_nodelay(true)?;
        let (sender, connection) = handshake(TokioIo::new(stream)).await?;
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "a connection of the load ended");
            }
        });
        Ok(sender)
    }

    fn request(&self, body: Bytes) -> Result<Request<Body>, axum::http::Error> {
        let request = Request::builder()
            .method(Method::POST)
            .uri("/orders")
            .header(HOST, &self.target.authority)
            .header(CONTENT_TYPE, "application/json");
        let request = match &self.target.api_key {
            Some(key) => request.header(AUTHORIZATION, format!("Bearer {}", key.reveal().trim())),
            None => request,
        };
        request.body(Body::from(body))
    }
}

async fn read(response: Response<hyper::body::Incoming>) -> Result<(StatusCode, Bytes), &'static str> {
    let status = response.status();
    let body = to_bytes(Body::new(response.into_body()), MAX_RESPONSE_BYTES).await;
    Ok((status, body.map_err(|_| CONNECTION_FAILED)?))
}

/// Returns the code of a problem.
fn refusal_code(body: &[u8]) -> &'static str {
    let problem = serde_json::from_slice::<Problem>(body).ok();
    let code = problem.map(|problem| problem.into_fault().code);
    code.map_or("no_problem", FaultCode::as_str)
}
