//! `cancel-all`: cancels every open order of an account at a broker.

use clap::Args;

use crate::cli::arguments::global::GlobalOptions;
use crate::cli::error::CommandResult;
use crate::cli::output::report;
use crate::cli::requests::bus_client::{CliClient, RequestArgs};
use crate::domain::id::{AccountId, BrokerId};
use crate::wire::order_reference::CancelAllReply;

/// Arguments of `cancel-all`.
#[derive(Debug, Args)]
pub(crate) struct CancelAllArgs {
    /// Cancel at this broker, such as `binance` or `ibkr`.
    #[arg(long, value_parser = BrokerId::new)]
    broker: BrokerId,
    /// Cancel the orders of this account.
    #[arg(long, value_parser = AccountId::new, default_value = "default")]
    account: AccountId,
    /// Cancel orders of this symbol only [default: every symbol].
    #[arg(long)]
    symbol: Option<String>,
    #[command(flatten)]
    client: RequestArgs,
}

/// Cancels the orders and prints those that were cancelled and those that remain open.
///
/// # Errors
/// When the request is refused, or there is no reply.
pub(crate) async fn run(args: &CancelAllArgs, options: &GlobalOptions) -> CommandResult {
    let client = CliClient::connect(options, &args.client, "order-router cancel-all").await?;
    let symbol = args.symbol.as_deref();
    let called = client
        .caller
        .cancel_all(&args.broker, &args.account, symbol, client.timeout)
        .await;
    let outcome = client.report(called)?;
    Ok(client.print_reply(&outcome.reply.body, || render_cancel_all(&outcome))?)
}

fn render_cancel_all(outcome: &CancelAllReply) -> String {
    let mut text = format!(
        "cancelled {}, remaining {}",
        outcome.cancelled_total, outcome.remaining_total
    );
    let all: Vec<_> = outcome.cancelled.iter().chain(&outcome.remaining).collect();
    if !all.is_empty() {
        text.push_str(&format!("\n{}", report::report_table(all)));
    }
    text
}
