//! TLS to NATS and Redis, both with client certificates, by certificates that the test makes.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "in a test a panic is the verdict"
)]

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use order_router::bus::connection::{ConnectPolicy, connect};
use order_router::bus::router_client::RouterClient;
use order_router::bus::subjects;
use order_router::config::Settings;
use order_router::config::tls::TlsSettings;
use order_router::domain::id::{AccountId, BrokerId};
use order_router::domain::order_terms::OrderStatus;
use order_router::domain::time::Timestamp;
use order_router::sidecar::Sidecar;
use order_router::store::Store;
use order_router::wire::report::ExecutionReport;
use order_router::worker::Worker;
use rcgen::{BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair};

use crate::rest_fixture::client;
use crate::rig::{Rig, SOON, intent};
use crate::support::poll;
use crate::support::ports::PortLease;
use crate::support::process::RouterProcess;
use crate::support::servers::{NatsOptions, NatsServer, RedisServer};

/// How long a refusal may take: no retries.
const AT_ONCE: Duration = Duration::from_secs(10);

/// An authority and the files of the certificates that it signs.
struct Authority {
    issuer: Issuer<'static, KeyPair>,
    directory: tempfile::TempDir,
}

impl Authority {
    fn new(name: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap();
        std::fs::write(directory.path().join("ca.pem"), certificate.pem()).unwrap();
        Self {
            issuer: Issuer::new(params, key),
            directory,
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Writes a certificate for a host or a client, `NAME.pem`, and its key, `NAME.key`.
    fn sign(&self, name: &str) -> (PathBuf, PathBuf) {
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let files = (self.path(&format!("{name}.pem")), self.path(&format!("{name}.key")));
        std::fs::write(&files.0, certificate.pem()).unwrap();
        std::fs::write(&files.1, key.serialize_pem()).unwrap();
        std::fs::set_permissions(&files.1, PermissionsExt::from_mode(0o600)).unwrap();
        files
    }

    /// Returns the settings of a client that trusts this authority and shows a certificate of it.
    fn tls_settings(&self) -> TlsSettings {
        let (certificate, key) = self.sign("router");
        TlsSettings {
            ca_file: text(&self.path("ca.pem")),
            cert_file: text(&certificate),
            key_file: text(&key),
        }
    }
}

fn text(path: &Path) -> Option<String> {
    Some(path.to_str().unwrap().to_owned())
}

/// Both servers with certificates for `localhost`, which ask for a client's.
struct TlsServers {
    authority: Authority,
    /// An authority that signed nothing of these servers.
    stranger: Authority,
    nats: NatsServer,
    _redis: RedisServer,
    redis_port: PortLease,
}

impl TlsServers {
    async fn start() -> Self {
        let authority = Authority::new("the router's authority");
        let (certificate, key) = authority.sign("localhost");
        let ca = authority.path("ca.pem");
        let extra_config =
            format!("tls {{ cert_file: {certificate:?}, key_file: {key:?}, ca_file: {ca:?}, verify: true }}");
        let redis_port = PortLease::take();
        let mut arguments = vec!["--tls-port".to_owned(), redis_port.number().to_string()];
        for (name, file) in [("cert", &certificate), ("key", &key), ("ca-cert", &ca)] {
            arguments.extend([format!("--tls-{name}-file"), file.to_str().unwrap().to_owned()]);
        }
        let (nats, redis) = tokio::join!(
            NatsServer::start_with(NatsOptions {
                extra_config,
                ..NatsOptions::default()
            }),
            RedisServer::start_with(arguments)
        );
        Self {
            authority,
            stranger: Authority::new("another authority"),
            nats,
            _redis: redis,
            redis_port,
        }
    }

    fn nats_url(&self, host: &str) -> String {
        format!("tls://{host}:{}", self.nats.address().port())
    }

    fn redis_url(&self, host: &str) -> String {
        format!("rediss://{host}:{}", self.redis_port.number())
    }

    /// Points settings at both servers.
    fn use_in(&self, settings: &mut Settings) {
        (settings.nats.url, settings.redis.url) = (self.nats_url("localhost"), self.redis_url("localhost"));
        settings.nats.tls = self.authority.tls_settings();
        settings.redis.tls = settings.nats.tls.clone();
        assert_eq!(settings.validation_errors(), Vec::<String>::new());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn orders_pass_over_tls_from_every_door() {
    let (servers, mut rig) = tokio::join!(TlsServers::start(), Rig::start());
    servers.use_in(&mut rig.settings);
    rig.settings.http.addr = "127.0.0.1:0".parse().unwrap();
    let worker = Worker::start(&rig.settings).await.unwrap();
    let sidecar = Sidecar::start(&rig.settings).await.unwrap();

    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), intent("t1", &[])).unwrap();
    let tls = &rig.settings.nats.tls;
    let output = tokio::process::Command::new(env!("CARGO_BIN_EXE_order-router"))
        .args(["--nats-url", &rig.settings.nats.url, "submit", "--json", "--file"])
        .arg(file.path())
        .env("ORDER_ROUTER_NATS_TLS_CA_FILE", tls.ca_file.as_ref().unwrap())
        .env("ORDER_ROUTER_NATS_TLS_CERT_FILE", tls.cert_file.as_ref().unwrap())
        .env("ORDER_ROUTER_NATS_TLS_KEY_FILE", tls.key_file.as_ref().unwrap())
        .output()
        .await
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let report = ExecutionReport::decode(output.stdout.trim_ascii()).unwrap_or_else(|error| panic!("{error}: {said}"));
    assert_eq!(report.status, OrderStatus::Filled, "{said}");

    let posted = client()
        .post(format!("http://{}/orders", sidecar.address()))
        .header("content-type", "application/json")
        .body(intent("t2", &[]))
        .send()
        .await
        .unwrap();
    assert_eq!(posted.status(), 201);

    // The connections are made again by themselves.
    let mut servers = servers;
    servers.nats.restart().await;
    let caller = RouterClient::new(rig.bus().await);
    let subject = subjects::submit(&BrokerId::new("binance").unwrap(), &AccountId::default_account());
    poll::until(SOON, "an order after a restart of NATS", async || {
        let deadline = Timestamp::now().saturating_add(Duration::from_secs(5));
        caller
            .request(&subject, intent("t3", &[]).into(), deadline)
            .await
            .is_ok()
    })
    .await;
    sidecar.drain(SOON).await;
    worker.drain(SOON).await;
}

/// A change that makes TLS fail, and what the error says.
type Refusal = (fn(&TlsServers, &mut Settings), &'static str);

/// For NATS and Redis alike: `section` is replaced by the section's name.
const REFUSALS: &[Refusal] = &[
    (
        |servers, settings| {
            let other = servers.stranger.path("ca.pem");
            both(settings, |tls| tls.ca_file = text(&other));
        },
        "signed the server's in section.tls.ca_file",
    ),
    (
        |_, settings| both(settings, |tls| tls.ca_file = None),
        "signed the server's in section.tls.ca_file",
    ),
    (
        |servers, settings| {
            (settings.nats.url, settings.redis.url) = (servers.nats_url("127.0.0.1"), servers.redis_url("127.0.0.1"));
        },
        "use a host name in section.url that the server's certificate names",
    ),
    (
        |_, settings| both(settings, |tls| (tls.cert_file, tls.key_file) = (None, None)),
        "set section.tls.cert_file and section.tls.key_file",
    ),
    (
        |_, settings| both(settings, |tls| tls.ca_file = Some("/nowhere/ca.pem".to_owned())),
        "section.tls.ca_file /nowhere/ca.pem: No such file",
    ),
    (
        |_, settings| both(settings, |tls| tls.ca_file = tls.key_file.clone()),
        "it holds no certificate in PEM",
    ),
    (
        |servers, settings| {
            let (_, other_key) = servers.authority.sign("other");
            both(settings, |tls| tls.key_file = text(&other_key));
        },
        "it is not the key of the certificate in cert_file",
    ),
    (
        |servers, settings| {
            let (certificate, key) = servers.authority.sign("open");
            std::fs::set_permissions(&key, PermissionsExt::from_mode(0o644)).unwrap();
            both(settings, |tls| {
                (tls.cert_file, tls.key_file) = (text(&certificate), text(&key))
            });
        },
        "only its owner may read it (chmod 600)",
    ),
];

fn both(settings: &mut Settings, change: impl Fn(&mut TlsSettings)) {
    change(&mut settings.nats.tls);
    change(&mut settings.redis.tls);
}

#[tokio::test(flavor = "multi_thread")]
async fn refused_connections_say_what_to_do() {
    let servers = TlsServers::start().await;
    let mut settings = Settings::default();
    servers.use_in(&mut settings);
    connect(&settings.nats, "test", ConnectPolicy::Once).await.unwrap();
    Store::connect(&settings.redis).await.map(drop).unwrap();
    for (change, wanted) in REFUSALS {
        let mut settings = settings.clone();
        change(&servers, &mut settings);
        let started = Instant::now();
        let nats = connect(&settings.nats, "test", ConnectPolicy::RetryFor(SOON)).await;
        let nats = nats.map(drop).unwrap_err().to_string();
        assert!(nats.contains(&wanted.replace("section", "nats")), "{wanted}: {nats}");
        let redis = Store::connect(&settings.redis).await.map(drop).unwrap_err().to_string();
        assert!(redis.contains(&wanted.replace("section", "redis")), "{wanted}: {redis}");
        assert!(started.elapsed() < AT_ONCE, "{wanted}: {:?}", started.elapsed());
        assert!(!format!("{nats}{redis}").contains("PRIVATE KEY"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn worker_ends_at_once_when_a_server_is_not_the_one_it_trusts() {
    let (servers, rig) = tokio::join!(TlsServers::start(), Rig::start());
    let mut settings = Settings::default();
    servers.use_in(&mut settings);
    let wrong = servers.stranger.path("ca.pem");
    // A server without TLS is refused, too.
    let without = (
        format!("tls://{}", rig.nats.address()),
        format!("rediss://{}", rig.redis.address()),
    );
    let right = settings.nats.tls.ca_file.clone().unwrap();
    for (nats_url, redis_url, nats_ca, redis_ca, wanted) in [
        (
            &settings.nats.url,
            &settings.redis.url,
            text(&wrong).unwrap(),
            right.clone(),
            "nats.tls.ca_file",
        ),
        (
            &settings.nats.url,
            &settings.redis.url,
            right.clone(),
            text(&wrong).unwrap(),
            "redis.tls.ca_file",
        ),
        (
            &without.0,
            &settings.redis.url,
            right.clone(),
            right.clone(),
            "does not serve TLS at the address in nats.url",
        ),
    ] {
        let (certificate, key) = servers.authority.sign("router");
        let (certificate, key) = (text(&certificate).unwrap(), text(&key).unwrap());
        // A password in the URL, which must not be shown.
        let redis_url = redis_url.replace("rediss://", "rediss://:hunter2@");
        let environment = [
            ("ORDER_ROUTER_NATS_URL", nats_url.as_str()),
            ("ORDER_ROUTER_REDIS_URL", &redis_url),
            ("ORDER_ROUTER_NATS_TLS_CA_FILE", &nats_ca),
            ("ORDER_ROUTER_NATS_TLS_CERT_FILE", &certificate),
            ("ORDER_ROUTER_NATS_TLS_KEY_FILE", &key),
            ("ORDER_ROUTER_REDIS_TLS_CA_FILE", &redis_ca),
            ("ORDER_ROUTER_REDIS_TLS_CERT_FILE", &certificate),
            ("ORDER_ROUTER_REDIS_TLS_KEY_FILE", &key),
        ];
        let mut worker = RouterProcess::start(&["worker"], environment);
        let status = worker.process().wait(AT_ONCE).await;
        poll::until(SOON, "the log is read", async || worker.is_read()).await;
        let log = worker.stderr_text();
        assert!(!status.success() && log.contains(wanted), "{wanted}: {log}");
        assert!(!log.contains("hunter2") && !log.contains("PRIVATE KEY"), "{log}");
    }
    // A Redis without TLS never ends the handshake: it may be starting, and is tried again.
    let environment = [
        ("ORDER_ROUTER_NATS_URL", rig.settings.nats.url.as_str()),
        ("ORDER_ROUTER_REDIS_URL", &without.1),
    ];
    let worker = RouterProcess::start(&["worker"], environment);
    poll::until(SOON, "the worker asks for TLS", async || {
        worker
            .stderr_text()
            .contains("does it serve TLS at the address in redis.url?")
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn dev_has_servers_of_its_own_without_tls() {
    let environment = [
        ("ORDER_ROUTER_NATS_URL", "tls://nats.example:4222"),
        ("ORDER_ROUTER_NATS_TLS_CA_FILE", "/nowhere/ca.pem"),
        ("ORDER_ROUTER_REDIS_URL", "rediss://redis.example"),
        ("ORDER_ROUTER_REDIS_TLS_CA_FILE", "/nowhere/ca.pem"),
        ("ORDER_ROUTER_REDIS_SENTINELS", "rediss://sentinel.example:26379"),
        ("ORDER_ROUTER_REDIS_SENTINEL_SERVICE", "orders"),
    ];
    let args = [
        "dev",
        "--http-addr",
        "127.0.0.1:0",
        "--nats-port",
        "0",
        "--workers",
        "2",
    ];
    let mut dev = RouterProcess::start(&args, environment);
    let ready = dev.wait_ready(SOON).await;
    assert!(ready.contains("nats=nats://127.0.0.1:"), "{ready}");
    assert!(dev.terminate(SOON).await.success());
}
