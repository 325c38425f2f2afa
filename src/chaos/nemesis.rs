//! The nemesis: injects the faults of a schedule, one after the other. Each has an end.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::Context;
use tokio::sync::watch;
use tokio::time::sleep;

use crate::chaos::append_only_copy::AppendOnlyCopy;
use crate::chaos::failover::{fail_over_redis, kill_nats_node};
use crate::chaos::full_disk::fill_disk;
use crate::chaos::proxy::{LinkFault, LinkFlow};
use crate::chaos::redis_control;
use crate::chaos::router_under_test::RouterUnderTest;
use crate::chaos::schedule::{FaultKind, FaultSchedule, ScheduledFault};
use crate::chaos::servers::ServerPlace;

/// How far Redis is put back.
const PUT_BACK_BY: Duration = Duration::from_secs(1);
/// The delays of a slow connection, in milliseconds.
const DELAYS_MS: (u64, u64) = (20, 700);

/// The faults of a run, and the processes that did not recover from one.
#[derive(Debug, Default)]
pub(in crate::chaos) struct InjectedFaults {
    /// How many of each kind.
    pub(in crate::chaos) counts: BTreeMap<FaultKind, u64>,
    /// What did not recover, after which fault.
    pub(in crate::chaos) failures: Vec<String>,
    /// How many bytes of commands the replicas lacked that were promoted.
    pub(in crate::chaos) redis_bytes_lost: u64,
}

impl InjectedFaults {
    /// Returns how many faults were injected.
    pub(in crate::chaos) fn total(&self) -> u64 {
        self.counts.values().sum()
    }
}

/// Injects faults until `stopped` is true, then lets everything recover.
///
/// # Errors
/// When a fault cannot be injected, or a process cannot be started.
pub(in crate::chaos) async fn inject_faults(
    router: &mut RouterUnderTest,
    mut schedule: FaultSchedule,
    mut stopped: watch::Receiver<bool>,
) -> anyhow::Result<InjectedFaults> {
    let mut injected = InjectedFaults::default();
    loop {
        let fault = schedule.next_fault();
        tokio::select! {
            _ = stopped.wait_for(|stopped| *stopped) => break,
            () = sleep(fault.pause) => {}
        }
        router.restart_starting()?;
        let ended = router.ended_processes();
        if !ended.is_empty() {
            let fault = injected.total();
            injected
                .failures
                .push(format!("after fault {fault}: {} ended by itself", ended.join(", ")));
            router.start_what_has_ended()?;
        }
        tracing::info!(kind = fault.kind.as_str(), duration = ?fault.duration, "fault {}", injected.total() + 1);
        let done = match fault.kind {
            FaultKind::RedisFailover => fail_over_redis(router, &fault).await.map(|lost| {
                injected.redis_bytes_lost += lost;
            }),
            _ => inject(router, &fault).await,
        };
        done.with_context(|| format!("the fault {}", fault.kind.as_str()))?;
        *injected.counts.entry(fault.kind).or_default() += 1;
        if fault.awaits_recovery {
            recover(router, &mut injected, fault.kind).await?;
        }
    }
    recover(router, &mut injected, FaultKind::WorkerKilled).await?;
    Ok(injected)
}

/// Waits until every process is ready. One that is not is noted as a failure and started again.
async fn recover(router: &mut RouterUnderTest, injected: &mut InjectedFaults, kind: FaultKind) -> anyhow::Result<()> {
    if let Err(error) = router.wait_until_ready().await {
        tracing::error!(
            error = format!("{error:#}"),
            kind = kind.as_str(),
            "no recovery after a fault"
        );
        let fault = injected.total();
        injected
            .failures
            .push(format!("after fault {fault} ({}): {error:#}", kind.as_str()));
        router.start_what_has_ended()?;
        router.wait_until_ready().await?;
    }
    Ok(())
}

