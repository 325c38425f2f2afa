//! Orders: submitted, looked up, cancelled.

use schemars::{Schema, SchemaGenerator, json_schema};

use super::published;
use crate::fault::Code;
use crate::sidecar::api::operation::{Answer, Body, Description, Link, Tag, of};
use crate::sidecar::api::parameter::{Parameter, client_order_id, order_id, token};
use crate::sidecar::handlers::receipt::Receipt;
use crate::sidecar::json::APPLICATION_JSON;
use crate::wire::intent::ExecutionIntent;
use crate::wire::order_reference::{CancelAllAnswer, CancelAllBody, CancelBody};
use crate::wire::report::ExecutionReport;

const FILLED: &str = published!("execution-report.filled");
const PARTIALLY_FILLED: &str = published!("execution-report.partially_filled");
const CANCELLED: &str = published!("execution-report.cancelled");
const RECEIPT: &str = published!("execution-report.receipt");
const REJECTED: &str = published!("execution-report.unfillable");
/// Without an id, so that it is good more than once.
const LIMIT: &str = r#"{"broker": "binance", "venue": "binance.spot", "symbol": "BTCUSDT", "side": "buy", "quantity": "0.01",
    "order_type": "limit", "price": "30000", "time_in_force": "IOC", "tags": ["strategy:mean-reversion"]}"#;
/// The codes of an order that is submitted.
pub(super) const SUBMITTED: &[Code] = &[
    Code::OrderSizeExceeded,
    Code::RiskLocked,
    Code::AccountMismatch,
    Code::DailyNotionalExceeded,
    Code::DailyLossExceeded,
    Code::TradingHalted,
    Code::ReduceOnly,
    Code::UnknownBroker,
    Code::UnsupportedPair,
    Code::ClientOrderIdConflict,
    Code::ModeMismatch,
    Code::ModeUnavailable,
    Code::RateLimited,
    Code::BrokerUnavailable,
    Code::ReferencePriceMissing,
];
const ACCOUNT: &str = "The account the order is of; `default` unless given.";

/// `POST /orders`.
pub(in crate::sidecar) fn submit() -> Description {
    let text = "Sends the order through the risk rules to its broker, at most once per account and \
        `client_order_id`. A known id with the same content is answered with the order's current report, and nothing is \
        sent; with other content it is refused. An intent without an id gets one, from `Idempotency-Key` if that is \
        given, else a new one.";
    let key =
        "Names the order where the body does not: what a `client_order_id` may be, with or without quotation marks.";
    Description::new("submitOrder", Tag::Orders, "Submit an order", text)
        .asks_worker()
        .parameter(Parameter::header("Idempotency-Key", key, idempotency_key))
        .body(
            Body::of::<ExecutionIntent>()
                .example("market", published!("execution-intent.without_id"))
                .example("limit", LIMIT),
        )
        .answer(
            Answer::json::<ExecutionReport>(200, "The id was known: the current report of its order. Nothing was sent.")
                .example("filled", FILLED)
                .header("Idempotent-Replay", "That the answer repeats an earlier one.", "true")
                .located(),
        )
        .answer(
            Answer::json::<ExecutionReport>(
                201,
                "The order was taken. Its report tells how it stands, also where the broker has refused it.",
            )
            .example("filled", FILLED)
            .example("partially_filled", PARTIALLY_FILLED)
            .example("unfillable", REJECTED)
            .located(),
        )
        .answer(
            Answer::json::<ExecutionReport>(
                202,
                "The order was sent, or may have been, and nobody can tell yet what became of it: ask for it, or submit \
                 it again under the same id.",
            )
            .example("receipt", RECEIPT)
            .located(),
        )
        .codes(SUBMITTED)
}

/// `GET /orders/{order_id}`.
pub(in crate::sidecar) fn by_order_id() -> Description {
    let text = "Tells the current report of an order, as the workers have it.";
    Description::new("getOrder", Tag::Orders, "Look up an order by the router's id", text)
        .parameter(Parameter::path(
            "order_id",
            "The router's id of the order.",
            order_id,
            r#""BN-0195561f2a007c3e9d1b2f4a6c8e0d12""#,
        ))
        .parameter(Parameter::account(ACCOUNT))
        .looked_up()
}

/// `GET /orders/by-client-id/{client_order_id}`.
pub(in crate::sidecar) fn by_client_order_id() -> Description {
    let text = "Tells the current report of an order, as the workers have it. Without a broker, each of them is asked.";
    Description::new(
        "getOrderByClientOrderId",
        Tag::Orders,
        "Look up an order by the caller's id",
        text,
    )
    .parameter(Parameter::path(
        "client_order_id",
        "The caller's id of the order.",
        client_order_id,
        r#""mean-reversion-000001""#,
    ))
    .parameter(Parameter::account(ACCOUNT))
    .parameter(Parameter::query(
        "broker",
        "The broker the order went to.",
        token,
        r#""binance""#,
    ))
    .looked_up()
    .codes(&[Code::UnknownBroker])
}

