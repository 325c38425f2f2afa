//! Orders: submit, get, cancel, replace.

use schemars::{Schema, SchemaGenerator, json_schema};

use crate::fault::FaultCode;
use crate::sidecar::handlers::orders::cancel_receipt::CancelReceipt;
use crate::sidecar::openapi::describe::published_example;
use crate::sidecar::openapi::operation::{
    OperationDescription, RequestBodyDescription, ResponseDescription, ResponseLink,
};
use crate::sidecar::openapi::parameter::Parameter;
use crate::sidecar::openapi::schema::{
    client_order_id_schema, idempotency_key_schema, order_id_schema, schema_of, token_schema,
};
use crate::sidecar::openapi::tag::OperationTag;
use crate::sidecar::response::media_type::APPLICATION_JSON;
use crate::wire::intent::ExecutionIntent;
use crate::wire::order_reference::{CancelAllBody, CancelAllReply, CancelBody};
use crate::wire::replace::ReplaceBody;
use crate::wire::report::ExecutionReport;

const FILLED_REPORT: &str = published_example!("execution-report.filled");
const PARTIALLY_FILLED_REPORT: &str = published_example!("execution-report.partially_filled");
const CANCELLED_REPORT: &str = published_example!("execution-report.cancelled");
const REPLACED_REPORT: &str = published_example!("execution-report.replaced");
const RECEIPT_REPORT: &str = published_example!("execution-report.receipt");
const REJECTED_REPORT: &str = published_example!("execution-report.unfillable");
/// Without an id, so that it can be sent more than once.
const LIMIT_INTENT: &str = r#"{"broker": "binance", "venue": "binance.spot", "symbol": "BTCUSDT", "side": "buy", "quantity": "0.01",
    "order_type": "limit", "price": "30000", "time_in_force": "IOC", "tags": ["strategy:mean-reversion"]}"#;
/// The fault codes of a submission.
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
const ACCOUNT_DESCRIPTION: &str = "The order's account. Default: `default`.";
const ANY_ACCOUNT_DESCRIPTION: &str = "The order's account. Default: any account that the key may use, because an order id is \
    unique.";

/// `POST /orders`.
pub(in crate::sidecar) fn submit_order() -> OperationDescription {
    let text = "Evaluates the order against the risk rules and sends it to its broker, at most once per account and \
        `client_order_id`. A known id with the same content returns the order's current report and sends nothing; with \
        different content it is refused (`client_order_id_conflict`). An order without an id gets the `Idempotency-Key`, \
        or a generated id. Send an id, and retry under the same id: a retry without one is a second order.";
    let key = "The order's `client_order_id` if the body has none: 1-36 printable ASCII characters without spaces, \
        optionally in double quotes. Beside another `client_order_id` it is refused (`client_order_id_conflict`).";
    OperationDescription::new("submitOrder", OperationTag::Orders, "Submit an order", text)
        .calls_worker()
        .parameter(Parameter::header("Idempotency-Key", key, idempotency_key_schema))
        .body(
            RequestBodyDescription::new::<ExecutionIntent>()
                .example("market", published_example!("execution-intent.without_id"))
                .example("limit", LIMIT_INTENT),
        )
        .response(
            ResponseDescription::json::<ExecutionReport>(
                200,
                "The id is known. Returns the order's current report; nothing was sent.",
            )
            .example("filled", FILLED_REPORT)
            .header(
                "Idempotent-Replay",
                "`true`: this response repeats the outcome of an earlier request.",
                "true",
            )
            .with_order_location(),
        )
        .response(
            ResponseDescription::json::<ExecutionReport>(
                201,
                "The order was processed. Returns its report, including a rejection by the broker.",
            )
            .example("filled", FILLED_REPORT)
            .example("partially_filled", PARTIALLY_FILLED_REPORT)
            .example("unfillable", REJECTED_REPORT)
            .with_order_location(),
        )
        .response(
            ResponseDescription::json::<ExecutionReport>(
                202,
                "The order's outcome is unknown: it may have been sent. Look it up, or submit it again with the same id.",
            )
            .example("receipt", RECEIPT_REPORT)
            .with_order_location(),
        )
        .problem_codes(SUBMIT_CODES)
}

/// `GET /orders/{order_id}`.
pub(in crate::sidecar) fn get_order() -> OperationDescription {
    let text = "Returns an order's current report.";
    OperationDescription::new("getOrder", OperationTag::Orders, "Get an order by order id", text)
        .parameter(Parameter::path(
            "order_id",
            "The order id assigned by the router.",
            order_id_schema,
            r#""BN-0195561f2a007c3e9d1b2f4a6c8e0d12""#,
        ))
        .parameter(Parameter::account(ANY_ACCOUNT_DESCRIPTION))
        .with_lookup_responses()
}

/// `GET /orders/by-client-id/{client_order_id}`.
pub(in crate::sidecar) fn get_order_by_client_order_id() -> OperationDescription {
    let text = "Returns an order's current report. Without `broker`, all brokers are queried.";
    OperationDescription::new(
        "getOrderByClientOrderId",
        OperationTag::Orders,
        "Get an order by client order id",
        text,
    )
    .parameter(Parameter::path(
        "client_order_id",
        "The client order id.",
        client_order_id_schema,
        r#""mean-reversion-000001""#,
    ))
    .parameter(Parameter::account(ACCOUNT_DESCRIPTION))
    .parameter(Parameter::query(
        "broker",
        "The order's broker.",
        token_schema,
        r#""binance""#,
    ))
    .with_lookup_responses()
    .problem_codes(&[FaultCode::UnknownBroker])
}

