//! `bench`: measures a running router, or one of its own.

mod environment;
mod output;
mod own_router;

use std::time::Duration;

use clap::Args;

use crate::bench::{self, LoadDoor, LoadInstrument, LoadProfile, ProcessUsage, RestTarget};
use crate::bus::connection::{Bus, ConnectPolicy, connect};
use crate::bus::journal::JournalReader;
use crate::bus::router_client::RouterClient;
use crate::cli::arguments::global::{CommandKind, GlobalOptions};
use crate::cli::commands::bench::environment::Environment;
use crate::cli::commands::bench::output::{BenchOutput, MeasuredProcess, render_output};
use crate::cli::commands::dev::journal_sync::JournalSync;
use crate::cli::commands::dev::workers::MAX_WORKERS;
use crate::cli::error::{CommandError, CommandResult, error_with_reason};
use crate::cli::requests::bus_client::MAX_CONCURRENCY;
use crate::config::Settings;
use crate::config::listen_address::ListenAddress;
use crate::config::nats::Secret;
use crate::domain::decimal::Decimal;
use crate::domain::id::{AccountId, VenueId};
use crate::domain::instrument::Instrument;
use crate::domain::symbol::Symbol;

const MAX_SECONDS: i64 = 86_400;
const MAX_WARM_UP_SECONDS: i64 = 3_600;
const MAX_ACCOUNTS: i64 = 10_000;
const MAX_RATE: i64 = 1_000_000;
const MAX_LOTS: i64 = 1_000_000;
/// The most processes that `--process` names.
const MAX_PROCESSES: usize = 64;
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
    /// Keep this many orders in flight, 1 to 4096; each reply sends the next order. Over REST each has its own connection.
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = clap::value_parser!(u16).range(1..=MAX_CONCURRENCY))]
    concurrency: u16,
    /// Send orders for this many seconds, 1 to 86400.
    #[arg(long, value_name = "SECONDS", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=MAX_SECONDS))]
    seconds: u32,
    /// Before, send orders for this many seconds without measuring them, 0 to 3600.
    #[arg(long, value_name = "SECONDS", default_value_t = 1, value_parser = clap::value_parser!(u32).range(0..=MAX_WARM_UP_SECONDS))]
    warm_up: u32,
    /// Send this many orders a second in all; latency counts from the time an order was due, also of those that are never
    /// sent [default: no fixed rate].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=MAX_RATE))]
    rate: Option<u32>,
    /// Spread the orders over this many accounts, `bench-0` and so on, 1 to 10000.
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = clap::value_parser!(u16).range(1..=MAX_ACCOUNTS))]
    accounts: u16,
    /// Trade this instrument, such as `binance.spot:BTCUSDT`; may be repeated [default: every instrument of the settings].
    #[arg(long = "instrument", value_name = "VENUE:SYMBOL", value_parser = parse_instrument)]
    instruments: Vec<(VenueId, Symbol)>,
    /// The quantity of each order, in lots of its instrument, 1 to 1000000. The daily notional limit counts every order.
    #[arg(long, value_name = "LOTS", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=MAX_LOTS))]
    lots: u32,
    /// Send limit orders at the reference price of the settings, instead of market orders.
    #[arg(long)]
    limit: bool,
    /// With --door rest and without --dev: the sidecar's address [default: the setting http.addr].
    #[arg(long, value_name = "ADDRESS", conflicts_with = "dev")]
    http_addr: Option<ListenAddress>,
    /// With --door rest: the API key. Prefer the variable: other users can see arguments.
    #[arg(long, value_name = "KEY", env = "ORDER_ROUTER_API_KEY", hide_env_values = true, value_parser = parse_secret)]
    api_key: Option<Secret>,
    /// Measure processor time and memory of this process, too, such as `worker=4711`; may be repeated. With --dev, every
    /// process is measured.
    #[arg(long = "process", value_name = "NAME=ID", value_parser = parse_process)]
    processes: Vec<(String, u32)>,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

fn parse_instrument(text: &str) -> Result<(VenueId, Symbol), String> {
    let (venue, symbol) = text.split_once(':').ok_or("must be VENUE:SYMBOL")?;
    let venue = VenueId::new(venue).map_err(|rule| format!("the venue {rule}"))?;
    let symbol = Symbol::parse(symbol).map_err(|rule| format!("the symbol {rule}"))?;
    Ok((venue, symbol))
}

fn parse_process(text: &str) -> Result<(String, u32), &'static str> {
    let (name, id) = text.split_once('=').ok_or("must be NAME=ID")?;
    Ok((
        name.to_owned(),
        id.parse().map_err(|_| "must be NAME=ID, with the id of a process")?,
    ))
}

/// An error of clap would show the value, so every text is accepted here and checked by the sidecar.
fn parse_secret(text: &str) -> Result<Secret, std::convert::Infallible> {
    Ok(Secret::new(text))
}

