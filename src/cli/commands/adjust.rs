//! `adjust`: books opening positions, deposits, withdrawals and corrections.

use clap::{ArgGroup, Args};

use crate::cli::arguments::audit::AuditArgs;
use crate::cli::arguments::global::GlobalOptions;
use crate::cli::error::CommandResult;
use crate::cli::output::table::TextTable;
use crate::cli::requests::bus_client::{CliClient, RequestArgs};
use crate::domain::decimal::Decimal;
use crate::domain::id::{AccountId, AdjustmentId};
use crate::wire::adjustment::{AdjustmentEvent, AdjustmentRequest};
use crate::wire::schema_numbers::NumberInput;

/// The end of `adjust --help`.
pub(crate) const EXAMPLES: &str = "Examples:
  order-router adjust --account fund-7 --venue ibkr.paper --symbol AAPL --quantity 100 --price 180 \\
      --actor mira --reason \"opening position\" --id opening-aapl
  order-router adjust --account fund-7 --cash -2500 --actor mira --reason withdrawal
  order-router adjust --account fund-7 --venue binance.spot --symbol BTCUSDT --fee 0.002 --fee-currency BNB \\
      --price 612.5 --actor mira --reason \"fee of T-81\"";

/// Arguments of `adjust`.
#[derive(Debug, Args)]
#[command(group = ArgGroup::new("effect").required(true).args(["quantity", "cash", "fee"]))]
pub(crate) struct AdjustArgs {
    /// Adjust this account.
    #[arg(long, value_parser = AccountId::new)]
    account: AccountId,
    /// The venue of the position, such as `ibkr.paper`, or of the fills whose fee is priced.
    #[arg(long, conflicts_with = "cash")]
    venue: Option<String>,
    /// The symbol of the position, such as `AAPL`, or of the fills whose fee is priced.
    #[arg(long, conflicts_with = "cash")]
    symbol: Option<String>,
    /// Add this quantity to the position, with at most 8 decimals, whatever the lot is; a negative one reduces it.
    #[arg(long, requires_all = ["venue", "symbol", "price"], allow_hyphen_values = true)]
    quantity: Option<Decimal>,
    /// The price of the added quantity, in the quote currency; of a fee, the value of one unit of its currency in the base
    /// currency [default of a fee: its rate in `risk.rates`].
    #[arg(long, conflicts_with = "cash", allow_hyphen_values = true)]
    price: Option<Decimal>,
    /// Add this amount of cash, in the base currency; a negative one is a withdrawal.
    #[arg(long, value_name = "AMOUNT", allow_hyphen_values = true)]
    cash: Option<Decimal>,
    /// Price this fee of fills that had no price when they were booked; a negative one is a rebate.
    #[arg(long, value_name = "AMOUNT", requires_all = ["venue", "symbol", "fee_currency"], allow_hyphen_values = true)]
    fee: Option<Decimal>,
    /// The currency of the fee.
    #[arg(long, value_name = "CURRENCY", requires = "fee")]
    fee_currency: Option<String>,
    /// How many fills the fee is of [default: 1].
    #[arg(long, value_name = "COUNT", requires = "fee")]
    fee_fills: Option<u32>,
    #[command(flatten)]
    audit: AuditArgs,
    /// The adjustment's id: the same id is booked once, however often it is sent [default: a new one].
    #[arg(long, value_parser = AdjustmentId::new)]
    id: Option<AdjustmentId>,
    #[command(flatten)]
    client: RequestArgs,
}

/// Books the adjustment and prints it.
///
/// # Errors
/// When it is refused, or there is no reply.
pub(crate) async fn run(args: &AdjustArgs, options: &GlobalOptions) -> CommandResult {
    let client = CliClient::connect(options, &args.client, "order-router adjust").await?;
    let id = args.id.clone().unwrap_or_else(AdjustmentId::generate);
    let request = AdjustmentRequest {
        adjustment_id: Some(id.to_string()),
        account_id: Some(args.account.to_string()),
        venue: args.venue.clone(),
        symbol: args.symbol.clone(),
        quantity: args.quantity.map(NumberInput),
        price: args.price.map(NumberInput),
        cash: args.cash.map(NumberInput),
        fee: args.fee.map(NumberInput),
        fee_currency: args.fee_currency.clone(),
        fee_fills: args.fee_fills,
        actor: Some(args.audit.actor.clone()),
        reason: Some(args.audit.reason.clone()),
    };
    let sent = client.report(client.caller.adjust(request, client.timeout).await);
    if sent.is_err() && args.id.is_none() {
        // It may be booked in spite of the error. Only its id prevents a second booking.
        eprintln!("the adjustment may be booked under the id {id}: to send it again, add --id {id}");
    }
    let event = sent?;
    Ok(client.print_reply(&event.reply.body, || {
        adjustment_table(&event, event.reply.is_replay).to_string()
    })?)
}

fn adjustment_table(event: &AdjustmentEvent, is_replay: bool) -> TextTable {
    let mut table = TextTable::key_value();
    let mut row = |name: &str, value: String| table.push_row([name.to_owned(), value]);
    let suffix = if is_replay { " (booked before)" } else { "" };
    row("adjustment", format!("{}{suffix}", event.adjustment_id));
    row("account", event.account_id.clone());
    row("mode", event.mode.to_string());
    if let Some(position) = &event.position {
        row("instrument", format!("{} {}", position.venue, position.symbol));
        row("quantity", position.quantity.to_string());
        row("price", position.price.to_string());
    }
    if let Some(cash) = event.cash {
        row("cash", cash.to_string());
    }
    if let Some(fee) = &event.fee {
        row("instrument", format!("{} {}", fee.venue, fee.symbol));
        row("fee", format!("{} {}", fee.amount, fee.currency));
        let price = fee
            .price
            .map_or_else(|| "none yet".to_owned(), |price| price.to_string());
        row("price", price);
        row("fills", fee.fills.to_string());
    }
    row("actor", event.actor.clone());
    row("reason", event.reason.clone());
    row("booked at", event.timestamp.to_string());
    table
}
