//! `positions`: lists the positions of the accounts with their value and profit.

use clap::Args;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::cli::arguments::global::GlobalOptions;
use crate::cli::error::CommandResult;
use crate::cli::output::table::{ColumnAlign, TextTable};
use crate::cli::output::text::{format_time, text_or_dash};
use crate::cli::requests::polling::RenderReply;
use crate::cli::requests::query_string;
use crate::cli::requests::rest_list::RestListArgs;
use crate::domain::id::AccountId;
use crate::wire::positions::{Portfolio, PortfolioList};

/// Arguments of `positions`.
#[derive(Debug, Args)]
pub(crate) struct PositionsArgs {
    /// Show this account only.
    #[arg(long, value_parser = AccountId::new)]
    account: Option<AccountId>,
    #[command(flatten)]
    list: RestListArgs,
}

/// Lists positions.
///
/// # Errors
/// When the request is refused, or there is no response.
pub(crate) async fn run(args: &PositionsArgs, options: &GlobalOptions) -> CommandResult {
    let path = query_string::path_with_query(
        "/positions",
        [("account_id", query_string::parameter_value(args.account.as_ref()))],
    );
    args.list.fetch_and_show::<PortfolioList>(options, &path).await
}

impl RenderReply for PortfolioList {
    fn render(&self) -> String {
        let as_of = format_time(self.as_of);
        let mut holdings = self.items.iter().flat_map(|portfolio| &portfolio.holdings);
        let Some(first) = holdings.next() else {
            return format!("no positions at {as_of}");
        };
        let mut table = TextTable::new(&[
            ("account", ColumnAlign::Left),
            ("venue", ColumnAlign::Left),
            ("symbol", ColumnAlign::Left),
            ("quantity", ColumnAlign::Right),
            ("average price", ColumnAlign::Right),
            ("price", ColumnAlign::Right),
            ("value", ColumnAlign::Right),
            ("realized", ColumnAlign::Right),
            ("unrealized", ColumnAlign::Right),
        ]);
        for portfolio in &self.items {
            push_portfolio_rows(portfolio, &mut table);
        }
        let count = holdings.count() + 1;
        let positions = if count == 1 { "position" } else { "positions" };
        let mode = first.mode;
        format!("{table}\n\n{count} {positions} in {mode} at {as_of}; values and profits in the base currency")
    }

    fn compared_bytes(body: &[u8]) -> &[u8] {
        #[derive(Deserialize)]
        struct Items<'a> {
            #[serde(borrow)]
            items: &'a RawValue,
        }
        // The time of the valuation differs in every reply.
        serde_json::from_slice::<Items>(body).map_or(body, |reply| reply.items.get().as_bytes())
    }
}

fn push_portfolio_rows(portfolio: &Portfolio, table: &mut TextTable) {
    for holding in &portfolio.holdings {
        table.push_row([
            holding.account_id.clone(),
            holding.venue.clone(),
            holding.symbol.clone(),
            holding.quantity.to_string(),
            text_or_dash(holding.average_price),
            text_or_dash(holding.current_price),
            text_or_dash(holding.market_value),
            text_or_dash(holding.realized_pnl),
            text_or_dash(holding.unrealized_pnl),
        ]);
    }
    if portfolio.holdings.len() > 1 {
        let value = text_or_dash(portfolio.total_value);
        let empty = String::new;
        table.push_row([
            portfolio.id.clone(),
            empty(),
            "total".to_owned(),
            empty(),
            empty(),
            empty(),
            value,
        ]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOLDING: &str = r#"{"id":"h","portfolio_id":"default","portfolio":"default","account_id":"default",
        "broker":"binance","venue":"binance.spot","symbol":"BTCUSDT","mode":"paper","quote_currency":"USDT",
        "quantity":0.01,"average_price":29999.5,"current_price":30000,"market_value":300,"realized_pnl":0,
        "unrealized_pnl":0.005}"#;

    fn reply(holdings: &[String], total: &str) -> String {
        format!(
            r#"{{"items":[{{"id":"default","name":"default","owner":"default","total_value":{total},"holdings":[{}]}}],
                "as_of":"2026-03-02T09:00:00.000000Z"}}"#,
            holdings.join(",")
        )
    }

    fn text(reply: &str) -> String {
        serde_json::from_str::<PortfolioList>(reply).unwrap().render()
    }

    #[test]
    fn position_is_a_row_and_several_of_an_account_have_a_total() {
        let end = "in paper at 2026-03-02T09:00:00.000Z; values and profits in the base currency";
        let head = "account  venue         symbol   quantity  average price  price  value  realized  unrealized\n\
             default  binance.spot  BTCUSDT      0.01        29999.5  30000    300         0       0.005";
        assert_eq!(
            text(&reply(&[HOLDING.to_owned()], "300")),
            format!("{head}\n\n1 position {end}")
        );
        let unpriced = HOLDING
            .replace("BTCUSDT", "ETHUSDT")
            .replace(r#""market_value":300"#, r#""market_value":null"#)
            .replace(r#""current_price":30000"#, r#""current_price":null"#)
            .replace(r#""unrealized_pnl":0.005"#, r#""unrealized_pnl":null"#);
        let more = "default  binance.spot  ETHUSDT      0.01        29999.5      -      -         0           -\n\
                    default                total                                        -";
        assert_eq!(
            text(&reply(&[HOLDING.to_owned(), unpriced], "null")),
            format!("{head}\n{more}\n\n2 positions {end}")
        );
        assert_eq!(text(&reply(&[], "0")), "no positions at 2026-03-02T09:00:00.000Z");
    }

    #[test]
    fn valuation_time_alone_is_not_a_change() {
        let at_nine = reply(&[HOLDING.to_owned()], "300");
        let later = at_nine.replace("09:00", "10:00");
        let fallen = later.replace("30000", "29000");
        let content = |reply: &str| PortfolioList::compared_bytes(reply.as_bytes()).to_owned();
        assert_eq!(content(&at_nine), content(&later));
        assert_ne!(content(&at_nine), content(&fallen));
        assert_eq!(content("{}"), b"{}");
    }
}
