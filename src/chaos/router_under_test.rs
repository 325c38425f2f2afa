//! The router under test: its servers, workers and sidecar, each a process of its own, and the proxies between them.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail};
use tokio::process::Command;
use tokio::time::{Instant, sleep, timeout};

use crate::chaos::child::{ChildProcess, log_tail};
use crate::chaos::local_exchange::LocalExchange;
use crate::chaos::nats_group::{CLUSTER_NODES, NatsGroup};
use crate::chaos::options::{ChaosBroker, ChaosOptions, ChaosPrograms};
use crate::chaos::proxy::LinkFault;
use crate::chaos::redis_group::{REPLICATED_SERVERS, RedisGroup, SENTINELS};
use crate::chaos::router_settings::{ProcessPlace, nats_url, router_settings};
use crate::chaos::schedule::LinkEnd;
use crate::chaos::servers::{ChaosServer, ServerPlace, choose_addresses};
use crate::chaos::worker_place::{WorkerPlace, WorkerServers};

/// How long a worker or the sidecar may take until it is ready, a rebuild of the store included.
const READY_TIMEOUT: Duration = Duration::from_secs(90);
/// How long a worker may take to drain.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(20);
/// How long a change of the limits may take, all attempts together.
const CHANGE_TIMEOUT: Duration = Duration::from_secs(60);
/// How long one attempt may take.
const CHANGE_ATTEMPT_TIMEOUT: Duration = Duration::from_secs(20);
/// The pause between two attempts.
const CHANGE_RETRY_DELAY: Duration = Duration::from_millis(200);
/// The pause before a process is started again that ended while it started.
const RESTART_DELAY: Duration = Duration::from_millis(500);
/// What the names of the settings' environment variables begin with.
const SETTING_VARIABLES: &str = "ORDER_ROUTER_";

/// The sidecar and its connection.
#[derive(Debug)]
struct SidecarPlace {
    address: SocketAddr,
    data_directory: PathBuf,
    process: Option<ChildProcess>,
    is_ready: bool,
}

/// A worker or the sidecar.
struct RouterPart<'a> {
    name: &'a str,
    /// What the line begins with that it prints once it is ready.
    ready_line: &'static str,
    process: &'a mut Option<ChildProcess>,
    is_ready: &'a mut bool,
}

/// The processes of a run.
pub(in crate::chaos) struct RouterUnderTest {
    programs: ChaosPrograms,
    directory: PathBuf,
    nats: NatsGroup,
    redis: RedisGroup,
    workers: Vec<WorkerPlace>,
    sidecar: SidecarPlace,
    /// The local exchange, where orders are live.
    venue: Option<LocalExchange>,
    /// How often the settings have been changed.
    change: u64,
    /// How often a process was started again because it ended while it started.
    restarts: u64,
}

impl RouterUnderTest {
    /// Starts everything and returns once all of it is ready.
    ///
    /// # Errors
    /// When a part cannot start.
    pub(in crate::chaos) async fn start(options: &ChaosOptions) -> anyhow::Result<Self> {
        let directory = options.directory.clone();
        let is_live = options.broker == ChaosBroker::LiveVenue;
        let nodes = if options.is_cluster { CLUSTER_NODES } else { 1 };
        let copies = if options.is_cluster { REPLICATED_SERVERS } else { 1 };
        let mut taken = Vec::new();
        let clients = choose_addresses(nodes, &mut taken)?;
        let routes = choose_addresses(if options.is_cluster { nodes } else { 0 }, &mut taken)?;
        let copies = choose_addresses(copies, &mut taken)?;
        let sentinels = choose_addresses(if options.is_cluster { SENTINELS } else { 0 }, &mut taken)?;
        let [http_address, venue_address] = choose_addresses(2, &mut taken)?[..] else {
            bail!("no ports are free");
        };
        let venue = is_live
            .then(|| LocalExchange::new(venue_address, (options.seed, options.venue_fault_percent), &directory))
            .transpose()?;
        let servers = WorkerServers {
            nats: clients.clone(),
            redis: copies.first().copied().filter(|_| !options.is_cluster),
            venue: is_live.then_some(venue_address),
        };
        let mut workers = Vec::new();
        for number in 1..=options.workers {
            workers.push(WorkerPlace::open(format!("worker-{number}"), &servers).await?);
        }
        let mut router = Self {
            programs: options.programs.clone(),
            nats: NatsGroup::new(&clients, &routes, &directory)?,
            redis: RedisGroup::new(&copies, &sentinels, &directory)?,
            workers,
            sidecar: SidecarPlace {
                address: http_address,
                data_directory: directory.join("order-log"),
                process: None,
                is_ready: false,
            },
            venue,
            directory,
            change: 0,
            restarts: 0,
        };
        router.start_venue()?;
        router.wait_for_venue().await?;
        let (programs, logs) = (router.programs.clone(), router.directory.clone());
        for server in router.nats.all().chain(router.redis.all()) {
            server.start(&programs, &logs)?;
        }
        router.nats.wait_until_started().await?;
        router.redis.wait_until_ready().await?;
        for worker in 0..router.workers.len() {
            router.start_worker(worker)?;
        }
        router.start_sidecar()?;
        router.wait_until_ready().await?;
        Ok(router)
    }