/// `POST /orders/{broker}/cancel`.
pub(in crate::sidecar) fn cancel() -> Description {
    let text = "Cancels an order, named by the router's id or the caller's. Risk rules do not stop a cancel.";
    Description::new("cancelOrder", Tag::Orders, "Cancel an order", text)
        .asks_worker()
        .parameter(Parameter::broker())
        .body(
            Body::of::<CancelBody>()
                .example("by_order_id", published!("order-reference.order_id"))
                .example("by_client_order_id", published!("order-reference.client_order_id")),
        )
        .answer(
            Answer::json::<ExecutionReport>(200, "The order has ended: its report.").example("cancelled", CANCELLED),
        )
        .answer(
            Answer::of(
                202,
                "The venue, or every worker, has not answered yet: the order may have been cancelled; ask for it, or \
                 cancel it again.",
                APPLICATION_JSON,
                report_or_receipt,
            )
            .example("receipt", RECEIPT)
            .example(
                "unanswered",
                r#"{"order_id": "BN-0195561f2a007c3e9d1b2f4a6c8e0d12", "client_order_id": null, "account_id": "default",
                "broker": "binance", "status": "unknown", "updated_at": "2026-03-02T09:30:00.120431Z", "version": 0,
                "reason": {"code": "outcome_unknown", "message": "no worker has answered in time"}}"#,
            ),
        )
        .codes(&[
            Code::UnknownBroker,
            Code::UnknownOrder,
            Code::OrderClosed,
            Code::RateLimited,
            Code::BrokerUnavailable,
        ])
}

/// `POST /orders/{broker}/cancel-all`.
pub(in crate::sidecar) fn cancel_all() -> Description {
    let text = "Cancels every open order of an account at a broker, or those of one symbol, and tells what remains. \
        Risk rules do not stop a cancel.";
    Description::new("cancelAllOrders", Tag::Orders, "Cancel all orders", text)
        .asks_worker()
        .parameter(Parameter::broker())
        .body(
            Body::of::<CancelAllBody>()
                .optional()
                .example("everything", "{}")
                .example("symbol", r#"{"account_id": "default", "symbol": "BTCUSDT"}"#),
        )
        .answer(
            Answer::json::<CancelAllAnswer>(200, "What was cancelled, and what remains open.")
                .example("one", published!("cancel-all-answer.one")),
        )
        .answer(Answer::of(
            202,
            "Every worker has not answered yet: orders may have been cancelled; ask for all to be cancelled again.",
            APPLICATION_JSON,
            of::<Receipt<'static>>,
        ))
        .codes(&[Code::UnknownBroker, Code::RateLimited, Code::BrokerUnavailable])
}

impl Description {
    /// Adds what both ways to look up an order answer.
    fn looked_up(self) -> Self {
        self.asks_worker()
            .answer(
                Answer::json::<ExecutionReport>(200, "The order's current report.")
                    .example("filled", FILLED)
                    .example("partially_filled", PARTIALLY_FILLED),
            )
            .answer(
                Answer::json::<ExecutionReport>(202, "A receipt: there is no report on the journal to tell yet.")
                    .example("receipt", RECEIPT),
            )
            .codes(&[Code::UnknownOrder])
    }
}

impl Answer {
    /// Adds where the order of a report is found, and what can be done with it.
    fn located(self) -> Self {
        self.header(
            "Location",
            "Where the order is found.",
            "/orders/BN-0195561f2a007c3e9d1b2f4a6c8e0d12",
        )
        .link(Link {
            name: "get",
            operation_id: "getOrder",
            parameters: &[
                ("order_id", "$response.body#/order_id"),
                ("account_id", "$response.body#/account_id"),
            ],
            body: &[],
        })
        .link(Link {
            name: "get_by_client_order_id",
            operation_id: "getOrderByClientOrderId",
            parameters: &[
                ("client_order_id", "$response.body#/client_order_id"),
                ("account_id", "$response.body#/account_id"),
                ("broker", "$response.body#/broker"),
            ],
            body: &[],
        })
        .link(Link {
            name: "cancel",
            operation_id: "cancelOrder",
            parameters: &[("broker", "$response.body#/broker")],
            body: &[
                ("client_order_id", "$response.body#/client_order_id"),
                ("account_id", "$response.body#/account_id"),
            ],
        })
    }
}

/// Returns the schema of the header that names an order.
pub(super) fn idempotency_key(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "string", "pattern": "^([!-~]{1,36}|\"[!-~]{1,36}\")$"})
}

fn report_or_receipt(generator: &mut SchemaGenerator) -> Schema {
    json_schema!({"anyOf": [of::<ExecutionReport>(generator), of::<Receipt<'static>>(generator)]})
}
