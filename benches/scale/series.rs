//! The series: each row is one router, or one stage of a router that is filled further.

use tokio::time::Instant;

use crate::filled_router::{FilledRouter, order, resting, side};

/// Orders in flight while the throughput is measured.
const IN_FLIGHT: &str = "256";
/// Accounts that the open orders are spread over.
const OPEN_ACCOUNTS: usize = 1_000;
/// Accounts that the orders of the soak are spread over.
const SOAK_ACCOUNTS: usize = 64;
/// How many stages the soak is told in.
const SOAK_STAGES: usize = 10;
const KIB_IN_MIB: u64 = 1_024;

/// How much is measured.
pub struct Options {
    /// The time of one measurement, in seconds.
    pub seconds: u64,
    /// The most open orders, and the orders of the soak.
    pub most_orders: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            seconds: 10,
            most_orders: 1_000_000,
        }
    }
}

/// Measures and prints every series.
pub async fn run(options: &Options) -> anyhow::Result<()> {
    print_workers(options).await?;
    print_accounts(options).await?;
    print_open_orders(options).await?;
    print_soak(options).await
}

/// One router's throughput with many orders in flight, and its latency with one.
struct Measurement {
    throughput_per_s: u64,
    lone_p50_us: u64,
}

async fn measure(router: &FilledRouter, options: &Options, accounts: usize) -> anyhow::Result<Measurement> {
    let (seconds, accounts) = (options.seconds.to_string(), accounts.to_string());
    let load = [
        "--seconds",
        &seconds,
        "--accounts",
        &accounts,
        "--instrument",
        "binance.spot:BTCUSDT",
    ];
    let many = router
        .measure(&[&load[..], &["--concurrency", IN_FLIGHT]].concat())
        .await?;
    let lone = router.measure(&[&load[..], &["--concurrency", "1"]].concat()).await?;
    Ok(Measurement {
        throughput_per_s: many.throughput_per_s,
        lone_p50_us: lone.p50_us,
    })
}

fn print_head(what: &str) {
    println!(
        "\n{what:<20} {:>12} {:>12} {:>14} {:>14}",
        "orders/s", "lone p50 us", "worker MiB", "Redis MiB"
    );
}

async fn print_row(router: &mut FilledRouter, of: usize, measured: &Measurement) -> anyhow::Result<()> {
    let redis_mib = router.used_bytes().await? / (1_024 * 1_024);
    println!(
        "{of:<20} {:>12} {:>12} {:>14} {redis_mib:>14}",
        measured.throughput_per_s,
        measured.lone_p50_us,
        router.worker_kib() / KIB_IN_MIB,
    );
    Ok(())
}

async fn print_workers(options: &Options) -> anyhow::Result<()> {
    print_head("workers");
    for workers in [1, 2, 4] {
        let mut router = FilledRouter::start(workers).await?;
        let measured = measure(&router, options, SOAK_ACCOUNTS).await?;
        print_row(&mut router, workers, &measured).await?;
    }
    Ok(())
}

async fn print_accounts(options: &Options) -> anyhow::Result<()> {
    print_head("accounts");
    for accounts in [1, 100, 10_000] {
        let mut router = FilledRouter::start(1).await?;
        let measured = measure(&router, options, accounts).await?;
        print_row(&mut router, accounts, &measured).await?;
    }
    Ok(())
}

async fn print_open_orders(options: &Options) -> anyhow::Result<()> {
    print_head("open orders");
    let mut router = FilledRouter::start(1).await?;
    let mut open = 0;
    for orders in [10, 10_000, options.most_orders] {
        let account = |number: usize| format!("open-{}", number % OPEN_ACCOUNTS);
        router
            .send_orders(open..orders, |number| {
                resting(&format!("rest-{number}"), &account(number))
            })
            .await?;
        open = orders;
        let measured = measure(&router, options, SOAK_ACCOUNTS).await?;
        print_row(&mut router, orders, &measured).await?;
    }
    Ok(())
}

/// Sends the orders of a day as fast as they are answered. Their ids stay remembered, so the memory of Redis grows by an id an
/// order and by nothing else; that of the worker does not grow.
async fn print_soak(options: &Options) -> anyhow::Result<()> {
    println!(
        "\n{:<20} {:>12} {:>12} {:>14} {:>14}",
        "orders behind it", "orders/s", "worker MiB", "Redis MiB", "Redis B/order"
    );
    let mut router = FilledRouter::start(1).await?;
    let first = options.most_orders / 100;
    router.send_orders(0..first, soak_order).await?;
    let begun_with = router.used_bytes().await?;
    let mut sent = first;
    for stage in 1..=SOAK_STAGES {
        let until = options.most_orders * stage / SOAK_STAGES;
        let begun = Instant::now();
        router.send_orders(sent..until, soak_order).await?;
        let milliseconds = usize::try_from(begun.elapsed().as_millis())?.max(1);
        let bytes = router.used_bytes().await?;
        println!(
            "{until:<20} {:>12} {:>12} {:>14} {:>14}",
            (until - sent) * 1_000 / milliseconds,
            router.worker_kib() / KIB_IN_MIB,
            bytes / (1_024 * 1_024),
            (bytes - begun_with) / i64::try_from((until - first).max(1))?,
        );
        sent = until;
    }
    Ok(())
}

fn soak_order(number: usize) -> serde_json::Value {
    let account = format!("soak-{}", number / 2 % SOAK_ACCOUNTS);
    order(&format!("day-{number}"), &account, side(number))
}
