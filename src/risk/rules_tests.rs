use super::*;
use crate::domain::decimal::Decimal;
use crate::domain::id::{AccountId, BrokerId, ClientOrderId, VenueId};
use crate::domain::intent::{RiskOverrides, Symbol};
use crate::domain::money::Micros;
use crate::domain::quantity::Quantity;
use crate::domain::settlement::Counter;
use crate::domain::signal::{Level, Signal};
use crate::domain::terms::{OrderType, Side, TimeInForce};
use crate::domain::time::Timestamp;

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
        max_position: Quantity::new(number("2")).unwrap(),
        max_notional: number("60000"),
        can_short: true,
        base_asset: Some("BTC".into()),
        quote: "USDT".into(),
        base_rate: number("1"),
    }
}

/// Reads `buy 0.5 @30000 realized=-5 unrealized=-5 stop=100`; without `@` it is a market order.
fn intent(text: &str) -> Intent {
    let mut words = text.split(' ');
    let side = Side::parse(words.next().unwrap()).unwrap();
    let quantity = Quantity::new(number(words.next().unwrap())).unwrap();
    let (mut price, mut risk) = (None, RiskOverrides::default());
    for word in words {
        match word.split_once('=') {
            Some(("realized", pnl)) => risk.realized_pnl = Some(number(pnl)),
            Some(("unrealized", pnl)) => risk.unrealized_pnl = Some(number(pnl)),
            Some(("stop", limit)) => risk.stop_loss = Some(number(limit)),
            _ => price = Some(Price::new(number(word.trim_start_matches('@'))).unwrap()),
        }
    }
    Intent {
        broker: BrokerId::new("binance").unwrap(),
        venue: VenueId::new("binance.spot").unwrap(),
        symbol: Symbol::normalised("BTCUSDT").unwrap(),
        side,
        quantity,
        order_type: if price.is_some() {
            OrderType::Limit
        } else {
            OrderType::Market
        },
        price,
        time_in_force: TimeInForce::Gtc,
        client_order_id: ClientOrderId::new("c").unwrap(),
        account_id: AccountId::default_account(),
        tags: vec![],
        reduce_only: false,
        estimated_loss: None,
        mode: None,
        expires_at: None,
        risk,
    }
}

/// Returns the decision on an intent when `exposure` lots and `routed` millionths are taken; `None` leaves the shared
/// sums unseen.
fn decide(text: &str, taken: Option<(i64, i64)>) -> Decision<()> {
    let intent = intent(text);
    let instrument = instrument();
    let lots = instrument.lots(intent.quantity).unwrap();
    let price = intent.price.unwrap_or(instrument.reference_price);
    let reservation = Reservation::of(&instrument, &intent, lots, price, Timestamp::now().utc_date()).unwrap();
    let limits = Limits {
        daily_notional: Micros::new(MILLION).unwrap(),
        daily_loss: Micros::new(MILLION / 20).unwrap(),
        account_stop_loss: Micros::new(MILLION / 20).unwrap(),
        price_collar_percent: 20,
        order_rates: limits::RateLimits {
            account: 1_000,
            broker: 5_000,
        },
        cancel_rates: limits::RateLimits {
            account: 5_000,
            broker: 25_000,
        },
        max_open_orders: 10_000,
        duplicates: None,
        alerts: limits::AlertLevels {
            percent: 80,
            calm_percent: 75,
            repeat_ms: 3_600_000,
        },
        accounts: BTreeMap::new(),
    };
    let assessment = assess(&Subject {
        intent: &intent,
        instrument: &instrument,
        lots,
        reference_price: instrument.reference_price,
        reservation: &reservation,
        limits: &limits,
    });
    let see = |cap: &Cap, (exposure, routed): (i64, i64)| {
        let (CapLimit::Fixed(limit) | CapLimit::DailyNotional(limit)) = cap.limit;
        let before = if cap.counter == Counter::DailyNotional {
            routed
        } else {
            exposure
        };
        Observed { before, limit }
    };
    let observed: Vec<Observed> = match taken {
        Some(taken) => assessment.caps().iter().map(|cap| see(cap, taken)).collect(),
        None => Vec::new(),
    };
    assessment.decide((), &observed)
}

