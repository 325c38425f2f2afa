//! The `ExecutionIntent`: written by clients, read strictly by workers.

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::json;

use crate::domain::id::{AccountId, BrokerId, ClientOrderId, Tag, VenueId};
use crate::domain::intent::{Intent, MAX_TAGS, RiskOverrides, Symbol};
use crate::domain::money::{Micros, Rounding};
use crate::domain::order_terms::{Mode, OrderType, Side, TimeInForce};
use crate::domain::quantity::{Price, Quantity};
use crate::domain::time::Timestamp;
use crate::fault::{Fault, FaultCode};
use crate::wire::schema_numbers::{MoneyInput, NumberInput, PositiveMoneyInput, PriceInput, QuantityInput};
use crate::wire::schema_patterns;
use crate::wire::schema_patterns::{TagInput, TimestampInput};
use crate::wire::strict_object::StrictObject;

/// What an algorithm publishes to have an order executed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
#[schemars(extend("if" = json!({"properties": {"order_type": {"const": "limit"}}, "required": ["order_type"]})))]
#[schemars(extend("then" = json!({"properties": {"price": {"not": {"type": "null"}}}, "required": ["price"]})))]
pub struct ExecutionIntent {
    /// The broker to route to, such as `binance` or `ibkr`.
    #[schemars(regex(pattern = schema_patterns::TOKEN))]
    pub broker: String,
    /// The venue, which must belong to the broker, such as `binance.spot`.
    #[schemars(regex(pattern = schema_patterns::VENUE))]
    pub venue: String,
    /// The symbol; `/`, `-` and spaces are left out, letters raised.
    #[schemars(regex(pattern = schema_patterns::SYMBOL), length(max = 128))]
    pub symbol: String,
    /// Buy or sell.
    pub side: Side,
    /// Above zero, below 10^11, at most 8 decimals, a multiple of the instrument's lot.
    #[schemars(with = "QuantityInput")]
    pub quantity: NumberInput,
    /// Market, or limit with a price.
    pub order_type: OrderType,
    /// Required for `limit`: above zero, below 10^9, at most 8 decimals, a multiple of the tick; ignored for `market`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<PriceInput>")]
    pub price: Option<NumberInput>,
    /// How long the order stands; `GTC` unless given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub time_in_force: Option<TimeInForce>,
    /// 1-36 printable ASCII characters without a space; required on the durable subject.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = schema_patterns::CLIENT_ORDER_ID))]
    pub client_order_id: Option<String>,
    /// At most 32, each of 1-64 characters; `strategy:<name>` names the strategy.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Vec<TagInput>>", length(max = MAX_TAGS))]
    pub tags: Option<Vec<String>>,
    /// 1-64 characters of `[A-Za-z0-9_-]`; `default` unless given.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = schema_patterns::TOKEN))]
    pub account_id: Option<String>,
    /// The loss expected of this order; its absolute value counts, against the limits of the day's loss.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<MoneyInput>")]
    pub estimated_loss: Option<NumberInput>,
    /// Whether the order may only reduce the position: it is refused unless it is a reduction.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reduce_only: Option<bool>,
    /// The mode the caller expects; another one in force is refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mode: Option<Mode>,
    /// Never sent to a broker after this; at most 24 hours ahead.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<TimestampInput>")]
    pub expires_at: Option<Timestamp>,
    /// The caller's own risk figures: they can tighten a limit, never loosen one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub risk: Option<IntentRisk>,
}

/// The caller's own risk figures.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct IntentRisk {
    /// The account they are of: the intent's, if given.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = schema_patterns::TOKEN))]
    pub account_id: Option<String>,
    /// Profit realised today, in the base currency.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<MoneyInput>")]
    pub realized_pnl: Option<NumberInput>,
    /// Profit not realised yet, in the base currency.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<MoneyInput>")]
    pub unrealized_pnl: Option<NumberInput>,
    /// The loss at which the account stops, above zero, in the base currency.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<PositiveMoneyInput>")]
    pub stop_loss: Option<NumberInput>,
}

