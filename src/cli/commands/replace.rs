//! `replace`: gives what is still open of an order a new price, a new quantity, or both.

use clap::Args;

use crate::cli::arguments::global::GlobalOptions;
use crate::cli::arguments::order_reference::OrderReferenceArgs;
use crate::cli::error::CommandResult;
use crate::cli::requests::bus_client::{CliClient, RequestArgs};
use crate::cli::requests::order_request::print_report;
use crate::client::new_terms::NewTerms;
use crate::domain::decimal::Decimal;
use crate::domain::id::ReplaceId;
use crate::domain::quantity::{Price, Quantity};

/// Examples for `replace --help`.
pub(crate) const EXAMPLES: &str = "Examples:
  order-router replace --broker ibkr --id my-order-7 --price 180.50
  order-router replace --broker binance --order-id BN-0195561f2a007c3e9d1b2f4a6c8e0d12 --quantity 0.01 --replace-id r-1";

/// Arguments of `replace`.
#[derive(Debug, Args)]
pub(crate) struct ReplaceArgs {
    #[command(flatten)]
    order: OrderReferenceArgs,
    /// The new limit price; this, `--quantity` or both.
    #[arg(long, value_parser = parse_price, required_unless_present = "quantity")]
    price: Option<Price>,
    /// The new quantity of the whole order, what is filled included.
    #[arg(long, value_parser = parse_quantity)]
    quantity: Option<Quantity>,
    /// Your id of the replace: under the same one it is done once [default: a new id].
    #[arg(long, value_parser = ReplaceId::new)]
    replace_id: Option<ReplaceId>,
    #[command(flatten)]
    client: RequestArgs,
}

fn parse_price(text: &str) -> Result<Price, String> {
    let number: Decimal = text.parse().map_err(|error| format!("{error}"))?;
    Price::new(number).map_err(|rule| rule.to_string())
}

fn parse_quantity(text: &str) -> Result<Quantity, String> {
    let number: Decimal = text.parse().map_err(|error| format!("{error}"))?;
    Quantity::new(number).map_err(|rule| rule.to_string())
}

/// Replaces the terms of the order and prints its report.
///
/// # Errors
/// When the order keeps its terms, or there is no reply.
pub(crate) async fn run(args: &ReplaceArgs, options: &GlobalOptions) -> CommandResult {
    let client = CliClient::connect(options, &args.client, "order-router replace").await?;
    let terms = NewTerms {
        price: args.price,
        quantity: args.quantity,
        replace_id: args.replace_id.clone().unwrap_or_else(ReplaceId::generate),
    };
    let order = args.order.order_key()?;
    print_report(&client, client.caller.replace(&order, &terms, client.timeout).await)
}
