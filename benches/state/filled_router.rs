//! A router that is filled as users fill it: holdings by journaled adjustments over the bus, the rest by orders. Servers,
//! worker and load are processes of their own.

use std::ops::Range;
use std::time::Duration;

use anyhow::{Context, ensure};
use futures_util::{StreamExt, TryStreamExt, stream};
use order_router::bench::ProcessUsage;
use order_router::bus::connection::{ConnectPolicy, connect};
use order_router::bus::router_client::RouterClient;
use order_router::bus::subjects;
use order_router::config::Settings;
use order_router::domain::id::{AccountId, BrokerId};
use order_router::domain::time::Timestamp;
use redis::aio::MultiplexedConnection;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use crate::router::{self, Measured, Process, read_measured};
use crate::servers::Servers;

/// Requests in flight while the store is filled.
const IN_FLIGHT: usize = 256;
/// How long one request may take.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);
/// How long the outbox may take to drain.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(120);
const DRAIN_POLL: Duration = Duration::from_millis(200);

/// A router that is filled and measured.
pub struct FilledRouter {
    servers: Servers,
    workers: Vec<Process>,
    client: RouterClient,
    redis: MultiplexedConnection,
}

impl FilledRouter {
    /// Starts a router of this many workers whose orders at `ibkr` rest for good after their first fill.
    pub async fn start(workers: usize) -> anyhow::Result<Self> {
        let servers = Servers::start(false).await?;
        let mut started = Vec::with_capacity(workers);
        for _ in 0..workers {
            let mut command = router::command(&servers.addresses);
            command
                .arg("worker")
                .env("ORDER_ROUTER_BROKERS_PAPER_IBKR_REST_FILL", "never")
                // A snapshot takes a part of the processor for some seconds: it would fall into some measurements only.
                .env("ORDER_ROUTER_JOURNAL_SNAPSHOT_ENTRIES", "0")
                .env("ORDER_ROUTER_RISK_MAX_OPEN_ORDERS", "1000000");
            started.push(Process::start(command, "ready").await?);
        }
        let mut settings = Settings::default();
        settings.nats.url.clone_from(&servers.addresses.nats);
        let bus = connect(&settings.nats, "bench", ConnectPolicy::Once).await?;
        let redis = redis::Client::open(servers.addresses.redis.as_str())?;
        Ok(Self {
            redis: redis.get_multiplexed_async_connection().await?,
            client: RouterClient::new(bus),
            workers: started,
            servers,
        })
    }

    /// Sends requests, many at a time, and fails with the first that is refused.
    async fn send_all(&self, requests: impl Iterator<Item = (String, Value)>) -> anyhow::Result<()> {
        stream::iter(requests)
            .map(|(subject, body)| async move {
                let deadline = Timestamp::now().saturating_add(REQUEST_TIMEOUT);
                let sent = self.client.request(&subject, body.to_string().into(), deadline).await;
                sent.map(drop).with_context(|| format!("{subject}: {body}"))
            })
            .buffer_unordered(IN_FLIGHT)
            .try_collect()
            .await
    }

    /// Gives accounts `from` to `to` a position each.
    pub async fn add_holdings(&self, from: usize, to: usize) -> anyhow::Result<()> {
        let adjustment = |number: usize| {
            let body = json!({"adjustment_id": format!("holding-{number}"), "account_id": format!("holder-{number}"),
                "venue": "ibkr.paper", "symbol": "AAPL", "quantity": "1", "price": "180", "actor": "bench",
                "reason": "holding"});
            (subjects::ADJUST.to_owned(), body)
        };
        self.send_all((from..to).map(adjustment)).await
    }

    /// Sends one order for each number, of an account that may depend on it.
    pub async fn send_orders(&self, numbers: Range<usize>, of: impl Fn(usize) -> Value) -> anyhow::Result<()> {
        let order = |number| {
            let body = of(number);
            let text = |name: &str| body[name].as_str().unwrap_or_default().to_owned();
            let broker = BrokerId::new(&text("broker"));
            let account = AccountId::new(&text("account_id"));
            let subject = broker
                .ok()
                .zip(account.ok())
                .map(|(broker, account)| subjects::submit(&broker, &account));
            (subject.unwrap_or_default(), body)
        };
        self.send_all(numbers.map(order)).await
    }