/// Returns each signal as `rule level`, and the denial's code.
fn judge(text: &str, exposure: i64, routed: i64) -> (Vec<String>, Option<String>) {
    let shown = |signal: &Signal| format!("{} {}", signal.rule_id, signal.level.as_str());
    match decide(text, Some((exposure, routed))) {
        Decision::Approved(_, signals) => (signals.iter().map(shown).collect(), None),
        Decision::Denied(reason, signals) => {
            let code = serde_json::to_string(&reason.code)
                .unwrap()
                .trim_matches('"')
                .to_owned();
            (signals.iter().map(shown).collect(), Some(code))
        }
    }
}

/// Intent, exposure before (lots of 0.00001), routed before (1e-6), signals, denial.
type Row = (&'static str, i64, i64, &'static [&'static str], Option<&'static str>);

#[test]
fn every_limit_holds_to_the_last_unit() {
    let rows: &[Row] = &[
        ("buy 0.001 @30000", 0, 0, &[], None),
        // order_size: 0.75 is the maximum
        ("buy 0.75 @30000", 0, 0, &[], None),
        (
            "buy 0.75001 @30000",
            0,
            0,
            &["order_size lock"],
            Some("order_size_exceeded"),
        ),
        // max_notional: 60 000 at 30 000 is 2.00000
        ("buy 0.5 @30000", 150_000, 0, &["max_notional alert"], None),
        (
            "buy 0.50001 @30000",
            150_000,
            0,
            &["max_notional lock"],
            Some("risk_locked"),
        ),
        ("buy 0.49999 @30000", 110_000, 0, &[], None),
        ("buy 0.5 @30000", 110_000, 0, &["max_notional alert"], None),
        (
            "sell 0.5 @30000",
            150_001,
            0,
            &["max_notional lock"],
            Some("risk_locked"),
        ),
        // valued at the higher of limit and reference price: at 40 000 only 1.5 fits, a low limit makes no room
        ("buy 0.5 @40000", 100_000, 0, &["max_notional alert"], None),
        (
            "buy 0.5 @40000",
            100_001,
            0,
            &["max_notional lock"],
            Some("risk_locked"),
        ),
        ("buy 0.5 @100", 150_001, 0, &["max_notional lock"], Some("risk_locked")),
        ("buy 0.5", 150_001, 0, &["max_notional lock"], Some("risk_locked")),
        // max_daily_notional: 1 000 000
        (
            "buy 0.1 @30000",
            0,
            MILLION - 3_000_000_000,
            &["max_daily_notional alert"],
            None,
        ),
        (
            "buy 0.1 @30000",
            0,
            MILLION - 2_999_999_999,
            &["max_daily_notional lock"],
            Some("daily_notional_exceeded"),
        ),
        // stop_loss: 50 000, the caller's own where tighter
        ("buy 0.1 @30000 realized=-39999.99", 0, 0, &[], None),
        ("buy 0.1 @30000 realized=-40000", 0, 0, &["stop_loss alert"], None),
        ("buy 0.1 @30000 realized=-49999.99", 0, 0, &["stop_loss alert"], None),
        (
            "buy 0.1 @30000 realized=-20000 unrealized=-30000",
            0,
            0,
            &["stop_loss lock"],
            Some("risk_locked"),
        ),
        (
            "buy 0.1 @30000 realized=-60000 unrealized=20000",
            0,
            0,
            &["stop_loss alert"],
            None,
        ),
        (
            "buy 0.1 @30000 realized=-100 stop=100",
            0,
            0,
            &["stop_loss lock"],
            Some("risk_locked"),
        ),
        (
            "buy 0.1 @30000 realized=-60000 stop=900000",
            0,
            0,
            &["stop_loss lock"],
            Some("risk_locked"),
        ),
        // precedence: every signal is kept, the first lock is the answer
        (
            "buy 1 @30000 realized=-60000",
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
    for (text, exposure, routed, signals, denial) in rows {
        let (found, code) = judge(text, *exposure, *routed);
        assert_eq!(found, *signals, "{text}");
        assert_eq!(code.as_deref(), *denial, "{text}");
    }
}

#[test]
fn a_figure_that_was_not_seen_denies() {
    let Decision::Denied(reason, signals) = decide("buy 0.1", None) else {
        panic!("approved unseen")
    };
    assert!(signals.iter().all(|signal| signal.level == Level::Lock) && signals.len() == 2);
    assert_eq!(reason.metadata.text("rule_id"), Some("max_notional"));
}