async fn inject(router: &mut RouterUnderTest, fault: &ScheduledFault) -> anyhow::Result<()> {
    let workers = u64::try_from(router.worker_count()).unwrap_or(1);
    let worker = usize::try_from(fault.worker.checked_rem(workers).unwrap_or(0)).unwrap_or(0);
    match fault.kind {
        FaultKind::WorkerKilled => {
            router.worker(worker)?.kill().await?;
            sleep(fault.duration).await;
            router.start_worker(worker)
        }
        FaultKind::WorkerPaused => {
            // One that is starting is paused as well.
            router.worker(worker)?.pause().await?;
            sleep(fault.duration).await;
            router.worker(worker)?.resume().await
        }
        FaultKind::WorkerDrained => {
            router.drain_worker(worker).await?;
            sleep(fault.duration).await;
            router.start_worker(worker)
        }
        FaultKind::SidecarKilled | FaultKind::OrderLogDeleted => {
            router.kill_sidecar().await?;
            sleep(fault.duration).await;
            if fault.kind == FaultKind::OrderLogDeleted {
                router.delete_order_log()?;
            }
            router.start_sidecar()
        }
        FaultKind::NatsKilled => restart_server(router, ServerPlace::Nats(0), fault).await,
        FaultKind::RedisKilled | FaultKind::RedisTailLost => {
            let primary = find_primary(router).await?;
            restart_server(router, ServerPlace::Redis(primary), fault).await
        }
        FaultKind::RedisPutBack => put_redis_back(router, fault).await,
        FaultKind::RedisFailover => fail_over_redis(router, fault).await.map(drop),
        FaultKind::NatsNodeKilled => kill_nats_node(router, fault).await,
        FaultKind::DiskFull => fill_disk(router, fault).await,
        FaultKind::VenueKilled => {
            router.venue()?.kill().await?;
            sleep(fault.duration).await;
            router.start_venue()?;
            router.wait_for_venue().await
        }
        FaultKind::RedisFlushed => {
            flush_redis(router).await?;
            sleep(fault.duration).await;
            Ok(())
        }
        FaultKind::RedisPaused => {
            let primary = find_primary(router).await?;
            let process = router.server(ServerPlace::Redis(primary))?.process()?;
            process.pause().await?;
            sleep(fault.duration).await;
            process.resume().await
        }
        FaultKind::LinkCut | FaultKind::LinkDelayed | FaultKind::LinkHalfClosed | FaultKind::LinkStalled => {
            router.set_link(worker, fault.link, link_fault(fault))?;
            sleep(fault.duration).await;
            router.set_link(worker, fault.link, LinkFault::default())
        }
        FaultKind::SettingsChanged => {
            // A worker with the settings of before would not start after the change.
            router.wait_until_ready().await?;
            router.change_settings().await?;
            router.drain_worker(worker).await?;
            sleep(fault.duration).await;
            router.start_worker(worker)
        }
    }
}

/// Kills a server and starts it again; Redis without the end of its file where the fault says so.
async fn restart_server(
    router: &mut RouterUnderTest,
    place: ServerPlace,
    fault: &ScheduledFault,
) -> anyhow::Result<()> {
    router.server(place)?.process()?.kill().await?;
    if fault.kind == FaultKind::RedisTailLost {
        let bytes = router.server(place)?.cut_append_only_file(fault.detail)?;
        tracing::info!(bytes, "Redis loses the end of its file");
    }
    start_again(router, place, fault).await
}

/// Kills Redis and starts it from its append-only file of a second before.
async fn put_redis_back(router: &mut RouterUnderTest, fault: &ScheduledFault) -> anyhow::Result<()> {
    let place = ServerPlace::Redis(find_primary(router).await?);
    let copy = AppendOnlyCopy::take(router.server(place)?.directory())?;
    sleep(PUT_BACK_BY).await;
    router.server(place)?.process()?.kill().await?;
    let bytes = copy.put_back()?;
    tracing::info!(bytes, "Redis is put back to what it was a second before");
    start_again(router, place, fault).await
}

/// Starts a killed server and waits until it is ready.
async fn start_again(router: &mut RouterUnderTest, place: ServerPlace, fault: &ScheduledFault) -> anyhow::Result<()> {
    sleep(fault.duration).await;
    router.start_server(place)?;
    let started = router.server(place)?.wait_until_ready().await;
    if started.is_err() && router.server(place)?.drop_damaged_append_only_file()? {
        tracing::info!("Redis cannot read its file, which a full disk has damaged: it starts empty");
        router.start_server(place)?;
        return router.server(place)?.wait_until_ready().await;
    }
    started
}

/// Waits until the Sentinels, where there are some, name a primary that replies, and returns its number.
async fn find_primary(router: &mut RouterUnderTest) -> anyhow::Result<usize> {
    router.redis().wait_until_ready().await?;
    router.redis().find_primary().await
}

async fn flush_redis(router: &mut RouterUnderTest) -> anyhow::Result<()> {
    let primary = find_primary(router).await?;
    redis_control::send(router.redis().address(primary)?, &["FLUSHALL"]).await
}

fn link_fault(fault: &ScheduledFault) -> LinkFault {
    let is_to_server = fault.detail.is_multiple_of(2);
    let one_direction = |flow: LinkFlow| match is_to_server {
        true => LinkFault {
            to_server: flow,
            ..LinkFault::default()
        },
        false => LinkFault {
            to_worker: flow,
            ..LinkFault::default()
        },
    };
    match fault.kind {
        FaultKind::LinkCut => LinkFault {
            is_cut: true,
            ..LinkFault::default()
        },
        FaultKind::LinkDelayed => {
            let span = (DELAYS_MS.1 - DELAYS_MS.0).max(1);
            LinkFault {
                delay: Duration::from_millis(DELAYS_MS.0 + (fault.detail >> 8) % span),
                ..LinkFault::default()
            }
        }
        FaultKind::LinkHalfClosed => one_direction(LinkFlow::Closed),
        _ if fault.detail.is_multiple_of(3) => LinkFault {
            to_server: LinkFlow::Stalls,
            to_worker: LinkFlow::Stalls,
            ..LinkFault::default()
        },
        _ => one_direction(LinkFlow::Stalls),
    }
}
