//! Filters and paging of the order log.

use clap::Args;

use crate::cli::arguments::term::term_parser;
use crate::cli::requests::query_string;
use crate::domain::id::{AccountId, BrokerId, ClientOrderId, Tag};
use crate::domain::order_terms::OrderStatus;
use crate::domain::symbol::Symbol;
use crate::domain::time::Timestamp;

/// Filters that all apply, and the page.
#[derive(Debug, Args)]
pub(crate) struct OrderLogPageArgs {
    /// Show this account only.
    #[arg(long, value_parser = AccountId::new)]
    account: Option<AccountId>,
    /// Show this symbol only, such as `BTCUSDT`; `btc/usdt` is the same.
    #[arg(long, value_parser = Symbol::parse)]
    symbol: Option<Symbol>,
    /// Show items from this time on (RFC 3339): the submission of an order, the time of an execution.
    #[arg(long, value_name = "TIME", value_parser = Timestamp::parse)]
    start: Option<Timestamp>,
    /// Show items up to and including this time (RFC 3339).
    #[arg(long, value_name = "TIME", value_parser = Timestamp::parse)]
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
    /// Show orders with this status only, or the executions of such orders.
    #[arg(long, value_parser = term_parser(OrderStatus::ALL, OrderStatus::as_str))]
    status: Option<OrderStatus>,
    /// Show the order with this client order id only.
    #[arg(long, value_name = "ID", value_parser = ClientOrderId::new)]
    client_order_id: Option<ClientOrderId>,
    /// Show at most this many items, 1 to 500.
    #[arg(long, value_name = "N", default_value_t = 100)]
    limit: u16,
    /// Skip this many of the newest items.
    #[arg(long, value_name = "N", default_value_t = 0)]
    offset: u64,
}

impl OrderLogPageArgs {
    /// Returns the query's parameters.
    pub(crate) fn query_parameters(&self) -> Vec<(&'static str, Option<String>)> {
        vec![
            ("limit", Some(self.limit.to_string())),
            ("offset", Some(self.offset.to_string())),
            ("account_id", query_string::parameter_value(self.account.as_ref())),
            ("symbol", query_string::parameter_value(self.symbol.as_ref())),
            ("start", query_string::parameter_value(self.start)),
            ("end", query_string::parameter_value(self.end)),
            ("tag", query_string::parameter_value(self.tag.as_ref())),
            ("strategy", query_string::parameter_value(self.strategy.as_ref())),
            ("broker", query_string::parameter_value(self.broker.as_ref())),
            ("status", query_string::parameter_value(self.status)),
            (
                "client_order_id",
                query_string::parameter_value(self.client_order_id.as_ref()),
            ),
        ]
    }
}
