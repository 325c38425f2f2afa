use super::*;
use crate::domain::decimal::Decimal;
use crate::domain::id::{BrokerId, VenueId};
use crate::domain::intent::Symbol;
use crate::domain::money::Micros;
use crate::domain::quantity::Quantity;
use crate::domain::signal::Level;
use crate::domain::time::Timestamp;
use crate::wire::intent::{MissingId, decode};

const MILLION: i64 = 1_000_000_000_000;

fn number(text: &str) -> Decimal {
    text.parse().unwrap()
}

fn instrument() -> Instrument {
    Instrument {
        broker: BrokerId::new("binance").unwrap(),
        venue: VenueId::new("binance.spot").unwrap(),
        symbol: Symbol::normalised("BTCUSDT").unwrap(),
        reference_price: Price::new(number("30000")).unwrap(),
        tick_size: Price::new(number("0.01")).unwrap(),
        lot_size: Quantity::new(number("0.00001")).unwrap(),
        max_order_size: Quantity::new(number("0.75")).unwrap(),
        max_notional: number("60000"),
        quote: "USDT".into(),
        base_rate: number("1"),
    }
}

/// Returns each signal as `rule level`, and the denial's code, for an intent with these fields over the default.
fn judge(fields: &str, long_before: i64, routed_before: i64) -> (Vec<String>, Option<String>) {
    let body =
        format!(r#"{{"broker":"binance","venue":"binance.spot","symbol":"BTCUSDT","client_order_id":"c",{fields}}}"#);
    let intent = decode(body.as_bytes(), MissingId::Refused).unwrap();
    let instrument = instrument();
    let lots = instrument.lots(intent.quantity).unwrap();
    let price = intent.price.unwrap_or(instrument.reference_price);
    let reservation = Reservation::of(&instrument, intent.quantity, lots, price, Timestamp::now()).unwrap();
    let limits = Limits {
        daily_notional: Micros::new(MILLION).unwrap(),
        account_stop_loss: number("50000"),
        alert_percent: 80,
    };
    let subject = Subject {
        intent: &intent,
        instrument: &instrument,
        lots,
        reference_price: instrument.reference_price,
        reservation: &reservation,
        limits: &limits,
    };
    let assessment = assess(&subject);
    let observed: Vec<Observed> = assessment
        .caps()
        .iter()
        .map(|cap| {
            let before = match cap.counter {
                crate::domain::settlement::Counter::DailyNotional => routed_before,
                _ => long_before,
            };
            let (CapLimit::Fixed(limit) | CapLimit::DailyNotional(limit)) = cap.limit;
            Observed { before, limit }
        })
        .collect();
    let (signals, code) = match assessment.decide((), &observed) {
        Decision::Approved(_, signals) => (signals, None),
        Decision::Denied(reason, signals) => (signals, Some(serde_json::to_string(&reason.code).unwrap())),
    };
    let shown = |signal: &crate::domain::signal::Signal| format!("{} {}", signal.rule_id, signal.level.as_str());
    (
        signals.iter().map(shown).collect(),
        code.map(|code| code.trim_matches('"').to_owned()),
    )
}

#[test]
fn every_limit_holds_to_the_last_unit() {
    let limit_at_30000 = r#""order_type":"limit","price":30000"#;
    // fields, long before (lots of 0.00001), routed before (1e-6), signals, denial
    let rows: &[(&str, i64, i64, &[&str], Option<&str>)] = &[
        (r#""side":"buy","quantity":0.001"#, 0, 0, &[], None),
        // order_size: 0.75 is the maximum
        (r#""side":"buy","quantity":0.75"#, 0, 0, &[], None),
        (
            r#""side":"buy","quantity":0.75001"#,
            0,
            0,
            &["order_size lock"],
            Some("order_size_exceeded"),
        ),
        // max_notional: 60 000 at 30 000 is 2.00000
        (
            r#""side":"buy","quantity":0.5"#,
            150_000,
            0,
            &["max_notional alert"],
            None,
        ),
        (
            r#""side":"buy","quantity":0.50001"#,
            150_000,
            0,
            &["max_notional lock"],
            Some("risk_locked"),
        ),
        (r#""side":"buy","quantity":0.49999"#, 110_000, 0, &[], None),
        (
            r#""side":"buy","quantity":0.5"#,
            110_000,
            0,
            &["max_notional alert"],
            None,
        ),
        (
            r#""side":"sell","quantity":0.5"#,
            150_001,
            0,
            &["max_notional lock"],
            Some("risk_locked"),
        ),
        // max_daily_notional: 1 000 000
        (
            r#""side":"buy","quantity":0.1"#,
            0,
            MILLION - 3_000_000_000,
            &["max_daily_notional alert"],
            None,
        ),
        (
            r#""side":"buy","quantity":0.1"#,
            0,
            MILLION - 2_999_999_999,
            &["max_daily_notional lock"],
            Some("daily_notional_exceeded"),
        ),
        // stop_loss: 50 000, the caller's own where tighter
        (
            r#""side":"buy","quantity":0.1,"risk":{"realized_pnl":-39999.99}"#,
            0,
            0,
            &[],
            None,
        ),
        (
            r#""side":"buy","quantity":0.1,"risk":{"realized_pnl":-40000}"#,
            0,
            0,
            &["stop_loss alert"],
            None,
        ),
        (
            r#""side":"buy","quantity":0.1,"risk":{"realized_pnl":-20000,"unrealized_pnl":-30000}"#,
            0,
            0,
            &["stop_loss lock"],
            Some("risk_locked"),
        ),
        (
            r#""side":"buy","quantity":0.1,"risk":{"realized_pnl":-49999.99}"#,
            0,
            0,
            &["stop_loss alert"],
            None,
        ),
        (
            r#""side":"buy","quantity":0.1,"risk":{"realized_pnl":-100,"stop_loss":100}"#,
            0,
            0,
            &["stop_loss lock"],
            Some("risk_locked"),
        ),
        (
            r#""side":"buy","quantity":0.1,"risk":{"realized_pnl":-60000,"stop_loss":900000}"#,
            0,
            0,
            &["stop_loss lock"],
            Some("risk_locked"),
        ),
        // precedence: every signal is kept, the first lock is the answer
        (
            r#""side":"buy","quantity":1,"risk":{"realized_pnl":-60000}"#,
            200_000,
            MILLION,
            &[
                "order_size lock",
                "max_notional lock",
                "max_daily_notional lock",
                "stop_loss lock",
            ],
            Some("order_size_exceeded"),
        ),
    ];
    for (fields, long_before, routed_before, signals, denial) in rows {
        let fields = format!("{fields},{limit_at_30000}");
        let (found, code) = judge(&fields, *long_before, *routed_before);
        assert_eq!(found, *signals, "{fields}");
        assert_eq!(code.as_deref(), *denial, "{fields}");
    }
}

#[test]
fn exposure_is_valued_at_the_higher_of_limit_and_reference() {
    // At 40 000 only 1.5 fits into 60 000; a low limit does not make more room than the reference price.
    let (signals, _) = judge(
        r#""side":"buy","quantity":0.5,"order_type":"limit","price":40000"#,
        100_001,
        0,
    );
    assert_eq!(signals, ["max_notional lock"]);
    let (signals, _) = judge(
        r#""side":"buy","quantity":0.5,"order_type":"limit","price":100"#,
        150_001,
        0,
    );
    assert_eq!(signals, ["max_notional lock"]);
    let (signals, _) = judge(r#""side":"buy","quantity":0.5,"order_type":"market""#, 150_001, 0);
    assert_eq!(signals, ["max_notional lock"]);
}

#[test]
fn a_figure_that_was_not_seen_denies() {
    let intent = decode(
        br#"{"broker":"binance","venue":"binance.spot","symbol":"BTCUSDT","client_order_id":"c","side":"buy","quantity":0.1,"order_type":"market"}"#,
        MissingId::Refused,
    )
    .unwrap();
    let instrument = instrument();
    let reservation = Reservation::of(
        &instrument,
        intent.quantity,
        10_000,
        instrument.reference_price,
        Timestamp::now(),
    )
    .unwrap();
    let limits = Limits {
        daily_notional: Micros::new(MILLION).unwrap(),
        account_stop_loss: number("1"),
        alert_percent: 80,
    };
    let subject = Subject {
        intent: &intent,
        instrument: &instrument,
        lots: 10_000,
        reference_price: instrument.reference_price,
        reservation: &reservation,
        limits: &limits,
    };
    let Decision::Denied(reason, signals) = assess(&subject).decide((), &[]) else {
        panic!("approved unseen")
    };
    assert!(signals.iter().all(|signal| signal.level == Level::Lock) && signals.len() == 2);
    assert_eq!(reason.metadata.text("rule_id"), Some("max_notional"));
}
