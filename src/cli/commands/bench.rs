//! `bench`: measures a running router, or one of its own.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;
use clap::Args;
use serde::Serialize;

use crate::bench::{self, LoadDoor, LoadMeasurements, LoadProfile};
use crate::bus::connection::{ConnectPolicy, connect};
use crate::bus::router_client::RouterClient;
use crate::cli::arguments::global::{CommandKind, GlobalOptions, setting_flag};
use crate::cli::commands::dev::addresses::ServerAddresses;
use crate::cli::commands::dev::data_directory::DevDataDirectory;
use crate::cli::commands::dev::journal_sync::JournalSync;
use crate::cli::commands::dev::servers::DevServers;
use crate::cli::commands::dev::workers::{MAX_WORKERS, WorkerProcesses};
use crate::cli::error::{CommandError, CommandResult, error_with_reason};
use crate::cli::output;
use crate::cli::output::table::{ColumnAlign, TextTable};
use crate::cli::process::shutdown_signals::ShutdownSignals;
use crate::cli::requests::bus_client::MAX_CONCURRENCY;
use crate::config::Settings;
use crate::config::private_files::create_private_directory;
use crate::domain::decimal::Decimal;
use crate::domain::id::{AccountId, BrokerId, VenueId};

const MAX_SECONDS: i64 = 86_400;
const MAX_ACCOUNTS: i64 = 10_000;
const MAX_RATE: i64 = 1_000_000;
/// Limits that no run reaches, for a router that is started for the run.
const OWN_ROUTER_LIMITS: [(&str, &str); 3] = [
    ("risk.daily_notional_limit", "9000000000"),
    ("risk.orders_per_second_and_account", "1000000"),
    ("risk.orders_per_second_and_broker", "1000000"),
];
/// The time from an order to its deadline.
const ORDER_TIMEOUT: Duration = Duration::from_secs(5);

/// Arguments of `bench`.
#[derive(Debug, Args)]
pub(crate) struct BenchArgs {
    /// Start a router with servers of its own in a temporary directory, and remove them afterwards.
    #[arg(long)]
    dev: bool,
    /// With --dev: when the journal is synced to disk [default: always].
    #[arg(long, value_enum, requires = "dev")]
    sync: Option<JournalSync>,
    /// With --dev: run this many worker processes, 1 to 64.
    #[arg(long, value_name = "N", default_value_t = 1, requires = "dev", value_parser = clap::value_parser!(u16).range(1..=MAX_WORKERS))]
    workers: u16,
    /// Submit through this door.
    #[arg(long, value_enum, default_value_t = LoadDoor::Request)]
    door: LoadDoor,
    /// Keep this many orders in flight, 1 to 4096; each reply sends the next order.
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = clap::value_parser!(u16).range(1..=MAX_CONCURRENCY))]
    concurrency: u16,
    /// Send orders for this many seconds, 1 to 86400.
    #[arg(long, value_name = "SECONDS", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=MAX_SECONDS))]
    seconds: u32,
    /// Send this many orders a second in all; latency counts from the time an order was due [default: no fixed rate].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=MAX_RATE))]
    rate: Option<u32>,
    /// Spread the orders over this many accounts, `bench-0` and so on, 1 to 10000.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=MAX_ACCOUNTS))]
    accounts: u16,
    /// Route to this broker.
    #[arg(long, value_parser = BrokerId::new, default_value = "binance")]
    broker: BrokerId,
    /// The venue of the orders.
    #[arg(long, value_parser = VenueId::new, default_value = "binance.spot")]
    venue: VenueId,
    /// The symbol of the orders.
    #[arg(long, default_value = "BTCUSDT")]
    symbol: String,
    /// The quantity of each order. Keep it small: the daily notional limit counts every order.
    #[arg(long, default_value = "0.00001")]
    quantity: Decimal,
    /// The limit price, in the quote currency [default: market orders].
    #[arg(long)]
    price: Option<Decimal>,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Serialize)]
struct BenchOutput<'a> {
    throughput_per_s: u64,
    p50_us: u64,
    p99_us: u64,
    p999_us: u64,
    max_us: u64,
    errors: u64,
    errors_by_code: &'a std::collections::BTreeMap<&'static str, u64>,
    orders: u64,
    door: LoadDoor,
    concurrency: u16,
    elapsed_ms: u64,
}

/// Sends the load and prints the measurements.
///
/// # Errors
/// When there is no router, or an order got no report.
pub(crate) async fn run(args: BenchArgs, options: &GlobalOptions) -> CommandResult {
    if !args.dev {
        let settings = options.load_settings_and_start_log(CommandKind::Client)?;
        return measure_and_print(&args, &settings).await;
    }
    if let Some(name) = options.server_flag() {
        return Err(CommandError::Usage(format!(
            "{name} cannot be used with --dev, which starts servers of its own"
        )));
    }
    let temporary = TemporaryDirectory::create()?;
    let mut signals = ShutdownSignals::listen()?;
    let sync = args.sync.unwrap_or(JournalSync::Always);
    let directory = DevDataDirectory::open(&temporary.0).await?;
    let mut servers = DevServers::new(directory, ServerAddresses::resolve(0, 0)?, sync).await?;
    let ended = match signals
        .unless_interrupted(run_against_own_router(&args, options, sync, &mut servers))
        .await
    {
        Ok(ended) => ended,
        Err(interrupted) => Err(interrupted),
    };
    signals.unless_interrupted(servers.stop()).await?;
    ended
}

