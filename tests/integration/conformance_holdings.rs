//! What the local exchange holds of an order, as its control endpoints list it.

use order_router::brokers::conformance::held_leg::{HeldExecution, HeldLeg, HeldState};
use order_router::brokers::conformance::{HarnessResult, VenueLeg};
use order_router::domain::decimal::Decimal;
use order_router::domain::id::OrderId;
use order_router::domain::leg::LegNumber;
use order_router::domain::order_terms::{OrderType, Side, TimeInForce};
use order_router::domain::quantity::{Price, Quantity};
use order_router::domain::reason::{Reason, ReasonCode};
use order_router::domain::replace::LegWord;
use order_router::domain::time::Timestamp;
use order_router::domain::venue_report::{Fill, VenueOrderState, VenueReport};
use serde_json::Value;

use crate::venue_fixture::{KEY, TestVenue};

/// An order of the exchange: one leg of an order of the router.
#[derive(Debug, Clone)]
pub struct HeldOrder {
    pub leg: LegNumber,
    pub executions: Vec<Fill>,
    /// How many of the executions came after the placement: the exchange was the maker.
    later_executions: u32,
    listed: Value,
}

/// Returns every order that the exchange has, or had, of one order of the router.
///
/// # Errors
/// When the exchange lists something that cannot be read.
pub async fn held_orders(venue: &TestVenue, order_id: &OrderId) -> HarnessResult<Vec<HeldOrder>> {
    let listed = venue.get("/control/orders").await;
    let listed = listed.body["orders"].as_array().ok_or("no list of orders")?.clone();
    // Read second: an order is at least as old as its executions.
    let executions = venue.executions().await;
    let mut held = Vec::new();
    for listed in listed.into_iter().filter(|one| one["account"] == KEY) {
        let venue_id = OrderId::new(text(&listed, "clientOrderId")?).map_err(|error| error.to_string())?;
        let (id, leg) = LegNumber::split_venue_id(&venue_id);
        if id != *order_id {
            continue;
        }
        let own = executions
            .iter()
            .filter(|one| one["orderId"] == listed["orderId"] && one["account"] == KEY);
        let later_executions = own.clone().filter(|one| one["isMaker"] == true).count();
        held.push(HeldOrder {
            leg,
            executions: own.map(read_fill).collect::<HarnessResult<_>>()?,
            later_executions: u32::try_from(later_executions).map_err(|error| error.to_string())?,
            listed,
        });
    }
    Ok(held)
}

impl HeldOrder {
    /// Reports whether the order is open.
    pub fn is_open(&self) -> bool {
        ["NEW", "PARTIALLY_FILLED"]
            .iter()
            .any(|word| self.listed["status"] == *word)
    }

    /// Returns how often the order has changed at the exchange: its placement with what that filled, each later execution,
    /// and its cancel.
    pub fn changes(&self) -> u32 {
        1 + self.later_executions + u32::from(self.listed["status"] == "CANCELED")
    }

    /// Returns the order as the suite compares it.
    ///
    /// # Errors
    /// When a field cannot be read.
    pub fn venue_leg(&self) -> HarnessResult<VenueLeg> {
        Ok(VenueLeg {
            leg: self.leg,
            price: price(&self.listed, "price")?,
            quantity: quantity(&self.listed, "origQty")?,
        })
    }

    /// Returns the order as the laws judge it.
    ///
    /// # Errors
    /// When a field cannot be read.
    pub fn held_leg(&self) -> HarnessResult<HeldLeg> {
        let unknown = |name: &str| format!("unknown {name} in {}", self.listed);
        let lower = |name: &str| text(&self.listed, name).map(str::to_ascii_lowercase);
        let order_type = OrderType::parse(&lower("type")?).ok_or_else(|| unknown("type"))?;
        let time_in_force = TimeInForce::parse(text(&self.listed, "timeInForce")?);
        Ok(HeldLeg {
            leg: self.leg,
            side: Side::parse(&lower("side")?).ok_or_else(|| unknown("side"))?,
            order_type,
            time_in_force: time_in_force.ok_or_else(|| unknown("timeInForce"))?,
            price: match order_type {
                OrderType::Market => None,
                OrderType::Limit => Some(price(&self.listed, "price")?),
            },
            quantity: quantity(&self.listed, "origQty")?,
            state: match text(&self.listed, "status")? {
                _ if self.is_open() => HeldState::Open,
                "FILLED" => HeldState::Filled,
                _ => HeldState::Ended,
            },
            executions: self
                .executions
                .iter()
                .map(|fill| HeldExecution {
                    exec_id: fill.exec_id.clone(),
                    quantity: fill.quantity,
                    price: fill.price,
                })
                .collect(),
        })
    }

    /// Returns the report of the order that a correct adapter would make of it.
    ///
    /// # Errors
    /// When a field cannot be read.
    pub fn report(&self) -> HarnessResult<VenueReport> {
        let ended = |code| Reason::new(code, "as the exchange lists it");
        Ok(VenueReport {
            broker_order_id: Some(self.listed["orderId"].to_string()),
            fills: self.executions.clone(),
            state: match text(&self.listed, "status")? {
                "CANCELED" => VenueOrderState::Cancelled(ended(ReasonCode::CancelRequested)),
                "EXPIRED" => VenueOrderState::Cancelled(ended(ReasonCode::TimeInForce)),
                _ => VenueOrderState::Working,
            },
            cumulative_quantity: Some(decimal(&self.listed, "executedQty")?),
            legs: LegWord::default(),
            due: None,
        })
    }
}

fn read_fill(listed: &Value) -> HarnessResult<Fill> {
    Ok(Fill {
        exec_id: listed["id"].to_string(),
        quantity: quantity(listed, "qty")?,
        price: price(listed, "price")?,
        timestamp: Timestamp::from_milliseconds(listed["time"].as_i64().ok_or("no time")?),
        fee: decimal(listed, "commission")?,
        fee_currency: text(listed, "commissionAsset")?.to_owned(),
    })
}

fn text<'a>(listed: &'a Value, name: &str) -> HarnessResult<&'a str> {
    listed[name].as_str().ok_or_else(|| format!("no {name} in {listed}"))
}

fn decimal(listed: &Value, name: &str) -> HarnessResult<Decimal> {
    let parsed = text(listed, name)?.parse();
    parsed.map_err(|error| format!("{name} in {listed}: {error}"))
}

fn price(listed: &Value, name: &str) -> HarnessResult<Price> {
    Price::new(decimal(listed, name)?).map_err(|error| format!("{name} in {listed}: {error}"))
}

fn quantity(listed: &Value, name: &str) -> HarnessResult<Quantity> {
    Quantity::new(decimal(listed, name)?).map_err(|error| format!("{name} in {listed}: {error}"))
}
