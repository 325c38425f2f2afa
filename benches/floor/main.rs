//! The floor under a routed order, and the router beside it.
//!
//! `cargo bench --bench floor` starts nats-server and redis-server, measures what the messages of one order cost on them
//! alone (no parsing, no rules, no broker), then the router on the same servers, and prints ratios. Load, worker and
//! servers are processes of their own, as they are for users. The ways:
//!
//! | way | messages of one order |
//! |---|---|
//! | direct | request, reserve script, settle script, journal append acknowledged, reply |
//! | group | the same; the orders that wait together share a script call and a burst of appends |
//! | durable | publish to a work queue acknowledged, delivery, the messages of direct, acknowledgement |
//!
//! `make bench` runs it; `docs/performance.md` has the method and measured ratios.

mod arguments;
mod compare;
mod floor_worker;
mod load;
#[path = "../pure/parts.rs"]
mod parts;
mod pure_parts;
mod router;
mod servers;
mod table;

use std::time::Duration;

use anyhow::{Context, bail};

use crate::servers::Addresses;

/// An intent as callers send it: 230 bytes.
const INTENT: &str = include_str!("../pure/intent.json");

/// How the messages of an order travel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Direct,
    Group,
    Durable,
}

impl Way {
    const ALL: [Self; 3] = [Self::Direct, Self::Group, Self::Durable];

    fn name(self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::Group => "group",
            Self::Durable => "durable",
        }
    }

    fn subject(self) -> &'static str {
        match self {
            Self::Direct => "floor.direct",
            Self::Group => "floor.group",
            Self::Durable => "floor.durable",
        }
    }

    fn parse(name: &str) -> anyhow::Result<Self> {
        let found = Self::ALL.into_iter().find(|way| way.name() == name);
        found.with_context(|| format!("{name} is no way: use direct, group or durable"))
    }
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let arguments = arguments::arguments();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["worker", nats, redis, appends] => {
            let addresses = addresses(nats, redis);
            floor_worker::serve(&addresses, *appends == "atomic").await
        }
        ["load", nats, way, concurrency, seconds] => {
            let seconds = Duration::from_secs(seconds.parse().context("seconds")?);
            let measured = load::measure(
                nats,
                Way::parse(way)?,
                concurrency.parse().context("concurrency")?,
                seconds,
            )
            .await?;
            println!("{}", measured.to_json());
            Ok(())
        }
        [] => compare::run(&compare::Options::default()).await,
        ["--seconds", seconds, "--runs", runs] => {
            let seconds = seconds.parse().context("--seconds")?;
            let runs = runs.parse().context("--runs")?;
            compare::run(&compare::Options { seconds, runs }).await
        }
        _ => bail!("usage: cargo bench --bench floor [-- --seconds N --runs N]"),
    }
}

fn addresses(nats: &str, redis: &str) -> Addresses {
    Addresses {
        nats: nats.to_owned(),
        redis: redis.to_owned(),
    }
}
