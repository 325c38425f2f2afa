//! Filters and paging of the order log.

use clap::Args;
use clap::builder::PossibleValuesParser;

use crate::cli::arguments::term::term_parser;
use crate::cli::requests::query_string;
use crate::domain::id::{AccountId, BrokerId, ClientOrderId, Tag};
use crate::domain::order_terms::Side;
use crate::domain::sort_direction::SortDirection;
use crate::domain::symbol::Symbol;
use crate::domain::time::Timestamp;
use crate::wire::filter_time::{parse_filter_end, parse_filter_start};
use crate::wire::order_record::status_words;

/// Filters that all apply, and the page.
#[derive(Debug, Args)]
pub(crate) struct OrderLogPageArgs {
    /// Show this account only.
    #[arg(long, value_parser = AccountId::new)]
    account: Option<AccountId>,
    /// Show this symbol only, such as `BTCUSDT`; `btc/usdt` is the same.
    #[arg(long, value_parser = Symbol::parse)]
    symbol: Option<Symbol>,
    /// Show items from this time on: the submission of an order, the time of an execution. RFC 3339, a date, or a time
    /// without an offset, which is UTC.
    #[arg(long, value_name = "TIME", value_parser = parse_filter_start)]
    start: Option<Timestamp>,
    /// Show items up to and including this time; a date is the whole day.
    #[arg(long, value_name = "TIME", value_parser = parse_filter_end)]
    end: Option<Timestamp>,
    /// Show items with this tag only; upper and lower case are the same.
    #[arg(long, value_parser = Tag::new)]
    tag: Option<Tag>,
    /// Show this strategy only: items with the tag NAME or `strategy:NAME`.
    #[arg(long, value_name = "NAME", value_parser = Tag::new)]
    strategy: Option<Tag>,
    /// Show this broker only, such as `binance`.
    #[arg(long, value_parser = BrokerId::new)]
    broker: Option<BrokerId>,
    /// Show orders that changed after this time only, by a report or a note, or the executions of such orders.
    #[arg(long, value_name = "TIME", value_parser = parse_filter_start)]
    updated_after: Option<Timestamp>,
    /// Show orders with these statuses only, separated by commas, or the executions of such orders. `open` is every status
    /// of an order that may still fill.
    #[arg(long, value_delimiter = ',', value_parser = PossibleValuesParser::new(status_words()))]
    status: Vec<String>,
    /// Show this side only.
    #[arg(long, value_parser = term_parser(Side::ALL, Side::as_str))]
    side: Option<Side>,
    /// Show the order with this client order id only.
    #[arg(long, value_name = "ID", value_parser = ClientOrderId::new)]
    client_order_id: Option<ClientOrderId>,
    /// Show at most this many items, 1 to 500.
    #[arg(long, value_name = "N", default_value_t = 100)]
    limit: u16,
    /// Skip this many items.
    #[arg(long, value_name = "N", default_value_t = 0)]
    offset: u64,
    /// Continue after this item: the id that the last line of a page names. Pages neither repeat nor miss an item while
    /// others are added.
    #[arg(long, value_name = "ID")]
    after: Option<u64>,
    /// Show the newest item first (`desc`) or the oldest (`asc`).
    #[arg(long, default_value = "desc", value_parser = term_parser(SortDirection::ALL, SortDirection::as_str))]
    sort: SortDirection,
}

impl OrderLogPageArgs {
    /// Returns the query's parameters.
    pub(crate) fn query_parameters(&self) -> Vec<(&'static str, Option<String>)> {
        vec![
            ("limit", Some(self.limit.to_string())),
            ("offset", Some(self.offset.to_string())),
            ("after", query_string::parameter_value(self.after)),
            // A sidecar of an older version has no direction: its lists are the default.
            (
                "sort",
                (self.sort != SortDirection::default()).then(|| self.sort.to_string()),
            ),
            ("account_id", query_string::parameter_value(self.account.as_ref())),
            ("symbol", query_string::parameter_value(self.symbol.as_ref())),
            ("start", query_string::parameter_value(self.start)),
            ("end", query_string::parameter_value(self.end)),
            ("tag", query_string::parameter_value(self.tag.as_ref())),
            ("strategy", query_string::parameter_value(self.strategy.as_ref())),
            ("broker", query_string::parameter_value(self.broker.as_ref())),
            ("updated_after", query_string::parameter_value(self.updated_after)),
            ("status", (!self.status.is_empty()).then(|| self.status.join(","))),
            ("side", query_string::parameter_value(self.side)),
            (
                "client_order_id",
                query_string::parameter_value(self.client_order_id.as_ref()),
            ),
        ]
    }
}