    /// Returns the addresses of NATS as the setting `nats.url`.
    pub(in crate::chaos) fn nats_url(&self) -> String {
        nats_url(&self.nats.addresses())
    }

    /// Returns the address of Redis, with Sentinels that of the primary.
    ///
    /// # Errors
    /// When the Sentinels do not name the same primary.
    pub(in crate::chaos) async fn redis_address(&self) -> anyhow::Result<SocketAddr> {
        self.redis.address(self.redis.find_primary().await?)
    }

    /// Returns NATS.
    pub(in crate::chaos) fn nats(&mut self) -> &mut NatsGroup {
        &mut self.nats
    }

    /// Returns Redis.
    pub(in crate::chaos) fn redis(&mut self) -> &mut RedisGroup {
        &mut self.redis
    }

    /// Returns the address of the sidecar.
    pub(in crate::chaos) fn http_address(&self) -> SocketAddr {
        self.sidecar.address
    }

    /// Returns the address of the local exchange, where there is one.
    pub(in crate::chaos) fn venue_address(&self) -> Option<SocketAddr> {
        self.venue.as_ref().map(LocalExchange::address)
    }

    /// Returns the local exchange.
    ///
    /// # Errors
    /// When there is none.
    pub(in crate::chaos) fn venue(&mut self) -> anyhow::Result<&mut LocalExchange> {
        self.venue.as_mut().context("the run has no local exchange")
    }

    /// Starts the local exchange, where there is one, and does not wait until it is ready.
    ///
    /// # Errors
    /// When it cannot be started.
    pub(in crate::chaos) fn start_venue(&mut self) -> anyhow::Result<()> {
        match &mut self.venue {
            Some(venue) => venue.start(&self.programs, &self.directory),
            None => Ok(()),
        }
    }

    /// Waits until the local exchange is ready, where there is one.
    ///
    /// # Errors
    /// When it is not ready in time.
    pub(in crate::chaos) async fn wait_for_venue(&mut self) -> anyhow::Result<()> {
        match &mut self.venue {
            Some(venue) => venue.wait_until_ready(READY_TIMEOUT).await,
            None => Ok(()),
        }
    }

    /// Returns the number of workers.
    pub(in crate::chaos) fn worker_count(&self) -> usize {
        self.workers.len()
    }

    /// Returns a server.
    ///
    /// # Errors
    /// When there is no such server.
    pub(in crate::chaos) fn server(&mut self, place: ServerPlace) -> anyhow::Result<&mut ChaosServer> {
        match place {
            ServerPlace::Nats(index) => self.nats.node(index),
            ServerPlace::Redis(index) => self.redis.server(index),
        }
    }

    /// Starts a server and does not wait until it is ready.
    ///
    /// # Errors
    /// When it cannot be started.
    pub(in crate::chaos) fn start_server(&mut self, place: ServerPlace) -> anyhow::Result<()> {
        let (programs, logs) = (self.programs.clone(), self.directory.clone());
        self.server(place)?.start(&programs, &logs)
    }

    /// Puts a fault in force on the connections of a worker to a server; the default lets everything pass again.
    ///
    /// # Errors
    /// When there is no such worker.
    pub(in crate::chaos) fn set_link(&self, worker: usize, end: LinkEnd, fault: LinkFault) -> anyhow::Result<()> {
        let place = self.workers.get(worker).context("no such worker")?;
        place.set_link(end, fault);
        Ok(())
    }

    /// Returns the process of a worker.
    ///
    /// # Errors
    /// When it was not started.
    pub(in crate::chaos) fn worker(&mut self, worker: usize) -> anyhow::Result<&mut ChildProcess> {
        let place = self.workers.get_mut(worker).context("no such worker")?;
        place.process.as_mut().context("the worker was not started")
    }

    /// Starts a worker with the settings in force and does not wait until it is ready.
    ///
    /// # Errors
    /// When it cannot be started.
    pub(in crate::chaos) fn start_worker(&mut self, worker: usize) -> anyhow::Result<()> {
        let place = self.workers.get(worker).context("no such worker")?;
        let name = place.name.clone();
        let file = self.write_settings(&name, place.proxies())?;
        let process = ChildProcess::start(&name, self.router_command("worker", &file), &self.directory)?;
        if let Some(place) = self.workers.get_mut(worker) {
            place.process = Some(process);
            place.is_ready = false;
        }
        Ok(())
    }

