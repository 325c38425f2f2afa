//! What the shared state costs as it grows: the latency of an order beside 10, 10 000 and 100 000 holdings, and the bytes of
//! Redis for an open order, a remembered id and an account seen; how long script calls keep Redis meanwhile.
//!
//! `make bench-state` runs it. The store is filled as users fill it: holdings by journaled adjustments over the bus, the
//! rest by orders. Servers, worker and load are processes of their own.

#[path = "../floor/arguments.rs"]
mod arguments;
#[expect(dead_code, reason = "the bench of the scale uses more of it")]
mod filled_router;
#[path = "../floor/router.rs"]
#[expect(dead_code, reason = "the floor's benches use more of it")]
mod router;
#[path = "../floor/servers.rs"]
mod servers;
mod state;

use std::num::ParseIntError;
use std::str::FromStr;

use anyhow::{Context, bail};

fn number<T: FromStr<Err = ParseIntError>>(text: &str, name: &str) -> anyhow::Result<T> {
    text.parse().with_context(|| format!("{name} is {text}"))
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let arguments = arguments::arguments();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let options = match words.as_slice() {
        [] => state::Options::default(),
        ["--seconds", seconds, "--holdings", most, "--orders", orders] => state::Options {
            seconds: number(seconds, "--seconds")?,
            most_holdings: number(most, "--holdings")?,
            orders: number(orders, "--orders")?,
        },
        _ => bail!("usage: cargo bench --bench state [-- --seconds N --holdings N --orders N]"),
    };
    state::run(&options).await
}
