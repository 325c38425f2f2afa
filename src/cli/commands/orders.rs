//! `orders`: lists the orders of the order log.

use clap::Args;

use crate::cli::arguments::global::GlobalOptions;
use crate::cli::arguments::order_log_page::OrderLogPageArgs;
use crate::cli::error::CommandResult;
use crate::cli::output::page_footer::render_page;
use crate::cli::output::table::{ColumnAlign, TextTable};
use crate::cli::output::text::format_time;
use crate::cli::requests::polling::RenderReply;
use crate::cli::requests::query_string;
use crate::cli::requests::rest_list::RestListArgs;
use crate::wire::order_record::OrderPage;

/// Arguments of `orders`.
#[derive(Debug, Args)]
pub(crate) struct OrdersArgs {
    #[command(flatten)]
    page: OrderLogPageArgs,
    #[command(flatten)]
    list: RestListArgs,
}

/// Lists orders.
///
/// # Errors
/// When the request is refused, or there is no response.
pub(crate) async fn run(args: &OrdersArgs, options: &GlobalOptions) -> CommandResult {
    let path = query_string::path_with_query("/orders/log", args.page.query_parameters());
    args.list.fetch_and_show::<OrderPage>(options, &path).await
}

impl RenderReply for OrderPage {
    fn render(&self) -> String {
        let mut table = TextTable::new(&[
            ("submitted", ColumnAlign::Left),
            ("id", ColumnAlign::Right),
            ("account", ColumnAlign::Left),
            ("symbol", ColumnAlign::Left),
            ("side", ColumnAlign::Left),
            ("type", ColumnAlign::Left),
            ("quantity", ColumnAlign::Right),
            ("filled", ColumnAlign::Right),
            ("price", ColumnAlign::Right),
            ("status", ColumnAlign::Left),
            ("client order id", ColumnAlign::Left),
            ("reason", ColumnAlign::Left),
        ]);
        for order in &self.items {
            table.push_row([
                format_time(order.submitted_at),
                order.id.to_string(),
                order.account_id.clone(),
                order.symbol.clone(),
                order.side.to_string(),
                order.order_type.to_string(),
                order.quantity.to_string(),
                order.filled_quantity.to_string(),
                order.limit_price.map_or_else(String::new, |price| price.to_string()),
                order.status.to_string(),
                order.correlation_id.clone(),
                order
                    .reason
                    .as_ref()
                    .map_or("", |reason| reason.code.as_str())
                    .to_owned(),
            ]);
        }
        render_page("orders", &table, self.items.len(), &self.metadata)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: &str = r#"{"items":[
        {"id":12,"external_order_id":"BN-2","correlation_id":"a-2","account_id":"default","broker":"binance",
        "venue":"binance.spot","symbol":"BTCUSDT","side":"buy","order_type":"limit","quantity":5,"filled_quantity":0,
        "limit_price":30000.5,"stop_price":null,"status":"rejected","time_in_force":"GTC",
        "submitted_at":"2026-03-02T09:00:01.500000Z","expires_at":null,"notes":null,"tags":[],
        "created_at":"2026-03-02T09:00:01.500000Z","updated_at":"2026-03-02T09:00:01.500000Z","mode":"paper",
        "reason":{"code":"order_size_exceeded","message":"m","metadata":{}},"executions":[],"executions_total":0},
        {"id":7,"external_order_id":"IB-1","correlation_id":"a-1","account_id":"fund-7","broker":"ibkr",
        "venue":"ibkr.paper","symbol":"AAPL","side":"sell","order_type":"market","quantity":0.1,"filled_quantity":0.1,
        "limit_price":null,"stop_price":null,"status":"filled","time_in_force":"IOC",
        "submitted_at":"2026-03-02T09:00:00.000000Z","expires_at":null,"notes":null,"tags":[],
        "created_at":"2026-03-02T09:00:00.000000Z","updated_at":"2026-03-02T09:00:00.000000Z","mode":"paper",
        "reason":null,"executions":[],"executions_total":1}],
        "metadata":{"limit":2,"offset":0,"total":4711,"account_id":null,"symbol":null,"start":null,"end":null,
        "tag":null,"strategy":null,"broker":null,"status":null,"client_order_id":null}}"#;

    #[test]
    fn order_is_a_row_with_its_reason() {
        let page: OrderPage = serde_json::from_str(PAGE).unwrap();
        let expected = [
            "submitted                 id  account  symbol   side  type    quantity  filled    price  status    client order id  reason",
            "2026-03-02T09:00:01.500Z  12  default  BTCUSDT  buy   limit          5       0  30000.5  rejected  a-2              order_size_exceeded",
            "2026-03-02T09:00:00.000Z   7  fund-7   AAPL     sell  market       0.1     0.1           filled    a-1",
            "",
            "1–2 of 4 711",
        ];
        assert_eq!(page.render(), expected.join("\n"));
    }
}
