//! `executions`: lists the executions of the order log.

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
use crate::wire::order_record::ExecutionPage;

/// Arguments of `executions`.
#[derive(Debug, Args)]
pub(crate) struct ExecutionsArgs {
    /// Show the executions of this order only: its `id` in `order-router orders`.
    #[arg(long, value_name = "NUMBER")]
    order_id: Option<u64>,
    #[command(flatten)]
    page: OrderLogPageArgs,
    #[command(flatten)]
    list: RestListArgs,
}

/// Lists executions.
///
/// # Errors
/// When the request is refused, or there is no response.
pub(crate) async fn run(args: &ExecutionsArgs, options: &GlobalOptions) -> CommandResult {
    let mut parameters = args.page.query_parameters();
    parameters.push(("order_id", query_string::parameter_value(args.order_id)));
    let path = query_string::path_with_query("/executions", parameters);
    args.list.fetch_and_show::<ExecutionPage>(options, &path).await
}

impl RenderReply for ExecutionPage {
    fn render(&self) -> String {
        let mut table = TextTable::new(&[
            ("executed", ColumnAlign::Left),
            ("id", ColumnAlign::Right),
            ("order", ColumnAlign::Right),
            ("account", ColumnAlign::Left),
            ("symbol", ColumnAlign::Left),
            ("side", ColumnAlign::Left),
            ("quantity", ColumnAlign::Right),
            ("price", ColumnAlign::Right),
            ("fee", ColumnAlign::Right),
            ("client order id", ColumnAlign::Left),
        ]);
        for execution in &self.items {
            table.push_row([
                format_time(execution.executed_at),
                execution.id.to_string(),
                execution.order_id.to_string(),
                execution.account_id.clone(),
                execution.symbol.clone(),
                execution.side.to_string(),
                execution.quantity.to_string(),
                execution.price.to_string(),
                format!("{} {}", execution.fees, execution.fee_currency),
                execution.correlation_id.clone(),
            ]);
        }
        render_page("executions", &table, self.items.len(), &self.metadata)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: &str = r#"{"items":[
        {"id":28672,"order_id":7,"external_execution_id":"t-1","correlation_id":"a-1","account_id":"fund-7",
        "symbol":"AAPL","side":"sell","quantity":0.1,"price":180,"fees":0.018,"fee_currency":"USD","liquidity":null,
        "executed_at":"2026-03-02T09:00:00.000000Z","created_at":"2026-03-02T09:00:00.000000Z","notes":null,"tags":[]}],
        "metadata":{"limit":100,"offset":0,"total":1,"account_id":null,"symbol":null,"start":null,"end":null,
        "tag":null,"strategy":null,"broker":null,"status":null,"client_order_id":null,"order_id":7}}"#;

    #[test]
    fn execution_is_a_row_with_the_number_of_its_order() {
        let page: ExecutionPage = serde_json::from_str(PAGE).unwrap();
        let expected = [
            "executed                     id  order  account  symbol  side  quantity  price        fee  client order id",
            "2026-03-02T09:00:00.000Z  28672      7  fund-7   AAPL    sell       0.1    180  0.018 USD  a-1",
            "",
            "1 of 1",
        ];
        assert_eq!(page.render(), expected.join("\n"));
    }
}
