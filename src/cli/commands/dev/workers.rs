//! Further worker processes of `dev`: started, awaited, and restarted when they exit.

use std::collections::HashMap;
use std::convert::Infallible;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, bail};
use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Child;
use tokio::time::{Instant, sleep, timeout};

use crate::cli::arguments::global::{GlobalOptions, SettingFlag};
use crate::cli::commands::dev::child_process;
use crate::cli::commands::dev::child_process::ChildBinder;
use crate::cli::commands::dev::data_directory::DevDataDirectory;
use crate::cli::process::services::{WORKER_GRACE, WORKER_READY_LINE};
use crate::config::listen_address::ListenAddress;
use crate::config::load::environment_name;

/// The most worker processes on one machine.
pub(crate) const MAX_WORKERS: i64 = 64;

/// How long a worker may take to be ready.
const START_TIMEOUT: Duration = Duration::from_secs(60);
/// The first delay before a restart; each further one is twice as long.
const MIN_RESTART_DELAY: Duration = Duration::from_millis(500);
/// The longest delay before a restart.
const MAX_RESTART_DELAY: Duration = Duration::from_secs(15);
/// A worker that ran this long is restarted after the first delay again.
const RESTART_DELAY_RESET_AFTER: Duration = Duration::from_secs(60);
/// How long a worker may take beyond its own grace period.
const KILL_MARGIN: Duration = Duration::from_secs(5);

/// The setting with the address of a worker's metrics.
const METRICS_ADDRESS_SETTING: &str = "metrics.addr";

type WorkerNumber = u16;

/// Worker processes with consecutive numbers.
pub(crate) struct WorkerProcesses {
    numbers: RangeInclusive<WorkerNumber>,
    program: PathBuf,
    binder: ChildBinder,
    environment: Vec<(String, String)>,
    /// The metrics address of worker 1.
    first_metrics_address: Option<ListenAddress>,
    logs: HashMap<WorkerNumber, PathBuf>,
    restart_delays: HashMap<WorkerNumber, Duration>,
    processes: HashMap<WorkerNumber, u32>,
    events: FuturesUnordered<BoxFuture<'static, WorkerEvent>>,
}

enum WorkerEvent {
    Ready(WorkerNumber, Child),
    NotReady(WorkerNumber),
    Ended(WorkerNumber, String, Duration),
    RestartDue(WorkerNumber),
}

impl WorkerProcesses {
    /// Returns worker processes, not started yet: this program with the same settings.
    ///
    /// # Errors
    /// When the path of this program is unknown.
    pub(crate) async fn new(
        numbers: RangeInclusive<WorkerNumber>,
        options: &GlobalOptions,
        flags: &[SettingFlag],
        metrics: Option<ListenAddress>,
        directory: &DevDataDirectory,
    ) -> anyhow::Result<Self> {
        let mut environment: Vec<_> = flags
            .iter()
            .map(|(path, value)| (environment_name(path), value.clone()))
            .collect();
        if let Some(file) = options.config_file() {
            let file = std::path::absolute(file).context("the settings file")?;
            environment.push(("ORDER_ROUTER_CONFIG".to_owned(), file.display().to_string()));
        }
        let logs = numbers
            .clone()
            .map(|number| (number, directory.log_path(&format!("worker-{number}"))));
        Ok(Self {
            logs: logs.collect(),
            numbers,
            program: std::env::current_exe().context("finding this program")?,
            binder: ChildBinder::detect().await,
            environment,
            first_metrics_address: metrics,
            restart_delays: HashMap::new(),
            processes: HashMap::new(),
            events: FuturesUnordered::new(),
        })
    }

    /// Starts all and returns when all are ready. It must be called from the main thread, see
    /// [`ChildBinder::bound_command`].
    ///
    /// # Errors
    /// When a worker is not ready in time; the text holds the end of its log.
    pub(crate) async fn start(&mut self) -> anyhow::Result<()> {
        for number in self.numbers.clone() {
            self.spawn(number)?;
        }
        let mut waiting = self.numbers.len();
        while waiting > 0 {
            match self.events.next().await {
                Some(WorkerEvent::Ready(number, child)) => {
                    self.watch_exit(number, child);
                    waiting -= 1;
                }
                Some(WorkerEvent::NotReady(number) | WorkerEvent::Ended(number, ..)) => {
                    let log = &self.logs[&number];
                    bail!(
                        "worker {number} cannot start; the end of {}:{}",
                        log.display(),
                        child_process::read_tail(log)
                    );
                }
                Some(WorkerEvent::RestartDue(_)) => {}
                None => bail!("the worker processes ended before they were ready"),
            }
        }
        Ok(())
    }

    /// Returns the process id of each running worker, by name.
    pub(crate) fn process_ids(&self) -> Vec<(String, u32)> {
        let named = self.processes.iter();
        let mut ids: Vec<_> = named
            .map(|(number, process)| (format!("worker-{number}"), *process))
            .collect();
        ids.sort();
        ids
    }