/// `POST /orders/{broker}/cancel`.
pub(in crate::sidecar) fn cancel_order() -> OperationDescription {
    let text = "Cancels an order by `order_id` or `client_order_id`. An `order_id` is enough: without `account_id` it names an \
        order of any account that the key may use. Cancels are not subject to risk rules.";
    OperationDescription::new("cancelOrder", OperationTag::Orders, "Cancel an order", text)
        .calls_worker()
        .parameter(Parameter::broker())
        .body(
            RequestBodyDescription::new::<CancelBody>()
                .example("by_order_id", published_example!("order-reference.order_id"))
                .example(
                    "by_client_order_id",
                    published_example!("order-reference.client_order_id"),
                ),
        )
        .response(
            ResponseDescription::json::<ExecutionReport>(
                200,
                "The order has reached a final status. Returns its report.",
            )
            .example("cancelled", CANCELLED_REPORT),
        )
        .response(
            ResponseDescription::new(
                202,
                "Cancel pending: neither the venue nor a worker has confirmed it. The order may have been cancelled; \
                 look it up, or cancel it again.",
                APPLICATION_JSON,
                report_or_receipt_schema,
            )
            .example("receipt", RECEIPT_REPORT)
            .example(
                "outcome_unknown",
                r#"{"order_id": "BN-0195561f2a007c3e9d1b2f4a6c8e0d12", "client_order_id": null, "account_id": "default",
                "broker": "binance", "status": "unknown", "updated_at": "2026-03-02T09:30:00.120431Z", "version": 0,
                "reason": {"code": "outcome_unknown", "message": "no worker replied in time"}}"#,
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

/// `POST /orders/{broker}/replace`.
pub(in crate::sidecar) fn replace_order() -> OperationDescription {
    let text = "Gives what is still open of a limit order a new price, a new quantity of the whole order, or both. The order \
        keeps its id. Under the same `replace_id` it is done once, and a repetition returns what became of it; send one, and \
        retry under it. Terms that only reduce the quantity pass every risk rule, as a cancel does; any others are evaluated \
        by what they add. `replace.state` in the report is the outcome.";
    OperationDescription::new("replaceOrder", OperationTag::Orders, "Replace an order", text)
        .calls_worker()
        .parameter(Parameter::broker())
        .body(
            RequestBodyDescription::new::<ReplaceBody>()
                .example("price", published_example!("replace-request.price"))
                .example("quantity", published_example!("replace-request.quantity")),
        )
        .response(
            ResponseDescription::json::<ExecutionReport>(
                200,
                "The replace has an outcome: `replace.state` is `done`, `not_replaced` or `cancelled_not_placed`. Returns the \
                 order's report.",
            )
            .example("replaced", REPLACED_REPORT),
        )
        .response(
            ResponseDescription::new(
                202,
                "The outcome is open: neither the venue nor a worker has confirmed it, and the order may have been replaced. \
                 Look it up, or replace it again under the same `replace_id`.",
                APPLICATION_JSON,
                report_or_receipt_schema,
            )
            .example("receipt", RECEIPT_REPORT),
        )
        .problem_codes(SUBMIT_CODES)
        .problem_codes(&[
            FaultCode::UnknownOrder,
            FaultCode::OrderClosed,
            FaultCode::ReplaceIdConflict,
            FaultCode::ReplaceInFlight,
            FaultCode::NotReplaced,
        ])
}

/// `POST /orders/{broker}/cancel-all`.
pub(in crate::sidecar) fn cancel_all_orders() -> OperationDescription {
    let text = "Cancels all open orders of an account at a broker, optionally of one symbol, until the request's deadline \
        is near. Returns the cancelled orders and those that remain open: their exact numbers, and the first reports of \
        each. Cancels are not subject to risk rules.";
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
            ResponseDescription::json::<CancelAllReply>(200, "The cancelled orders and those still open.")
                .example("one", published_example!("cancel-all-answer.one")),
        )
        .response(ResponseDescription::new(
            202,
            "No worker replied in time. Orders may have been cancelled; repeat the request.",
            APPLICATION_JSON,
            schema_of::<CancelReceipt<'static>>,
        ))
        .problem_codes(&[
            FaultCode::UnknownBroker,
            FaultCode::UnsupportedPair,
            FaultCode::RateLimited,
            FaultCode::BrokerUnavailable,
        ])
}

impl OperationDescription {
    /// Adds the responses of both operations that get an order.
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
                    "A receipt: no report of the order is journaled yet.",
                )
                .example("receipt", RECEIPT_REPORT),
            )
            .problem_codes(&[FaultCode::UnknownOrder])
    }
}

impl ResponseDescription {
    /// Adds the header `Location`, and links to the operations on the report's order.
    fn with_order_location(self) -> Self {
        self.header(
            "Location",
            "URL of the order.",
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

fn report_or_receipt_schema(generator: &mut SchemaGenerator) -> Schema {
    json_schema!({"anyOf": [schema_of::<ExecutionReport>(generator), schema_of::<CancelReceipt<'static>>(generator)]})
}
