//! The journal's document of an order: its report with the settlement, and the order rebuilt from it.

use serde::Deserialize;
use serde_json::value::RawValue;
use uuid::Uuid;

use crate::domain::content_hash::ContentHash;
use crate::domain::id::{AccountId, BrokerId, ClientOrderId, OrderId, Tag, VenueId};
use crate::domain::metadata::Metadata;
use crate::domain::money::Micros;
use crate::domain::order::Order;
use crate::domain::quantity::{Price, Quantity, from_quantity_units};
use crate::domain::replace::OrderLegs;
use crate::domain::reservation::Reservation;
use crate::domain::settlement::{DayDeltas, SumDeltas};
use crate::domain::symbol::Symbol;
use crate::domain::time::TradingDate;
use crate::domain::venue_report::{DueAction, DueTask, Fill};
use crate::wire::report::ExecutionReport;
use crate::wire::settlement::{InvalidSettledQuantity, ReportSettlement, SettlementDue, settled_units};

/// A journaled report that no order can be rebuilt from.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the journaled report of order {order_id} is invalid: {problem}")]
pub struct JournalReportError {
    /// The order's id; `?` if the report has none that can be read.
    pub order_id: String,
    /// What is wrong with the report.
    pub problem: String,
}

/// Returns an order's report with a settlement that has no id: of a submission or a denial.
pub fn build_journal_report(order: &Order, deltas: SumDeltas, epoch: i64, figures: Metadata) -> ExecutionReport {
    build_settled_report(order, deltas, order.reservation.trading_date, epoch, figures, None)
}

/// Returns an order's report with its settlement, under the id of the effect that was settled, if it has one.
pub fn build_settled_report(
    order: &Order,
    deltas: SumDeltas,
    booked_on: TradingDate,
    epoch: i64,
    figures: Metadata,
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
            builds_on: settlement_id.and(order.builds_on),
            epoch,
            content: order.content_hash.0.to_string(),
            deltas: deltas.into(),
            total: order.total_deltas.into(),
            earlier_days: order.earlier_days.iter().map(Into::into).collect(),
            lot_size: reservation.lot_size,
            base_rate: reservation.base_rate,
            base_asset: reservation.base_asset.as_deref().map(str::to_owned),
            mark: reservation.mark.decimal(),
            reserved_quantity: from_quantity_units(reservation.reserved),
            notional: reservation.notional.units(),
            daily_notional: reservation.daily_notional.units(),
            open_loss: reservation.expected_loss.units(),
            price_loss: reservation.price_loss.units(),
            open_price_loss: reservation.open_price_loss.units(),
            reduce_only: order.reduce_only,
            is_open: reservation.is_open,
            booked_on,
            trading_date: reservation.trading_date,
            filled_cost: order.filled_cost,
            earlier_exec_ids: order.older_exec_ids.clone(),
            legs: order.legs.as_deref().map(|legs| Box::new(legs.into())),
            due,
            figures,
        })),
        ..ExecutionReport::from(order)
    }
}

/// Stands in a document's figures for readings that are not known yet.
pub const READINGS_PLACEHOLDER: &str = "@";
/// The placeholder in its place. No text within a document contains it: there its quotes would be escaped.
const PLACEHOLDER_FIELD: &[u8] = b"\"readings\":\"@\"";

/// Takes the placeholder of the readings out of a document and returns where it was, in bytes; `None` where there is none.
pub fn cut_readings_placeholder(document: &mut Vec<u8>) -> Option<usize> {
    let length = PLACEHOLDER_FIELD.len();
    let field = document.windows(length).rposition(|part| part == PLACEHOLDER_FIELD)?;
    let at = field + length - READINGS_PLACEHOLDER.len() - 1;
    document.drain(at..at + READINGS_PLACEHOLDER.len());
    Some(at)
}

/// Returns a document with its readings: the bytes that the reserve script stores.
pub fn insert_readings(document: &[u8], at: usize, readings: &str) -> Vec<u8> {
    let (head, tail) = document.split_at(at.min(document.len()));
    [head, readings.as_bytes(), tail].concat()
}

/// The part of a settlement that identifies it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SettlementHeader {
    /// The id of the effect that was settled; none for a submission or a denial.
    pub id: Option<Uuid>,
    /// The epoch of the store that the report was settled in.
    pub epoch: Option<i64>,
}

/// Returns the id and the epoch of a report's settlement without decoding the rest. A part that is absent or invalid is
/// `None`, and does not hide the other.
pub fn read_settlement_header(body: &[u8]) -> SettlementHeader {
    #[derive(Deserialize)]
    struct HeaderOfReport<'a> {
        #[serde(borrow)]
        settlement: RawHeader<'a>,
    }
    #[derive(Deserialize)]
    struct RawHeader<'a> {
        #[serde(borrow)]
        id: Option<&'a RawValue>,
        #[serde(borrow)]
        epoch: Option<&'a RawValue>,
    }
    let Ok(report) = serde_json::from_slice::<HeaderOfReport<'_>>(body) else {
        return SettlementHeader::default();
    };
    SettlementHeader {
        id: report.settlement.id.and_then(|id| serde_json::from_str(id.get()).ok()),
        epoch: report
            .settlement
            .epoch
            .and_then(|epoch| serde_json::from_str(epoch.get()).ok()),
    }
}

