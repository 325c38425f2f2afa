//! `state`: what is in force, and changing it.

use clap::Args;

use super::client::{Client, ClientArgs};
use super::failure::Outcome;
use super::options::Options;
use super::table::{Align, Table};
use crate::bus::subjects;
use crate::domain::decimal::Decimal;
use crate::wire::number::NumberInput;
use crate::wire::state::{RouterState, StateChangeRequest};

/// Arguments of `state`.
#[derive(Debug, Args)]
pub(crate) struct StateArgs {
    /// Sets the cap of a day's routed notional over all accounts, in the base currency.
    #[arg(long, value_name = "AMOUNT", requires_all = ["actor", "reason"], allow_hyphen_values = true)]
    daily_notional_limit: Option<Decimal>,
    /// Who changes it; kept on the journal.
    #[arg(long, requires = "daily_notional_limit")]
    actor: Option<String>,
    /// Why; kept on the journal.
    #[arg(long, requires = "daily_notional_limit")]
    reason: Option<String>,
    #[command(flatten)]
    client: ClientArgs,
}

/// Changes the state if asked to, and shows what is in force.
///
/// # Errors
/// When the change is refused, or there is no answer.
pub(crate) async fn run(args: &StateArgs, options: &Options) -> Outcome {
    let client = Client::connect(options, &args.client, "order-router state").await?;
    let (subject, body) = match args.daily_notional_limit {
        None => (subjects::STATE_GET, b"{}".to_vec()),
        Some(limit) => {
            let change = StateChangeRequest {
                daily_notional_limit: Some(NumberInput(limit)),
                actor: args.actor.clone(),
                reason: args.reason.clone(),
            };
            (
                subjects::STATE_SET,
                serde_json::to_vec(&change).map_err(anyhow::Error::from)?,
            )
        }
    };
    let (reply, state) = client.ask_for::<RouterState>(subject, body).await?;
    Ok(client.show(&reply.body, || table(&state).to_string())?)
}

fn table(state: &RouterState) -> Table {
    let mut table = Table::new(&[("", Align::Left), ("", Align::Left)]);
    for (name, value) in [
        ("mode", state.mode.to_string()),
        ("daily notional limit", state.daily_notional_limit.to_string()),
        ("notional routed", state.notional_routed.to_string()),
        ("trading date", state.trading_date.to_string()),
        ("version", state.version.to_string()),
    ] {
        table.row([name.to_owned(), value]);
    }
    table
}
