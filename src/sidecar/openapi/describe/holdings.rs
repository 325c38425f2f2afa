//! Positions: what accounts hold, and closing it.

use schemars::{Schema, SchemaGenerator, json_schema};

use crate::fault::FaultCode;
use crate::sidecar::openapi::describe::orders::{SUBMIT_CODES, idempotency_key_schema};
use crate::sidecar::openapi::operation::{
    OperationDescription, OperationTag, RequestBodyDescription, ResponseDescription, ResponseLink,
};
use crate::sidecar::openapi::parameter::Parameter;
use crate::wire::holding_id::MAX_HOLDING_ID_LENGTH;
use crate::wire::positions::{ClosePositionRequest, ClosePositionResponse, PortfolioList};

/// The bitcoin of the account `default` at `binance.spot`, in paper.
const HOLDING_ID_EXAMPLE: &str = r#""0170617065720064656661756c740062696e616e63652e73706f740042544355534454""#;
const POSITIONS_EXAMPLE: &str = r#"{"items": [{"id": "default", "name": "default", "owner": "default", "total_value": 600, "holdings": [{
    "id": "0170617065720064656661756c740062696e616e63652e73706f740042544355534454", "portfolio_id": "default",
    "portfolio": "default", "account_id": "default", "broker": "binance", "venue": "binance.spot", "symbol": "BTCUSDT",
    "mode": "paper", "quote_currency": "USDT", "quantity": 0.02, "average_price": 29500, "current_price": 30000,
    "market_value": 600, "realized_pnl": 15, "unrealized_pnl": 10}]}], "as_of": "2026-03-02T09:30:00.000000Z"}"#;

/// `GET /positions`.
pub(in crate::sidecar) fn list_positions() -> OperationDescription {
    let text = "Tells what each account holds in the mode in force: what it has cost on average, what closing has earned and \
        what it is worth at the newest price of the market. Prices are in the quote currency, values and profits in the \
        base currency. Flat positions are left out. A read that follows a write answered by the same sidecar sees it.";
    OperationDescription::new("listPositions", OperationTag::Positions, "List positions", text)
        .parameter(Parameter::account("Of this account alone."))
        .response(
            ResponseDescription::json::<PortfolioList>(200, "What is held.")
                .example("held", POSITIONS_EXAMPLE)
                .link(ResponseLink {
                    name: "close",
                    operation_id: "closePosition",
                    parameters: &[("id", "$response.body#/items/0/holdings/0/id")],
                    request_body: &[],
                }),
        )
        .problem_codes(&[FaultCode::StoreUnavailable, FaultCode::BusUnavailable])
}

/// `POST /positions/{id}/close`.
pub(in crate::sidecar) fn close_position() -> OperationDescription {
    let text = "Closes a position, or a part of it, by one market order that can do nothing but reduce it: `IOC`, \
        `reduce_only`, tagged `close_position`. No part of a lot is traded, so that never too much is. Where open orders \
        stand in the way, the problem's `metadata.open_orders` names the first 20 by their `client_order_id`, with spaces \
        between. A repeated `Idempotency-Key` is answered with the order's current report and `Idempotent-Replay: true`, \
        whatever is held by then, and with another target refused; nothing is sent.";
    let key = "The `client_order_id` of the order, with or without quotation marks; a new one unless given.";
    let location = "/orders/BN-0195561f2a007c3e9d1b2f4a6c8e0d12";
    OperationDescription::new("closePosition", OperationTag::Positions, "Close a position", text)
        .calls_worker()
        .parameter(Parameter::path(
            "id",
            "The id of the holding.",
            holding_id_schema,
            HOLDING_ID_EXAMPLE,
        ))
        .parameter(Parameter::header("Idempotency-Key", key, idempotency_key_schema))
        .body(
            RequestBodyDescription::new::<ClosePositionRequest>()
                .optional()
                .example("whole", "{}")
                .example("half", r#"{"target_quantity": "0.01"}"#),
        )
        .response(
            ResponseDescription::json::<ClosePositionResponse>(
                200,
                "The order was taken, or its key was known: its report, and what the account holds now.",
            )
            .header("Location", "Where the order is found.", location),
        )
        .response(
            ResponseDescription::json::<ClosePositionResponse>(
                202,
                "The order was sent, or may have been, and nobody can tell yet what became of it: ask for it, or close \
                 the position again under the same key.",
            )
            .header("Location", "Where the order is found.", location),
        )
        .problem_codes(SUBMIT_CODES)
        .problem_codes(&[FaultCode::NotFound])
}

fn holding_id_schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "string", "pattern": "^[0-9a-f]+$", "maxLength": MAX_HOLDING_ID_LENGTH})
}

#[cfg(test)]
mod tests {
    use crate::domain::id::AccountId;
    use crate::wire::holding_id::HoldingId;

    #[test]
    fn the_example_is_a_holding() {
        let id = HoldingId::parse(super::HOLDING_ID_EXAMPLE.trim_matches('"')).unwrap();
        assert_eq!(id.account_id, AccountId::default_account());
        assert!(super::POSITIONS_EXAMPLE.contains(&id.to_string()));
    }
}