/// Returns the order that a journaled report describes, and its settlement.
///
/// # Errors
/// When the body is not a report, or a part of the order is missing or invalid.
pub fn decode_journal_report(body: &[u8]) -> Result<(Order, Box<ReportSettlement>), JournalReportError> {
    let report = ExecutionReport::decode(body).map_err(|error| JournalReportError {
        order_id: "?".to_owned(),
        problem: error.to_string(),
    })?;
    restore_order(report)
}

fn parse_due(settlement: &ReportSettlement) -> Result<Option<DueTask>, String> {
    let Some(due) = &settlement.due else { return Ok(None) };
    let known = [DueAction::FillRemainder, DueAction::Expire, DueAction::Inquire];
    let action = known.into_iter().find(|action| action.as_str() == due.action);
    let action = action.ok_or_else(|| format!("the due action {} is unknown", due.action))?;
    Ok(Some(DueTask { at: due.at, action }))
}

fn restore_earlier_days(settlement: &ReportSettlement) -> Result<Vec<DayDeltas>, InvalidSettledQuantity> {
    settlement.earlier_days.iter().map(TryInto::try_into).collect()
}

fn restore_legs(settlement: &ReportSettlement) -> Result<Option<Box<OrderLegs>>, String> {
    let legs = settlement.legs.as_deref();
    legs.map(|legs| legs.restore().map(Box::new)).transpose()
}

