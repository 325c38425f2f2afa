//! Requests to the sidecar over REST, with an API key where it requires one.
//!
//! One request is one connection: no redirect is followed, no request is repeated, no proxy is used.

use std::error::Error;
use std::time::Duration;

use anyhow::Context;
use clap::Args;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue, LOCATION};
use reqwest::{Client, RequestBuilder, Response, StatusCode, redirect, retry};

use crate::cli::error::{CommandError, error_with_reason};
use crate::cli::requests::sidecar_url::SidecarUrl;
use crate::config::api_keys::ApiKey;
use crate::config::listen_address::ListenAddress;
use crate::config::nats::Secret;
use crate::config::{https, tls};
use crate::wire::problem::Problem;

/// The longest response body, in bytes: 64 MiB.
const MAX_RESPONSE_BYTES: usize = 64 * 1024 * 1024;
/// How long connecting may take, the TLS handshake included; `--timeout-ms` bounds the whole request.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// The address of the sidecar, and the API key.
#[derive(Debug, Clone, Args)]
pub(crate) struct RestEndpointArgs {
    /// The sidecar's URL, such as `https://router.example.com` [default: `http://` and the setting http.addr].
    #[arg(long, value_name = "URL")]
    url: Option<SidecarUrl>,
    /// Same as `--url http://ADDRESS`, for a host and a port.
    #[arg(long, value_name = "ADDRESS", conflicts_with = "url")]
    http_addr: Option<ListenAddress>,
    /// The API key. Prefer the variable: other users can see arguments.
    #[arg(long, value_name = "KEY", env = "ORDER_ROUTER_API_KEY", hide_env_values = true, value_parser = parse_secret)]
    api_key: Option<Secret>,
}

/// An error of clap would show the value, so every text is accepted here and checked later.
fn parse_secret(text: &str) -> Result<Secret, std::convert::Infallible> {
    Ok(Secret::new(text))
}

impl RestEndpointArgs {
    /// Returns a client for the sidecar: at `configured` unless a flag names another address. A request takes at most
    /// `timeout`.
    ///
    /// # Errors
    /// When the API key is malformed (the message does not contain it), or the system has no root certificates.
    pub(crate) fn client(&self, configured: &ListenAddress, timeout: Duration) -> Result<RestClient, CommandError> {
        let key = self.api_key.as_ref().map(parse_api_key).transpose()?;
        let url = match &self.url {
            Some(url) => url.clone(),
            None => SidecarUrl::from(self.http_addr.as_ref().unwrap_or(configured)),
        };
        Ok(RestClient::new(url, key.as_ref(), timeout)?)
    }
}

fn parse_api_key(text: &Secret) -> Result<ApiKey, CommandError> {
    ApiKey::parse(text.reveal().trim()).ok_or_else(|| {
        let text = "the API key in --api-key or ORDER_ROUTER_API_KEY is malformed: it must be `ork_` and 64 hex digits, as \
                    `order-router key new` prints it";
        CommandError::Usage(text.to_owned())
    })
}

/// A client of one sidecar.
#[derive(Debug)]
pub(crate) struct RestClient {
    url: SidecarUrl,
    client: Client,
    timeout: Duration,
}

impl RestClient {
    fn new(url: SidecarUrl, key: Option<&ApiKey>, timeout: Duration) -> anyhow::Result<Self> {
        let mut headers = HeaderMap::new();
        if let Some(key) = key {
            let mut value = HeaderValue::try_from(format!("Bearer {}", key.reveal()))
                .context("the API key is not a header value")?;
            value.set_sensitive(true);
            headers.insert(AUTHORIZATION, value);
        }
        let client = Client::builder()
            .tls_backend_preconfigured(https::system_client_config(url.is_https()).map_err(anyhow::Error::msg)?)
            .default_headers(headers)
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(timeout)
            .redirect(redirect::Policy::none())
            .retry(retry::never())
            .no_proxy()
            // hyper repeats a request whose kept connection was closed; a new connection each time rules that out.
            .pool_max_idle_per_host(0)
            .build()
            .context("the HTTP client cannot be created")?;
        Ok(Self { url, client, timeout })
    }

    /// Requests a path and returns the JSON of the response.
    ///
    /// # Errors
    /// A refusal, or that there is no complete response within the timeout.
    pub(crate) async fn fetch(&self, path_and_query: &str) -> Result<Vec<u8>, CommandError> {
        let url = self.url.request_url(path_and_query)?;
        self.send(self.client.get(url), &[StatusCode::OK]).await
    }

