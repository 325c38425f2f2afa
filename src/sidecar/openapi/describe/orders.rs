//! Orders: submitted, looked up, cancelled.

use schemars::{Schema, SchemaGenerator, json_schema};

use crate::fault::FaultCode;
use crate::sidecar::handlers::orders::cancel_receipt::CancelReceipt;
use crate::sidecar::openapi::describe::published;
use crate::sidecar::openapi::operation::{
    OperationDescription, OperationTag, RequestBodyDescription, ResponseDescription, ResponseLink, schema_of,
};
use crate::sidecar::openapi::parameter::{Parameter, client_order_id_schema, order_id_schema, token_schema};
use crate::sidecar::response::json::APPLICATION_JSON;
use crate::wire::intent::ExecutionIntent;
use crate::wire::order_reference::{CancelAllBody, CancelAllReply, CancelBody};
use crate::wire::report::ExecutionReport;

const FILLED_REPORT: &str = published!("execution-report.filled");
const PARTIALLY_FILLED_REPORT: &str = published!("execution-report.partially_filled");
const CANCELLED_REPORT: &str = published!("execution-report.cancelled");
const RECEIPT_REPORT: &str = published!("execution-report.receipt");
const REJECTED_REPORT: &str = published!("execution-report.unfillable");
/// Without an id, so that it is good more than once.
const LIMIT_INTENT: &str = r#"{"broker": "binance", "venue": "binance.spot", "symbol": "BTCUSDT", "side": "buy", "quantity": "0.01",
    "order_type": "limit", "price": "30000", "time_in_force": "IOC", "tags": ["strategy:mean-reversion"]}"#;
/// The codes of an order that is submitted.
pub(in crate::sidecar) const SUBMIT_CODES: &[FaultCode] = &[
    FaultCode::OrderSizeExceeded,
    FaultCode::RiskLocked,
    FaultCode::AccountMismatch,
    FaultCode::DailyNotionalExceeded,
    FaultCode::DailyLossExceeded,
    FaultCode::TradingHalted,
    FaultCode::ReduceOnly,
    FaultCode::UnknownBroker,
    FaultCode::UnsupportedPair,
    FaultCode::ClientOrderIdConflict,
    FaultCode::ModeMismatch,
    FaultCode::ModeUnavailable,
    FaultCode::RateLimited,
    FaultCode::BrokerUnavailable,
    FaultCode::ReferencePriceMissing,
];
const ACCOUNT_DESCRIPTION: &str = "The account the order is of; `default` unless given.";

/// `POST /orders`.
pub(in crate::sidecar) fn submit_order() -> OperationDescription {
    let text = "Sends the order through the risk rules to its broker, at most once per account and \
        `client_order_id`. A known id with the same content is answered with the order's current report, and nothing is \
        sent; with other content it is refused. An intent without an id gets one, from `Idempotency-Key` if that is \
        given, else a new one.";
    let key =
        "Names the order where the body does not: what a `client_order_id` may be, with or without quotation marks.";
    OperationDescription::new("submitOrder", OperationTag::Orders, "Submit an order", text)
        .calls_worker()
        .parameter(Parameter::header("Idempotency-Key", key, idempotency_key_schema))
        .body(
            RequestBodyDescription::new::<ExecutionIntent>()
                .example("market", published!("execution-intent.without_id"))
                .example("limit", LIMIT_INTENT),
        )
        .response(
            ResponseDescription::json::<ExecutionReport>(200, "The id was known: the current report of its order. Nothing was sent.")
                .example("filled", FILLED_REPORT)
                .header("Idempotent-Replay", "That the answer repeats an earlier one.", "true")
                .with_order_location(),
        )
        .response(
            ResponseDescription::json::<ExecutionReport>(
                201,
                "The order was taken. Its report tells how it stands, also where the broker has refused it.",
            )
            .example("filled", FILLED_REPORT)
            .example("partially_filled", PARTIALLY_FILLED_REPORT)
            .example("unfillable", REJECTED_REPORT)
            .with_order_location(),
        )
        .response(
            ResponseDescription::json::<ExecutionReport>(
                202,
                "The order was sent, or may have been, and nobody can tell yet what became of it: ask for it, or submit \
                 it again under the same id.",
            )
            .example("receipt", RECEIPT_REPORT)
            .with_order_location(),
        )
        .problem_codes(SUBMIT_CODES)
}

/// `GET /orders/{order_id}`.
pub(in crate::sidecar) fn get_order() -> OperationDescription {
    let text = "Tells the current report of an order, as the workers have it.";
    OperationDescription::new(
        "getOrder",
        OperationTag::Orders,
        "Look up an order by the router's id",
        text,
    )
    .parameter(Parameter::path(
        "order_id",
        "The router's id of the order.",
        order_id_schema,
        r#""BN-0195561f2a007c3e9d1b2f4a6c8e0d12""#,
    ))
    .parameter(Parameter::account(ACCOUNT_DESCRIPTION))
    .with_lookup_responses()
}

/// `GET /orders/by-client-id/{client_order_id}`.
pub(in crate::sidecar) fn get_order_by_client_order_id() -> OperationDescription {
    let text = "Tells the current report of an order, as the workers have it. Without a broker, each of them is asked.";
    OperationDescription::new(
        "getOrderByClientOrderId",
        OperationTag::Orders,
        "Look up an order by the caller's id",
        text,
    )
    .parameter(Parameter::path(
        "client_order_id",
        "The caller's id of the order.",
        client_order_id_schema,
        r#""mean-reversion-000001""#,
    ))
    .parameter(Parameter::account(ACCOUNT_DESCRIPTION))
    .parameter(Parameter::query(
        "broker",
        "The broker the order went to.",
        token_schema,
        r#""binance""#,
    ))
    .with_lookup_responses()
    .problem_codes(&[FaultCode::UnknownBroker])
}

