//! The measurements: latencies as holdings grow, and bytes by what Redis says it uses.

use std::time::Duration;

use anyhow::{Context, ensure};
use futures_util::{StreamExt, TryStreamExt, stream};
use order_router::bus::connection::{ConnectPolicy, connect};
use order_router::bus::router_client::RouterClient;
use order_router::bus::subjects;
use order_router::config::Settings;
use order_router::domain::id::{AccountId, BrokerId};
use order_router::domain::time::Timestamp;
use redis::aio::MultiplexedConnection;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use crate::router::{self, Process, read_measured};
use crate::servers::Servers;

/// Requests in flight while the store is filled.
const IN_FLIGHT: usize = 256;
/// How long one request may take.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);
/// How long the outbox may take to drain.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(120);
const DRAIN_POLL: Duration = Duration::from_millis(200);
/// The loads whose latency is measured: one at a time, and many.
const CONCURRENCIES: [&str; 2] = ["1", "64"];

/// How much is measured.
pub struct Options {
    /// The time of one measurement, in seconds.
    pub seconds: u64,
    /// The most holdings.
    pub most_holdings: usize,
    /// How many orders, ids and accounts the bytes are averaged over.
    pub orders: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            seconds: 10,
            most_holdings: 100_000,
            orders: 20_000,
        }
    }
}

/// A router that is filled and measured.
struct Router {
    servers: Servers,
    _worker: Process,
    client: RouterClient,
    redis: MultiplexedConnection,
}

impl Router {
    /// Starts a router whose orders at `ibkr` rest for good after their first fill.
    async fn start() -> anyhow::Result<Self> {
        let servers = Servers::start(false).await?;
        let mut command = router::command(&servers.addresses);
        command
            .arg("worker")
            .env("ORDER_ROUTER_BROKERS_PAPER_IBKR_REST_FILL", "never");
        command.env("ORDER_ROUTER_RISK_MAX_OPEN_ORDERS", "1000000");
        let worker = Process::start(command, "ready").await?;
        let mut settings = Settings::default();
        settings.nats.url.clone_from(&servers.addresses.nats);
        let bus = connect(&settings.nats, "state bench", ConnectPolicy::Once).await?;
        let redis = redis::Client::open(servers.addresses.redis.as_str())?;
        Ok(Self {
            redis: redis.get_multiplexed_async_connection().await?,
            client: RouterClient::new(bus),
            _worker: worker,
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
    async fn add_holdings(&self, from: usize, to: usize) -> anyhow::Result<()> {
        let adjustment = |number: usize| {
            let body = json!({"adjustment_id": format!("holding-{number}"), "account_id": format!("holder-{number}"),
                "venue": "ibkr.paper", "symbol": "AAPL", "quantity": "1", "price": "180", "actor": "bench",
                "reason": "holding"});
            (subjects::ADJUST.to_owned(), body)
        };
        self.send_all((from..to).map(adjustment)).await
    }

    /// Sends one order for each number, of an account that may depend on it.
    async fn send_orders(&self, count: usize, of: impl Fn(usize) -> Value) -> anyhow::Result<()> {
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
        self.send_all((0..count).map(order)).await
    }

    /// Returns the memory that Redis uses for its data, once nothing waits for the journal any more.
    async fn used_bytes(&mut self) -> anyhow::Result<i64> {
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
        let info: String = redis::cmd("INFO").arg("memory").query_async(&mut self.redis).await?;
        let line = info.lines().find_map(|line| line.strip_prefix("used_memory_dataset:"));
        Ok(line.context("used_memory_dataset")?.trim().parse()?)
    }
}

/// Measures and prints everything.
pub async fn run(options: &Options) -> anyhow::Result<()> {
    print_latencies(options).await?;
    print_bytes(options).await
}

async fn print_latencies(options: &Options) -> anyhow::Result<()> {
    let router = Router::start().await?;
    println!(
        "{:<12} {:>10} {:>10} {:>10} {:>12}",
        "holdings", "at a time", "p50 us", "p99 us", "orders/s"
    );
    let (mut held, mut first_p99) = (0, [0; CONCURRENCIES.len()]);
    for holdings in [10, 10_000, 100_000] {
        let holdings = options.most_holdings.min(holdings);
        if holdings <= held {
            continue;
        }
        router.add_holdings(held, holdings).await?;
        held = holdings;
        for (concurrency, first_p99) in CONCURRENCIES.iter().zip(&mut first_p99) {
            let mut load = router::command(&router.servers.addresses);
            load.args(["bench", "--json", "--concurrency", concurrency]);
            load.args([
                "--seconds",
                &options.seconds.to_string(),
                "--instrument",
                "binance.spot:BTCUSDT",
            ]);
            let measured = read_measured(load).await?;
            ensure!(measured.errors == 0, "{} orders were not executed", measured.errors);
            if *first_p99 == 0 {
                *first_p99 = measured.p99_us.max(1);
            }
            let ratio = measured.p99_us.saturating_mul(1_000) / *first_p99;
            println!(
                "{holdings:<12} {concurrency:>10} {:>10} {:>10} {:>12}   p99 {}.{:03} of that at 10, <= 1.5",
                measured.p50_us,
                measured.p99_us,
                measured.throughput_per_s,
                ratio / 1_000,
                ratio % 1_000
            );
        }
    }
    Ok(())
}

async fn print_bytes(options: &Options) -> anyhow::Result<()> {
    let count = options.orders.max(1);
    let mut router = Router::start().await?;
    // What every worker and account needs once is no cost of the orders.
    router
        .send_orders(1_000, |number| order(&format!("warm-{number}"), "warm", "buy"))
        .await?;
    let empty = router.used_bytes().await?;
    router
        .send_orders(count, |number| order(&format!("id-{number}"), "warm", side(number)))
        .await?;
    let with_ids = router.used_bytes().await?;
    let by_id = (with_ids - empty) / i64::try_from(count)?;
    println!("\n{:<44} {by_id:>8} bytes", "a remembered id (ended order)");
    // Each account buys and sells, and holds nothing: two ids and one account.
    router
        .send_orders(count, |number| {
            order(&format!("in-{number}"), &format!("seen-{number}"), "buy")
        })
        .await?;
    router
        .send_orders(count, |number| {
            order(&format!("out-{number}"), &format!("seen-{number}"), "sell")
        })
        .await?;
    let with_accounts = router.used_bytes().await?;
    let by_account = (with_accounts - with_ids) / i64::try_from(count)? - 2 * by_id;
    println!(
        "{:<44} {by_account:>8} bytes",
        "an account seen today that holds nothing"
    );
    router
        .send_orders(count, |number| resting(&format!("open-{number}")))
        .await?;
    let with_open = router.used_bytes().await?;
    println!(
        "{:<44} {:>8} bytes",
        "an open order",
        (with_open - with_accounts) / i64::try_from(count)?
    );
    Ok(())
}

fn side(number: usize) -> &'static str {
    if number.is_multiple_of(2) { "buy" } else { "sell" }
}

/// An order that fills at once.
fn order(id: &str, account: &str, side: &str) -> Value {
    json!({"broker": "binance", "venue": "binance.spot", "symbol": "BTCUSDT", "side": side, "quantity": "0.00001",
        "order_type": "market", "client_order_id": id, "account_id": account})
}

/// An order whose rest stays open.
fn resting(id: &str) -> Value {
    json!({"broker": "ibkr", "venue": "ibkr.paper", "symbol": "AAPL", "side": "buy", "quantity": "0.02",
        "order_type": "limit", "price": "180", "time_in_force": "GTC", "client_order_id": id, "account_id": "open"})
}
