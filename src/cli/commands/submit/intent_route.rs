//! Reads broker and account from an intent that is sent unchanged.

use std::fmt;

use serde::de::{IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use crate::domain::id::{AccountId, BrokerId};
use crate::fault::{Fault, FaultCode};

/// The ids in an intent's subject. The router checks everything else.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::cli) struct IntentRoute {
    pub(in crate::cli) broker: BrokerId,
    pub(in crate::cli) account: AccountId,
}

/// Returns the route of an intent.
///
/// # Errors
/// `malformed` when the line is not a JSON object; `invalid_field` when broker or account is not valid in a subject.
pub(in crate::cli) fn parse_route(line: &[u8]) -> Result<IntentRoute, Fault> {
    let fields: RouteFields<'_> = serde_json::from_slice(line)
        .map_err(|error| Fault::new(FaultCode::Malformed, format!("the line is not a JSON object: {error}")))?;
    let broker = parse_text("broker", fields.broker)?;
    let broker = broker.ok_or_else(|| Fault::for_field(FaultCode::InvalidField, "broker", "is required"))?;
    let broker = BrokerId::new(&broker).map_err(|rule| Fault::for_field(FaultCode::InvalidField, "broker", rule))?;
    let account = match parse_account("account_id", fields.account)? {
        Some(account) => Some(account),
        None => parse_risk_account(fields.risk)?,
    };
    let account = account.unwrap_or_else(AccountId::default_account);
    Ok(IntentRoute { broker, account })
}

/// Returns the account of the caller's risk values, which is the account of an intent without one of its own.
fn parse_risk_account(risk: Option<&RawValue>) -> Result<Option<AccountId>, Fault> {
    let Some(risk) = risk else { return Ok(None) };
    let fields: Option<RouteFields<'_>> = serde_json::from_str(risk.get())
        .map_err(|_| Fault::for_field(FaultCode::InvalidField, "risk", "must be an object"))?;
    parse_account("risk.account_id", fields.and_then(|fields| fields.account))
}

fn parse_account(field: &str, value: Option<&RawValue>) -> Result<Option<AccountId>, Fault> {
    let account = parse_text(field, value)?.map(|text| AccountId::new(&text));
    account
        .transpose()
        .map_err(|rule| Fault::for_field(FaultCode::InvalidField, field, rule))
}

fn parse_text(field: &str, value: Option<&RawValue>) -> Result<Option<String>, Fault> {
    let Some(value) = value else { return Ok(None) };
    serde_json::from_str(value.get()).map_err(|_| Fault::for_field(FaultCode::InvalidField, field, "must be a string"))
}

/// The fields. Unlike a derived implementation, this one accepts duplicate fields and numbers out of range: the router
/// refuses them.
#[derive(Default)]
struct RouteFields<'a> {
    broker: Option<&'a RawValue>,
    account: Option<&'a RawValue>,
    risk: Option<&'a RawValue>,
}

impl<'de> Deserialize<'de> for RouteFields<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct RouteFieldsVisitor;
        impl<'de> Visitor<'de> for RouteFieldsVisitor {
            type Value = RouteFields<'de>;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a JSON object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<RouteFields<'de>, A::Error> {
                let mut fields = RouteFields::default();
                while let Some(key) = map.next_key::<String>()? {
                    match key.as_str() {
                        "broker" => fields.broker = map.next_value()?,
                        "account_id" => fields.account = map.next_value()?,
                        "risk" => fields.risk = map.next_value()?,
                        _ => drop(map.next_value::<IgnoredAny>()?),
                    }
                }
                Ok(fields)
            }
        }
        deserializer.deserialize_map(RouteFieldsVisitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_broker_and_account_are_read() {
        for (line, expected) in [
            (r#"{"broker":"binance"}"#, Ok(("binance", "default"))),
            (
                r#"{"account_id":"f-1","quantity":1e400,"broker":"ibkr"}"#,
                Ok(("ibkr", "f-1")),
            ),
            (r#"{"broker":"a","broker":"ibkr","x":1,"x":2}"#, Ok(("ibkr", "default"))),
            (r#"{"broker":"a","account_id":null}"#, Ok(("a", "default"))),
            (r#"{"broker":"a","risk":{"account_id":"f-2"}}"#, Ok(("a", "f-2"))),
            (
                r#"{"broker":"a","risk":{"account_id":"f-2"},"account_id":"f-1"}"#,
                Ok(("a", "f-1")),
            ),
            (r#"{"broker":"a","risk":null}"#, Ok(("a", "default"))),
            (r#"{"broker":"a","risk":{"stop_loss":1}}"#, Ok(("a", "default"))),
            (r#"{"broker":"a","risk":7}"#, Err(FaultCode::InvalidField)),
            (r#"{"broker":"a","account_id":"_"}"#, Err(FaultCode::InvalidField)),
            (r#"{}"#, Err(FaultCode::InvalidField)),
            (r#"{"broker":7}"#, Err(FaultCode::InvalidField)),
            (r#"{"broker":"a.b"}"#, Err(FaultCode::InvalidField)),
            (r#"{"broker":"a","account_id":"*"}"#, Err(FaultCode::InvalidField)),
            ("[]", Err(FaultCode::Malformed)),
            ("{", Err(FaultCode::Malformed)),
            ("hello", Err(FaultCode::Malformed)),
        ] {
            let parsed = parse_route(line.as_bytes()).map_err(|fault| fault.code);
            let parsed = parsed
                .as_ref()
                .map(|route| (route.broker.as_str(), route.account.as_str()));
            assert_eq!(parsed, expected.as_ref().copied(), "{line}");
        }
    }
}