    /// Posts JSON under an idempotency key and returns the JSON of the response, also where the outcome is unknown (202).
    ///
    /// # Errors
    /// As [`Self::fetch`]; without a response the request may have taken effect, and may be repeated under the same key.
    pub(crate) async fn post(&self, path: &str, idempotency_key: &str, body: Vec<u8>) -> Result<Vec<u8>, CommandError> {
        let request = self
            .client
            .post(self.url.request_url(path)?)
            .header(CONTENT_TYPE, "application/json")
            .header("Idempotency-Key", idempotency_key)
            .body(body);
        self.send(request, &[StatusCode::OK, StatusCode::ACCEPTED]).await
    }

    async fn send(&self, request: RequestBuilder, accepted: &[StatusCode]) -> Result<Vec<u8>, CommandError> {
        let sent = request.send().await;
        let response = sent.map_err(|error| self.describe_failure(&error))?;
        let (status, location) = (response.status(), response.headers().get(LOCATION).cloned());
        let body = self.read_body(response).await?;
        if accepted.contains(&status) {
            return Ok(body);
        }
        match serde_json::from_slice::<Problem>(&body) {
            Ok(problem) => Err(problem.into_fault().into()),
            Err(_) => Err(self.unexpected_status(status, location.as_ref()).into()),
        }
    }

    async fn read_body(&self, mut response: Response) -> anyhow::Result<Vec<u8>> {
        let too_long = || {
            let what = format!(
                "the response from {} is longer than {MAX_RESPONSE_BYTES} bytes",
                self.url
            );
            error_with_reason(what, "request less, with --limit or a filter")
        };
        if response
            .content_length()
            .is_some_and(|length| length > MAX_RESPONSE_BYTES as u64)
        {
            return Err(too_long());
        }
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| self.describe_failure(&error))? {
            if body.len() + chunk.len() > MAX_RESPONSE_BYTES {
                return Err(too_long());
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body)
    }

    /// Returns what happened to a request and what to do about it.
    fn describe_failure(&self, error: &reqwest::Error) -> anyhow::Error {
        let (url, cause) = (&self.url, root_cause(error));
        if error.is_timeout() {
            let limit = if error.is_connect() {
                self.timeout.min(CONNECT_TIMEOUT)
            } else {
                self.timeout
            };
            let what = format!("no response from {url} within {} ms", limit.as_millis());
            return error_with_reason(what, "is the sidecar running? --timeout-ms sets how long to wait");
        }
        match tls::find_tls_error(error) {
            Some(rustls::Error::InvalidCertificate(reason)) => {
                let remedy = "check the host name, or install the issuing authority among the system's root certificates \
                              (or name its PEM file in SSL_CERT_FILE)";
                return error_with_reason(format!("the certificate of {url} is not trusted ({reason})"), remedy);
            }
            Some(rustls::Error::InvalidMessage(_)) => {
                return error_with_reason(
                    format!("{url} does not serve TLS"),
                    "use http:// where the sidecar is reached directly",
                );
            }
            Some(tls) => return error_with_reason(format!("the TLS handshake with {url} failed"), tls),
            None => {}
        }
        if error.is_connect() {
            let remedy = "is the sidecar running? --url or the setting http.addr names its address";
            return error_with_reason(format!("cannot connect to {url}: {cause}"), remedy);
        }
        let remedy = "is this the sidecar's address, and http:// or https:// right?";
        error_with_reason(format!("no complete HTTP response from {url}: {cause}"), remedy)
    }

    fn unexpected_status(&self, status: StatusCode, location: Option<&HeaderValue>) -> anyhow::Error {
        let what = format!("{} returned {status}, which is not a sidecar's response", self.url);
        match location.and_then(|location| location.to_str().ok()) {
            Some(location) => error_with_reason(what, format!("redirects are not followed; it points to {location}")),
            None => error_with_reason(what, "check --url or the setting http.addr"),
        }
    }
}

/// Returns the chain of an error, itself first. The error inside an [`std::io::Error`] is part of it.
fn error_chain<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |&error: &&'a (dyn Error + 'static)| {
        match error.downcast_ref::<std::io::Error>() {
            Some(io_error) => io_error.get_ref().map(|inner| inner as &(dyn Error + 'static)),
            None => error.source(),
        }
    })
}

fn root_cause(error: &reqwest::Error) -> String {
    error_chain(error).last().map_or_else(String::new, ToString::to_string)
}
