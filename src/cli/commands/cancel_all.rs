//! `cancel-all`: cancels every open order of an account at a broker.

use clap::Args;

use crate::bus::subjects;
use crate::cli::arguments::global::GlobalOptions;
use crate::cli::error::CommandResult;
use crate::cli::output::report;
use crate::cli::requests::bus_client::{CliClient, RequestArgs};
use crate::domain::id::{AccountId, BrokerId};
use crate::wire::order_reference::{CancelAllReply, CancelAllRequest};

/// Arguments of `cancel-all`.
#[derive(Debug, Args)]
pub(crate) struct CancelAllArgs {
    /// The broker, such as `binance` or `ibkr`.
    #[arg(long, value_parser = BrokerId::new)]
    broker: BrokerId,
    /// The account.
    #[arg(long, value_parser = AccountId::new, default_value = "default")]
    account: AccountId,
    /// Only orders of this symbol.
    #[arg(long)]
    symbol: Option<String>,
    #[command(flatten)]
    client: RequestArgs,
}

/// Cancels and shows what was cancelled and what remains.
///
/// # Errors
/// When the request is refused, or there is no answer.
pub(crate) async fn run(args: &CancelAllArgs, options: &GlobalOptions) -> CommandResult {
    let client = CliClient::connect(options, &args.client, "order-router cancel-all").await?;
    let request = CancelAllRequest {
        symbol: args.symbol.clone(),
    };
    let body = serde_json::to_vec(&request).map_err(anyhow::Error::from)?;
    let subject = subjects::cancel_all(&args.broker, &args.account);
    let (reply, answer) = client.request_decoded::<CancelAllReply>(&subject, body).await?;
    Ok(client.print_reply(&reply.body, || render_cancel_all(&answer))?)
}

fn render_cancel_all(answer: &CancelAllReply) -> String {
    let mut text = format!(
        "cancelled {}, remaining {}",
        answer.cancelled.len(),
        answer.remaining.len()
    );
    let all: Vec<_> = answer.cancelled.iter().chain(&answer.remaining).collect();
    if !all.is_empty() {
        text.push_str(&format!("\n{}", report::report_table(all)));
    }
    text
}
