//! Risk: what the rules have said, and what is closed.

use schemars::{Schema, SchemaGenerator, json_schema};

use crate::domain::rule_signal::SignalLevel;
use crate::fault::FaultCode;
use crate::sidecar::handlers::risk::alerts::{DEFAULT_ALERT_LIMIT, MAX_ALERT_LIMIT, MAX_RULE_ID_CHARACTERS};
use crate::sidecar::openapi::describe::published;
use crate::sidecar::openapi::operation::{
    OperationDescription, OperationTag, RequestBodyDescription, ResponseDescription, ResponseLink, schema_of,
};
use crate::sidecar::openapi::parameter::{Parameter, token_schema};
use crate::sidecar::response::json::APPLICATION_JSON;
use crate::wire::lock::{LockDocument, LockLiftBody, LockList, MAX_LOCK_ID_CHARACTERS};
use crate::wire::risk_signal::RiskSignal;
use crate::wire::schema_patterns;

/// `GET /risk/alerts`.
pub(in crate::sidecar) fn list_alerts() -> OperationDescription {
    let text = "Tells what the risk rules have said, the newest first, of the newest alerts the sidecar keeps.";
    OperationDescription::new("listAlerts", OperationTag::Risk, "List alerts", text)
        .parameter(Parameter::query("limit", "How many at most.", alert_limit_schema, "10"))
        .parameter(Parameter::query(
            "level",
            "`alert`: the order went on; `lock`: it was stopped.",
            schema_of::<SignalLevel>,
            r#""lock""#,
        ))
        .parameter(Parameter::query(
            "account_id",
            "Of this account alone.",
            token_schema,
            r#""default""#,
        ))
        .parameter(Parameter::query(
            "rule_id",
            "Of this rule alone.",
            rule_id_schema,
            r#""order_size""#,
        ))
        .response(
            ResponseDescription::new(200, "The alerts.", APPLICATION_JSON, schema_of::<Vec<RiskSignal>>).example(
                "one",
                concat!(
                    "[",
                    published!("risk-signal.lock"),
                    ",",
                    published!("risk-signal.alert"),
                    "]"
                ),
            ),
        )
        .problem_codes(&[FaultCode::BusUnavailable])
}

/// `GET /risk/locks`.
pub(in crate::sidecar) fn list_locks() -> OperationDescription {
    let text = "Tells what is closed to all but reductions, by rules and operators, the newest first.";
    let lift = ResponseLink {
        name: "lift",
        operation_id: "liftLock",
        parameters: &[("latch_id", "$response.body#/items/0/latch_id")],
        request_body: &[],
    };
    OperationDescription::new("listLocks", OperationTag::Risk, "List the locks in force", text)
        .calls_worker()
        .response(
            ResponseDescription::json::<LockList>(200, "The locks.")
                .example("two", published!("locks.two"))
                .link(lift),
        )
}

/// `POST /risk/locks/{latch_id}/lift`.
pub(in crate::sidecar) fn lift_lock() -> OperationDescription {
    let text = "Lifts a lock, for all workers from their next order on. Who lifts it and why is kept on the journal.";
    OperationDescription::new("liftLock", OperationTag::Risk, "Lift a lock", text)
        .calls_worker()
        .parameter(Parameter::path(
            "latch_id",
            "The lock's name.",
            lock_id_schema,
            r#""paper.account.fund-7.operator""#,
        ))
        .body(
            RequestBodyDescription::new::<LockLiftBody>()
                .example("reviewed", r#"{"reason": "the algorithm has been looked at"}"#),
        )
        .response(
            ResponseDescription::json::<LockDocument>(200, "The lock as it was.")
                .example("rule", published!("lock.rule")),
        )
        .problem_codes(&[FaultCode::NotFound])
}

fn alert_limit_schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "integer", "minimum": 1, "maximum": MAX_ALERT_LIMIT, "default": DEFAULT_ALERT_LIMIT})
}

fn rule_id_schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "string", "pattern": "^[A-Za-z0-9_]+$", "minLength": 1, "maxLength": MAX_RULE_ID_CHARACTERS})
}

fn lock_id_schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "string",
        "pattern": schema_patterns::PLAIN_TEXT,
        "minLength": 1,
        "maxLength": MAX_LOCK_ID_CHARACTERS,
    })
}
