//! `venue`: a local exchange that speaks the Binance Spot protocol.

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, ValueEnum};

use crate::cli::arguments::global::{CommandKind, GlobalOptions};
use crate::cli::error::{CommandError, CommandResult};
use crate::cli::output;
use crate::cli::process::shutdown_signals::ShutdownSignals;
use crate::config::listen_address::ListenAddress;
use crate::http::{bind_listener, resolve_host};
use crate::venue::settings::{
    BalanceSettings, CommissionSettings, KeySettings, LimitSettings, MarketMakerSettings, Rate, SymbolSettings,
    SyncPolicy, VenueSettings,
};
use crate::venue::{FaultPlan, Venue, parse_plans};

/// How long the connections have to end.
const GRACE: Duration = Duration::from_secs(5);

/// The end of `venue --help`.
pub(crate) const EXAMPLES: &str = "Examples:
  order-router venue --addr 127.0.0.1:0 --data-dir /tmp/venue --market-maker
  order-router venue --key desk@fund-7:secret --balance fund-7:USDT=5000
  order-router venue --faults 'answer_lost=0.02,event_lost=0.05,answer_delayed@place=0.1:800ms' --seed 7

When it serves, it prints one line: ready http=http://… ws=ws://…
docs/venue.md lists the operations, the faults and the control endpoints.";

/// Arguments of `venue`.
#[derive(Debug, Args)]
pub(crate) struct VenueArgs {
    /// Serve on this address; port 0 chooses a free one.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8300")]
    addr: ListenAddress,
    /// Keep orders, trades and balances in this directory; a later `venue` continues with them.
    #[arg(long, alias = "data", value_name = "DIR", default_value = ".data/venue")]
    data_dir: PathBuf,
    /// When an answered change is on disk: `write` survives the process, `disk` the machine.
    #[arg(long, value_enum, default_value_t = VenueSync::Write)]
    sync: VenueSync,
    /// Accept this key: KEY[@ACCOUNT]:SECRET, where SECRET may be ed25519:BASE64 or file:PATH; repeatable.
    #[arg(long = "key", value_name = "KEY", default_value = "venue-key:venue-secret")]
    keys: Vec<KeySettings>,
    /// Open accounts with this balance: [ACCOUNT:]ASSET=AMOUNT; repeatable.
    #[arg(long = "balance", value_name = "BALANCE", default_values = ["USDT=1000000", "BTC=100", "ETH=1000"])]
    balances: Vec<BalanceSettings>,
    /// Trade this symbol: BASE/QUOTE=PRICE,TICK,STEP[,MIN_NOTIONAL]; repeatable.
    #[arg(
        long = "symbol",
        value_name = "SYMBOL",
        default_values = ["BTC/USDT=30000,0.01,0.00001,5", "ETH/USDT=2000,0.01,0.0001,5"]
    )]
    symbols: Vec<SymbolSettings>,
    /// The commission of the order on the book, as a share of the received amount.
    #[arg(long, value_name = "RATE", default_value = "0.001")]
    maker_commission: Rate,
    /// The commission of the incoming order, as a share of the received amount.
    #[arg(long, value_name = "RATE", default_value = "0.001")]
    taker_commission: Rate,
    /// The request weight of an address in a minute.
    #[arg(long, value_name = "N", default_value_t = 6_000)]
    weight_limit: u32,
    /// The unfilled orders of an account in ten seconds.
    #[arg(long, value_name = "N", default_value_t = 50)]
    orders_per_10s: u32,
    /// The unfilled orders of an account in a day.
    #[arg(long, value_name = "N", default_value_t = 160_000)]
    orders_per_day: u32,
    /// The requests beyond the weight limit in a minute that lead to a ban (418).
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..))]
    ban_after: u32,
    /// Inject these faults: NAME[@OPERATION]=PROBABILITY[:MS] or NAME=COUNTx, separated by commas; or a file of them.
    #[arg(long, value_name = "SPEC|FILE", default_value = "")]
    faults: String,
    /// The seed of the faults and of the market maker.
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// Quote both sides of every symbol, along a random walk.
    #[arg(long)]
    market_maker: bool,
    /// The time between two rounds of the market maker's quotes, in milliseconds.
    #[arg(long, value_name = "MS", default_value_t = 250, value_parser = clap::value_parser!(u64).range(10..=60_000))]
    market_maker_interval_ms: u64,
    /// The time between two pings of a WebSocket connection, in milliseconds.
    #[arg(long, value_name = "MS", default_value_t = 20_000, value_parser = clap::value_parser!(u64).range(50..=600_000))]
    ping_interval_ms: u64,
}

