use crate::domain::id::{AccountId, BrokerId, ClientOrderId, VenueId};
use crate::domain::intent::RiskOverrides;
use crate::domain::order_terms::{OrderType, TimeInForce};
use crate::domain::quantity::Quantity;
use crate::domain::reservation::*;
use crate::domain::symbol::Symbol;
use crate::domain::time::Timestamp;

fn number(text: &str) -> Decimal {
    text.parse().unwrap()
}

fn price(text: &str) -> Price {
    Price::new(number(text)).unwrap()
}

fn quantity(text: &str) -> Quantity {
    Quantity::new(number(text)).unwrap()
}

fn instrument(base_rate: &str) -> Instrument {
    Instrument {
        broker: BrokerId::new("b").unwrap(),
        venue: VenueId::new("v").unwrap(),
        symbol: Symbol::parse("S").unwrap(),
        reference_price: price("1"),
        tick_size: price("1"),
        lot_size: quantity("0.01"),
        max_order_size: quantity("1"),
        max_position: quantity("1"),
        max_notional: number("1"),
        can_short: true,
        base_asset: Some("S".into()),
        quote: "USD".to_owned(),
        base_rate: number(base_rate),
    }
}

fn intent(side: Side, ordered: &str, estimated_loss: Option<&str>) -> Intent {
    Intent {
        broker: BrokerId::new("b").unwrap(),
        venue: VenueId::new("v").unwrap(),
        symbol: Symbol::parse("S").unwrap(),
        side,
        quantity: quantity(ordered),
        order_type: OrderType::Limit,
        price: None,
        time_in_force: TimeInForce::Gtc,
        client_order_id: ClientOrderId::new("c").unwrap(),
        account_id: AccountId::default_account(),
        tags: vec![],
        reduce_only: false,
        estimated_loss: estimated_loss.map(number),
        mode: None,
        expires_at: None,
        risk: RiskOverrides::default(),
    }
}

fn reserve(rate: &str, intent: &Intent, valued_at: &str, mark: &str) -> Option<Reservation> {
    let date = Timestamp::from_milliseconds(0).utc_date();
    Reservation::for_order(&instrument(rate), intent, price(valued_at), price(mark), date)
}

#[test]
fn order_at_a_price_worse_than_its_mark_reserves_the_difference() {
    // side, quantity, rate, price, mark → millionths
    for (side, ordered, rate, valued_at, mark, loss) in [
        (Side::Buy, "10", "1", "182", "180", 20_000_000),
        (Side::Buy, "10", "1", "180", "180", 0),
        (Side::Buy, "10", "1", "178", "180", 0),
        (Side::Sell, "10", "1", "178", "180", 20_000_000),
        (Side::Sell, "10", "1", "180", "180", 0),
        (Side::Sell, "10", "1", "182", "180", 0),
        (Side::Sell, "10", "1.1", "178", "180", 22_000_000),
        // Both values are rounded so that the loss is not too small, but equal prices lose nothing.
        (Side::Buy, "0.01", "1", "0.00000002", "0.00000001", 1),
        (Side::Sell, "0.01", "1", "0.00000001", "0.00000002", 1),
        (Side::Buy, "0.01", "1", "0.00000001", "0.00000001", 0),
        (Side::Sell, "0.01", "1", "0.00000001", "0.00000001", 0),
        (Side::Buy, "0.01", "1", "0.00000001", "0.00000002", 0),
    ] {
        let reservation = reserve(rate, &intent(side, ordered, Some("0.0000001")), valued_at, mark).unwrap();
        let row = format!("{side} {ordered} × {rate} at {valued_at}, mark {mark}");
        assert_eq!(reservation.price_loss.units(), loss, "{row}");
        assert_eq!(reservation.open_price_loss.units(), loss, "{row}");
        assert_eq!(reservation.claim_deltas(side).open_loss, loss + 1, "{row}");
    }
}

#[test]
fn claim_moves_the_exposure_of_its_side_in_units_of_1e_8() {
    for (side, long, short) in [(Side::Buy, 1, 0), (Side::Sell, 0, 1)] {
        // Less than the lot of the instrument: the sums do not depend on it.
        let reservation = reserve("1", &intent(side, "0.00000001", None), "2", "2").unwrap();
        let expected = SumDeltas {
            long,
            short,
            open_orders: 1,
            daily_notional: 1,
            ..SumDeltas::default()
        };
        assert_eq!(reservation.claim_deltas(side), expected);
    }
}

#[test]
fn order_that_cannot_be_counted_exactly_has_no_reservation() {
    let large = intent(Side::Sell, "99999999999", None);
    assert_eq!(reserve("1", &large, "999999999", "1"), None);
    assert_eq!(reserve("1", &large, "0.01", "999999999"), None);
    assert!(reserve("1", &large, "0.01", "0.01").is_some());
}

#[test]
fn cleared_reservation_holds_nothing() {
    let mut reservation = reserve("1", &intent(Side::Buy, "10", Some("7")), "182", "180").unwrap();
    reservation.clear();
    assert_eq!(
        SumDeltas {
            open_orders: 0,
            ..reservation.claim_deltas(Side::Buy)
        },
        SumDeltas::default()
    );
    assert_eq!(reservation.price_loss, Micros::ZERO);
}
