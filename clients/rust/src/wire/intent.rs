//! The `ExecutionIntent` (FIX 35=D): the request to submit one order, decoded strictly.

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::Serialize;
use serde_json::json;

use crate::domain::id::{AccountId, BrokerId, ClientOrderId, VenueId};
use crate::domain::intent::{Intent, MAX_TAGS, RiskOverrides};
use crate::domain::order_terms::{Mode, OrderType, Side, TimeInForce};
use crate::domain::quantity::{Price, Quantity};
use crate::domain::symbol::Symbol;
use crate::domain::time::Timestamp;
use crate::fault::Fault;
use crate::wire::field_checks::{decode_tags, parse_money};
use crate::wire::schema_numbers::{MoneyInput, NumberInput, PositiveMoneyInput, PriceInput, QuantityInput};
use crate::wire::schema_patterns;
use crate::wire::schema_patterns::{TagInput, TimestampInput};
use crate::wire::strict_object::StrictObject;

/// A request to submit one order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
#[schemars(extend("if" = json!({"properties": {"order_type": {"const": "limit"}}, "required": ["order_type"]})))]
#[schemars(extend("then" = json!({"properties": {"price": price_input_schema()}, "required": ["price"]})))]
pub struct ExecutionIntent {
    /// The broker to route the order to, such as `binance` or `ibkr`: 1-64 characters of `[A-Za-z0-9_-]`.
    #[schemars(regex(pattern = schema_patterns::TOKEN))]
    pub broker: String,
    /// The venue to trade at, which must belong to the broker, such as `binance.spot`: 1-64 characters of
    /// `[A-Za-z0-9_.-]`.
    #[schemars(regex(pattern = schema_patterns::VENUE))]
    pub venue: String,
    /// The symbol to trade, such as `BTCUSDT`, at most 128 characters. It is normalised: `/`, `-` and spaces are removed,
    /// letters become upper case, and 1-32 characters must remain.
    #[schemars(regex(pattern = schema_patterns::SYMBOL), length(max = 128))]
    pub symbol: String,
    /// The side (FIX 54): `buy` or `sell`.
    pub side: Side,
    /// The quantity (FIX 38), in units of the instrument: above zero, below 10^11, at most 8 decimals, a whole number of the
    /// instrument's lots.
    #[schemars(with = "QuantityInput")]
    pub quantity: NumberInput,
    /// The order type (FIX 40): `market`, or `limit` with a `price`.
    pub order_type: OrderType,
    /// The limit price (FIX 44), in the quote currency: above zero, below 10^9, at most 8 decimals, a multiple of the
    /// instrument's tick. Required for `limit`; ignored for `market`, whatever it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<serde_json::Value>")]
    pub price: Option<NumberInput>,
    /// How long the order stays open (FIX 59): `GTC`, `IOC`, `FOK` or `DAY`. Default `GTC`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub time_in_force: Option<TimeInForce>,
    /// The caller's id of the order (FIX 11), 1-36 printable ASCII characters without a space. With `account_id` it is the
    /// idempotency key. Required on the durable door; the request door assigns one if it is absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = schema_patterns::CLIENT_ORDER_ID))]
    pub client_order_id: Option<String>,
    /// Labels of the order, at most 32, each of 1-64 characters without control characters. The tag `strategy:<name>` names
    /// its strategy.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Vec<TagInput>>", length(max = MAX_TAGS))]
    pub tags: Option<Vec<String>>,
    /// The account that the order belongs to, 1-64 characters of `[A-Za-z0-9_-]`, not `_` alone. Default:
    /// `risk.account_id` if given, else `default`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = schema_patterns::ACCOUNT))]
    pub account_id: Option<String>,
    /// The loss that the caller expects of the order, in the base currency: within ±9007199254.740991, at most 8 decimals.
    /// Its absolute value counts against the daily loss limits while the order is open.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<MoneyInput>")]
    pub estimated_loss: Option<NumberInput>,
    /// Whether the order may only reduce the position: if so, an order that is not a reduction is denied. Default `false`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reduce_only: Option<bool>,
    /// The mode that the caller expects. The intent is refused (`mode_mismatch`) if another mode is in force.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mode: Option<Mode>,
    /// The deadline after which the order is never sent to a broker, strict RFC 3339, at most 24 hours ahead.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<TimestampInput>")]
    pub expires_at: Option<Timestamp>,
    /// The caller's own risk values. They can tighten a limit, never loosen one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub risk: Option<IntentRisk>,
}

/// Returns the schema of a limit order's price. A market order's price is not checked.
fn price_input_schema() -> Schema {
    PriceInput::json_schema(&mut SchemaGenerator::default())
}

/// The caller's own risk values of the account.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct IntentRisk {
    /// The account of an intent without an `account_id` of its own; beside one it has no effect.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = schema_patterns::ACCOUNT))]
    pub account_id: Option<String>,
    /// The profit (below zero: loss) realised in the trading day, in the base currency: within ±9007199254.740991, at most 8
    /// decimals.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<MoneyInput>")]
    pub realized_pnl: Option<NumberInput>,
    /// The profit (below zero: loss) of the open positions, in the base currency: within ±9007199254.740991, at most 8
    /// decimals.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<MoneyInput>")]
    pub unrealized_pnl: Option<NumberInput>,
    /// The loss of the trading day at which the account must stop, in the base currency: above zero, at most
    /// 9007199254.740991. It applies to this intent where it is tighter than the router's stop-loss.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<PositiveMoneyInput>")]
    pub stop_loss: Option<NumberInput>,
}