/// When an answered change is on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum VenueSync {
    /// Written to the operating system.
    Write,
    /// Synced to the disk.
    Disk,
}

/// Serves until a signal comes.
///
/// # Errors
/// When the address or the data directory cannot be used, or the state log can no longer be written.
pub(crate) async fn run(args: VenueArgs, options: &GlobalOptions) -> CommandResult {
    options.load_settings_and_start_log(CommandKind::Daemon)?;
    let faults = read_faults(&args.faults).map_err(CommandError::Usage)?;
    let mut signals = ShutdownSignals::listen()?;
    let addresses = resolve_host(args.addr.host(), args.addr.port()).await;
    let addresses = addresses.map_err(|error| CommandError::from_error("resolving --addr", error))?;
    let listener = addresses.into_iter().map(bind_listener).reduce(Result::or);
    let listener = listener.ok_or_else(|| CommandError::Usage("--addr has no address".to_owned()))?;
    let listener = listener.map_err(|error| CommandError::from_error("listening at --addr", error))?;
    let address = listener.local_addr();
    let address = address.map_err(|error| CommandError::from_error("reading the address", error))?;
    let venue = Venue::start(settings(args, faults), listener)
        .map_err(|error| CommandError::from_error("the venue cannot start", error))?;
    output::print_line(format!("ready http=http://{address} ws=ws://{address}"))?;
    let has_failed = tokio::select! {
        name = signals.next_signal() => {
            tracing::info!(signal = name, "draining; a second signal exits at once");
            false
        }
        () = venue.failed() => true,
    };
    signals.unless_interrupted(venue.drain(GRACE)).await?;
    match has_failed {
        false => Ok(()),
        true => Err(anyhow::anyhow!("the state log could not be written; the log above names the reason").into()),
    }
}

/// Reads the faults from the flag, or from the file that it names.
fn read_faults(text: &str) -> Result<Vec<FaultPlan>, String> {
    let path = Path::new(text);
    let plans = match path.is_file() {
        true => std::fs::read_to_string(path).map_err(|error| format!("--faults {text}: {error}"))?,
        false => text.to_owned(),
    };
    parse_plans(&plans).map_err(|error| format!("--faults: {error}"))
}

fn settings(args: VenueArgs, faults: Vec<FaultPlan>) -> VenueSettings {
    let interval = Duration::from_millis(args.market_maker_interval_ms);
    VenueSettings {
        data_dir: args.data_dir,
        sync: match args.sync {
            VenueSync::Write => SyncPolicy::Write,
            VenueSync::Disk => SyncPolicy::Disk,
        },
        keys: args.keys,
        balances: args.balances,
        symbols: args.symbols,
        commissions: CommissionSettings::new(args.maker_commission, args.taker_commission),
        limits: LimitSettings {
            weight_per_minute: args.weight_limit,
            orders_per_10_seconds: args.orders_per_10s,
            orders_per_day: args.orders_per_day,
            ban_after: args.ban_after,
        },
        faults,
        seed: args.seed,
        market_maker: args.market_maker.then_some(MarketMakerSettings { interval }),
        ping_interval: Duration::from_millis(args.ping_interval_ms),
    }
}
