//! The measurements: latencies as holdings grow, and bytes by what Redis says it uses.

use crate::filled_router::{FilledRouter, order, resting, side};

/// The loads whose latency is measured: one at a time, and many.
const CONCURRENCIES: [&str; 3] = ["1", "64", "256"];

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

/// Measures and prints everything.
pub async fn run(options: &Options) -> anyhow::Result<()> {
    print_latencies(options).await?;
    print_bytes(options).await
}

async fn print_latencies(options: &Options) -> anyhow::Result<()> {
    let mut router = FilledRouter::start(1).await?;
    let seconds = options.seconds.to_string();
    println!(
        "{:<12} {:>10} {:>10} {:>10} {:>12}   script calls: p99, p99.9, longest (us)",
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
            router.reset_call_times().await?;
            let measured = router
                .measure(&[
                    "--concurrency",
                    concurrency,
                    "--seconds",
                    &seconds,
                    "--instrument",
                    "binance.spot:BTCUSDT",
                ])
                .await?;
            let [call_p99, call_p999, longest_call] = router.call_times_us().await?;
            if *first_p99 == 0 {
                *first_p99 = measured.p99_us.max(1);
            }
            let ratio = measured.p99_us.saturating_mul(1_000) / *first_p99;
            println!(
                "{holdings:<12} {concurrency:>10} {:>10} {:>10} {:>12}   {call_p99:>5} {call_p999:>5} {longest_call:>5}   \
                 p99 {}.{:03} of that at 10, <= 1.5",
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
    let mut router = FilledRouter::start(1).await?;
    // What every worker and account needs once is no cost of the orders.
    router
        .send_orders(0..1_000, |number| order(&format!("warm-{number}"), "warm", "buy"))
        .await?;
    let empty = router.used_bytes().await?;
    router
        .send_orders(0..count, |number| order(&format!("id-{number}"), "warm", side(number)))
        .await?;
    let with_ids = router.used_bytes().await?;
    let by_id = (with_ids - empty) / i64::try_from(count)?;
    println!("\n{:<44} {by_id:>8} bytes", "a remembered id (ended order)");
    // Each account buys and sells, and holds nothing: two ids and one account.
    router
        .send_orders(0..count, |number| {
            order(&format!("in-{number}"), &format!("seen-{number}"), "buy")
        })
        .await?;
    router
        .send_orders(0..count, |number| {
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
        .send_orders(0..count, |number| resting(&format!("open-{number}"), "open"))
        .await?;
    let with_open = router.used_bytes().await?;
    println!(
        "{:<44} {:>8} bytes",
        "an open order",
        (with_open - with_accounts) / i64::try_from(count)?
    );
    Ok(())
}