    /// Restarts each worker that exits. It must be called from the main thread.
    pub(crate) async fn supervise(&mut self) -> Infallible {
        loop {
            match self.events.next().await {
                Some(WorkerEvent::Ready(number, child)) => {
                    tracing::info!(worker = number, "a worker process is ready again");
                    self.watch_exit(number, child);
                }
                Some(WorkerEvent::NotReady(number)) => {
                    self.schedule_restart(number, "not ready in time", Duration::ZERO)
                }
                Some(WorkerEvent::Ended(number, cause, uptime)) => self.schedule_restart(number, &cause, uptime),
                Some(WorkerEvent::RestartDue(number)) => {
                    if let Err(error) = self.spawn(number) {
                        self.schedule_restart(number, &format!("{error:#}"), Duration::ZERO);
                    }
                }
                None => std::future::pending().await,
            }
        }
    }

    /// Sends SIGTERM to all and waits until they have drained; those that take too long are killed.
    pub(crate) async fn drain(&mut self) {
        let processes: Vec<u32> = self.processes.values().copied().collect();
        child_process::send_sigterm(&processes).await;
        let all = async {
            while !self.processes.is_empty() {
                match self.events.next().await {
                    Some(WorkerEvent::Ended(number, ..) | WorkerEvent::NotReady(number)) => {
                        self.processes.remove(&number);
                    }
                    Some(WorkerEvent::Ready(number, child)) => self.watch_exit(number, child),
                    Some(WorkerEvent::RestartDue(_)) => {}
                    None => break,
                }
            }
        };
        if timeout(WORKER_GRACE + KILL_MARGIN, all).await.is_err() {
            tracing::warn!("some worker processes did not exit in time and are killed");
        }
        // A child is killed when its handle is dropped.
        self.events.clear();
    }

    fn spawn(&mut self, number: WorkerNumber) -> anyhow::Result<()> {
        let (_, errors) = child_process::open_log(&self.logs[&number])?;
        let mut command = self.binder.bound_command(&self.program);
        command.arg("worker").envs(self.environment.iter().cloned());
        if let Some(address) = &self.first_metrics_address {
            command.env(
                environment_name(METRICS_ADDRESS_SETTING),
                metrics_address(address, number).to_string(),
            );
        }
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(errors)
            .spawn()
            .context("starting a worker process")?;
        self.processes.extend(child.id().map(|process| (number, process)));
        let output = child.stdout.take();
        self.events.push(Box::pin(async move {
            let ready = async {
                let mut lines = BufReader::new(output?).lines();
                lines.next_line().await.ok()?.filter(|line| line == WORKER_READY_LINE)
            };
            match timeout(START_TIMEOUT, ready).await {
                Ok(Some(_)) => WorkerEvent::Ready(number, child),
                _ => WorkerEvent::NotReady(number),
            }
        }));
        Ok(())
    }

    fn watch_exit(&mut self, number: WorkerNumber, mut child: Child) {
        let started_at = Instant::now();
        self.events.push(Box::pin(async move {
            let cause = match child.wait().await {
                Ok(status) => status.to_string(),
                Err(error) => error.to_string(),
            };
            WorkerEvent::Ended(number, cause, started_at.elapsed())
        }));
    }

    fn schedule_restart(&mut self, number: WorkerNumber, cause: &str, uptime: Duration) {
        self.processes.remove(&number);
        let delay = self.restart_delays.entry(number).or_insert(MIN_RESTART_DELAY);
        if uptime >= RESTART_DELAY_RESET_AFTER {
            *delay = MIN_RESTART_DELAY;
        }
        let current = *delay;
        *delay = (current * 2).min(MAX_RESTART_DELAY);
        let log = self.logs[&number].display();
        tracing::error!(worker = number, %log, "a worker process exited ({cause}); it is restarted in {current:?}");
        self.events.push(Box::pin(async move {
            sleep(current).await;
            WorkerEvent::RestartDue(number)
        }));
    }
}

/// Returns a worker's metrics address: its port is the first worker's plus its number minus one; 0 chooses a free one.
fn metrics_address(first: &ListenAddress, number: WorkerNumber) -> ListenAddress {
    let mut address = first.clone();
    address.set_port(match first.port() {
        0 => 0,
        port => port.checked_add(number.saturating_sub(1)).unwrap_or(0),
    });
    address
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn workers_of_one_machine_have_metrics_ports_of_their_own() {
        for (first, number, port) in [(9464, 1, 9464), (9464, 3, 9466), (0, 3, 0), (65535, 2, 0)] {
            let first: ListenAddress = format!("localhost:{first}").parse().unwrap();
            let address = metrics_address(&first, number);
            assert_eq!((address.port(), address.host()), (port, "localhost"));
        }
    }
}
