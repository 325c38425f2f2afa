//! `adjust`: opening positions, deposits and withdrawals, corrections.

use clap::{ArgGroup, Args};

use crate::bus::subjects;
use crate::cli::arguments::global::GlobalOptions;
use crate::cli::error::CommandResult;
use crate::cli::output::table::{ColumnAlign, TextTable};
use crate::cli::requests::bus_client::{CliClient, RequestArgs};
use crate::domain::decimal::Decimal;
use crate::domain::id::{AccountId, AdjustmentId};
use crate::wire::adjustment::{AdjustmentEvent, AdjustmentRequest};
use crate::wire::schema_numbers::NumberInput;

/// What `adjust --help` ends with.
pub(crate) const EXAMPLES: &str = "Examples:
  order-router adjust --account fund-7 --venue ibkr.paper --symbol AAPL --quantity 100 --price 180 \\
      --actor mira --reason \"opening position\" --id opening-aapl
  order-router adjust --account fund-7 --cash -2500 --actor mira --reason withdrawal";

/// Arguments of `adjust`.
#[derive(Debug, Args)]
#[command(group = ArgGroup::new("effect").required(true).args(["quantity", "cash"]))]
pub(crate) struct AdjustArgs {
    /// The account.
    #[arg(long, value_parser = AccountId::new)]
    account: AccountId,
    /// The venue of the position.
    #[arg(long, requires = "quantity")]
    venue: Option<String>,
    /// The symbol of the position.
    #[arg(long, requires = "quantity")]
    symbol: Option<String>,
    /// How much the position grows by, in whole lots; below zero, how much it shrinks by.
    #[arg(long, requires_all = ["venue", "symbol", "price"], allow_hyphen_values = true)]
    quantity: Option<Decimal>,
    /// What the position is valued at, in the quote currency.
    #[arg(long, requires = "quantity", allow_hyphen_values = true)]
    price: Option<Decimal>,
    /// A deposit, or below zero a withdrawal, in the base currency.
    #[arg(long, value_name = "AMOUNT", allow_hyphen_values = true)]
    cash: Option<Decimal>,
    /// Who makes it; kept on the journal.
    #[arg(long)]
    actor: String,
    /// Why; kept on the journal.
    #[arg(long)]
    reason: String,
    /// What it is booked once by, however often it is sent. Without one, an id is assigned and told.
    #[arg(long, value_parser = AdjustmentId::new)]
    id: Option<AdjustmentId>,
    #[command(flatten)]
    client: RequestArgs,
}

/// Books an adjustment and shows what was booked.
///
/// # Errors
/// When it is refused, or there is no answer.
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
        actor: Some(args.actor.clone()),
        reason: Some(args.reason.clone()),
    };
    let body = serde_json::to_vec(&request).map_err(anyhow::Error::from)?;
    let asked = client.request_decoded::<AdjustmentEvent>(subjects::ADJUST, body).await;
    if asked.is_err() && args.id.is_none() {
        // It may be booked all the same: only under its own id is it certain not to be booked twice.
        eprintln!("the adjustment has the id {id}: to send it again, add --id {id}");
    }
    let (reply, event) = asked?;
    Ok(client.print_reply(&reply.body, || adjustment_table(&event, reply.is_replay).to_string())?)
}

fn adjustment_table(event: &AdjustmentEvent, is_replay: bool) -> TextTable {
    let mut table = TextTable::new(&[("", ColumnAlign::Left), ("", ColumnAlign::Left)]);
    let mut row = |name: &str, value: String| table.push_row([name.to_owned(), value]);
    let known = if is_replay { " (booked before)" } else { "" };
    row("adjustment", format!("{}{known}", event.adjustment_id));
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
    row("actor", event.actor.clone());
    row("reason", event.reason.clone());
    row("booked at", event.timestamp.to_string());
    table
}
