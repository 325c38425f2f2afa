//! The flags of `submit`.

use std::path::PathBuf;

use clap::Args;

use crate::cli::arguments::term::term_parser;
use crate::cli::requests::bus_client::{MAX_CONCURRENCY, RequestArgs};
use crate::domain::decimal::Decimal;
use crate::domain::id::{AccountId, BrokerId, ClientOrderId, Tag, VenueId};
use crate::domain::order_terms::{Mode, OrderType, Side, TimeInForce};
use crate::domain::time::Timestamp;

/// Arguments of `submit`.
#[derive(Debug, Args)]
pub(crate) struct SubmitArgs {
    /// Route to this broker, such as `binance` or `ibkr`.
    #[arg(long, value_parser = BrokerId::new, required_unless_present = "file", conflicts_with = "file")]
    pub(in crate::cli) broker: Option<BrokerId>,
    /// The venue, such as `binance.spot` [default: the broker's only venue for the symbol].
    #[arg(long, value_parser = VenueId::new, conflicts_with = "file")]
    pub(in crate::cli) venue: Option<VenueId>,
    /// The symbol, such as `BTCUSDT`; `btc/usdt` is the same.
    #[arg(long, required_unless_present = "file", conflicts_with = "file")]
    pub(in crate::cli) symbol: Option<String>,
    /// Buy or sell.
    #[arg(long, value_parser = term_parser(Side::ALL, Side::as_str), required_unless_present = "file", conflicts_with = "file")]
    pub(in crate::cli) side: Option<Side>,
    /// The quantity, such as `0.001`.
    #[arg(
        long,
        allow_hyphen_values = true,
        required_unless_present = "file",
        conflicts_with = "file"
    )]
    pub(in crate::cli) quantity: Option<Decimal>,
    /// The order type [default: `limit` with a price, else `market`].
    #[arg(long = "type", value_parser = term_parser(OrderType::ALL, OrderType::as_str), conflicts_with = "file")]
    pub(in crate::cli) order_type: Option<OrderType>,
    /// The limit price, in the quote currency.
    #[arg(long, allow_hyphen_values = true, conflicts_with = "file")]
    pub(in crate::cli) price: Option<Decimal>,
    /// The time in force [default: GTC].
    #[arg(
        long = "tif", value_name = "TIME_IN_FORCE", ignore_case = true, conflicts_with = "file",
        value_parser = term_parser(TimeInForce::ALL, TimeInForce::as_str)
    )]
    pub(in crate::cli) time_in_force: Option<TimeInForce>,
    /// Your client order id [default: a new one].
    #[arg(long, value_parser = ClientOrderId::new, conflicts_with = "file")]
    pub(in crate::cli) id: Option<ClientOrderId>,
    /// The account [default: `default`].
    #[arg(long, value_parser = AccountId::new, conflicts_with = "file")]
    pub(in crate::cli) account: Option<AccountId>,
    /// Add a tag, such as `strategy:mean-reversion`; repeatable.
    #[arg(long = "tag", value_parser = Tag::new, conflicts_with = "file")]
    pub(in crate::cli) tags: Vec<Tag>,
    /// Never send the order to a broker after this time (RFC 3339).
    #[arg(long, value_name = "TIME", value_parser = Timestamp::parse, conflicts_with = "file")]
    pub(in crate::cli) expires_at: Option<Timestamp>,
    /// Refuse the order unless the router is in this mode [default: any mode].
    #[arg(long, value_parser = term_parser(Mode::ALL, Mode::as_str), conflicts_with = "file")]
    pub(in crate::cli) mode: Option<Mode>,
    /// Submit many intents instead: a file with one JSON intent a line, or `-` for standard input.
    #[arg(long, value_name = "FILE")]
    pub(in crate::cli) file: Option<PathBuf>,
    /// Keep this many intents of the file in flight, 1 to 4096.
    #[arg(
        long, value_name = "N", default_value_t = 64, requires = "file",
        value_parser = clap::value_parser!(u16).range(1..=MAX_CONCURRENCY)
    )]
    pub(in crate::cli) concurrency: u16,
    /// Queue the intent: a worker executes it before its deadline, even one that starts later.
    #[arg(long)]
    pub(in crate::cli) durable: bool,
    #[command(flatten)]
    pub(in crate::cli) client: RequestArgs,
}
