//! Failovers: of Redis to a replica that is often behind, and of the node that leads the journal.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, bail};
use tokio::time::{Instant, sleep};

use crate::chaos::redis_control::{read_replication, send};
use crate::chaos::router_under_test::RouterUnderTest;
use crate::chaos::schedule::ScheduledFault;
use crate::chaos::servers::{SENTINEL_SERVICE, ServerPlace};

/// How long the Sentinels may take to promote the replica.
const FAILOVER_TIMEOUT: Duration = Duration::from_secs(60);
/// The time between two looks at the primary.
const POLL_INTERVAL: Duration = Duration::from_millis(20);
/// How long a primary that was away waits until it is back: it finds its successor at work.
const RETURN_DELAY: Duration = Duration::from_millis(500);
/// The port that no server listens on: a replica that follows it is cut off from its primary.
const NO_PORT: &str = "1";

/// How a primary is lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum PrimaryLoss {
    /// SIGKILL, and a restart once the replica is promoted.
    Killed,
    /// SIGSTOP until the replica is promoted: it continues in the belief that it is the primary.
    Paused,
    /// It is asked to hand over.
    Planned,
}

/// Lets the Sentinels promote the replica. Before, the replica is mostly cut off from its primary, so that it lacks what was
/// written last. Returns how many bytes of commands it lacked.
///
/// # Errors
/// When a server does not reply, or the replica is not promoted in time.
pub(in crate::chaos) async fn fail_over_redis(
    router: &mut RouterUnderTest,
    fault: &ScheduledFault,
) -> anyhow::Result<u64> {
    // Another failover may have left the replica behind.
    router.redis().wait_until_ready().await?;
    let primary = router.redis().find_primary().await?;
    let replica = usize::from(primary == 0);
    let (loss, is_behind) = match fault.detail % 8 {
        0..3 => (PrimaryLoss::Killed, true),
        3 => (PrimaryLoss::Killed, false),
        4..7 => (PrimaryLoss::Paused, true),
        _ => (PrimaryLoss::Planned, false),
    };
    let addresses = [router.redis().address(primary)?, router.redis().address(replica)?];
    let lost = match is_behind {
        true => cut_replica(addresses, fault.duration).await?,
        false => 0,
    };
    let begun_at = Instant::now();
    match loss {
        PrimaryLoss::Killed => router.server(ServerPlace::Redis(primary))?.process()?.kill().await?,
        PrimaryLoss::Paused => router.server(ServerPlace::Redis(primary))?.process()?.pause().await?,
        PrimaryLoss::Planned => ask_for_failover(router).await?,
    }
    while router.redis().find_primary().await.ok() != Some(replica) {
        if begun_at.elapsed() > FAILOVER_TIMEOUT {
            bail!("the Sentinels did not promote the replica within {FAILOVER_TIMEOUT:?}");
        }
        sleep(POLL_INTERVAL).await;
    }
    tracing::info!(?loss, bytes_lost = lost, after = ?begun_at.elapsed(), "Redis failed over");
    sleep(RETURN_DELAY).await;
    match loss {
        PrimaryLoss::Killed => router.start_server(ServerPlace::Redis(primary))?,
        PrimaryLoss::Paused => router.server(ServerPlace::Redis(primary))?.process()?.resume().await?,
        PrimaryLoss::Planned => {}
    }
    Ok(lost)
}

/// Cuts the replica off from its primary for a while, and returns how many bytes of commands it then lacks. What the primary
/// still writes until it is lost comes on top.
async fn cut_replica([primary, replica]: [SocketAddr; 2], lag: Duration) -> anyhow::Result<u64> {
    send::<()>(replica, &["REPLICAOF", "127.0.0.1", NO_PORT]).await?;
    let kept = read_offset(replica, "slave_repl_offset").await?;
    sleep(lag).await;
    Ok(read_offset(primary, "master_repl_offset").await?.saturating_sub(kept))
}

async fn read_offset(server: SocketAddr, name: &str) -> anyhow::Result<u64> {
    let fields = read_replication(server).await?;
    let offset = fields.get(name).with_context(|| format!("no {name}"))?;
    Ok(offset.parse()?)
}

/// Asks a Sentinel for a failover.
async fn ask_for_failover(router: &mut RouterUnderTest) -> anyhow::Result<()> {
    let sentinels = router.redis().sentinel_addresses();
    let first = *sentinels.first().context("there is no Sentinel")?;
    send(first, &["SENTINEL", "FAILOVER", SENTINEL_SERVICE]).await
}

/// Kills a node of NATS, mostly the one that leads the journal, and starts it again.
///
/// # Errors
/// When the node cannot be killed or started.
pub(in crate::chaos) async fn kill_nats_node(
    router: &mut RouterUnderTest,
    fault: &ScheduledFault,
) -> anyhow::Result<()> {
    // Without the other two, the cluster would have no majority.
    router.nats().wait_until_ready().await?;
    let nodes = u64::try_from(router.nats().node_count()).unwrap_or(1);
    let node = match fault.detail.is_multiple_of(4) {
        true => usize::try_from((fault.detail >> 8).checked_rem(nodes).unwrap_or(0)).unwrap_or(0),
        false => router.nats().find_leader().await?,
    };
    tracing::info!(node = node + 1, "a node of NATS is killed");
    router.server(ServerPlace::Nats(node))?.process()?.kill().await?;
    sleep(fault.duration).await;
    router.start_server(ServerPlace::Nats(node))
}
