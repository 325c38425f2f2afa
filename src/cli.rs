//! The command line: its grammar here, one file per command in `commands`.
//!
//! Results go to standard output, everything else to standard error. Exit codes: 0 done, 1 refused or failed, 2 wrong
//! usage or settings, 3 a comparison found differences, 130 interrupted by a second signal.

pub mod arguments;
pub mod commands;
pub(crate) mod error;
mod help;
mod output;
pub mod process;
pub mod requests;

use crate::cli::commands::adjust;
use crate::cli::commands::alerts;
use crate::cli::commands::audit;
use crate::cli::commands::bench;
use crate::cli::commands::brokers;
use crate::cli::commands::cancel;
use crate::cli::commands::cancel_all;
use crate::cli::commands::chaos;
use crate::cli::commands::check;
use crate::cli::commands::close;
use crate::cli::commands::dev;
use crate::cli::commands::executions;
use crate::cli::commands::get;
use crate::cli::commands::heartbeat;
use crate::cli::commands::journal;
use crate::cli::commands::key;
use crate::cli::commands::limits;
use crate::cli::commands::locks;
use crate::cli::commands::order_log;
use crate::cli::commands::orders;
use crate::cli::commands::positions;
use crate::cli::commands::rebuild;
use crate::cli::commands::replace;
use crate::cli::commands::run;
use crate::cli::commands::sidecar;
use crate::cli::commands::state;
use crate::cli::commands::submit;
use crate::cli::commands::topology;
use crate::cli::commands::venue;
use crate::cli::commands::watch;
use crate::cli::commands::worker;
use std::process::ExitCode;

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};

use crate::cli::arguments::global::GlobalOptions;
use crate::cli::error::{CommandError, CommandResult};
use crate::cli::requests::order_request::OrderRequestArgs;

/// An order execution router: each order is sent at most once, under limits that all workers share.
#[derive(Debug, Parser)]
#[command(name = "order-router", version, propagate_version = true, subcommand_required = true)]
struct Cli {
    #[command(flatten)]
    options: GlobalOptions,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Start everything on this machine: NATS, Redis, workers and the sidecar.
    Dev(dev::DevArgs),
    /// Start a worker and the sidecar against existing servers.
    Run,
    /// Start a worker against existing servers.
    Worker,
    /// Start the sidecar (REST) against an existing NATS.
    Sidecar,
    /// Check settings, keys, connections, streams, clock and permissions; trade nothing.
    Check(check::CheckArgs),
    /// Create or check the streams and consumers.
    Topology(topology::TopologyArgs),
    /// Submit one order by flags, or many from a file.
    #[command(after_help = submit::EXAMPLES)]
    Submit(Box<submit::arguments::SubmitArgs>),
    /// Show the current report of an order.
    Get(OrderRequestArgs),
    /// Cancel an order.
    Cancel(OrderRequestArgs),
    /// Give what is open of an order a new price or quantity.
    #[command(after_help = replace::EXAMPLES)]
    Replace(Box<replace::ReplaceArgs>),
    /// Cancel every open order of an account at a broker.
    CancelAll(cancel_all::CancelAllArgs),
    /// Close a position, or bring it to a target, with one order (REST).
    #[command(after_help = close::EXAMPLES)]
    Close(Box<close::CloseArgs>),
    /// Show or change mode, trading state and daily limits; halt trading.
    State(state::StateArgs),
    /// Show the limits that all workers enforce, or put those of the settings in force.
    #[command(after_help = limits::EXAMPLES)]
    Limits(limits::LimitsArgs),
    /// Keep an account's dead man's switch from firing, or disarm it.
    Heartbeat(heartbeat::HeartbeatArgs),
    /// List, set and lift locks.
    Locks(locks::LocksArgs),
    /// Book an opening position, a deposit, a withdrawal or a correction.
    #[command(after_help = adjust::EXAMPLES)]
    Adjust(Box<adjust::AdjustArgs>),
    /// List the brokers with their venues, symbols and times in force.
    Brokers(brokers::BrokersArgs),
    /// List orders, the newest first (REST).
    Orders(Box<orders::OrdersArgs>),
    /// List executions, the newest first (REST).
    Executions(Box<executions::ExecutionsArgs>),
    /// List positions with their value and profit (REST).
    Positions(positions::PositionsArgs),
    /// List the alerts of the risk rules, the newest first (REST).
    Alerts(alerts::AlertsArgs),
    /// Rebuild the sidecar's order log from the journal.
    OrderLog(order_log::OrderLogArgs),
    /// Rebuild Redis from the journal alone, or compare the two.
    #[command(after_help = rebuild::EXAMPLES)]
    Rebuild(rebuild::RebuildArgs),
    /// Verify the journal, and compare Redis and the order log with it; change nothing.
    #[command(after_help = audit::EXAMPLES)]
    Audit(audit::JournalAuditArgs),
    /// Archive the journal, or accept that it has lost entries.
    Journal(journal::JournalArgs),
    /// Create API keys for REST, and NATS users for algorithms.
    Key(key::KeyArgs),
    /// Follow reports, alerts and changes until Ctrl-C.
    Watch(watch::WatchArgs),
    /// Run a local exchange that speaks the Binance Spot protocol.
    #[command(after_help = venue::EXAMPLES)]
    Venue(Box<venue::VenueArgs>),
    /// Measure throughput and latency with paper orders.
    Bench(bench::BenchArgs),
    /// Kill, cut and lose parts of a router under load, and check that nothing is lost or doubled.
    #[command(after_help = chaos::EXAMPLES)]
    Chaos(chaos::ChaosArgs),
}