/// Sends the load and prints the measurements.
///
/// # Errors
/// When there is no router, or an order got no report.
pub(crate) async fn run(args: BenchArgs, options: &GlobalOptions) -> CommandResult {
    if args.processes.len() > MAX_PROCESSES {
        return Err(CommandError::Usage(format!(
            "--process names more than {MAX_PROCESSES} processes"
        )));
    }
    if args.dev {
        return own_router::run(&args, options).await;
    }
    let settings = options.load_settings_and_start_log(CommandKind::Client)?;
    let address = args.http_addr.as_ref().unwrap_or(&settings.http.addr);
    let target = BenchTarget {
        authority: address.to_string(),
        processes: args.processes.clone(),
        sync: None,
    };
    measure_and_print(&args, &settings, &target).await
}

/// The router that is measured.
struct BenchTarget {
    /// Host and port of its sidecar.
    authority: String,
    /// Its processes on this machine, by name.
    processes: Vec<(String, u32)>,
    /// When its journal is synced to disk, where that is known.
    sync: Option<JournalSync>,
}

async fn measure_and_print(args: &BenchArgs, settings: &Settings, target: &BenchTarget) -> CommandResult {
    let bus = connect(&settings.nats, "order-router bench", ConnectPolicy::Once).await?;
    let load = load_profile(args, settings, target)?;
    let caller = RouterClient::new(bus.clone());
    let mut processes = target.processes.clone();
    processes.push(("bench".to_owned(), std::process::id()));
    let at_rest: Vec<_> = processes.iter().map(|(_, id)| ProcessUsage::read(*id)).collect();
    bench::warm_up(&caller, &load).await?;
    let before: Vec<_> = processes.iter().map(|(_, id)| ProcessUsage::read(*id)).collect();
    let journal_before = journal_end(&bus).await;
    let measured = bench::run_load(&caller, &load).await?;
    let journal_entries = journal_end(&bus)
        .await
        .zip(journal_before)
        .map(|(after, before)| after.saturating_sub(before));
    let measured_processes =
        processes
            .iter()
            .zip(at_rest.into_iter().zip(before))
            .filter_map(|((name, id), (at_rest, before))| {
                MeasuredProcess::of(name, *id, at_rest?, before?, measured.elapsed)
            });
    let output = BenchOutput {
        processes: measured_processes.collect(),
        environment: Environment::read(settings, &bus, target.sync).await,
        ..BenchOutput::of(args.door, args.concurrency, args.rate, &measured, journal_entries)
    };
    if args.json {
        crate::cli::output::print_line(crate::cli::output::to_json_line(&output)?)?;
    } else {
        crate::cli::output::print_line(render_output(&output))?;
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

/// Returns the sequence of the journal's last entry; `None` where this user may not read it.
async fn journal_end(bus: &Bus) -> Option<u64> {
    let extent = JournalReader::new(bus.clone()).read_extent().await.ok()?;
    Some(extent.last_sequence)
}

fn load_profile(args: &BenchArgs, settings: &Settings, target: &BenchTarget) -> Result<LoadProfile, CommandError> {
    let accounts = (0..args.accounts).map(|number| AccountId::new(&format!("bench-{number}")));
    let accounts = accounts.collect::<Result<_, _>>().map_err(anyhow::Error::from)?;
    let known = settings.instruments.to_instruments(&settings.risk);
    let chosen = match args.instruments.as_slice() {
        [] => known.iter().collect(),
        named => named
            .iter()
            .map(|(venue, symbol)| find_instrument(&known, venue, symbol))
            .collect::<Result<Vec<_>, _>>()?,
    };
    if chosen.is_empty() {
        return Err(CommandError::Usage(
            "the settings have no instrument to trade".to_owned(),
        ));
    }
    let instruments = chosen.into_iter().map(|instrument| load_instrument(args, instrument));
    Ok(LoadProfile {
        door: args.door,
        rest: RestTarget {
            authority: target.authority.clone(),
            api_key: args.api_key.clone(),
        },
        concurrency: args.concurrency,
        duration: Duration::from_secs(u64::from(args.seconds)),
        warm_up: Duration::from_secs(u64::from(args.warm_up)),
        rate: args.rate,
        accounts,
        instruments: instruments.collect::<Result<_, _>>()?,
        timeout: ORDER_TIMEOUT,
    })
}

fn find_instrument<'a>(
    known: &'a [Instrument],
    venue: &VenueId,
    symbol: &Symbol,
) -> Result<&'a Instrument, CommandError> {
    let found = known.iter().find(|one| one.venue == *venue && one.symbol == *symbol);
    found.ok_or_else(|| CommandError::Usage(format!("the settings have no instrument {symbol} at {venue}")))
}

fn load_instrument(args: &BenchArgs, instrument: &Instrument) -> Result<LoadInstrument, CommandError> {
    let quantity = instrument
        .lot_size
        .decimal()
        .checked_mul(Decimal::from(i64::from(args.lots)));
    let quantity = quantity.ok_or_else(|| CommandError::Usage("--lots is too large".to_owned()))?;
    Ok(LoadInstrument {
        broker: instrument.broker.clone(),
        venue: instrument.venue.clone(),
        symbol: instrument.symbol.clone(),
        quantity,
        price: args.limit.then(|| instrument.reference_price.decimal()),
    })
}
