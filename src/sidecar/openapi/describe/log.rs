//! The order log: orders, executions, and notes on them.

use schemars::{Schema, SchemaGenerator, json_schema};

use crate::domain::order_terms::OrderStatus;
use crate::fault::FaultCode;
use crate::sidecar::handlers::order_log::{DEFAULT_PAGE_LIMIT, MAX_PAGE_LIMIT};
use crate::sidecar::openapi::operation::{
    OperationDescription, OperationTag, RequestBodyDescription, ResponseDescription, schema_of,
};
use crate::sidecar::openapi::parameter::{Parameter, client_order_id_schema, token_schema};
use crate::wire::note::NoteBody;
use crate::wire::order_record::{ExecutionPage, OrderPage, OrderRecord};
use crate::wire::schema_patterns;
use crate::wire::schema_patterns::{TagInput, TimestampInput};

const ORDER_EXAMPLE: &str = r#"{"id": 17, "external_order_id": "BN-0195561f2a007c3e9d1b2f4a6c8e0d12", "correlation_id":
    "mean-reversion-000001", "account_id": "default", "broker": "binance", "venue": "binance.spot", "symbol": "BTCUSDT",
    "side": "buy", "order_type": "limit", "quantity": 0.01, "filled_quantity": 0, "limit_price": 30000, "stop_price": null,
    "status": "accepted", "time_in_force": "GTC", "submitted_at": "2026-03-02T09:30:00.000000Z", "expires_at": null,
    "notes": "looked at", "tags": ["strategy:mean-reversion"], "created_at": "2026-03-02T09:30:00.001000Z", "updated_at":
    "2026-03-02T09:30:00.001000Z", "mode": "paper", "reason": null, "executions": [], "executions_total": 0}"#;

/// `GET /orders/log`.
pub(in crate::sidecar) fn list_orders() -> OperationDescription {
    let text = "Tells the orders that every one of the filters takes, the newest first, and how many there are in all. \
        Orders that a risk rule denied are in it, `rejected`. A read that follows a write answered by the same sidecar \
        sees it.";
    OperationDescription::new("listOrders", OperationTag::OrderLog, "List orders", text)
        .with_filter_parameters()
        .response(ResponseDescription::json::<OrderPage>(200, "A page of the orders."))
        .problem_codes(&[FaultCode::StoreUnavailable, FaultCode::BusUnavailable])
}

/// `GET /executions`.
pub(in crate::sidecar) fn list_executions() -> OperationDescription {
    let text = "Tells the executions that every one of the filters takes, the newest first, and how many there are in \
        all. `start` and `end` count for their own times, `status` and tags for their orders.";
    OperationDescription::new("listExecutions", OperationTag::OrderLog, "List executions", text)
        .with_filter_parameters()
        .parameter(Parameter::query(
            "order_id",
            "Of the order with this number alone.",
            order_number_schema,
            "17",
        ))
        .response(ResponseDescription::json::<ExecutionPage>(
            200,
            "A page of the executions.",
        ))
        .problem_codes(&[FaultCode::StoreUnavailable, FaultCode::BusUnavailable])
}

/// `POST /orders/{id}/notes`.
pub(in crate::sidecar) fn add_order_note() -> OperationDescription {
    let text = "Adds a note, tags or both to an order and its executions. Notes append, a line each; a tag that the order \
        has in any case is not added again. A note is kept on the journal, so that every sidecar has it.";
    OperationDescription::new("noteOrder", OperationTag::OrderLog, "Note something on an order", text)
        .calls_worker()
        .parameter(Parameter::path("id", "The order's number.", order_number_schema, "17"))
        .body(
            RequestBodyDescription::new::<NoteBody>()
                .example("reviewed", r#"{"notes": "looked at", "tags": ["reviewed"]}"#),
        )
        .response(
            ResponseDescription::json::<OrderRecord>(200, "The order with the note.").example("noted", ORDER_EXAMPLE),
        )
        .problem_codes(&[
            FaultCode::UnknownOrder,
            FaultCode::UnknownBroker,
            FaultCode::BusUnavailable,
        ])
}

impl OperationDescription {
    /// Adds what orders and executions are chosen by.
    fn with_filter_parameters(self) -> Self {
        let query = Parameter::query;
        self.parameter(query("limit", "How many at most.", limit_schema, "10"))
            .parameter(query(
                "offset",
                "How many newer ones are passed over.",
                offset_schema,
                "0",
            ))
            .parameter(Parameter::account("Of this account alone."))
            .parameter(query(
                "symbol",
                "Of this symbol alone; it is normalised.",
                symbol_schema,
                r#""BTCUSDT""#,
            ))
            .parameter(query(
                "start",
                "From then on, included.",
                schema_of::<TimestampInput>,
                r#""2026-03-02T09:30:00Z""#,
            ))
            .parameter(query(
                "end",
                "Until then, included.",
                schema_of::<TimestampInput>,
                r#""2036-03-02T09:30:00Z""#,
            ))
            .parameter(query(
                "tag",
                "With this tag, in upper or lower case.",
                schema_of::<TagInput>,
                r#""reviewed""#,
            ))
            .parameter(query(
                "strategy",
                "Of this strategy: with the tag `x` or `strategy:x`, in upper or lower case.",
                schema_of::<TagInput>,
                r#""mean-reversion""#,
            ))
            .parameter(query("broker", "At this broker alone.", token_schema, r#""binance""#))
            .parameter(query(
                "status",
                "In this state.",
                schema_of::<OrderStatus>,
                r#""filled""#,
            ))
            .parameter(query(
                "client_order_id",
                "With this id of its caller.",
                client_order_id_schema,
                r#""mean-reversion-000001""#,
            ))
    }
}

fn limit_schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "integer", "minimum": 1, "maximum": MAX_PAGE_LIMIT, "default": DEFAULT_PAGE_LIMIT})
}

fn offset_schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "integer", "minimum": 0, "maximum": i64::MAX, "default": 0})
}

fn order_number_schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "integer", "minimum": 1, "maximum": i64::MAX})
}

fn symbol_schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "string", "pattern": schema_patterns::SYMBOL, "maxLength": 128})
}