/// What becomes of an intent without a `client_order_id`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MissingIdPolicy<'a> {
    /// It gets this id.
    Use(&'a ClientOrderId),
    /// It is given one: its caller waits for the answer and learns it there.
    Assign,
    /// It is refused: a redelivery could not be told from a new order.
    Refuse,
}

/// Reads an intent whose grammar holds.
///
/// # Errors
/// `malformed`, `invalid_field`, `unknown_field` or `account_mismatch`, each about one field.
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
    let price = object.optional_amount("price", Price::new)?;
    let price = match order_type {
        OrderType::Market => None,
        OrderType::Limit => Some(price.ok_or_else(|| object.invalid_field("price", "is required for a limit order"))?),
    };
    let time_in_force = object.optional_text(
        "time_in_force",
        parse_one_of(TimeInForce::parse, "must be `GTC`, `IOC`, `FOK` or `DAY`"),
    )?;
    let account_id = object
        .optional_text("account_id", AccountId::new)?
        .unwrap_or_else(AccountId::default_account);
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
    let risk = match object.optional_object("risk.")? {
        Some(risk) => decode_risk_overrides(risk, &account_id)?,
        None => RiskOverrides::default(),
    };
    let client_order_id = match (client_order_id, missing_id_policy) {
        (Some(id), _) => id,
        (None, MissingIdPolicy::Use(id)) => id.clone(),
        (None, MissingIdPolicy::Assign) => ClientOrderId::generate(),
        (None, MissingIdPolicy::Refuse) => {
            return Err(object.invalid_field("client_order_id", "is required on the durable subject"));
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
        account_id,
        tags,
        reduce_only,
        estimated_loss,
        mode,
        expires_at,
        risk,
    })
}

/// Takes the tags of an intent or of a note.
///
/// # Errors
/// `invalid_field` when they are too many, or one of them is no tag.
pub(super) fn decode_tags(object: &mut StrictObject<'_>) -> Result<Vec<Tag>, Fault> {
    let texts = object
        .optional::<Vec<String>>("tags", "must be an array of strings")?
        .unwrap_or_default();
    if texts.len() > MAX_TAGS {
        return Err(object.invalid_field("tags", format!("must be at most {MAX_TAGS}")));
    }
    texts
        .iter()
        .map(|text| Tag::new(text).map_err(|rule| object.invalid_field("tags", format!("each {rule}"))))
        .collect()
}

fn decode_risk_overrides(mut risk: StrictObject<'_>, account_id: &AccountId) -> Result<RiskOverrides, Fault> {
    let of_account = risk.optional_text("account_id", AccountId::new)?;
    if of_account.is_some_and(|of_account| of_account != *account_id) {
        return Err(Fault::for_field(
            FaultCode::AccountMismatch,
            "risk.account_id",
            "is not the intent's account",
        ));
    }
    let overrides = RiskOverrides {
        realized_pnl: risk.optional_amount("realized_pnl", parse_money)?,
        unrealized_pnl: risk.optional_amount("unrealized_pnl", parse_money)?,
        stop_loss: risk.optional_amount("stop_loss", parse_money)?,
    };
    if overrides.stop_loss.is_some_and(|limit| !limit.is_positive()) {
        return Err(risk.invalid_field("stop_loss", "must be above zero"));
    }
    risk.reject_unknown()?;
    Ok(overrides)
}

/// An amount of the base currency that the shared sums can count.
fn parse_money(number: crate::domain::decimal::Decimal) -> Result<crate::domain::decimal::Decimal, &'static str> {
    match Micros::from_decimal(number, Rounding::Down) {
        Some(_) if number.scale() <= crate::domain::quantity::MAX_AMOUNT_DECIMALS => Ok(number),
        _ => Err("must lie within ±9007199254.740991 and have at most 8 decimals"),
    }
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
