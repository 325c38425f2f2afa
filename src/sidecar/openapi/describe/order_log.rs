//! The order log: orders, executions and notes.

use schemars::{Schema, SchemaGenerator, json_schema};

use crate::domain::order_terms::Side;
use crate::domain::sort_direction::SortDirection;
use crate::fault::FaultCode;
use crate::sidecar::openapi::operation::{OperationDescription, RequestBodyDescription, ResponseDescription};
use crate::sidecar::openapi::parameter::Parameter;
use crate::sidecar::openapi::schema::{client_order_id_schema, page_limit_schema, schema_of, token_schema};
use crate::sidecar::openapi::tag::OperationTag;
use crate::wire::note::NoteBody;
use crate::wire::order_history::OrderHistory;
use crate::wire::order_record::{ExecutionPage, OrderPage, OrderRecord, status_words};
use crate::wire::schema_patterns;
use crate::wire::schema_patterns::{FilterTimeInput, TagInput};

const ORDER_EXAMPLE: &str = r#"{"id": 17, "external_order_id": "BN-0195561f2a007c3e9d1b2f4a6c8e0d12", "correlation_id":
    "mean-reversion-000001", "account_id": "default", "broker": "binance", "venue": "binance.spot", "symbol": "BTCUSDT",
    "side": "buy", "order_type": "limit", "quantity": 0.01, "filled_quantity": 0, "limit_price": 30000, "stop_price": null,
    "status": "accepted", "time_in_force": "GTC", "submitted_at": "2026-03-02T09:30:00.000000Z", "expires_at": null,
    "notes": "reviewed", "tags": ["strategy:mean-reversion"], "created_at": "2026-03-02T09:30:00.001000Z", "updated_at":
    "2026-03-02T09:30:00.001000Z", "mode": "paper", "reason": null, "executions": [], "executions_total": 0}"#;

/// `GET /orders/log`.
pub(in crate::sidecar) fn list_orders() -> OperationDescription {
    let text = "Lists the orders that match all filters, newest first unless `sort` is `asc`, with the total count. To read \
        page after page, send `metadata.next` as `after`: pages by cursor neither repeat nor miss an item while others are \
        added. Includes orders denied by a risk rule (status `rejected`). Reads include every write that the same sidecar has answered.";
    OperationDescription::new("listOrders", OperationTag::OrderLog, "List orders", text)
        .with_page_parameters()
        .with_filter_parameters()
        .response(ResponseDescription::json::<OrderPage>(200, "One page of orders."))
        .problem_codes(&[FaultCode::StoreUnavailable, FaultCode::BusUnavailable])
}

/// `GET /executions`.
pub(in crate::sidecar) fn list_executions() -> OperationDescription {
    let text = "Lists the executions that match all filters, newest first unless `sort` is `asc`, with the total count. To \
        read page after page, send `metadata.next` as `after`: pages by cursor neither repeat nor miss an item while others \
        are added. `start` and `end` apply to the execution's time, `status`, `updated_after` and tags to its order. Reads include every write that the same sidecar has \
        answered.";
    OperationDescription::new("listExecutions", OperationTag::OrderLog, "List executions", text)
        .with_page_parameters()
        .with_filter_parameters()
        .parameter(Parameter::query(
            "order_id",
            "Return only executions of the order with this `id`.",
            order_number_schema,
            "17",
        ))
        .response(ResponseDescription::json::<ExecutionPage>(
            200,
            "One page of executions.",
        ))
        .problem_codes(&[FaultCode::StoreUnavailable, FaultCode::BusUnavailable])
}

/// `GET /orders/{id}/history`.
pub(in crate::sidecar) fn get_order_history() -> OperationDescription {
    let text = "Lists the reports of one order, one for each of its changes, the oldest first, and what the risk rules measured \
        when it was submitted. Read from the journal and its archive. `is_complete` is false where the order's versions lie too \
        far apart on the journal, or entries are lost.";
    OperationDescription::new(
        "getOrderHistory",
        OperationTag::OrderLog,
        "Get the history of an order",
        text,
    )
    .parameter(Parameter::path(
        "id",
        "The `id` of the order in the order log.",
        order_number_schema,
        "17",
    ))
    .response(ResponseDescription::json::<OrderHistory>(
        200,
        "The versions of the order.",
    ))
    .problem_codes(&[
        FaultCode::UnknownOrder,
        FaultCode::StoreUnavailable,
        FaultCode::BusUnavailable,
        FaultCode::QueueFull,
    ])
}

