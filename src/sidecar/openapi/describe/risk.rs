//! Risk: alerts, heartbeats, limits and locks.

use schemars::{Schema, SchemaGenerator, json_schema};

use crate::domain::rule_signal::SignalLevel;
use crate::fault::FaultCode;
use crate::sidecar::handlers::risk::alerts::MAX_RULE_ID_CHARACTERS;
use crate::sidecar::openapi::describe::published_example;
use crate::sidecar::openapi::operation::{
    OperationDescription, RequestBodyDescription, ResponseDescription, ResponseLink,
};
use crate::sidecar::openapi::parameter::Parameter;
use crate::sidecar::openapi::schema::{page_limit_schema, schema_of};
use crate::sidecar::openapi::tag::OperationTag;
use crate::sidecar::response::media_type::APPLICATION_JSON;
use crate::wire::heartbeat::{HeartbeatAnswer, HeartbeatBody};
use crate::wire::limits::LimitsInForce;
use crate::wire::lock::{LockDocument, LockLiftBody, LockList, MAX_LOCK_ID_CHARACTERS};
use crate::wire::risk_signal::RiskSignal;
use crate::wire::schema_patterns;

const LIMITS_EXAMPLE: &str = r#"{"version": 1, "limits": {"risk": {"base_currency": "USD", "daily_loss_limit": "50000"},
    "instruments": [{"venue": "ibkr.paper", "symbol": "AAPL", "max_position": "5000"}], "accounts": []},
    "actor": "ops:mira", "reason": "the fund's new mandate", "timestamp": "2026-03-02T09:00:00.000000Z"}"#;

/// `GET /risk/alerts`.
pub(in crate::sidecar) fn list_alerts() -> OperationDescription {
    let text = "Lists the risk alerts that the sidecar retains, newest first.";
    OperationDescription::new("listAlerts", OperationTag::Risk, "List alerts", text)
        .parameter(Parameter::query(
            "limit",
            "Maximum number of items.",
            page_limit_schema,
            "10",
        ))
        .parameter(Parameter::query(
            "level",
            "`alert`: the order continued; `lock`: the order was denied.",
            schema_of::<SignalLevel>,
            r#""lock""#,
        ))
        .parameter(Parameter::account("Return only this account."))
        .parameter(Parameter::query(
            "rule_id",
            "Return only this rule.",
            rule_id_schema,
            r#""order_size""#,
        ))
        .response(
            ResponseDescription::new(200, "The alerts.", APPLICATION_JSON, schema_of::<Vec<RiskSignal>>).example(
                "one",
                concat!(
                    "[",
                    published_example!("risk-signal.lock"),
                    ",",
                    published_example!("risk-signal.alert"),
                    "]"
                ),
            ),
        )
        .problem_codes(&[FaultCode::BusUnavailable])
}

/// `GET /risk/limits`.
pub(in crate::sidecar) fn get_limits() -> OperationDescription {
    let text = "Returns the limits in force: the sections of the settings that all workers enforce, and who put them in force \
        when and why. Limits that `PUT /state` has set take precedence over those of the section `risk`.";
    OperationDescription::new("getLimits", OperationTag::Risk, "Get the limits in force", text)
        .calls_worker()
        .response(
            ResponseDescription::json::<LimitsInForce>(200, "The limits in force.").example("one", LIMITS_EXAMPLE),
        )
        .problem_codes(&[FaultCode::NotFound, FaultCode::BusUnavailable])
}

/// `GET /risk/locks`.
pub(in crate::sidecar) fn list_locks() -> OperationDescription {
    let text =
        "Lists active locks set by rules and operators, newest first. A lock denies every order except reductions.";
    let lift = ResponseLink {
        name: "lift",
        operation_id: "liftLock",
        parameters: &[("latch_id", "$response.body#/items/0/latch_id")],
        request_body: &[],
    };
    OperationDescription::new("listLocks", OperationTag::Risk, "List active locks", text)
        .calls_worker()
        .response(
            ResponseDescription::json::<LockList>(200, "The active locks.")
                .example("two", published_example!("locks.two"))
                .link(lift),
        )
}

/// `POST /risk/locks/{latch_id}/lift`.
pub(in crate::sidecar) fn lift_lock() -> OperationDescription {
    let text = "Lifts a lock. All workers apply this from their next order. The actor and the reason are journaled.";
    OperationDescription::new("liftLock", OperationTag::Risk, "Lift a lock", text)
        .calls_worker()
        .parameter(Parameter::path(
            "latch_id",
            "The lock's id.",
            lock_id_schema,
            r#""paper.account.fund-7.operator""#,
        ))
        .body(
            RequestBodyDescription::new::<LockLiftBody>()
                .example("reviewed", r#"{"reason": "the algorithm was reviewed"}"#),
        )
        .response(
            ResponseDescription::json::<LockDocument>(200, "The lifted lock.")
                .example("rule", published_example!("lock.rule")),
        )
        .problem_codes(&[FaultCode::NotFound])
}

/// `POST /accounts/{account_id}/heartbeat`.
pub(in crate::sidecar) fn send_heartbeat() -> OperationDescription {
    let text = "Keeps the dead man's switch of the account from firing. The first heartbeat arms it, each one starts its time \
        again. Where none arrives in time, by Redis' clock, the account's openings are locked and its open orders are \
        cancelled; the lock remains until it is lifted. A time of 0 disarms the switch, with a reason. Changes are journaled, \
        heartbeats that change nothing are not.";
    OperationDescription::new("sendHeartbeat", OperationTag::Risk, "Send a heartbeat", text)
        .calls_worker()
        .parameter(Parameter::path(
            "account_id",
            "The account.",
            account_schema,
            r#""fund-7""#,
        ))
        .body(
            RequestBodyDescription::new::<HeartbeatBody>()
                .example("arm", published_example!("heartbeat-request.arm"))
                .example(
                    "disarm",
                    r#"{"timeout_ms": 0, "reason": "the algorithm ends for the day"}"#,
                ),
        )
        .response(
            ResponseDescription::json::<HeartbeatAnswer>(200, "The state of the switch.")
                .example("armed", published_example!("heartbeat-answer.armed"))
                .example("locked", published_example!("heartbeat-answer.locked")),
        )
}

fn account_schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "string", "pattern": schema_patterns::ACCOUNT})
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