    /// Asks a worker to drain, and waits until it has.
    ///
    /// # Errors
    /// When it does not end.
    pub(in crate::chaos) async fn drain_worker(&mut self, worker: usize) -> anyhow::Result<()> {
        self.worker(worker)?.terminate(DRAIN_TIMEOUT).await
    }

    /// Kills the sidecar.
    ///
    /// # Errors
    /// When it does not end.
    pub(in crate::chaos) async fn kill_sidecar(&mut self) -> anyhow::Result<()> {
        let process = self.sidecar.process.as_mut();
        process.context("the sidecar was not started")?.kill().await
    }

    /// Returns the process id of the sidecar; `None` while it does not run.
    pub(in crate::chaos) fn sidecar_process_id(&self) -> Option<u32> {
        self.sidecar.process.as_ref().and_then(ChildProcess::id)
    }

    /// Returns the directory of the order log.
    pub(in crate::chaos) fn order_log_directory(&self) -> &Path {
        &self.sidecar.data_directory
    }

    /// Returns the program that limits the files of a process.
    pub(in crate::chaos) fn prlimit(&self) -> Option<&Path> {
        self.programs.prlimit.as_deref()
    }

    /// Starts the sidecar and does not wait until it is ready.
    ///
    /// # Errors
    /// When it cannot be started.
    pub(in crate::chaos) fn start_sidecar(&mut self) -> anyhow::Result<()> {
        let file = self.write_settings("sidecar", self.servers()?)?;
        let process = ChildProcess::start("sidecar", self.router_command("sidecar", &file), &self.directory)?;
        self.sidecar.process = Some(process);
        self.sidecar.is_ready = false;
        Ok(())
    }

    /// Deletes the order log of a sidecar that does not run.
    ///
    /// # Errors
    /// When it cannot be deleted.
    pub(in crate::chaos) fn delete_order_log(&self) -> anyhow::Result<()> {
        let directory = &self.sidecar.data_directory;
        std::fs::remove_dir_all(directory).with_context(|| format!("deleting {}", directory.display()))
    }

    /// Puts the limits of the next change of the settings in force. Workers that start from then on have them in their
    /// settings. Every worker must be ready.
    ///
    /// # Errors
    /// When the change is not made in time.
    pub(in crate::chaos) async fn change_settings(&mut self) -> anyhow::Result<()> {
        self.change += 1;
        let file = self.write_settings("limits", self.servers()?)?;
        let reason = format!("change {}", self.change);
        let end = Instant::now() + CHANGE_TIMEOUT;
        loop {
            let mut command = self.router_command("limits", &file);
            command.args(["apply", "--actor", "order-router chaos", "--reason", &reason]);
            let output = timeout(CHANGE_ATTEMPT_TIMEOUT, command.kill_on_drop(true).output()).await;
            let failure = match output {
                Ok(Ok(output)) if output.status.success() => return Ok(()),
                Ok(Ok(output)) => String::from_utf8_lossy(&output.stderr).trim().to_owned(),
                Ok(Err(error)) => error.to_string(),
                Err(_) => format!("no reply within {CHANGE_ATTEMPT_TIMEOUT:?}"),
            };
            if Instant::now() >= end {
                bail!("the limits could not be changed: {failure}");
            }
            sleep(CHANGE_RETRY_DELAY).await;
        }
    }

    /// Waits until every process is ready. One that ends while it starts is started again, as a supervisor would.
    ///
    /// # Errors
    /// When one has ended that was ready, or is not ready in time; the text holds the end of its log.
    pub(in crate::chaos) async fn wait_until_ready(&mut self) -> anyhow::Result<()> {
        let end = Instant::now() + READY_TIMEOUT;
        loop {
            let Err(error) = self.wait_once().await else {
                return Ok(());
            };
            if Instant::now() >= end || self.restart_starting()? == 0 {
                return Err(error);
            }
            sleep(RESTART_DELAY).await;
        }
    }

    async fn wait_once(&mut self) -> anyhow::Result<()> {
        self.nats.wait_until_ready().await?;
        self.redis.wait_until_ready().await?;
        self.wait_for_venue().await?;
        let directory = self.directory.clone();
        for part in self.parts() {
            let (name, process) = (part.name, part.process.as_mut());
            let process = process.with_context(|| format!("{name} was not started"))?;
            let waited = match *part.is_ready && process.is_running() {
                true => Ok(()),
                false if *part.is_ready => Err(anyhow::anyhow!("{name} ended by itself")),
                false => process.wait_for_line(part.ready_line, READY_TIMEOUT).await.map(drop),
            };
            waited.with_context(|| format!("the end of its log:{}", log_tail(&directory, name)))?;
            *part.is_ready = true;
        }
        Ok(())
    }

