//! `close`: brings a position to a target with one order, over REST.

use std::time::Duration;

use clap::Args;
use serde::de::DeserializeOwned;

use crate::cli::arguments::global::{CommandKind, GlobalOptions};
use crate::cli::error::{CommandError, CommandResult, undecodable_reply};
use crate::cli::output;
use crate::cli::output::report;
use crate::cli::requests::bus_client::RequestArgs;
use crate::cli::requests::query_string;
use crate::cli::requests::rest_client::{RestClient, RestEndpointArgs};
use crate::domain::decimal::Decimal;
use crate::domain::id::{AccountId, ClientOrderId, VenueId};
use crate::domain::symbol::Symbol;
use crate::fault::{Fault, FaultCode};
use crate::wire::positions::{ClosePositionRequest, ClosePositionResponse, PortfolioList};
use crate::wire::schema_numbers::NumberInput;

/// The end of `close --help`.
pub(crate) const EXAMPLES: &str = "Examples:
  order-router close --account fund-7 --venue binance.spot --symbol BTCUSDT
  order-router close --account fund-7 --venue ibkr.paper --symbol AAPL --target 50 --id halve-aapl

What is less than one lot stays: the command says how much, and how to clear it.";

/// Arguments of `close`.
#[derive(Debug, Args)]
pub(crate) struct CloseArgs {
    /// The account that holds the position.
    #[arg(long, value_parser = AccountId::new, default_value = "default")]
    account: AccountId,
    /// The venue of the position, such as `binance.spot`.
    #[arg(long, value_parser = VenueId::new)]
    venue: VenueId,
    /// The symbol of the position, such as `BTCUSDT`.
    #[arg(long, value_parser = Symbol::parse)]
    symbol: Symbol,
    /// The position to keep [default: 0].
    #[arg(long, value_name = "QUANTITY", allow_hyphen_values = true)]
    target: Option<Decimal>,
    /// Let the target lie beyond the position, or on the other side of zero.
    #[arg(long)]
    allow_increase: bool,
    /// The order's client order id: the same id is sent once, however often it is repeated [default: a new one].
    #[arg(long, value_parser = ClientOrderId::new)]
    id: Option<ClientOrderId>,
    #[command(flatten)]
    rest: RestEndpointArgs,
    #[command(flatten)]
    client: RequestArgs,
}

/// Closes the position and prints the order's report, and what of the position no order can trade.
///
/// # Errors
/// When the request is refused, or there is no response.
pub(crate) async fn run(args: &CloseArgs, options: &GlobalOptions) -> CommandResult {
    let settings = options.load_settings_and_start_log(CommandKind::Client)?;
    let client = args
        .rest
        .client(&settings.http.addr, Duration::from_millis(args.client.timeout_ms))?;
    let print_refusal = |failure: CommandError| match args.client.json {
        true => failure.print_refusal_as_json(),
        false => failure,
    };
    let holding = find_holding(&client, args).await.map_err(print_refusal)?;
    let id = args.id.clone().unwrap_or_else(ClientOrderId::generate);
    let request = ClosePositionRequest {
        target_quantity: args.target.map(NumberInput),
        allow_increase: args.allow_increase.then_some(true),
    };
    let body = serde_json::to_vec(&request).map_err(anyhow::Error::from)?;
    let path = format!("/positions/{holding}/close");
    let sent = client.post(&path, id.as_str(), body).await;
    if args.id.is_none() && matches!(sent, Err(CommandError::Failed(_))) {
        // The order may have been sent in spite of the error. Only its id prevents a second one.
        output::print_notice(&format!(
            "the order may have been sent under the id {id}: to send it again, add --id {id}"
        ));
    }
    let body = sent.map_err(print_refusal)?;
    if args.client.json {
        return Ok(output::print_line(body)?);
    }
    Ok(output::print_line(render_close(&decode(&body)?))?)
}

/// Returns the id of the position.
///
/// # Errors
/// `not_found` if the account holds none; any failure of the request.
async fn find_holding(client: &RestClient, args: &CloseArgs) -> Result<String, CommandError> {
    let account = query_string::parameter_value(Some(&args.account));
    let path = query_string::path_with_query("/positions", [("account_id", account)]);
    let list: PortfolioList = decode(&client.fetch(&path).await?)?;
    let mut holdings = list.items.into_iter().flat_map(|portfolio| portfolio.holdings);
    let is_wanted = |venue: &str, symbol: &str| venue == args.venue.as_str() && symbol == args.symbol.as_str();
    let found = holdings.find(|holding| is_wanted(&holding.venue, &holding.symbol));
    found.map(|holding| holding.id).ok_or_else(|| {
        let (account, symbol, venue) = (&args.account, &args.symbol, &args.venue);
        let detail = format!("{account} holds no {symbol} at {venue}; `order-router positions` lists what it holds");
        Fault::new(FaultCode::NotFound, detail).into()
    })
}

fn decode<T: DeserializeOwned>(body: &[u8]) -> Result<T, CommandError> {
    serde_json::from_slice(body).map_err(|error| undecodable_reply(error).into())
}

fn render_close(closed: &ClosePositionResponse) -> String {
    let mut text = report::render_report(&closed.order);
    if !closed.remaining_quantity.is_zero() {
        text.push_str(&format!("\n\nnot filled: {}", closed.remaining_quantity));
    }
    if let Some(rest) = &closed.remainder_below_lot {
        text.push_str(&format!("\n\n{}", rest.detail));
    }
    text
}
