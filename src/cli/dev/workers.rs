//! Further worker processes of `dev`: started, waited for, and started again when they die.

use std::collections::HashMap;
use std::convert::Infallible;
use std::net::SocketAddr;
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

use super::child::{self, Binder};
use super::directory::DataDirectory;
use crate::cli::options::{Flag, Options};
use crate::cli::parts::WORKER_GRACE;
use crate::cli::worker::READY;
use crate::config::load::environment_name;

/// How long a worker may take to be ready.
const START_DEADLINE: Duration = Duration::from_secs(60);
/// The pause before a dead worker is started again; each next one is twice as long.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
/// The longest pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(15);
/// After so long a life the next pause is the first again.
const GOOD_LIFE: Duration = Duration::from_secs(60);
/// What a worker may take beyond its own grace period.
const END_MARGIN: Duration = Duration::from_secs(5);

/// The setting that names where a worker tells what it measures.
const METRICS: &str = "metrics.addr";

type Number = u16;

/// The worker processes.
pub(crate) struct Workers {
    numbers: RangeInclusive<Number>,
    program: PathBuf,
    binder: Binder,
    environment: Vec<(String, String)>,
    /// Where the first of all workers tells what it measures.
    metrics: Option<SocketAddr>,
    logs: HashMap<Number, PathBuf>,
    pauses: HashMap<Number, Duration>,
    processes: HashMap<Number, u32>,
    events: FuturesUnordered<BoxFuture<'static, Event>>,
}

enum Event {
    Ready(Number, Child),
    NotReady(Number),
    Ended(Number, String, Duration),
    Rested(Number),
}

impl Workers {
    /// Returns worker processes that are still to be started: this program with the same settings.
    ///
    /// # Errors
    /// When this program cannot be found.
    pub(crate) async fn new(
        numbers: RangeInclusive<Number>,
        options: &Options,
        flags: &[Flag],
        metrics: Option<SocketAddr>,
        directory: &DataDirectory,
    ) -> anyhow::Result<Self> {
        let mut environment: Vec<_> = flags
            .iter()
            .map(|(path, value)| (environment_name(path), value.clone()))
            .collect();
        if let Some(file) = options.config() {
            let file = std::path::absolute(file).context("the settings file")?;
            environment.push(("ORDER_ROUTER_CONFIG".to_owned(), file.display().to_string()));
        }
        let logs = numbers
            .clone()
            .map(|number| (number, directory.log(&format!("worker-{number}"))));
        Ok(Self {
            logs: logs.collect(),
            numbers,
            program: std::env::current_exe().context("finding this program")?,
            binder: Binder::find().await,
            environment,
            metrics,
            pauses: HashMap::new(),
            processes: HashMap::new(),
            events: FuturesUnordered::new(),
        })
    }

    /// Starts all and returns when all are ready. To be called from the main thread, see [`Binder::command`].
    ///
    /// # Errors
    /// When one does not become ready, with the end of its log.
    pub(crate) async fn start(&mut self) -> anyhow::Result<()> {
        for number in self.numbers.clone() {
            self.spawn(number)?;
        }
        let mut waiting = self.numbers.len();
        while waiting > 0 {
            match self.events.next().await {
                Some(Event::Ready(number, child)) => {
                    self.watch(number, child);
                    waiting -= 1;
                }
                Some(Event::NotReady(number) | Event::Ended(number, ..)) => {
                    let log = &self.logs[&number];
                    bail!(
                        "worker {number} does not start; the end of {}:{}",
                        log.display(),
                        child::tail(log)
                    );
                }
                Some(Event::Rested(_)) => {}
                None => bail!("the workers are gone"),
            }
        }
        Ok(())
    }

    /// Starts again whatever dies. To be called from the main thread.
    pub(crate) async fn supervise(&mut self) -> Infallible {
        loop {
            match self.events.next().await {
                Some(Event::Ready(number, child)) => {
                    tracing::info!(worker = number, "a worker process is ready again");
                    self.watch(number, child);
                }
                Some(Event::NotReady(number)) => self.rest(number, "it was not ready in time", Duration::ZERO),
                Some(Event::Ended(number, how, life)) => self.rest(number, &how, life),
                Some(Event::Rested(number)) => {
                    if let Err(error) = self.spawn(number) {
                        self.rest(number, &format!("{error:#}"), Duration::ZERO);
                    }
                }
                None => std::future::pending().await,
            }
        }
    }

    /// Asks all to end and waits until they have drained; what takes too long is killed.
    pub(crate) async fn drain(&mut self) {
        let processes: Vec<u32> = self.processes.values().copied().collect();
        child::terminate(&processes).await;
        let all = async {
            while !self.processes.is_empty() {
                match self.events.next().await {
                    Some(Event::Ended(number, ..) | Event::NotReady(number)) => drop(self.processes.remove(&number)),
                    Some(Event::Ready(number, child)) => self.watch(number, child),
                    Some(Event::Rested(_)) => {}
                    None => break,
                }
            }
        };
        if timeout(WORKER_GRACE + END_MARGIN, all).await.is_err() {
            tracing::warn!("some worker processes did not end in time and are killed");
        }
        // A child is killed when its handle is dropped.
        self.events.clear();
    }

    fn spawn(&mut self, number: Number) -> anyhow::Result<()> {
        let (_, errors) = child::log_to(&self.logs[&number])?;
        let mut command = self.binder.command(&self.program);
        command.arg("worker").envs(self.environment.iter().cloned());
        if let Some(address) = self.metrics {
            command.env(environment_name(METRICS), beside(address, number).to_string());
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
                lines.next_line().await.ok()?.filter(|line| line == READY)
            };
            match timeout(START_DEADLINE, ready).await {
                Ok(Some(_)) => Event::Ready(number, child),
                _ => Event::NotReady(number),
            }
        }));
        Ok(())
    }

    fn watch(&mut self, number: Number, mut child: Child) {
        let begun = Instant::now();
        self.events.push(Box::pin(async move {
            let how = match child.wait().await {
                Ok(status) => status.to_string(),
                Err(error) => error.to_string(),
            };
            Event::Ended(number, how, begun.elapsed())
        }));
    }

    fn rest(&mut self, number: Number, how: &str, life: Duration) {
        self.processes.remove(&number);
        let pause = self.pauses.entry(number).or_insert(FIRST_PAUSE);
        if life >= GOOD_LIFE {
            *pause = FIRST_PAUSE;
        }
        let wait = *pause;
        *pause = (wait * 2).min(LONGEST_PAUSE);
        let log = self.logs[&number].display();
        tracing::error!(worker = number, %log, "a worker process ended ({how}); the next start is in {wait:?}");
        self.events.push(Box::pin(async move {
            sleep(wait).await;
            Event::Rested(number)
        }));
    }
}

/// Returns where a worker tells what it measures: each has the next port after the one before it; 0 takes a free one.
fn beside(first: SocketAddr, number: Number) -> SocketAddr {
    let port = match first.port() {
        0 => 0,
        port => port.checked_add(number.saturating_sub(1)).unwrap_or(0),
    };
    SocketAddr::new(first.ip(), port)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn workers_of_one_machine_tell_what_they_measure_at_ports_of_their_own() {
        for (first, number, port) in [(9464, 1, 9464), (9464, 3, 9466), (0, 3, 0), (65535, 2, 0)] {
            let told = beside(([127, 0, 0, 1], first).into(), number);
            assert_eq!((told.port(), told.ip().is_loopback()), (port, true));
        }
    }
}
