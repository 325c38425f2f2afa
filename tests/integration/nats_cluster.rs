//! The NATS configuration of deploy/kubernetes: three servers form a cluster, and orders continue while one is away.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "in a test a panic is the verdict"
)]

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use order_router::bus::connection::{ConnectPolicy, connect};
use order_router::bus::router_client::RouterClient;
use order_router::bus::subjects;
use order_router::config::nats::NatsSettings;
use order_router::config::nats::Secret;
use order_router::domain::id::{AccountId, BrokerId};
use order_router::domain::time::Timestamp;
use order_router::worker::Worker;

use crate::rest_fixture::client;
use crate::rig::{Rig, SOON, intent};
use crate::support::poll;
use crate::support::ports::PortLease;
use crate::support::process::{Process, repository, tools_directory};

/// How long an election and a failover may take on a busy machine.
const FAILOVER: Duration = Duration::from_secs(60);

/// The ports of one server: for clients, for the other servers, and for its health.
struct Ports([PortLease; 3]);

impl Ports {
    fn take() -> Self {
        Self([PortLease::take(), PortLease::take(), PortLease::take()])
    }

    fn number(&self, which: usize) -> u16 {
        self.0[which].number()
    }
}

/// Starts one of the servers with the configuration of Kubernetes on this machine's ports.
fn start_server(index: usize, all: &[Ports], directory: &Path) -> Process {
    let read = |file: &str| std::fs::read_to_string(repository().join("deploy/kubernetes/base").join(file)).unwrap();
    let own = &all[index];
    let mut config = read("nats.conf");
    let mut replace = |from: &str, to: String| {
        assert!(config.contains(from), "{from}");
        config = config.replace(from, &to);
    };
    for (peer, ports) in all.iter().enumerate() {
        let route = format!("nats://127.0.0.1:{}", ports.number(1));
        replace(&format!("nats://nats-{peer}.nats-peers:6222"), route);
    }
    replace("port: 4222", format!("listen: \"127.0.0.1:{}\"", own.number(0)));
    replace("  port: 6222", format!("  listen: \"127.0.0.1:{}\"", own.number(1)));
    replace("http_port: 8222", format!("http: \"127.0.0.1:{}\"", own.number(2)));
    replace("store_dir: /data", format!("store_dir: {:?}", directory.join("data")));
    replace("/tmp/nats.pid", format!("{:?}", directory.join("nats.pid")));
    std::fs::create_dir_all(directory).unwrap();
    std::fs::write(directory.join("nats.conf"), config).unwrap();
    std::fs::write(directory.join("tls.conf"), read("tls.conf")).unwrap();
    let users = [
        "worker", "topology", "sidecar", "alpha", "client", "market", "archive", "operator",
    ];
    let passwords = users.map(|user| {
        (
            format!("DEPLOY_NATS_{}_PASSWORD", user.to_uppercase()),
            format!("{user}-test"),
        )
    });
    let log = std::fs::File::create(directory.join("log")).unwrap();
    let mut command = Command::new(tools_directory().join("nats-server"));
    command
        .arg("--config")
        .arg(directory.join("nats.conf"))
        .env("POD_NAME", format!("nats-{index}"))
        .envs(passwords)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log);
    Process::spawn(&format!("nats-{index}"), &mut command).unwrap()
}

fn as_user(settings: &NatsSettings, user: &str) -> NatsSettings {
    NatsSettings {
        user: Some(user.to_owned()),
        password: Some(Secret::new(format!("{user}-test"))),
        ..settings.clone()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn three_servers_of_the_configuration_bear_the_loss_of_one() {
    let mut rig = Rig::start().await;
    let directory = tempfile::tempdir().unwrap();
    let ports = [Ports::take(), Ports::take(), Ports::take()];
    let start = |index: usize| start_server(index, &ports, &directory.path().join(format!("nats-{index}")));
    let mut servers = [start(0), start(1), start(2)];
    let log = |index: usize| std::fs::read_to_string(directory.path().join(format!("nats-{index}/log"))).unwrap();
    for (index, one) in ports.iter().enumerate() {
        let health = format!("http://127.0.0.1:{}/healthz", one.number(2));
        poll::until(
            FAILOVER,
            format!("nats-{index} is healthy: {}", log(index)),
            async || {
                client()
                    .get(&health)
                    .send()
                    .await
                    .is_ok_and(|reply| reply.status() == 200)
            },
        )
        .await;
    }
    let urls = ports.iter().map(|one| format!("nats://127.0.0.1:{}", one.number(0)));
    rig.settings.nats.url = urls.collect::<Vec<_>>().join(",");
    rig.settings.nats.replicas = 3;
    let worker_settings = {
        let mut settings = rig.settings.clone();
        settings.nats = as_user(&rig.settings.nats, "worker");
        settings
    };
    let mut worker = None;
    poll::until(FAILOVER, "a worker on three replicas", async || {
        // The cluster may still elect the leader of its streams.
        worker = Worker::start(&worker_settings).await.ok();
        worker.is_some()
    })
    .await;
    let bus = connect(
        &as_user(&rig.settings.nats, "client"),
        "test",
        ConnectPolicy::RetryFor(SOON),
    )
    .await;
    let caller = RouterClient::new(bus.unwrap());
    let subject = subjects::submit(&BrokerId::new("binance").unwrap(), &AccountId::default_account());
    let is_filled = async |id: &str| {
        let deadline = Timestamp::now().saturating_add(Duration::from_secs(5));
        let reply = caller.request(&subject, intent(id, &[]).into(), deadline).await;
        reply.is_ok_and(|reply| String::from_utf8_lossy(&reply.body).contains("\"filled\""))
    };
    poll::until(FAILOVER, "an order with three servers", async || {
        is_filled("three").await
    })
    .await;
    servers[0].kill9();
    poll::until(FAILOVER, "an order with two servers", async || is_filled("two").await).await;
    worker.unwrap().drain(SOON).await;
}