/// `POST /orders/{broker}/cancel`.
pub(in crate::sidecar) fn cancel_order() -> OperationDescription {
    let text = "Cancels an order, named by the router's id or the caller's. Risk rules do not stop a cancel.";
    OperationDescription::new("cancelOrder", OperationTag::Orders, "Cancel an order", text)
        .calls_worker()
        .parameter(Parameter::broker())
        .body(
            RequestBodyDescription::new::<CancelBody>()
                .example("by_order_id", published!("order-reference.order_id"))
                .example("by_client_order_id", published!("order-reference.client_order_id")),
        )
        .response(
            ResponseDescription::json::<ExecutionReport>(200, "The order has ended: its report.")
                .example("cancelled", CANCELLED_REPORT),
        )
        .response(
            ResponseDescription::new(
                202,
                "The venue, or every worker, has not answered yet: the order may have been cancelled; ask for it, or \
                 cancel it again.",
                APPLICATION_JSON,
                report_or_receipt_schema,
            )
            .example("receipt", RECEIPT_REPORT)
            .example(
                "unanswered",
                r#"{"order_id": "BN-0195561f2a007c3e9d1b2f4a6c8e0d12", "client_order_id": null, "account_id": "default",
                "broker": "binance", "status": "unknown", "updated_at": "2026-03-02T09:30:00.120431Z", "version": 0,
                "reason": {"code": "outcome_unknown", "message": "no worker has answered in time"}}"#,
            ),
        )
        .problem_codes(&[
            FaultCode::UnknownBroker,
            FaultCode::UnknownOrder,
            FaultCode::OrderClosed,
            FaultCode::RateLimited,
            FaultCode::BrokerUnavailable,
        ])
}

/// `POST /orders/{broker}/cancel-all`.
pub(in crate::sidecar) fn cancel_all_orders() -> OperationDescription {
    let text = "Cancels every open order of an account at a broker, or those of one symbol, and tells what remains. \
        Risk rules do not stop a cancel.";
    OperationDescription::new("cancelAllOrders", OperationTag::Orders, "Cancel all orders", text)
        .calls_worker()
        .parameter(Parameter::broker())
        .body(
            RequestBodyDescription::new::<CancelAllBody>()
                .optional()
                .example("everything", "{}")
                .example("symbol", r#"{"account_id": "default", "symbol": "BTCUSDT"}"#),
        )
        .response(
            ResponseDescription::json::<CancelAllReply>(200, "What was cancelled, and what remains open.")
                .example("one", published!("cancel-all-answer.one")),
        )
        .response(ResponseDescription::new(
            202,
            "Every worker has not answered yet: orders may have been cancelled; ask for all to be cancelled again.",
            APPLICATION_JSON,
            schema_of::<CancelReceipt<'static>>,
        ))
        .problem_codes(&[
            FaultCode::UnknownBroker,
            FaultCode::RateLimited,
            FaultCode::BrokerUnavailable,
        ])
}

impl OperationDescription {
    /// Adds what both ways to look up an order answer.
    fn with_lookup_responses(self) -> Self {
        self.calls_worker()
            .response(
                ResponseDescription::json::<ExecutionReport>(200, "The order's current report.")
                    .example("filled", FILLED_REPORT)
                    .example("partially_filled", PARTIALLY_FILLED_REPORT),
            )
            .response(
                ResponseDescription::json::<ExecutionReport>(
                    202,
                    "A receipt: there is no report on the journal to tell yet.",
                )
                .example("receipt", RECEIPT_REPORT),
            )
            .problem_codes(&[FaultCode::UnknownOrder])
    }
}

impl ResponseDescription {
    /// Adds where the order of a report is found, and what can be done with it.
    fn with_order_location(self) -> Self {
        self.header(
            "Location",
            "Where the order is found.",
            "/orders/BN-0195561f2a007c3e9d1b2f4a6c8e0d12",
        )
        .link(ResponseLink {
            name: "get",
            operation_id: "getOrder",
            parameters: &[
                ("order_id", "$response.body#/order_id"),
                ("account_id", "$response.body#/account_id"),
            ],
            request_body: &[],
        })
        .link(ResponseLink {
            name: "get_by_client_order_id",
            operation_id: "getOrderByClientOrderId",
            parameters: &[
                ("client_order_id", "$response.body#/client_order_id"),
                ("account_id", "$response.body#/account_id"),
                ("broker", "$response.body#/broker"),
            ],
            request_body: &[],
        })
        .link(ResponseLink {
            name: "cancel",
            operation_id: "cancelOrder",
            parameters: &[("broker", "$response.body#/broker")],
            request_body: &[
                ("client_order_id", "$response.body#/client_order_id"),
                ("account_id", "$response.body#/account_id"),
            ],
        })
    }
}

/// Returns the schema of the header that names an order.
pub(in crate::sidecar) fn idempotency_key_schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "string", "pattern": "^([!-~]{1,36}|\"[!-~]{1,36}\")$"})
}

fn report_or_receipt_schema(generator: &mut SchemaGenerator) -> Schema {
    json_schema!({"anyOf": [schema_of::<ExecutionReport>(generator), schema_of::<CancelReceipt<'static>>(generator)]})
}
