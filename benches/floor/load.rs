//! Closed-loop load on one way: each lane sends its next order when the one before is answered.

use std::time::Duration;

use anyhow::Context;
use hdrhistogram::Histogram;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

use crate::{INTENT, Way};

/// How long one order may take.
const ORDER_TIMEOUT: Duration = Duration::from_secs(5);
/// What the lanes send before the measurement, as a share of its time.
const WARM_UP_SHARE: u32 = 4;

/// What a run measured.
pub struct LoadResult {
    pub orders_per_s: u64,
    pub p50_us: u64,
    pub p99_us: u64,
}

impl LoadResult {
    pub fn to_json(&self) -> String {
        format!(
            r#"{{"throughput_per_s":{},"p50_us":{},"p99_us":{}}}"#,
            self.orders_per_s, self.p50_us, self.p99_us
        )
    }
}

/// Sends load for a quarter of `duration`, then measures for `duration`.
pub async fn measure(nats: &str, way: Way, concurrency: usize, duration: Duration) -> anyhow::Result<LoadResult> {
    let client = async_nats::connect(nats).await.context("NATS")?;
    run_lanes(&client, way, concurrency, duration / WARM_UP_SHARE).await?;
    let begin = Instant::now();
    let latencies = run_lanes(&client, way, concurrency, duration).await?;
    let elapsed_us = u64::try_from(begin.elapsed().as_micros())?.max(1);
    Ok(LoadResult {
        orders_per_s: latencies.len().saturating_mul(1_000_000) / elapsed_us,
        p50_us: latencies.value_at_quantile(0.5),
        p99_us: latencies.value_at_quantile(0.99),
    })
}

async fn run_lanes(
    client: &async_nats::Client,
    way: Way,
    concurrency: usize,
    duration: Duration,
) -> anyhow::Result<Histogram<u64>> {
    let end = Instant::now() + duration;
    let mut lanes = JoinSet::new();
    for _ in 0..concurrency {
        let client = client.clone();
        lanes.spawn(async move {
            let mut latencies = Histogram::<u64>::new(3)?;
            while Instant::now() < end {
                let sent_at = Instant::now();
                timeout(ORDER_TIMEOUT, client.request(way.subject(), INTENT.into())).await??;
                latencies.record(u64::try_from(sent_at.elapsed().as_micros())?)?;
            }
            anyhow::Ok(latencies)
        });
    }
    let mut all = Histogram::<u64>::new(3)?;
    while let Some(lane) = lanes.join_next().await {
        all.add(lane??)?;
    }
    Ok(all)
}