/// Returns the order that a decoded journaled report describes, and its settlement.
///
/// # Errors
/// When a part of the order is missing or invalid.
pub fn restore_order(report: ExecutionReport) -> Result<(Order, Box<ReportSettlement>), JournalReportError> {
    let invalid = |problem: &dyn std::fmt::Display| JournalReportError {
        order_id: report.order_id.clone(),
        problem: problem.to_string(),
    };
    let settlement = report.settlement.ok_or_else(|| invalid(&"it has no settlement"))?;
    let micros = |units| Micros::new(units).ok_or_else(|| invalid(&"an amount is out of range"));
    let due = parse_due(&settlement).map_err(|problem| invalid(&problem))?;
    let order = Order {
        order_id: OrderId::new(&report.order_id).map_err(|error| invalid(&error))?,
        broker_order_id: report.broker_order_id,
        client_order_id: ClientOrderId::new(&report.client_order_id).map_err(|error| invalid(&error))?,
        account_id: AccountId::new(&report.account_id).map_err(|error| invalid(&error))?,
        broker: BrokerId::new(&report.broker).map_err(|error| invalid(&error))?,
        venue: VenueId::new(&report.venue).map_err(|error| invalid(&error))?,
        symbol: Symbol::parse(&report.symbol).map_err(|error| invalid(&error))?,
        side: report.side,
        order_type: report.order_type,
        time_in_force: report.time_in_force,
        price: report
            .price
            .map(Price::new)
            .transpose()
            .map_err(|error| invalid(&error))?,
        quantity: Quantity::new(report.quantity).map_err(|error| invalid(&error))?,
        tags: report
            .tags
            .iter()
            .map(|tag| Tag::new(tag))
            .collect::<Result<_, _>>()
            .map_err(|error| invalid(&error))?,
        mode: report.mode,
        content_hash: ContentHash(settlement.content.as_str().into()),
        status: (report.version > 0).then_some(report.status),
        version: report.version,
        filled_quantity: report.filled_quantity,
        filled_cost: settlement.filled_cost,
        fills: report
            .fills
            .into_iter()
            .map(Fill::try_from)
            .collect::<Result<_, _>>()
            .map_err(|error| invalid(&error))?,
        older_exec_ids: settlement.earlier_exec_ids.clone(),
        submitted_at: report.submitted_at,
        updated_at: report.updated_at,
        reason: report.reason,
        reservation: Reservation {
            lot_size: settlement.lot_size,
            base_rate: settlement.base_rate,
            base_asset: settlement.base_asset.as_deref().map(Into::into),
            mark: Price::new(settlement.mark).map_err(|error| invalid(&error))?,
            reserved: settled_units(settlement.reserved_quantity).map_err(|error| invalid(&error))?,
            notional: micros(settlement.notional)?,
            daily_notional: micros(settlement.daily_notional)?,
            expected_loss: micros(settlement.open_loss)?,
            price_loss: micros(settlement.price_loss)?,
            open_price_loss: micros(settlement.open_price_loss)?,
            is_open: settlement.is_open,
            trading_date: settlement.trading_date,
        },
        due,
        total_deltas: settlement
            .total
            .try_into()
            .map_err(|error: InvalidSettledQuantity| invalid(&error))?,
        // A submission or a denial settles nothing.
        booked_on: settlement.id.map(|_| settlement.booked_on),
        earlier_days: restore_earlier_days(&settlement).map_err(|error| invalid(&error))?,
        reduce_only: settlement.reduce_only,
        legs: restore_legs(&settlement).map_err(|problem| invalid(&problem))?,
        settlement_id: settlement.id,
        builds_on: settlement.builds_on,
    };
    Ok((order, settlement))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::currency_rates::CurrencyRates;
    use crate::domain::decimal::Decimal;
    use crate::domain::id::OrderIdPrefix;
    use crate::domain::instrument::Instrument;
    use crate::domain::order_terms::Mode;
    use crate::domain::replace::LegWord;
    use crate::domain::time::Timestamp;
    use crate::domain::venue_report::{VenueOrderState, VenueReport};
    use crate::wire::intent::{MissingIdPolicy, decode_intent};
    use crate::wire::settlement::SettlementDeltas;

    #[test]
    fn readings_are_inserted_where_their_placeholder_was() {
        let figures = Metadata::new()
            .with("a.limit", 5)
            .with("readings", READINGS_PLACEHOLDER);
        let whole = |figures: &Metadata| {
            serde_json::to_vec(&serde_json::json!({"message": "\"readings\":\"@\"", "figures": figures})).unwrap()
        };
        let mut document = whole(&figures);
        let at = cut_readings_placeholder(&mut document).unwrap();
        let expected = whole(&Metadata::new().with("a.limit", 5).with("readings", "0 1 2"));
        assert_eq!(insert_readings(&document, at, "0 1 2"), expected);
        assert_eq!(cut_readings_placeholder(&mut whole(&Metadata::new())), None);
    }

    #[test]
    fn order_survives_the_journal() {
        let number = |text: &str| text.parse::<Decimal>().unwrap();
        let body = br#"{"broker":"ibkr","venue":"ibkr.paper","symbol":"AAPL","side":"sell","quantity":10,
            "order_type":"limit","price":180.01,"client_order_id":"c","estimated_loss":7,"reduce_only":true,"tags":["strategy:s"],"time_in_force":"DAY"}"#;
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
            base_asset: Some("AAPL".into()),
            quote: "USD".into(),
            base_rate: number("1"),
        };
        let now = Timestamp::now();
        // Sold below its mark: the order reserves the loss.
        let mark = Price::new(number("180.02")).unwrap();
        let reservation =
            Reservation::for_order(&instrument, &intent, intent.price.unwrap(), mark, now.utc_date()).unwrap();
        let claimed = Order::from_intent(&intent, OrderIdPrefix("IB"), Mode::Paper, reservation, now);
        let fill = Fill {
            exec_id: "IB-1-1".into(),
            quantity: Quantity::new(number("9.5")).unwrap(),
            price: intent.price.unwrap(),
            timestamp: now,
            fee: number("0.00000003"),
            fee_currency: "AAPL".into(),
        };
        let venue_report = VenueReport {
            broker_order_id: Some("P1".into()),
            fills: vec![fill],
            state: VenueOrderState::Working,
            cumulative_quantity: None,
            legs: LegWord::default(),
            due: Some(DueTask {
                at: now,
                action: DueAction::FillRemainder,
            }),
        };
        let applied = claimed
            .apply_report(&venue_report, &CurrencyRates::default(), now)
            .unwrap();
        let readings = Metadata::new().with("max_daily_notional", 5);
        let body = build_journal_report(&applied.order, applied.deltas, 7, readings).encode();
        let (order, settlement) = decode_journal_report(&body).unwrap();
        assert_eq!(order, applied.order);
        assert!(order.reduce_only && order.reservation.open_price_loss.units() == 5_000);
        assert_eq!(SumDeltas::try_from(settlement.deltas), Ok(applied.deltas));
        assert_eq!(settlement.deltas.position, number("-9.50000003"));
        assert_eq!(settlement.epoch, 7);
        assert_eq!(
            read_settlement_header(&body),
            SettlementHeader {
                id: None,
                epoch: Some(7)
            }
        );
        let without_settlement = ExecutionReport::from(&order).encode();
        assert_eq!(read_settlement_header(&without_settlement), SettlementHeader::default());
        let id = Uuid::from_u128(1);
        for (settlement, expected) in [
            (format!(r#"{{"id":"{id}"}}"#), (Some(id), None)),
            (format!(r#"{{"id":"{id}","epoch":"x"}}"#), (Some(id), None)),
            (r#"{"id":"x","epoch":7}"#.to_owned(), (None, Some(7))),
            (r#"{"id":null,"epoch":7}"#.to_owned(), (None, Some(7))),
        ] {
            let header = read_settlement_header(format!(r#"{{"settlement":{settlement}}}"#).as_bytes());
            assert_eq!((header.id, header.epoch), expected, "{settlement}");
        }
    }

    #[test]
    fn quantity_that_the_sums_cannot_count_is_refused() {
        let number = |text: &str| text.parse::<Decimal>().unwrap();
        let deltas = |position: &str| SettlementDeltas {
            position: number(position),
            ..SettlementDeltas::default()
        };
        assert_eq!(
            SumDeltas::try_from(deltas("-0.00000001")).map(|deltas| deltas.position),
            Ok(-1)
        );
        for position in ["0.000000001", "9007199254740991.00000001"] {
            assert_eq!(SumDeltas::try_from(deltas(position)), Err(InvalidSettledQuantity));
        }
    }
}
