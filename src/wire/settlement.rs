//! What a journaled report carries beyond the report: the moves of the shared sums, and what rebuilds the order.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::domain::decimal::Decimal;
use crate::domain::id::{AccountId, BrokerId, ClientOrderId, ContentHash, OrderId, Tag, VenueId};
use crate::domain::intent::Symbol;
use crate::domain::metadata::Metadata;
use crate::domain::money::Micros;
use crate::domain::order::Order;
use crate::domain::quantity::{Price, Quantity};
use crate::domain::reservation::Reservation;
use crate::domain::settlement::SumDeltas;
use crate::domain::time::{Timestamp, TradingDate};
use crate::domain::venue_report::{DueAction, DueTask};
use crate::wire::report::ExecutionReport;
use crate::wire::schema_numbers::PlainNumber;
use crate::wire::schema_patterns::{CivilDate, UtcTimestamp};

/// What an event moved, and what is needed to rebuild the shared state from it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "Settlement")]
pub struct ReportSettlement {
    /// The settlement's own id: it tells two effects apart that claim the same version of an order. The first of them on
    /// the journal counts. None on what was not settled: submissions and denials.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<Uuid>,
    /// The store's epoch it was settled in.
    pub epoch: i64,
    /// The hash of the intent's content.
    pub content: String,
    /// The moves of the shared sums since the order's version before; from nothing for version 1.
    pub deltas: SettlementDeltas,
    /// The order's moves of the shared sums in all, from nothing.
    #[serde(default)]
    pub total: SettlementDeltas,
    /// The lot that quantities count in.
    #[schemars(with = "PlainNumber")]
    pub lot_size: Decimal,
    /// What a unit of the quote currency was worth in the base currency.
    #[schemars(with = "PlainNumber")]
    pub base_rate: Decimal,
    /// The asset that is bought or sold, where fees may be paid in it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base_asset: Option<String>,
    /// Lots still reserved after this event.
    pub rest_lots: i64,
    /// What the order was valued at when it was reserved, in millionths of the base currency.
    pub notional: i64,
    /// What the order counts for in the day's notional, in millionths of the base currency.
    pub daily_notional: i64,
    /// The loss its caller expects of it, in millionths of the base currency: reserved while it is open.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub open_loss: i64,
    /// Whether it counts as an open order.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_open: bool,
    /// The trading date it counts for.
    #[schemars(with = "CivilDate")]
    pub trading_date: TradingDate,
    /// The sum of fill price × quantity.
    #[schemars(with = "PlainNumber")]
    pub filled_cost: Decimal,
    /// Ids of the fills that are no longer in the report.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub earlier_exec_ids: Vec<String>,
    /// What happens to the order next by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub due: Option<SettlementDue>,
    /// The figures of every limit the order was held against, by rule.
    #[serde(default, skip_serializing_if = "Metadata::is_empty")]
    pub figures: Metadata,
}

