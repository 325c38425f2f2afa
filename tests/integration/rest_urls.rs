//! `--url`: host names, path prefixes, TLS, and the errors of a wrong URL.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "in a test a panic is the verdict"
)]

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustls::ServerConfig;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::process::Command;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

use crate::rig::SOON;

/// What `alerts` prints for an empty list.
const NO_ALERTS: &str = "no alerts\n";
const EMPTY_LIST: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n[]";
const MAX_REQUEST_BYTES: usize = 8_192;

/// A server that sends one canned response to every request and records the requests.
struct CannedServer {
    address: SocketAddr,
    requests: mpsc::Receiver<String>,
}

impl CannedServer {
    async fn start(response: &'static str, tls: Option<TlsAcceptor>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (sender, requests) = mpsc::channel(16);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                match &tls {
                    None => respond(stream, response, &sender).await,
                    Some(tls) => {
                        if let Ok(stream) = tls.accept(stream).await {
                            respond(stream, response, &sender).await;
                        }
                    }
                }
            }
        });
        Self { address, requests }
    }

    fn url(&self, scheme: &str) -> String {
        format!("{scheme}://localhost:{}", self.address.port())
    }
}

async fn respond(mut stream: impl AsyncRead + AsyncWrite + Unpin, response: &str, requests: &mpsc::Sender<String>) {
    let mut request = Vec::new();
    while request.len() < MAX_REQUEST_BYTES && !request.ends_with(b"\r\n\r\n") {
        match stream.read_buf(&mut request).await {
            Ok(0) | Err(_) => break,
            // A TLS handshake does not end like a request.
            Ok(_) if request[0] != b'G' => break,
            Ok(_) => {}
        }
    }
    let _ = stream.write_all(response.as_bytes()).await;
    let _ = stream.shutdown().await;
    let _ = requests.send(String::from_utf8_lossy(&request).into_owned()).await;
}

/// Returns a self-signed certificate for `localhost` and an acceptor that uses it.
fn self_signed() -> (String, TlsAcceptor) {
    let CertifiedKey { cert, signing_key } = generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(signing_key.serialize_der()));
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![cert.der().clone()], key)
        .unwrap();
    (cert.pem(), TlsAcceptor::from(Arc::new(config)))
}

/// Runs `order-router alerts` and returns its exit code, stdout and stderr.
async fn alerts(args: &[&str], roots: Option<&Path>) -> (Option<i32>, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_order-router"));
    command.arg("alerts").args(args).kill_on_drop(true);
    // The command ignores the proxies in the environment.
    command
        .env("HTTP_PROXY", "http://127.0.0.1:1")
        .env("HTTPS_PROXY", "http://127.0.0.1:1");
    if let Some(roots) = roots {
        command.env("SSL_CERT_FILE", roots).env_remove("SSL_CERT_DIR");
    }
    let ended = timeout(SOON, command.output()).await.unwrap().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (ended.status.code(), text(&ended.stdout), text(&ended.stderr))
}

#[tokio::test(flavor = "multi_thread")]
async fn host_names_and_path_prefixes_reach_the_sidecar() {
    let mut server = CannedServer::start(EMPTY_LIST, None).await;
    let key = format!("ork_{}", "0".repeat(64));
    for (prefix, request_line) in [
        ("", "GET /risk/alerts?limit=100 HTTP/1.1"),
        ("/", "GET /risk/alerts?limit=100 HTTP/1.1"),
        ("/desk/router/", "GET /desk/router/risk/alerts?limit=100 HTTP/1.1"),
    ] {
        let url = format!("{}{prefix}", server.url("http"));
        let (code, stdout, stderr) = alerts(&["--url", &url, "--api-key", &key], None).await;
        assert_eq!((code, stdout.as_str()), (Some(0), NO_ALERTS), "{url}: {stderr}");
        let request = server.requests.recv().await.unwrap();
        assert_eq!(request.lines().next(), Some(request_line));
        let request = request.to_lowercase();
        assert!(
            request.contains(&format!("authorization: bearer {key}\r\n")),
            "{request}"
        );
        assert!(
            request.contains(&format!("host: localhost:{}\r\n", server.address.port())),
            "{request}"
        );
    }
    let address = server.address.to_string();
    let (code, stdout, stderr) = alerts(&["--http-addr", &address], None).await;
    assert_eq!((code, stdout.as_str()), (Some(0), NO_ALERTS), "{stderr}");
    let setting = format!("http.addr={address}");
    let (code, stdout, stderr) = alerts(&["--set", &setting], None).await;
    assert_eq!((code, stdout.as_str()), (Some(0), NO_ALERTS), "{stderr}");
}

