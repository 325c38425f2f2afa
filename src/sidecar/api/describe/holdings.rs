//! Positions: what accounts hold, and closing it.

use schemars::{Schema, SchemaGenerator, json_schema};

use super::orders::{SUBMITTED, idempotency_key};
use crate::fault::Code;
use crate::sidecar::api::operation::{Answer, Body, Description, Link, Tag};
use crate::sidecar::api::parameter::Parameter;
use crate::wire::holding_id::MAX_HOLDING_ID_LENGTH;
use crate::wire::positions::{ClosePositionAnswer, ClosePositionRequest, PositionsAnswer};

/// The bitcoin of the account `default` at `binance.spot`, in paper.
const ID: &str = r#""0170617065720064656661756c740062696e616e63652e73706f740042544355534454""#;
const HELD: &str = r#"{"items": [{"id": "default", "name": "default", "owner": "default", "total_value": 600, "holdings": [{
    "id": "0170617065720064656661756c740062696e616e63652e73706f740042544355534454", "portfolio_id": "default",
    "portfolio": "default", "account_id": "default", "broker": "binance", "venue": "binance.spot", "symbol": "BTCUSDT",
    "mode": "paper", "quote_currency": "USDT", "quantity": 0.02, "average_price": 29500, "current_price": 30000,
    "market_value": 600, "realized_pnl": 15, "unrealized_pnl": 10}]}], "as_of": "2026-03-02T09:30:00.000000Z"}"#;

/// `GET /positions`.
pub(in crate::sidecar) fn positions() -> Description {
    let text = "Tells what each account holds in the mode in force: what it has cost on average, what closing has earned and \
        what it is worth at the newest price of the market. Prices are in the quote currency, values and profits in the \
        base currency. Flat positions are left out. A read that follows a write answered by the same sidecar sees it.";
    Description::new("listPositions", Tag::Positions, "List positions", text)
        .parameter(Parameter::account("Of this account alone."))
        .answer(
            Answer::json::<PositionsAnswer>(200, "What is held.")
                .example("held", HELD)
                .link(Link {
                    name: "close",
                    operation_id: "closePosition",
                    parameters: &[("id", "$response.body#/items/0/holdings/0/id")],
                    body: &[],
                }),
        )
        .codes(&[Code::StoreUnavailable, Code::BusUnavailable])
}

/// `POST /positions/{id}/close`.
pub(in crate::sidecar) fn close() -> Description {
    let text = "Closes a position, or a part of it, by one market order that can do nothing but reduce it: `IOC`, \
        `reduce_only`, tagged `close_position`. No part of a lot is traded, so that never too much is. Where open orders \
        stand in the way, the problem's `metadata.open_orders` names the first 20 by their `client_order_id`, with spaces \
        between. A repeated `Idempotency-Key` is answered with the order's current report and `Idempotent-Replay: true`, \
        whatever is held by then, and with another target refused; nothing is sent.";
    let key = "The `client_order_id` of the order, with or without quotation marks; a new one unless given.";
    let location = "/orders/BN-0195561f2a007c3e9d1b2f4a6c8e0d12";
    Description::new("closePosition", Tag::Positions, "Close a position", text)
        .asks_worker()
        .parameter(Parameter::path("id", "The id of the holding.", holding_id, ID))
        .parameter(Parameter::header("Idempotency-Key", key, idempotency_key))
        .body(
            Body::of::<ClosePositionRequest>()
                .optional()
                .example("whole", "{}")
                .example("half", r#"{"target_quantity": "0.01"}"#),
        )
        .answer(
            Answer::json::<ClosePositionAnswer>(
                200,
                "The order was taken, or its key was known: its report, and what the account holds now.",
            )
            .header("Location", "Where the order is found.", location),
        )
        .answer(
            Answer::json::<ClosePositionAnswer>(
                202,
                "The order was sent, or may have been, and nobody can tell yet what became of it: ask for it, or close \
                 the position again under the same key.",
            )
            .header("Location", "Where the order is found.", location),
        )
        .codes(SUBMITTED)
        .codes(&[Code::NotFound])
}

fn holding_id(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "string", "pattern": "^[0-9a-f]+$", "maxLength": MAX_HOLDING_ID_LENGTH})
}

#[cfg(test)]
mod tests {
    use crate::domain::id::AccountId;
    use crate::wire::holding_id::HoldingId;

    #[test]
    fn the_example_is_a_holding() {
        let id = HoldingId::parse(super::ID.trim_matches('"')).unwrap();
        assert_eq!(id.account_id, AccountId::default_account());
        assert!(super::HELD.contains(&id.to_string()));
    }
}