/// `POST /orders/{id}/notes`.
pub(in crate::sidecar) fn add_order_note() -> OperationDescription {
    let text = "Adds a note, tags, or both to an order and its executions. Each note is trimmed and appended as a line. \
        Commas separate tags; tags are compared without case, and duplicates are ignored. Notes are journaled, so all sidecars show them.";
    OperationDescription::new("noteOrder", OperationTag::OrderLog, "Add a note to an order", text)
        .calls_worker()
        .parameter(Parameter::path(
            "id",
            "The `id` of the order in the order log.",
            order_number_schema,
            "17",
        ))
        .body(
            RequestBodyDescription::new::<NoteBody>()
                .example("reviewed", r#"{"notes": "reviewed", "tags": ["reviewed"]}"#),
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
    /// Adds the size, the position and the direction of a page.
    fn with_page_parameters(self) -> Self {
        let query = Parameter::query;
        self.parameter(query("limit", "Maximum number of items.", page_limit_schema, "10"))
            .parameter(query("offset", "Number of items to skip, from the beginning or from `after`.", offset_schema, "0"))
            .parameter(query(
                "after",
                "Return the items after this one, in the direction of `sort`: `metadata.next` of the page before, or the `id` \
                 of any item.",
                order_number_schema,
                "17",
            ))
            .parameter(query(
                "sort",
                "`desc`: the newest item first; `asc`: the oldest.",
                sort_schema,
                r#""desc""#,
            ))
    }

    /// Adds the filters of orders and executions.
    fn with_filter_parameters(self) -> Self {
        let query = Parameter::query;
        self.parameter(Parameter::account("Return only this account."))
            .parameter(query(
                "symbol",
                "Return only this symbol (normalised: `btc/usdt` matches `BTCUSDT`).",
                symbol_schema,
                r#""BTCUSDT""#,
            ))
            .parameter(query(
                "start",
                "Earliest time, inclusive. RFC 3339; also a date, or a time without an offset, which is UTC. A `+` may arrive as \
                 a space.",
                schema_of::<FilterTimeInput>,
                r#""2026-03-02T09:30:00Z""#,
            ))
            .parameter(query(
                "end",
                "Latest time, inclusive, in the same forms. A date is the whole day.",
                schema_of::<FilterTimeInput>,
                r#""2036-03-02""#,
            ))
            .parameter(query(
                "tag",
                "Return only items with this tag (case-insensitive).",
                schema_of::<TagInput>,
                r#""reviewed""#,
            ))
            .parameter(query(
                "strategy",
                "Return only this strategy: tag `x` or `strategy:x` (case-insensitive).",
                schema_of::<TagInput>,
                r#""mean-reversion""#,
            ))
            .parameter(query(
                "broker",
                "Return only this broker. A broker that is neither in the settings nor in the order log is refused.",
                token_schema,
                r#""binance""#,
            ))
            .parameter(query(
                "status",
                "Return only these statuses, separated by commas or each in a parameter of its own. `open` stands for \
                 `accepted`, `partially_filled` and `unknown`.",
                statuses_schema,
                r#""open,filled""#,
            ))
            .parameter(query(
                "side",
                "Return only this side.",
                schema_of::<Side>,
                r#""buy""#,
            ))
            .parameter(query(
                "updated_after",
                "Return only orders that changed after this time, by a report or a note. The same forms as `start`.",
                schema_of::<FilterTimeInput>,
                r#""2026-03-02T09:30:00Z""#,
            ))
            .parameter(query(
                "client_order_id",
                "Return only this client order id.",
                client_order_id_schema,
                r#""mean-reversion-000001""#,
            ))
    }
}

fn sort_schema(_: &mut SchemaGenerator) -> Schema {
    let words: Vec<&str> = SortDirection::ALL.iter().map(|direction| direction.as_str()).collect();
    json_schema!({"type": "string", "enum": words, "default": SortDirection::default().as_str()})
}

fn statuses_schema(_: &mut SchemaGenerator) -> Schema {
    let words: Vec<&str> = status_words().collect();
    let word = format!("({})", words.join("|"));
    json_schema!({"type": "string", "pattern": format!("^{word}(,{word})*$")})
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