/// Runs the load against a router of its own. The workers are separate processes, so the load generator shares only the
/// processors with them.
async fn run_against_own_router(
    args: &BenchArgs,
    options: &GlobalOptions,
    sync: JournalSync,
    servers: &mut DevServers,
) -> CommandResult {
    let mut flags = vec![sync.append_setting_flag()];
    flags.extend(OWN_ROUTER_LIMITS.map(|(setting, value)| setting_flag(setting, value)));
    flags.extend(options.setting_flags());
    flags.extend(servers.setting_flags());
    let settings = options.load_settings(&flags)?;
    options.start_log(&settings, CommandKind::Client);
    servers.start().await?;
    let metrics = settings.metrics.addr.clone();
    let mut workers = WorkerProcesses::new(1..=args.workers, options, &flags, metrics, servers.directory()).await?;
    let measured = match workers.start().await {
        Ok(()) => tokio::select! {
            measured = measure_and_print(args, &settings) => measured,
            exit_error = servers.wait_for_unexpected_exit() => Err(exit_error.into()),
        },
        Err(error) => Err(error.into()),
    };
    workers.drain().await;
    measured
}

async fn measure_and_print(args: &BenchArgs, settings: &Settings) -> CommandResult {
    let bus = connect(&settings.nats, "order-router bench", ConnectPolicy::Once).await?;
    let measured = bench::run_load(&RouterClient::new(bus), &load_profile(args)?).await?;
    if args.json {
        output::print_line(output::to_json_line(&bench_output(args, &measured))?)?;
    } else {
        output::print_line(render_measurements(args, &measured))?;
    }
    if measured.orders == 0 {
        return Err(error_with_reason("nothing was measured", "no order got a report").into());
    }
    if !measured.errors.is_empty() {
        // The measurements are printed, but they are not those of a healthy router.
        return Err(CommandError::Reported);
    }
    Ok(())
}

fn load_profile(args: &BenchArgs) -> anyhow::Result<LoadProfile> {
    let accounts = (0..args.accounts).map(|number| AccountId::new(&format!("bench-{number}")));
    Ok(LoadProfile {
        door: args.door,
        concurrency: args.concurrency,
        duration: Duration::from_secs(u64::from(args.seconds)),
        rate: args.rate,
        accounts: accounts.collect::<std::result::Result<_, _>>()?,
        broker: args.broker.clone(),
        venue: args.venue.clone(),
        symbol: args.symbol.clone(),
        quantity: args.quantity,
        price: args.price,
        timeout: ORDER_TIMEOUT,
    })
}

fn bench_output<'a>(args: &BenchArgs, measured: &'a LoadMeasurements) -> BenchOutput<'a> {
    BenchOutput {
        throughput_per_s: measured.throughput_per_s(),
        p50_us: measured.latency_us(0.5),
        p99_us: measured.latency_us(0.99),
        p999_us: measured.latency_us(0.999),
        max_us: measured.latency_us(1.0),
        errors: measured.errors_total(),
        errors_by_code: &measured.errors,
        orders: measured.orders,
        door: args.door,
        concurrency: args.concurrency,
        elapsed_ms: u64::try_from(measured.elapsed.as_millis()).unwrap_or(u64::MAX),
    }
}

fn render_measurements(args: &BenchArgs, measured: &LoadMeasurements) -> String {
    let result = bench_output(args, measured);
    let mut table = TextTable::new(&[("", ColumnAlign::Left), ("", ColumnAlign::Right)]);
    for (name, value) in [
        ("orders", result.orders),
        ("a second", result.throughput_per_s),
        ("p50 µs", result.p50_us),
        ("p99 µs", result.p99_us),
        ("p99.9 µs", result.p999_us),
        ("longest µs", result.max_us),
        ("errors", result.errors),
    ] {
        table.push_row([name.to_owned(), value.to_string()]);
    }
    for (code, count) in &measured.errors {
        table.push_row([format!("  {code}"), count.to_string()]);
    }
    table.to_string()
}

/// A directory that is removed when the value is dropped.
struct TemporaryDirectory(PathBuf);

impl TemporaryDirectory {
    fn create() -> anyhow::Result<Self> {
        let name = format!("order-router-bench-{}", uuid::Uuid::new_v4().simple());
        let path = std::env::temp_dir().join(name);
        create_private_directory(&path).with_context(|| format!("creating {}", path.display()))?;
        Ok(Self(path))
    }
}

impl Drop for TemporaryDirectory {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.0) {
            tracing::warn!(%error, directory = %self.0.display(), "the temporary directory could not be removed");
        }
    }
}
