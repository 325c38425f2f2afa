//! Risk: what the rules have said, and what is closed.

use schemars::{Schema, SchemaGenerator, json_schema};

use super::published;
use crate::domain::signal::Level;
use crate::fault::Code;
use crate::sidecar::api::operation::{Answer, Body, Description, Link, Tag, of};
use crate::sidecar::api::parameter::{Parameter, token};
use crate::sidecar::handlers::alerts::{DEFAULT_LIMIT, MAX_LIMIT, MAX_RULE_CHARACTERS};
use crate::sidecar::json::APPLICATION_JSON;
use crate::wire::grammar;
use crate::wire::latch::{Lock, LockLiftBody, LocksAnswer, MAX_LATCH_ID_CHARACTERS};
use crate::wire::signal::RiskSignal;

/// `GET /risk/alerts`.
pub(in crate::sidecar) fn alerts() -> Description {
    let text = "Tells what the risk rules have said, the newest first, of the newest alerts the sidecar keeps.";
    Description::new("listAlerts", Tag::Risk, "List alerts", text)
        .parameter(Parameter::query("limit", "How many at most.", alerts_limit, "10"))
        .parameter(Parameter::query(
            "level",
            "`alert`: the order went on; `lock`: it was stopped.",
            of::<Level>,
            r#""lock""#,
        ))
        .parameter(Parameter::query(
            "account_id",
            "Of this account alone.",
            token,
            r#""default""#,
        ))
        .parameter(Parameter::query(
            "rule_id",
            "Of this rule alone.",
            rule,
            r#""order_size""#,
        ))
        .answer(
            Answer::of(200, "The alerts.", APPLICATION_JSON, of::<Vec<RiskSignal>>).example(
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
        .codes(&[Code::BusUnavailable])
}

/// `GET /risk/locks`.
pub(in crate::sidecar) fn locks() -> Description {
    let text = "Tells what is closed to all but reductions, by rules and operators, the newest first.";
    let lift = Link {
        name: "lift",
        operation_id: "liftLock",
        parameters: &[("latch_id", "$response.body#/items/0/latch_id")],
        body: &[],
    };
    Description::new("listLocks", Tag::Risk, "List the locks in force", text)
        .asks_worker()
        .answer(
            Answer::json::<LocksAnswer>(200, "The locks.")
                .example("two", published!("locks.two"))
                .link(lift),
        )
}

/// `POST /risk/locks/{latch_id}/lift`.
pub(in crate::sidecar) fn lift() -> Description {
    let text = "Lifts a lock, for all workers from their next order on. Who lifts it and why is kept on the journal.";
    Description::new("liftLock", Tag::Risk, "Lift a lock", text)
        .asks_worker()
        .parameter(Parameter::path(
            "latch_id",
            "The lock's name.",
            latch_id,
            r#""paper.account.fund-7.operator""#,
        ))
        .body(Body::of::<LockLiftBody>().example("reviewed", r#"{"reason": "the algorithm has been looked at"}"#))
        .answer(Answer::json::<Lock>(200, "The lock as it was.").example("rule", published!("lock.rule")))
        .codes(&[Code::NotFound])
}

fn alerts_limit(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "integer", "minimum": 1, "maximum": MAX_LIMIT, "default": DEFAULT_LIMIT})
}

fn rule(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "string", "pattern": "^[A-Za-z0-9_]+$", "minLength": 1, "maxLength": MAX_RULE_CHARACTERS})
}

fn latch_id(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "string",
        "pattern": grammar::PLAIN_TEXT,
        "minLength": 1,
        "maxLength": MAX_LATCH_ID_CHARACTERS,
    })
}