/// Parses the arguments, runs the command and returns the exit code.
pub fn main() -> ExitCode {
    // TLS to NATS and Redis uses the process's provider. It fails where a provider is set already, which nothing does.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let matches = help::group_commands(Cli::command()).get_matches();
    let cli = Cli::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
    match run_in_runtime(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.print_and_exit_code(),
    }
}

fn run_in_runtime(cli: Cli) -> CommandResult {
    let runtime = tokio::runtime::Runtime::new()
        .map_err(|error| CommandError::from_error("the async runtime cannot start", error))?;
    // Commands run on the main thread: `dev` binds its children to the lifetime of the thread that starts them.
    let outcome = runtime.block_on(dispatch(cli));
    // A thread that is blocked reading standard input must not delay the exit.
    runtime.shutdown_background();
    outcome
}

async fn dispatch(cli: Cli) -> CommandResult {
    let options = cli.options;
    match cli.command {
        Command::Dev(args) => dev::run(args, &options).await,
        Command::Run => run::run(&options).await,
        Command::Worker => worker::run(&options).await,
        Command::Sidecar => sidecar::run(&options).await,
        Command::Check(args) => check::run(&args, &options).await,
        Command::Topology(args) => topology::run(&args, &options).await,
        Command::Submit(args) => submit::run(*args, &options).await,
        Command::Get(args) => get::run(&args, &options).await,
        Command::Cancel(args) => cancel::run(&args, &options).await,
        Command::Replace(args) => replace::run(&args, &options).await,
        Command::CancelAll(args) => cancel_all::run(&args, &options).await,
        Command::State(args) => state::run(&args, &options).await,
        Command::Limits(args) => limits::run(&args, &options).await,
        Command::Heartbeat(args) => heartbeat::run(&args, &options).await,
        Command::Locks(args) => locks::run(&args, &options).await,
        Command::Adjust(args) => adjust::run(&args, &options).await,
        Command::Brokers(args) => brokers::run(&args, &options).await,
        Command::Orders(args) => orders::run(&args, &options).await,
        Command::Executions(args) => executions::run(&args, &options).await,
        Command::Close(args) => close::run(&args, &options).await,
        Command::Positions(args) => positions::run(&args, &options).await,
        Command::Alerts(args) => alerts::run(&args, &options).await,
        Command::OrderLog(args) => order_log::run(&args, &options).await,
        Command::Journal(args) => journal::run(&args, &options).await,
        Command::Rebuild(args) => rebuild::run(&args, &options).await,
        Command::Audit(args) => audit::run(&args, &options).await,
        Command::Key(args) => key::run(&args),
        Command::Watch(args) => watch::run(&args, &options).await,
        Command::Venue(args) => venue::run(*args, &options).await,
        Command::Bench(args) => bench::run(args, &options).await,
        Command::Chaos(args) => chaos::run(args, &options).await,
    }
}

#[cfg(test)]
mod tests {
    use clap::error::ErrorKind;

    use super::*;