    /// Returns the memory that Redis uses for its data, once nothing waits for the journal any more.
    pub async fn used_bytes(&mut self) -> anyhow::Result<i64> {
        let end = Instant::now() + DRAIN_TIMEOUT;
        loop {
            let waiting: (i64, i64) = redis::pipe()
                .zcard("{or}:outbox")
                .zcard("{or}:leases")
                .query_async(&mut self.redis)
                .await?;
            if waiting == (0, 0) {
                break;
            }
            ensure!(Instant::now() < end, "{waiting:?} orders still wait for the journal");
            sleep(DRAIN_POLL).await;
        }
        Ok(self.info("memory", "used_memory_dataset:").await?.parse()?)
    }

    /// Returns what `INFO` has in a section behind this name.
    async fn info(&mut self, section: &str, name: &str) -> anyhow::Result<String> {
        let info: String = redis::cmd("INFO").arg(section).query_async(&mut self.redis).await?;
        let line = info.lines().find_map(|line| line.strip_prefix(name));
        Ok(line
            .with_context(|| format!("INFO {section} has no {name}"))?
            .trim()
            .to_owned())
    }

    /// Begins to count from zero how long script calls keep Redis. From now on Redis does not rewrite its append-only file: that
    /// would fall into some measurements only.
    pub async fn reset_call_times(&mut self) -> anyhow::Result<()> {
        redis::pipe()
            .cmd("CONFIG")
            .arg(&["SET", "auto-aof-rewrite-percentage", "0"])
            .cmd("CONFIG")
            .arg(&["SET", "latency-tracking-info-percentiles", "99 99.9 100"])
            .cmd("CONFIG")
            .arg("RESETSTAT")
            .exec_async(&mut self.redis)
            .await?;
        Ok(())
    }

    /// Returns how long script calls have kept Redis, in microseconds: p99, p99.9 and the longest.
    pub async fn call_times_us(&mut self) -> anyhow::Result<[String; 3]> {
        let line = self.info("latencystats", "latency_percentiles_usec_evalsha:").await?;
        // Each is `p99=612.351`; whole microseconds are enough.
        let times: Option<Vec<String>> = line
            .split(',')
            .map(|value| Some(value.split_once('=')?.1.split('.').next()?.to_owned()))
            .collect();
        let times = times.and_then(|times| times.try_into().ok());
        times.with_context(|| format!("{line:?} are not three percentiles"))
    }

    /// Runs the load of `bench` to its end, with these arguments besides, and fails where an order was not executed.
    pub async fn measure(&self, arguments: &[&str]) -> anyhow::Result<Measured> {
        let mut load = router::command(&self.servers.addresses);
        load.args(["bench", "--json"]).args(arguments);
        let measured = read_measured(load).await?;
        ensure!(measured.errors == 0, "{} orders were not executed", measured.errors);
        Ok(measured)
    }

    /// Returns the resident memory of all workers, in KiB.
    pub fn worker_kib(&self) -> u64 {
        let usages = self.workers.iter().filter_map(|worker| ProcessUsage::read(worker.id()));
        usages.map(|usage| usage.resident_kib).sum()
    }
}

/// The sides in turn.
pub fn side(number: usize) -> &'static str {
    if number.is_multiple_of(2) { "buy" } else { "sell" }
}

/// An order that fills at once.
pub fn order(id: &str, account: &str, side: &str) -> Value {
    json!({"broker": "binance", "venue": "binance.spot", "symbol": "BTCUSDT", "side": side, "quantity": "0.00001",
        "order_type": "market", "client_order_id": id, "account_id": account})
}

/// An order whose rest stays open.
pub fn resting(id: &str, account: &str) -> Value {
    json!({"broker": "ibkr", "venue": "ibkr.paper", "symbol": "AAPL", "side": "buy", "quantity": "0.02",
        "order_type": "limit", "price": "180", "time_in_force": "GTC", "client_order_id": id, "account_id": account})
}