/// The treatment of an intent without a `client_order_id`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MissingIdPolicy<'a> {
    /// Use this id.
    Use(&'a ClientOrderId),
    /// Assign one. The caller waits for the reply, which has it.
    Assign,
    /// Refuse the intent: a redelivery could not be distinguished from a new order.
    Refuse,
}

/// Decodes an intent. Only its grammar is checked: whether the broker, the venue and the symbol exist is not.
///
/// # Errors
/// `payload_too_large`, `malformed`, `invalid_field` or `unknown_field`. The fault names the field and the
/// `client_order_id` where they are known.
pub fn decode_intent(body: &[u8], missing_id_policy: MissingIdPolicy<'_>) -> Result<Intent, Fault> {
    let mut object = StrictObject::from_body(body)?;
    let client_order_id = object.optional_text("client_order_id", ClientOrderId::new)?;
    decode_intent_fields(object, client_order_id.clone(), missing_id_policy).map_err(|fault| match &client_order_id {
        Some(id) => fault.with_client_order_id(id.as_str()),
        None => fault,
    })
}

fn decode_intent_fields(
    mut object: StrictObject<'_>,
    client_order_id: Option<ClientOrderId>,
    missing_id_policy: MissingIdPolicy<'_>,
) -> Result<Intent, Fault> {
    let broker = object.required_text("broker", BrokerId::new)?;
    let venue = object.required_text("venue", VenueId::new)?;
    let symbol = object.required_text("symbol", Symbol::parse)?;
    let side = object.required_text("side", parse_one_of(Side::parse, "must be `buy` or `sell`"))?;
    let quantity = object.optional_amount("quantity", Quantity::new)?;
    let quantity = quantity.ok_or_else(|| object.invalid_field("quantity", "is required"))?;
    let order_type = object.required_text(
        "order_type",
        parse_one_of(OrderType::parse, "must be `market` or `limit`"),
    )?;
    let price = match order_type {
        OrderType::Market => {
            object.ignore("price");
            None
        }
        OrderType::Limit => {
            let price = object.optional_amount("price", Price::new)?;
            Some(price.ok_or_else(|| object.invalid_field("price", "is required for a limit order"))?)
        }
    };
    let time_in_force = object.optional_text(
        "time_in_force",
        parse_one_of(TimeInForce::parse, "must be `GTC`, `IOC`, `FOK` or `DAY`"),
    )?;
    let account_id = object.optional_text("account_id", AccountId::new)?;
    let tags = decode_tags(&mut object)?;
    let reduce_only = object
        .optional::<bool>("reduce_only", "must be true or false")?
        .unwrap_or(false);
    let estimated_loss = object
        .optional_amount("estimated_loss", parse_money)?
        .map(|loss| loss.abs());
    let mode = object.optional_text(
        "mode",
        parse_one_of(Mode::parse, "must be `paper`, `live` or `dry_run`"),
    )?;
    let expires_at = object.optional_timestamp("expires_at")?;
    let (risk_account, risk) = match object.optional_object("risk.")? {
        Some(risk) => decode_risk(risk)?,
        None => (None, RiskOverrides::default()),
    };
    let account_id = account_id.or(risk_account);
    let client_order_id = match (client_order_id, missing_id_policy) {
        (Some(id), _) => id,
        (None, MissingIdPolicy::Use(id)) => id.clone(),
        (None, MissingIdPolicy::Assign) => ClientOrderId::generate(),
        (None, MissingIdPolicy::Refuse) => {
            return Err(object.invalid_field("client_order_id", "is required on the durable door"));
        }
    };
    object.reject_unknown()?;
    Ok(Intent {
        broker,
        venue,
        symbol,
        side,
        quantity,
        order_type,
        price,
        time_in_force: time_in_force.unwrap_or(TimeInForce::Gtc),
        client_order_id,
        account_id: account_id.unwrap_or_else(AccountId::default_account),
        tags,
        reduce_only,
        estimated_loss,
        mode,
        expires_at,
        risk,
    })
}

/// Decodes the caller's risk values, and the account that they name.
fn decode_risk(mut risk: StrictObject<'_>) -> Result<(Option<AccountId>, RiskOverrides), Fault> {
    let account_id = risk.optional_text("account_id", AccountId::new)?;
    let overrides = RiskOverrides {
        realized_pnl: risk.optional_amount("realized_pnl", parse_money)?,
        unrealized_pnl: risk.optional_amount("unrealized_pnl", parse_money)?,
        stop_loss: risk.optional_amount("stop_loss", parse_money)?,
    };
    if overrides.stop_loss.is_some_and(|limit| !limit.is_positive()) {
        return Err(risk.invalid_field("stop_loss", "must be above zero"));
    }
    risk.reject_unknown()?;
    Ok((account_id, overrides))
}

fn parse_one_of<T>(
    parse: impl Fn(&str) -> Option<T>,
    rule: &'static str,
) -> impl FnOnce(&str) -> Result<T, &'static str> {
    move |text| parse(text).ok_or(rule)
}

#[cfg(test)]
#[path = "intent_tests.rs"]
mod tests;