    #[test]
    fn grammar_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn arguments_are_accepted_or_refused() {
        let first = "submit --broker binance --venue binance.spot --symbol BTCUSDT --side buy --quantity 0.001 \
                     --type limit --price 30000";
        for (line, refused) in [
            (first, None),
            (
                "submit --broker ibkr --symbol AAPL --side sell --quantity 1 --tif gtc --tag a --tag strategy:b",
                None,
            ),
            ("submit --broker ibkr --symbol AAPL --side sell --quantity -1", None),
            ("submit --file -", None),
            ("submit --file orders.ndjson --durable --concurrency 8 --json", None),
            ("submit", Some(ErrorKind::MissingRequiredArgument)),
            ("submit --file - --side buy", Some(ErrorKind::ArgumentConflict)),
            ("submit --file - --concurrency 0", Some(ErrorKind::ValueValidation)),
            (
                "submit --broker b --symbol S --side hold --quantity 1",
                Some(ErrorKind::InvalidValue),
            ),
            (
                "submit --broker b --symbol S --side buy --quantity 1_000",
                Some(ErrorKind::ValueValidation),
            ),
            (
                "submit --broker a.b --symbol S --side buy --quantity 1",
                Some(ErrorKind::ValueValidation),
            ),
            ("get --broker ibkr --order-id IB-1", None),
            ("get --broker ibkr --id a --account fund-7", None),
            ("get --broker ibkr", Some(ErrorKind::MissingRequiredArgument)),
            (
                "get --broker ibkr --order-id IB-1 --id a",
                Some(ErrorKind::ArgumentConflict),
            ),
            (
                "replace --broker ibkr --id a --price 180.5 --quantity 2 --replace-id r",
                None,
            ),
            ("replace --broker ibkr --id a", Some(ErrorKind::MissingRequiredArgument)),
            (
                "replace --broker ibkr --id a --price 0",
                Some(ErrorKind::ValueValidation),
            ),
            ("cancel-all --broker binance --symbol BTCUSDT", None),
            ("state", None),
            ("state --daily-notional-limit 5000 --actor ann --reason test", None),
            (
                "state --daily-notional-limit 5000",
                Some(ErrorKind::MissingRequiredArgument),
            ),
            ("state --actor ann", Some(ErrorKind::MissingRequiredArgument)),
            ("state --halt --actor ann --reason test", None),
            ("state --halt --reason test", Some(ErrorKind::MissingRequiredArgument)),
            (
                "state --halt --resume --actor ann --reason test",
                Some(ErrorKind::ArgumentConflict),
            ),
            (
                "state --trading-state reduce_only --mode dry_run --daily-loss-limit 5 --actor ann --reason test",
                None,
            ),
            (
                "state --trading-state stopped --actor ann --reason test",
                Some(ErrorKind::ValueValidation),
            ),
            ("state --watch", None),
            ("state --watch 5 --json", None),
            ("state --watch 0", Some(ErrorKind::ValueValidation)),
            ("state --watch 3601", Some(ErrorKind::ValueValidation)),
            (
                "state --watch --halt --actor ann --reason test",
                Some(ErrorKind::ArgumentConflict),
            ),
            (
                "orders --limit 5 --offset 10 --account fund-7 --symbol btc/usdt --start 2026-03-02T00:00:00Z \
                 --end 2026-03-03T00:00:00+01:00 --tag a --strategy b --broker ibkr --status filled \
                 --client-order-id my-1 --watch 3600 --json --http-addr 127.0.0.1:1",
                None,
            ),
            ("alerts --url https://router.example.com:8443/desk", None),
            ("alerts --url router.example.com", Some(ErrorKind::ValueValidation)),
            ("alerts --http-addr localhost:8100", None),
            ("alerts --http-addr localhost", Some(ErrorKind::ValueValidation)),
            (
                "alerts --url http://localhost:1 --http-addr 127.0.0.1:1",
                Some(ErrorKind::ArgumentConflict),
            ),
            ("orders --status done", Some(ErrorKind::InvalidValue)),
            ("orders --start yesterday", Some(ErrorKind::ValueValidation)),
            ("orders --account a.b", Some(ErrorKind::ValueValidation)),
            ("orders --order-id 7", Some(ErrorKind::UnknownArgument)),
            ("executions --order-id 7 --status filled --watch", None),
            ("executions --order-id BN-1", Some(ErrorKind::ValueValidation)),
            ("positions --account fund-7 --watch --timeout-ms 500", None),
            ("positions --symbol AAPL", Some(ErrorKind::UnknownArgument)),
            ("alerts --level lock --watch 1", None),
            ("heartbeat --account alpha --fires-after-ms 5000 --timeout-ms 500", None),
            ("heartbeat --disarm --reason done", None),
            ("heartbeat --disarm", Some(ErrorKind::MissingRequiredArgument)),
            ("heartbeat --fires-after-ms 999", Some(ErrorKind::ValueValidation)),
            (
                "heartbeat --fires-after-ms 5000 --disarm --reason done",
                Some(ErrorKind::ArgumentConflict),
            ),
            ("locks --json", None),
            ("locks list", None),
            ("locks lift paper.all.operator --actor ann --reason test", None),
            (
                "locks lift paper.all.operator",
                Some(ErrorKind::MissingRequiredArgument),
            ),
            (
                "locks set --symbol binance.spot:BTCUSDT --actor ann --reason test",
                None,
            ),
            (
                "locks set --symbol BTCUSDT --actor ann --reason test",
                Some(ErrorKind::ValueValidation),
            ),
            (
                "locks set --all --broker ibkr --actor ann --reason test",
                Some(ErrorKind::ArgumentConflict),
            ),
            (
                "locks set --actor ann --reason test",
                Some(ErrorKind::MissingRequiredArgument),
            ),
            (
                "key new --id desk --customer Desk --can read,route_orders --account a --account b",
                None,
            ),
            (
                "key new --id desk --customer Desk --can can.read --account * --burst 5 --json",
                None,
            ),
            (
                "key new --id desk --customer Desk --can fly --account a",
                Some(ErrorKind::InvalidValue),
            ),
            (
                "key new --id desk --customer Desk --can read",
                Some(ErrorKind::MissingRequiredArgument),
            ),
            ("journal archive --before 90d --actor a --reason r", None),
            ("journal archive --before 90d", Some(ErrorKind::MissingRequiredArgument)),
            (
                "journal archive --before soon --actor a --reason r",
                Some(ErrorKind::ValueValidation),
            ),
            ("rebuild", None),
            ("rebuild --force --drop-unjournaled --json", None),
            ("rebuild --check --force", Some(ErrorKind::ArgumentConflict)),
            ("audit --order-log .data --json", None),
            ("audit --without-redis --without-order-log", None),
            (
                "audit --order-log .data --without-order-log",
                Some(ErrorKind::ArgumentConflict),
            ),
            ("key", Some(ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand)),
            ("journal accept-loss --actor ann --reason purged --json", None),
            (
                "journal accept-loss --actor ann",
                Some(ErrorKind::MissingRequiredArgument),
            ),
            ("dev --nats-port 0 --workers 2 --sync default", None),
            ("dev --workers 0", Some(ErrorKind::ValueValidation)),
            ("dev --sync never", Some(ErrorKind::InvalidValue)),
            ("bench --dev --sync default --door durable --json", None),
            ("bench --sync default", Some(ErrorKind::MissingRequiredArgument)),
            (
                "venue --addr 127.0.0.1:0 --data d --key a@b:c --key d:e --market-maker --seed 7",
                None,
            ),
            (
                "chaos --seed 7 --seconds 5 --intents 10 --fault worker_paused --json",
                None,
            ),
            ("chaos --workers 1", Some(ErrorKind::ValueValidation)),
            ("venue --key secretless", Some(ErrorKind::ValueValidation)),
            ("venue --maker-commission 2", Some(ErrorKind::ValueValidation)),
            ("venue --symbol BTCUSDT", Some(ErrorKind::ValueValidation)),
            ("watch --account a --json --nats-url nats://127.0.0.1:1", None),
            ("--set risk.alert_percent=70 worker", None),
            ("--set risk worker", Some(ErrorKind::ValueValidation)),
            ("check --role worker --json", None),
            ("check --role admin", Some(ErrorKind::InvalidValue)),
            ("explode", Some(ErrorKind::InvalidSubcommand)),
            ("", Some(ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand)),
        ] {
            let words = std::iter::once("order-router").chain(line.split_whitespace());
            let kind = Cli::try_parse_from(words).err().map(|error| error.kind());
            assert_eq!(kind, refused, "{line}");
        }
    }
}
