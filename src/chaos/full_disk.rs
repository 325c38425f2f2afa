//! A full disk: a process cannot make its files longer.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, ensure};
use tokio::process::Command;
use tokio::time::{sleep, timeout};

use crate::chaos::router_under_test::RouterUnderTest;
use crate::chaos::schedule::ScheduledFault;
use crate::chaos::servers::ServerPlace;

/// How long `prlimit` may take.
const PRLIMIT_TIMEOUT: Duration = Duration::from_secs(10);
/// How much a file may still grow at most, in bytes: a write may be torn.
const MAX_ROOM_BYTES: u64 = 4_096;

/// Limits the files of Redis, of NATS or of the sidecar for a while. NATS is then killed and started again: it keeps the
/// error of a stream until then.
///
/// # Errors
/// When the limit cannot be set.
pub(in crate::chaos) async fn fill_disk(router: &mut RouterUnderTest, fault: &ScheduledFault) -> anyhow::Result<()> {
    let place = match fault.detail % 5 {
        0 | 1 => Some(ServerPlace::Redis(0)),
        2 | 3 => Some(ServerPlace::Nats(0)),
        _ => None,
    };
    let (process, directory) = match place {
        Some(place) => {
            let server = router.server(place)?;
            (server.process()?.id(), server.directory().to_owned())
        }
        None => (router.sidecar_process_id(), router.order_log_directory().to_owned()),
    };
    let Some(process) = process else {
        return Ok(());
    };
    let prlimit = router.prlimit().context("prlimit is not installed")?.to_owned();
    let room = (fault.detail >> 8).checked_rem(MAX_ROOM_BYTES).unwrap_or(0);
    let most = longest_file(&directory) + room;
    tracing::info!(?place, bytes = most, "no file of a process may become longer");
    set_limit(&prlimit, process, &most.to_string()).await?;
    sleep(fault.duration).await;
    match place {
        Some(ServerPlace::Nats(_)) => {
            router.server(ServerPlace::Nats(0))?.process()?.kill().await?;
            router.start_server(ServerPlace::Nats(0))
        }
        // A process that has ended meanwhile has no limit to lift.
        _ => set_limit(&prlimit, process, "unlimited").await.or(Ok(())),
    }
}

/// Returns the length of the longest file below a directory, in bytes.
fn longest_file(directory: &Path) -> u64 {
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    let lengths = entries.map(|entry| match entry.metadata() {
        Ok(metadata) if metadata.is_dir() => longest_file(&entry.path()),
        Ok(metadata) => metadata.len(),
        Err(_) => 0,
    });
    lengths.max().unwrap_or(0)
}

/// Limits the length of the files that a process writes.
async fn set_limit(prlimit: &Path, process: u32, bytes: &str) -> anyhow::Result<()> {
    let mut command = Command::new(prlimit);
    command.args(["--pid", &process.to_string(), &format!("--fsize={bytes}:unlimited")]);
    let done = timeout(PRLIMIT_TIMEOUT, command.stderr(Stdio::null()).status()).await;
    let done = done.context("prlimit does not end")?.context("running prlimit")?;
    ensure!(done.success(), "the files of process {process} cannot be limited");
    Ok(())
}