    /// Returns the workers and the sidecar.
    fn parts(&mut self) -> impl Iterator<Item = RouterPart<'_>> {
        let workers = self.workers.iter_mut().map(|place| RouterPart {
            name: &place.name,
            ready_line: "ready worker",
            process: &mut place.process,
            is_ready: &mut place.is_ready,
        });
        let sidecar = RouterPart {
            name: "sidecar",
            ready_line: "ready http=",
            process: &mut self.sidecar.process,
            is_ready: &mut self.sidecar.is_ready,
        };
        workers.chain([sidecar])
    }

    /// Returns the names of the workers, and of the sidecar, whose process was ready and has ended.
    pub(in crate::chaos) fn ended_processes(&mut self) -> Vec<&str> {
        let ended = self.parts().filter_map(|part| {
            let has_ended = part.process.as_mut().is_some_and(|process| !process.is_running());
            (has_ended && *part.is_ready).then_some(part.name)
        });
        ended.collect()
    }

    /// Starts again every worker, and the sidecar, whose process has ended while it started. Returns how many.
    ///
    /// # Errors
    /// When one cannot be started.
    pub(in crate::chaos) fn restart_starting(&mut self) -> anyhow::Result<u64> {
        let ended: Vec<bool> = self
            .parts()
            .map(|part| !*part.is_ready && part.process.as_mut().is_some_and(|process| !process.is_running()))
            .collect();
        let restarted = self.start_parts(&ended)?;
        self.restarts += restarted;
        Ok(restarted)
    }

    /// Starts again every worker, and the sidecar, whose process has ended.
    ///
    /// # Errors
    /// When one cannot be started.
    pub(in crate::chaos) fn start_what_has_ended(&mut self) -> anyhow::Result<()> {
        let ended: Vec<bool> = self
            .parts()
            .map(|part| part.process.as_mut().is_some_and(|process| !process.is_running()))
            .collect();
        self.start_parts(&ended).map(drop)
    }

    /// Starts the workers, and the sidecar after them, that are chosen. Returns how many.
    fn start_parts(&mut self, chosen: &[bool]) -> anyhow::Result<u64> {
        let mut started = 0;
        for (part, _) in chosen.iter().enumerate().filter(|(_, is_chosen)| **is_chosen) {
            match part < self.workers.len() {
                true => self.start_worker(part)?,
                false => self.start_sidecar()?,
            }
            started += 1;
        }
        Ok(started)
    }

    /// Returns how often a process was started again because it ended while it started.
    pub(in crate::chaos) fn restarts(&self) -> u64 {
        self.restarts
    }

    /// Kills every process.
    pub(in crate::chaos) async fn stop(&mut self) {
        let workers = self.workers.iter_mut().map(|place| place.process.take());
        let sidecar = self.sidecar.process.take();
        for mut process in workers.chain([sidecar]).flatten() {
            // A process that cannot be killed ends with this one.
            let _ = process.kill().await;
        }
        if let Ok(process) = self.venue() {
            let _ = process.kill().await;
        }
        for server in self.nats.all().chain(self.redis.all()) {
            if let Ok(process) = server.process() {
                let _ = process.kill().await;
            }
        }
    }

    /// Returns the servers as processes without a proxy see them.
    fn servers(&self) -> anyhow::Result<WorkerServers> {
        let redis = match self.redis.has_sentinels() {
            true => None,
            false => Some(self.redis.address(0)?),
        };
        Ok(WorkerServers {
            nats: self.nats.addresses(),
            redis,
            venue: self.venue_address(),
        })
    }

    fn write_settings(&self, name: &str, servers: WorkerServers) -> anyhow::Result<PathBuf> {
        let key_file = self.venue.as_ref().map(LocalExchange::key_file);
        let place = ProcessPlace {
            nats: servers.nats,
            redis: servers.redis,
            sentinels: self.redis.sentinel_addresses(),
            venue: servers.venue.zip(key_file),
            http: self.sidecar.address,
            data_directory: &self.sidecar.data_directory,
        };
        let path = self.directory.join(format!("{name}.toml"));
        let text = toml::to_string(&router_settings(self.change, &place)).context("the settings have no TOML")?;
        std::fs::write(&path, text).with_context(|| format!("writing {}", path.display()))?;
        Ok(path)
    }

    fn router_command(&self, name: &str, settings: &Path) -> Command {
        let mut command = (self.programs.command)(&self.programs.router);
        for (variable, _) in std::env::vars_os() {
            if variable.to_string_lossy().starts_with(SETTING_VARIABLES) {
                command.env_remove(variable);
            }
        }
        command.arg("--config").arg(settings).arg(name);
        command
    }
}
