//! Positions: list, and close.

use schemars::{Schema, SchemaGenerator, json_schema};

use crate::fault::FaultCode;
use crate::sidecar::openapi::describe::orders::SUBMIT_CODES;
use crate::sidecar::openapi::operation::{
    OperationDescription, RequestBodyDescription, ResponseDescription, ResponseLink,
};
use crate::sidecar::openapi::parameter::Parameter;
use crate::sidecar::openapi::schema::idempotency_key_schema;
use crate::sidecar::openapi::tag::OperationTag;
use crate::wire::holding_id::MAX_HOLDING_ID_LENGTH;
use crate::wire::positions::{ClosePositionRequest, ClosePositionResponse, PortfolioList};

/// The BTCUSDT position of the account `default` at `binance.spot`, in paper mode.
const HOLDING_ID_EXAMPLE: &str = r#""0170617065720064656661756c740062696e616e63652e73706f740042544355534454""#;
const POSITIONS_EXAMPLE: &str = r#"{"items": [{"id": "default", "name": "default", "owner": "default", "total_value": 600, "holdings": [{
    "id": "0170617065720064656661756c740062696e616e63652e73706f740042544355534454", "portfolio_id": "default",
    "portfolio": "default", "account_id": "default", "broker": "binance", "venue": "binance.spot", "symbol": "BTCUSDT",
    "mode": "paper", "quote_currency": "USDT", "quantity": 0.02, "average_price": 29500, "current_price": 30000,
    "market_value": 600, "realized_pnl": 15, "unrealized_pnl": 10}]}], "as_of": "2026-03-02T09:30:00.000000Z"}"#;

/// `GET /positions`.
pub(in crate::sidecar) fn list_positions() -> OperationDescription {
    let text = "Returns each account's open positions in the active mode, with average price, realized profit and value at \
        the newest market price. Prices are in the quote currency, values and profits in the base currency. Flat positions \
        and accounts without open positions are omitted. Reads include every write that the same sidecar has answered.";
    OperationDescription::new("listPositions", OperationTag::Positions, "List positions", text)
        .parameter(Parameter::account("Return only this account."))
        .response(
            ResponseDescription::json::<PortfolioList>(200, "The accounts and their positions.")
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
    let text = "Closes a position, or part of it, with one reduce-only `IOC` market order, tagged `close_position`. The \
        quantity is rounded down to whole lots: what is less than one lot stays, and `remainder_below_lot` says how an \
        operator clears it. With `allow_increase`, the target may lie beyond the position or on the other \
        side of zero; the order to such a target is not reduce-only. If open orders block the reduction, \
        `metadata.open_orders` of the problem lists the newest 20 by `client_order_id`, separated by spaces. A \
        repeated `Idempotency-Key` returns the order's current report with `Idempotent-Replay: true` and sends nothing, \
        whatever is held by then; with a different target it is refused.";
    let key = "The order's `client_order_id`, optionally in double quotes; generated if omitted.";
    let location = "/orders/BN-0195561f2a007c3e9d1b2f4a6c8e0d12";
    OperationDescription::new("closePosition", OperationTag::Positions, "Close a position", text)
        .calls_worker()
        .parameter(Parameter::path(
            "id",
            "The `id` of the position.",
            holding_id_schema,
            HOLDING_ID_EXAMPLE,
        ))
        .parameter(Parameter::header("Idempotency-Key", key, idempotency_key_schema))
        .body(
            RequestBodyDescription::new::<ClosePositionRequest>()
                .optional()
                .example("whole", "{}")
                .example("half", r#"{"target_quantity": "0.01"}"#)
                .example("turn", r#"{"target_quantity": "-0.01", "allow_increase": true}"#),
        )
        .response(
            ResponseDescription::json::<ClosePositionResponse>(
                200,
                "The order was processed, or its key is known. Returns its report, what is not filled, and the positions that \
                 the key may see.",
            )
            .header("Location", "URL of the order.", location),
        )
        .response(
            ResponseDescription::json::<ClosePositionResponse>(
                202,
                "The order's outcome is unknown: it may have been sent. Look it up, or repeat the request with the \
                 same key.",
            )
            .header("Location", "URL of the order.", location),
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
    fn example_is_a_holding_id() {
        let id = HoldingId::parse(super::HOLDING_ID_EXAMPLE.trim_matches('"')).unwrap();
        assert_eq!(id.account_id, AccountId::default_account());
        assert!(super::POSITIONS_EXAMPLE.contains(&id.to_string()));
    }
}