#[tokio::test(flavor = "multi_thread")]
async fn certificate_requires_a_trusted_root() {
    let (pem, tls) = self_signed();
    let server = CannedServer::start(EMPTY_LIST, Some(tls)).await;
    let directory = tempfile::tempdir().unwrap();
    let (own, other) = (directory.path().join("own.pem"), directory.path().join("other.pem"));
    std::fs::write(&own, pem).unwrap();
    std::fs::write(&other, self_signed().0).unwrap();
    let (code, stdout, stderr) = alerts(&["--url", &server.url("https")], Some(&own)).await;
    assert_eq!((code, stdout.as_str()), (Some(0), NO_ALERTS), "{stderr}");
    let by_address = format!("https://{}", server.address);
    for (url, roots) in [(server.url("https"), &other), (by_address, &own)] {
        let (code, stdout, stderr) = alerts(&["--url", &url], Some(roots)).await;
        assert_eq!((code, stdout.as_str()), (Some(1), ""), "{url}: {stderr}");
        assert!(
            stderr.contains("is not trusted") && stderr.contains("SSL_CERT_FILE"),
            "{url}: {stderr}"
        );
    }
    let none = directory.path().join("none.pem");
    std::fs::write(&none, "").unwrap();
    let (code, _, stderr) = alerts(&["--url", &server.url("https")], Some(&none)).await;
    assert!(code == Some(1) && stderr.contains("no root certificates"), "{stderr}");
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_scheme_is_reported() {
    let plain = CannedServer::start(EMPTY_LIST, None).await;
    let (code, _, stderr) = alerts(&["--url", &plain.url("https")], None).await;
    assert!(code == Some(1) && stderr.contains("does not serve TLS"), "{stderr}");
    let encrypted = CannedServer::start(EMPTY_LIST, Some(self_signed().1)).await;
    let (code, _, stderr) = alerts(&["--url", &encrypted.url("http")], None).await;
    assert!(code == Some(1) && stderr.contains("http:// or https://"), "{stderr}");
    let secret = "http://mira:secret@localhost:8100";
    for url in [
        "localhost:8100",
        "ftp://localhost:8100",
        secret,
        "http://localhost:8100?a=b",
    ] {
        let (code, _, stderr) = alerts(&["--url", url], None).await;
        assert_eq!(code, Some(2), "{url}: {stderr}");
    }
    let (code, _, stderr) = alerts(&["--url", "http://localhost:1", "--http-addr", "127.0.0.1:1"], None).await;
    assert_eq!(code, Some(2), "{stderr}");
}

#[tokio::test(flavor = "multi_thread")]
async fn redirect_is_reported_and_not_followed() {
    let mut target = CannedServer::start(EMPTY_LIST, None).await;
    let response: &'static str = Box::leak(
        format!(
            "HTTP/1.1 308 Permanent Redirect\r\nLocation: {}/risk/alerts\r\nContent-Length: 0\r\n\r\n",
            target.url("http")
        )
        .into_boxed_str(),
    );
    let server = CannedServer::start(response, None).await;
    let (code, _, stderr) = alerts(&["--url", &server.url("http")], None).await;
    assert_eq!(code, Some(1), "{stderr}");
    assert!(
        stderr.contains("308") && stderr.contains(&target.url("http")),
        "{stderr}"
    );
    assert!(target.requests.try_recv().is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn response_has_a_length_limit_and_a_deadline() {
    let long = CannedServer::start("HTTP/1.1 200 OK\r\nContent-Length: 67108865\r\n\r\n[]", None).await;
    let (code, _, stderr) = alerts(&["--url", &long.url("http")], None).await;
    assert!(
        code == Some(1) && stderr.contains("longer than 67108864 bytes"),
        "{stderr}"
    );
    // The announced end of the body is missing.
    let cut = CannedServer::start("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n[]", None).await;
    let (code, _, stderr) = alerts(&["--url", &cut.url("http")], None).await;
    assert!(
        code == Some(1) && stderr.contains("no complete HTTP response"),
        "{stderr}"
    );
    // The kernel accepts connections, and the server never reads.
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", silent.local_addr().unwrap());
    let (code, _, stderr) = alerts(&["--url", &url, "--timeout-ms", "100"], None).await;
    assert!(code == Some(1) && stderr.contains("within 100 ms"), "{stderr}");
}
