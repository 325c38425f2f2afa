//! Pages of the order log: which part of it is asked for, and what stands below the table.

use clap::Args;

use crate::cli::arguments::term::term_parser;
use crate::cli::output::table::{TextTable, group_digits};
use crate::cli::requests::query_string;
use crate::domain::id::{AccountId, BrokerId, ClientOrderId, Tag};
use crate::domain::intent::Symbol;
use crate::domain::order_terms::OrderStatus;
use crate::domain::time::Timestamp;
use crate::wire::order_record::PageMetadata;

/// Which part of the order log is asked for. What is not named does not matter.
#[derive(Debug, Args)]
pub(crate) struct OrderLogPageArgs {
    /// Only this account's.
    #[arg(long, value_parser = AccountId::new)]
    account: Option<AccountId>,
    /// Only of this symbol, such as `BTCUSDT`; `btc/usdt` is the same.
    #[arg(long, value_parser = Symbol::parse)]
    symbol: Option<Symbol>,
    /// From this moment on (RFC 3339): orders go by their submission, executions by their own time.
    #[arg(long, value_name = "TIME", value_parser = Timestamp::parse)]
    start: Option<Timestamp>,
    /// Until this moment, included (RFC 3339).
    #[arg(long, value_name = "TIME", value_parser = Timestamp::parse)]
    end: Option<Timestamp>,
    /// Only with this tag, in upper or lower case.
    #[arg(long, value_parser = Tag::new)]
    tag: Option<Tag>,
    /// Only of this strategy: with the tag of its name, or `strategy:` and its name.
    #[arg(long, value_parser = Tag::new)]
    strategy: Option<Tag>,
    /// Only at this broker.
    #[arg(long, value_parser = BrokerId::new)]
    broker: Option<BrokerId>,
    /// Only where the order is in this state.
    #[arg(long, value_parser = term_parser(OrderStatus::ALL, OrderStatus::as_str))]
    status: Option<OrderStatus>,
    /// Only the order with this id of yours.
    #[arg(long, value_name = "ID", value_parser = ClientOrderId::new)]
    client_order_id: Option<ClientOrderId>,
    /// How many at most, 1 to 500.
    #[arg(long, value_name = "N", default_value_t = 100)]
    limit: u16,
    /// How many of the newest to pass over.
    #[arg(long, value_name = "N", default_value_t = 0)]
    offset: u64,
}

impl OrderLogPageArgs {
    /// Returns the parameters of the query.
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

/// Returns a page as people read it: `table` has a row for each of its `shown` items, which are called `what`.
pub(crate) fn render_page(noun: &str, table: &TextTable, shown: usize, metadata: &PageMetadata) -> String {
    let PageMetadata { offset, total, .. } = metadata;
    let is_filtered = *metadata
        != PageMetadata {
            limit: metadata.limit,
            offset: *offset,
            total: *total,
            ..PageMetadata::default()
        };
    let all = group_digits(*total);
    match u64::try_from(shown).unwrap_or(u64::MAX) {
        0 if *total > 0 => format!(
            "no {noun} from number {} on: there are {all}",
            group_digits(offset.saturating_add(1))
        ),
        0 if is_filtered => format!("no {noun} match"),
        0 => format!("no {noun}"),
        1 => format!("{table}\n\n{} of {all}", group_digits(offset.saturating_add(1))),
        shown => {
            let (first, last) = (offset.saturating_add(1), offset.saturating_add(shown));
            format!("{table}\n\n{}–{} of {all}", group_digits(first), group_digits(last))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::output::table::ColumnAlign;

    #[test]
    fn below_the_table_stands_which_part_it_is() {
        let mut table = TextTable::new(&[("id", ColumnAlign::Left)]);
        table.push_row(["7".to_owned()]);
        for (shown, offset, total, symbol, expected) in [
            (100, 0, 4_711, None, "id\n7\n\n1–100 of 4 711"),
            (11, 4_700, 4_711, None, "id\n7\n\n4 701–4 711 of 4 711"),
            (1, 0, 1, Some("AAPL"), "id\n7\n\n1 of 1"),
            (0, 0, 0, None, "no orders"),
            (0, 0, 0, Some("AAPL"), "no orders match"),
            (0, 5_000, 4_711, None, "no orders from number 5 001 on: there are 4 711"),
        ] {
            let metadata = PageMetadata {
                limit: 100,
                offset,
                total,
                symbol: symbol.map(str::to_owned),
                ..PageMetadata::default()
            };
            assert_eq!(render_page("orders", &table, shown, &metadata), expected);
        }
    }
}
