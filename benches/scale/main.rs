//! What an order costs as the work grows: with more workers, more accounts, more open orders, and more orders behind it.
//!
//! `make bench-scale` runs it. Servers, workers and load are processes of their own.

#[path = "../floor/arguments.rs"]
mod arguments;
#[path = "../state/filled_router.rs"]
#[expect(dead_code, reason = "the bench of the state uses more of it")]
mod filled_router;
#[path = "../floor/router.rs"]
#[expect(dead_code, reason = "the floor's benches use more of it")]
mod router;
mod series;
#[path = "../floor/servers.rs"]
mod servers;

use anyhow::{Context, bail};

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let arguments = arguments::arguments();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let options = match words.as_slice() {
        [] => series::Options::default(),
        ["--seconds", seconds, "--orders", orders] => series::Options {
            seconds: seconds.parse().with_context(|| format!("--seconds is {seconds}"))?,
            most_orders: orders.parse().with_context(|| format!("--orders is {orders}"))?,
        },
        _ => bail!("usage: cargo bench --bench scale [-- --seconds N --orders N]"),
    };
    series::run(&options).await
}
