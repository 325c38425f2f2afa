//! Builds the intent that the flags describe.

use crate::cli::commands::submit::arguments::SubmitArgs;
use crate::cli::error::CommandError;
use crate::config::instruments::InstrumentSettings;
use crate::domain::id::{AccountId, BrokerId, ClientOrderId};
use crate::domain::order_terms::OrderType;
use crate::domain::symbol::Symbol;
use crate::wire::intent::ExecutionIntent;
use crate::wire::schema_numbers::NumberInput;

/// An intent, and the ids that its subject and messages need.
pub(in crate::cli) struct DescribedIntent {
    pub(in crate::cli) broker: BrokerId,
    pub(in crate::cli) account: AccountId,
    pub(in crate::cli) client_order_id: ClientOrderId,
    pub(in crate::cli) intent: ExecutionIntent,
}

/// Returns the intent, with defaults for the flags that are missing.
///
/// # Errors
/// When broker and symbol do not determine the venue.
pub(in crate::cli) fn build_intent(
    args: &SubmitArgs,
    instruments: &[InstrumentSettings],
) -> Result<DescribedIntent, CommandError> {
    let (Some(broker), Some(symbol), Some(side), Some(quantity)) =
        (&args.broker, &args.symbol, args.side, args.quantity)
    else {
        return Err(CommandError::Usage(
            "--broker, --symbol, --side and --quantity are required".to_owned(),
        ));
    };
    let venue = match &args.venue {
        Some(venue) => venue.to_string(),
        None => resolve_only_venue(broker.as_str(), symbol, instruments)?,
    };
    let account = args.account.clone().unwrap_or_else(AccountId::default_account);
    // The id is assigned here, so that the order can be read by it when no reply arrives.
    let id = args.id.clone().unwrap_or_else(ClientOrderId::generate);
    let default_type = args.price.map_or(OrderType::Market, |_| OrderType::Limit);
    let tags: Vec<String> = args.tags.iter().map(ToString::to_string).collect();
    let intent = ExecutionIntent {
        broker: broker.to_string(),
        venue,
        symbol: symbol.clone(),
        side,
        quantity: NumberInput(quantity),
        order_type: args.order_type.unwrap_or(default_type),
        price: args.price.map(NumberInput),
        time_in_force: args.time_in_force,
        client_order_id: Some(id.to_string()),
        tags: (!tags.is_empty()).then_some(tags),
        account_id: Some(account.to_string()),
        estimated_loss: None,
        reduce_only: None,
        mode: args.mode,
        expires_at: args.expires_at,
        risk: None,
    };
    Ok(DescribedIntent {
        broker: broker.clone(),
        account,
        client_order_id: id,
        intent,
    })
}

fn resolve_only_venue(broker: &str, symbol: &str, instruments: &[InstrumentSettings]) -> Result<String, CommandError> {
    let symbol = Symbol::parse(symbol).map_or_else(|_| symbol.to_owned(), |symbol| symbol.to_string());
    let venues_of = |matches: &dyn Fn(&InstrumentSettings) -> bool| {
        let mut venues: Vec<&str> = instruments
            .iter()
            .filter(|instrument| matches(instrument))
            .map(|instrument| instrument.venue.as_str())
            .collect();
        venues.sort_unstable();
        venues.dedup();
        venues
    };
    let mut venues = venues_of(&|instrument| instrument.broker == broker && instrument.symbol == symbol);
    if venues.is_empty() {
        // The router refuses an unknown symbol.
        venues = venues_of(&|instrument| instrument.broker == broker);
    }
    match venues.as_slice() {
        [venue] => Ok((*venue).to_owned()),
        [] => Err(CommandError::Usage(format!(
            "no instrument in the settings has the broker {broker}: name the venue with --venue"
        ))),
        _ => Err(CommandError::Usage(format!(
            "{broker} has several venues ({}): name one with --venue",
            venues.join(", ")
        ))),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::config::Settings;

    #[derive(Debug, Parser)]
    struct SubmitCommand {
        #[command(flatten)]
        args: SubmitArgs,
    }

    fn described(line: &str) -> Result<DescribedIntent, CommandError> {
        let words = std::iter::once("submit").chain(line.split_whitespace());
        build_intent(
            &SubmitCommand::try_parse_from(words).unwrap().args,
            &Settings::default().instruments.0,
        )
    }

    #[test]
    fn missing_flags_have_defaults() {
        let built =
            described("--broker binance --symbol btc/usdt --side buy --quantity 0.0010 --price 3e4 --id a --tif ioc")
                .unwrap();
        assert_eq!(
            serde_json::to_string(&built.intent).unwrap(),
            r#"{"broker":"binance","venue":"binance.spot","symbol":"btc/usdt","side":"buy","quantity":0.001,"order_type":"limit","price":30000,"time_in_force":"IOC","client_order_id":"a","account_id":"default"}"#
        );
        let built = described("--broker ibkr --symbol AAPL --side sell --quantity 1 --account f --tag x").unwrap();
        assert_eq!(built.intent.order_type, OrderType::Market);
        assert_eq!(built.intent.client_order_id, Some(built.client_order_id.to_string()));
        assert_eq!(
            (built.account.as_str(), built.intent.venue.as_str()),
            ("f", "ibkr.paper")
        );
        assert!(described("--broker other --symbol AAPL --side sell --quantity 1").is_err());
    }
}
