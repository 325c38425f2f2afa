//! `submit`: one order by flags, or many from a file.

pub(in crate::cli) mod from_file;
pub(in crate::cli) mod from_flags;
pub(in crate::cli) mod input_lines;
pub(in crate::cli) mod intent_from_flags;
pub(in crate::cli) mod intent_route;
mod summary;

use std::path::PathBuf;

use clap::Args;

use crate::cli::arguments::global::GlobalOptions;
use crate::cli::arguments::term::term_parser;
use crate::cli::error::CommandResult;
use crate::cli::requests::bus_client::{CliClient, RequestArgs};
use crate::domain::decimal::Decimal;
use crate::domain::id::{AccountId, BrokerId, ClientOrderId, Tag, VenueId};
use crate::domain::order_terms::{Mode, OrderType, Side, TimeInForce};
use crate::domain::time::Timestamp;

/// The most intents from a file that are under way at once.
const MAX_CONCURRENCY: i64 = 4_096;

/// Shown at the end of the help.
pub(crate) const EXAMPLES: &str = "Examples:
  order-router submit --broker binance --symbol BTCUSDT --side buy --quantity 0.001 --type limit --price 30000
  order-router submit --broker ibkr --symbol AAPL --side sell --quantity 10 --id my-order-7 --durable
  order-router submit --file intents.ndjson --concurrency 128
  generate | order-router submit --file - --json

The same --id with the same content never makes a second order: it shows the first one's report. Exits with 0 when
every intent was taken (filled or not), with 1 when one was refused, denied or not answered in time.";

/// Arguments of `submit`.
#[derive(Debug, Args)]
pub(crate) struct SubmitArgs {
    /// The broker to route to, such as `binance` or `ibkr`.
    #[arg(long, value_parser = BrokerId::new, required_unless_present = "file", conflicts_with = "file")]
    broker: Option<BrokerId>,
    /// The venue, such as `binance.spot` [default: the broker's only venue for the symbol].
    #[arg(long, value_parser = VenueId::new, conflicts_with = "file")]
    venue: Option<VenueId>,
    /// The symbol, such as `BTCUSDT`; `btc/usdt` is the same.
    #[arg(long, required_unless_present = "file", conflicts_with = "file")]
    symbol: Option<String>,
    /// Whether to buy or to sell.
    #[arg(long, value_parser = term_parser(Side::ALL, Side::as_str), required_unless_present = "file", conflicts_with = "file")]
    side: Option<Side>,
    /// How much.
    #[arg(
        long,
        allow_hyphen_values = true,
        required_unless_present = "file",
        conflicts_with = "file"
    )]
    quantity: Option<Decimal>,
    /// How the price is set [default: `limit` where a price is given, else `market`].
    #[arg(long = "type", value_parser = term_parser(OrderType::ALL, OrderType::as_str), conflicts_with = "file")]
    order_type: Option<OrderType>,
    /// The limit price.
    #[arg(long, allow_hyphen_values = true, conflicts_with = "file")]
    price: Option<Decimal>,
    /// How long the order stands [default: GTC].
    #[arg(
        long = "tif", value_name = "TIME_IN_FORCE", ignore_case = true, conflicts_with = "file",
        value_parser = term_parser(TimeInForce::ALL, TimeInForce::as_str)
    )]
    time_in_force: Option<TimeInForce>,
    /// Your own id of the order (`client_order_id`) [default: a new one].
    #[arg(long, value_parser = ClientOrderId::new, conflicts_with = "file")]
    id: Option<ClientOrderId>,
    /// The account [default: `default`].
    #[arg(long, value_parser = AccountId::new, conflicts_with = "file")]
    account: Option<AccountId>,
    /// A tag, such as `strategy:mean-reversion`; may be repeated.
    #[arg(long = "tag", value_parser = Tag::new, conflicts_with = "file")]
    tags: Vec<Tag>,
    /// The order is never sent to a broker after this moment (RFC 3339).
    #[arg(long, value_name = "TIME", value_parser = Timestamp::parse, conflicts_with = "file")]
    expires_at: Option<Timestamp>,
    /// The mode you expect; another one in force refuses the order.
    #[arg(long, value_parser = term_parser(Mode::ALL, Mode::as_str), conflicts_with = "file")]
    mode: Option<Mode>,
    /// Many intents instead: a file with one JSON intent a line, `-` for the standard input stream. They are sent as they
    /// are.
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// How many intents from the file are under way at once.
    #[arg(
        long, value_name = "N", default_value_t = 64, requires = "file",
        value_parser = clap::value_parser!(u16).range(1..=MAX_CONCURRENCY)
    )]
    concurrency: u16,
    /// Uses the durable door: the intent is kept, and executed before its deadline also when no worker is up now.
    #[arg(long)]
    durable: bool,
    #[command(flatten)]
    client: RequestArgs,
}

/// Submits and shows what became of it.
///
/// # Errors
/// When an intent is refused, denied or not answered in time.
pub(crate) async fn run(args: SubmitArgs, options: &GlobalOptions) -> CommandResult {
    let client = CliClient::connect(options, &args.client, "order-router submit").await?;
    match &args.file {
        Some(file) => from_file::run(&client, file, args.concurrency, args.durable).await,
        None => from_flags::run(&client, &args).await,
    }
}