macro_rules! settlement_deltas {
    ($($(#[$doc:meta])* $field:ident;)+) => {
        /// The moves of the shared sums; those that do not move are left out.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
        pub struct SettlementDeltas {
            $($(#[$doc])* #[serde(default, skip_serializing_if = "is_zero")] pub $field: i64,)+
        }

        impl From<SumDeltas> for SettlementDeltas {
            fn from(deltas: SumDeltas) -> Self {
                let SumDeltas { $($field),+ } = deltas;
                Self { $($field),+ }
            }
        }

        impl From<SettlementDeltas> for SumDeltas {
            fn from(deltas: SettlementDeltas) -> Self {
                let SettlementDeltas { $($field),+ } = deltas;
                Self { $($field),+ }
            }
        }
    };
}

settlement_deltas! {
    /// Long exposure, in lots.
    long;
    /// Short exposure, in lots.
    short;
    /// Position, in lots.
    position;
    /// Cash flow, in millionths of the base currency.
    cash_flow;
    /// Fees not paid in the base asset, in millionths of the base currency.
    fees;
    /// Fees paid in the base asset, in units of 1e-8 of it.
    base_fees;
    /// Open orders.
    open_orders;
    /// The expected loss of open orders, in millionths of the base currency.
    open_loss;
    /// The day's routed notional, in millionths of the base currency.
    daily_notional;
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes the field by reference")]
fn is_zero(number: &i64) -> bool {
    *number == 0
}

/// What happens to an order by itself, and when.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SettlementDue {
    /// When.
    #[schemars(with = "UtcTimestamp")]
    pub at: Timestamp,
    /// `fill_rest` or `expire` at a paper venue; `inquire`: its venue is asked what became of it.
    pub action: String,
}

/// A journal document that cannot be read back into an order.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the document of order {order_id} cannot be read: {what}")]
pub struct JournalReportError {
    /// The order, as far as it is known.
    pub order_id: String,
    /// What is wrong with it.
    pub what: String,
}

/// Returns the journal's document of an order: its report with the settlement.
pub fn build_journal_report(order: &Order, deltas: SumDeltas, epoch: i64, readings: Metadata) -> ExecutionReport {
    build_settled_report(order, deltas, epoch, readings, None)
}

/// Returns the journal's document of an effect that was settled under an id of its own.
pub fn build_settled_report(
    order: &Order,
    deltas: SumDeltas,
    epoch: i64,
    readings: Metadata,
    settlement_id: Option<Uuid>,
) -> ExecutionReport {
    let reservation = &order.reservation;
    let due = order.due.map(|due| SettlementDue {
        at: due.at,
        action: due.action.as_str().to_owned(),
    });
    ExecutionReport {
        settlement: Some(Box::new(ReportSettlement {
            id: settlement_id,
            epoch,
            content: order.content_hash.0.to_string(),
            deltas: deltas.into(),
            total: order.total_deltas.into(),
            lot_size: reservation.lot_size,
            base_rate: reservation.base_rate,
            base_asset: reservation.base_asset.as_deref().map(str::to_owned),
            rest_lots: reservation.reserved_lots,
            notional: reservation.notional.units(),
            daily_notional: reservation.daily_notional.units(),
            open_loss: reservation.expected_loss.units(),
            is_open: reservation.is_open,
            trading_date: reservation.trading_date,
            filled_cost: order.filled_cost,
            earlier_exec_ids: order.older_exec_ids.clone(),
            due,
            figures: readings,
        })),
        ..ExecutionReport::of(order)
    }
}

/// Returns the epoch a document was settled in, without reading the rest; `None` for what is no journaled report.
pub fn read_epoch(body: &[u8]) -> Option<i64> {
    #[derive(Deserialize)]
    struct EpochReport {
        settlement: EpochSettlement,
    }
    #[derive(Deserialize)]
    struct EpochSettlement {
        epoch: i64,
    }
    serde_json::from_slice(body)
        .ok()
        .map(|document: EpochReport| document.settlement.epoch)
}

/// Returns the id a document was settled under, if it has one.
pub fn read_settlement_id(body: &[u8]) -> Option<Uuid> {
    #[derive(Deserialize)]
    struct SettlementIdReport {
        settlement: SettlementIdPart,
    }
    #[derive(Deserialize)]
    struct SettlementIdPart {
        id: Option<Uuid>,
    }
    serde_json::from_slice::<SettlementIdReport>(body).ok()?.settlement.id
}

/// Returns the order a document tells of, and its settlement.
///
/// # Errors
/// When the document is not whole.
pub fn decode_journal_report(body: &[u8]) -> Result<(Order, ReportSettlement), JournalReportError> {
    let report = ExecutionReport::decode(body).map_err(|error| JournalReportError {
        order_id: "?".to_owned(),
        what: error.to_string(),
    })?;
    restore_order(&report)
}

fn parse_due(settlement: &ReportSettlement) -> Result<Option<DueTask>, String> {
    let Some(due) = &settlement.due else { return Ok(None) };
    let known = [DueAction::FillRemainder, DueAction::Expire, DueAction::Inquire];
    let action = known.into_iter().find(|action| action.as_str() == due.action);
    let action = action.ok_or_else(|| format!("the due action {} is not known", due.action))?;
    Ok(Some(DueTask { at: due.at, action }))
}

/// As [`read_document`], of a report that has been read.
///
/// # Errors
/// When the document is not whole.
pub fn restore_order(report: &ExecutionReport) -> Result<(Order, ReportSettlement), JournalReportError> {
    let wrong = |what: &dyn std::fmt::Display| JournalReportError {
        order_id: report.order_id.clone(),
        what: what.to_string(),
    };
    let settlement = report
        .settlement
        .as_deref()
        .cloned()
        .ok_or_else(|| wrong(&"it has no settlement"))?;
    let micros = |units| Micros::new(units).ok_or_else(|| wrong(&"an amount is out of range"));
    let due = parse_due(&settlement).map_err(|what| wrong(&what))?;
    let order = Order {
        order_id: OrderId::new(&report.order_id).map_err(|error| wrong(&error))?,
        broker_order_id: report.broker_order_id.clone(),
        client_order_id: ClientOrderId::new(&report.client_order_id).map_err(|error| wrong(&error))?,
        account_id: AccountId::new(&report.account_id).map_err(|error| wrong(&error))?,
        broker: BrokerId::new(&report.broker).map_err(|error| wrong(&error))?,
        venue: VenueId::new(&report.venue).map_err(|error| wrong(&error))?,
        symbol: Symbol::parse(&report.symbol).map_err(|error| wrong(&error))?,
        side: report.side,
        order_type: report.order_type,
        time_in_force: report.time_in_force,
        price: report
            .price
            .map(Price::new)
            .transpose()
            .map_err(|error| wrong(&error))?,
        quantity: Quantity::new(report.quantity).map_err(|error| wrong(&error))?,
        tags: report
            .tags
            .iter()
            .map(|tag| Tag::new(tag))
            .collect::<Result<_, _>>()
            .map_err(|error| wrong(&error))?,
        mode: report.mode,
        content_hash: ContentHash(settlement.content.as_str().into()),
        status: (report.version > 0).then_some(report.status),
        version: report.version,
        filled_quantity: report.filled_quantity,
        filled_cost: settlement.filled_cost,
        fills: report
            .fills
            .iter()
            .map(|fill| fill.to_fill())
            .collect::<Result<_, _>>()
            .map_err(|error| wrong(&error))?,
        older_exec_ids: settlement.earlier_exec_ids.clone(),
        submitted_at: report.submitted_at,
        updated_at: report.updated_at,
        reason: report.reason.clone(),
        reservation: Reservation {
            lot_size: settlement.lot_size,
            base_rate: settlement.base_rate,
            base_asset: settlement.base_asset.as_deref().map(Into::into),
            reserved_lots: settlement.rest_lots,
            notional: micros(settlement.notional)?,
            daily_notional: micros(settlement.daily_notional)?,
            expected_loss: micros(settlement.open_loss)?,
            is_open: settlement.is_open,
            trading_date: settlement.trading_date,
        },
        due,
        total_deltas: settlement.total.into(),
    };
    Ok((order, settlement))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::currency_rates::CurrencyRates;
    use crate::domain::instrument::Instrument;
    use crate::domain::order_terms::Mode;
    use crate::domain::venue_report::{Fill, VenueOrderState, VenueReport};
    use crate::wire::intent::{MissingIdPolicy, decode_intent};

    #[test]
    fn an_order_survives_the_journal() {
        let number = |text: &str| text.parse::<Decimal>().unwrap();
        let body = br#"{"broker":"ibkr","venue":"ibkr.paper","symbol":"AAPL","side":"sell","quantity":10,
            "order_type":"limit","price":180.01,"client_order_id":"c","tags":["strategy:s"],"time_in_force":"DAY"}"#;
        let intent = decode_intent(body, MissingIdPolicy::Refuse).unwrap();
        let instrument = Instrument {
            broker: intent.broker.clone(),
            venue: intent.venue.clone(),
            symbol: intent.symbol.clone(),
            reference_price: Price::new(number("180")).unwrap(),
            tick_size: Price::new(number("0.01")).unwrap(),
            lot_size: Quantity::new(number("0.01")).unwrap(),
            max_order_size: intent.quantity,
            max_position: intent.quantity,
            max_notional: number("900000"),
            can_short: true,
            base_asset: None,
            quote: "USD".into(),
            base_rate: number("1"),
        };
        let now = Timestamp::now();
        let lots = instrument.lots(intent.quantity).unwrap();
        let reservation =
            Reservation::for_order(&instrument, &intent, lots, intent.price.unwrap(), now.utc_date()).unwrap();
        let claimed = Order::from_intent(&intent, OrderId::new("IB-1").unwrap(), Mode::Paper, reservation, now);
        let fill = Fill {
            exec_id: "IB-1-1".into(),
            quantity: Quantity::new(number("9.5")).unwrap(),
            price: intent.price.unwrap(),
            timestamp: now,
            fee: Decimal::ZERO,
            fee_currency: "USD".into(),
        };
        let message = VenueReport {
            broker_order_id: Some("P1".into()),
            fills: vec![fill],
            state: VenueOrderState::Working,
            cumulative_quantity: None,
            due: Some(DueTask {
                at: now,
                action: DueAction::FillRemainder,
            }),
        };
        let applied = claimed.apply_report(&message, &CurrencyRates::default(), now).unwrap();
        let figures = Metadata::new().with("max_daily_notional", 5);
        let document = build_journal_report(&applied.order, applied.deltas, 7, figures);
        let (order, settlement) = decode_journal_report(&document.encode()).unwrap();
        assert_eq!(order, applied.order);
        assert_eq!(SumDeltas::from(settlement.deltas), applied.deltas);
        assert_eq!((settlement.epoch, read_epoch(&document.encode())), (7, Some(7)));
        assert_eq!(read_epoch(&ExecutionReport::of(&order).encode()), None);
    }
}
